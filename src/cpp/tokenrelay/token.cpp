#include "tokenrelay/token.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <ostream>
#include <utility>

#include "tokenrelay/limits.hpp"

namespace tokenrelay {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

// Far-off expiries must not overflow 64-bit nanoseconds.
std::int64_t to_ns(std::int64_t seconds) noexcept {
    return std::min(seconds, std::numeric_limits<std::int64_t>::max() / kSecond) * kSecond;
}

char* append(char* to, std::string_view text) noexcept {
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    return to + text.size();
}

}  // namespace

Token::Token(const Token& other) { *this = other; }

Token::Token(Token&& other) noexcept { *this = std::move(other); }

Token& Token::operator=(const Token& other) {
    if (this == &other) return *this;
    const std::size_t size = other.bytes_used();
    char* copy = size ? new char[size] : nullptr;
    append(copy, {other.bytes_, size});
    clear();
    take_fields(other);
    bytes_ = copy;
    owned_ = copy != nullptr;
    return *this;
}

Token& Token::operator=(Token&& other) noexcept {
    if (this == &other) return *this;
    if (!other.owned_) return *this = other;
    clear();
    take_fields(other);
    bytes_ = std::exchange(other.bytes_, nullptr);
    owned_ = std::exchange(other.owned_, false);
    other.take_fields(Token());
    return *this;
}

Token::~Token() {
    if (owned_) clear();
}

void Token::take_fields(const Token& other) noexcept {
    authorization_size_ = other.authorization_size_;
    scope_size_ = other.scope_size_;
    account_size_ = other.account_size_;
    refresh_size_ = other.refresh_size_;
    generation_ = other.generation_;
    expires_at_ = other.expires_at_;
    boot_deadline_ = other.boot_deadline_;
    received_at_ = other.received_at_;
    serial_ = other.serial_;
    issued_at_ = other.issued_at_;
    grant_expires_at_ = other.grant_expires_at_;
}

std::chrono::nanoseconds Token::expires_in(Now now) const noexcept {
    return std::chrono::nanoseconds(
        std::min(to_ns(expires_at_) - now.wall, boot_deadline_ - now.boot));
}

void Token::fill(const TokenUpdate& update, char* storage, std::uint64_t generation,
                 Now now) noexcept {
    bytes_ = storage;
    owned_ = false;
    char* end = append(append(storage, kScheme), update.access_token);
    append(append(append(end, update.scope), update.account), update.refresh_token);
    authorization_size_ = static_cast<std::uint32_t>(end - storage);
    scope_size_ = static_cast<std::uint32_t>(update.scope.size());
    account_size_ = static_cast<std::uint32_t>(update.account.size());
    refresh_size_ = static_cast<std::uint32_t>(update.refresh_token.size());
    generation_ = generation;
    expires_at_ = update.expires_at.value_or(now.wall / kSecond + kDefaultLifetime);
    // A frame just received can't be valid for longer than its expiry says, whatever the wall
    // clock does afterwards.
    const std::int64_t left = to_ns(expires_at_) - now.wall;
    const bool overflows = left > 0 && now.boot > std::numeric_limits<std::int64_t>::max() - left;
    boot_deadline_ = overflows ? std::numeric_limits<std::int64_t>::max() : now.boot + left;
    received_at_ = now.boot;
    serial_ = update.serial;
    issued_at_ = update.issued_at;
    grant_expires_at_ = update.grant_expires_at;
}

void Token::clear() noexcept {
    if (bytes_) explicit_bzero(bytes_, bytes_used());
    if (owned_) delete[] bytes_;
    bytes_ = nullptr;
    owned_ = false;
    authorization_size_ = scope_size_ = account_size_ = refresh_size_ = 0;
    generation_ = 0;
}

std::ostream& operator<<(std::ostream& stream, const Token& token) {
    return stream << "<Token generation=" << token.generation()
                  << " expires_at=" << token.expires_at() << '>';
}

}  // namespace tokenrelay
