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

void copy(char* to, std::string_view text) noexcept {
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
}

}  // namespace

Token::Token(const Token& other) { *this = other; }

Token::Token(Token&& other) noexcept { *this = std::move(other); }

Token& Token::operator=(const Token& other) {
    if (this == &other) return *this;
    char* const bytes = other.size_ ? new char[other.size_] : nullptr;
    copy(bytes, {other.bytes_, other.size_});
    clear();
    take_fields(other);
    bytes_ = bytes;
    owned_ = bytes != nullptr;
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
    size_ = other.size_;
    authorization_ = other.authorization_;
    scope_ = other.scope_;
    account_ = other.account_;
    refresh_token_ = other.refresh_token_;
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
    size_ = 0;
    const auto append = [this](std::string_view text) {
        copy(bytes_ + size_, text);
        const Part part{size_, static_cast<std::uint32_t>(text.size())};
        size_ += part.size;
        return part;
    };
    append(kScheme);
    authorization_ = {0, size_ + append(update.access_token).size};
    scope_ = append(update.scope);
    account_ = append(update.account);
    refresh_token_ = append(update.refresh_token);
    take_values(update, generation, now);
}

void Token::fill_in_place(const TokenUpdate& update, char* storage, std::uint64_t generation,
                          Now now) noexcept {
    bytes_ = storage;
    owned_ = false;
    size_ = 0;
    const auto find = [this](std::string_view text) {
        if (text.empty()) return Part{};
        const Part part{static_cast<std::uint32_t>(text.data() - bytes_),
                        static_cast<std::uint32_t>(text.size())};
        size_ = std::max(size_, part.begin + part.size);
        return part;
    };
    const Part token = find(update.access_token);
    constexpr std::uint32_t scheme = kScheme.size();
    authorization_ = {token.begin - scheme, token.size + scheme};
    copy(bytes_ + authorization_.begin, kScheme);
    scope_ = find(update.scope);
    account_ = find(update.account);
    refresh_token_ = find(update.refresh_token);
    take_values(update, generation, now);
}

void Token::take_values(const TokenUpdate& update, std::uint64_t generation, Now now) noexcept {
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
    if (bytes_) explicit_bzero(bytes_, size_);
    if (owned_) delete[] bytes_;
    bytes_ = nullptr;
    owned_ = false;
    size_ = 0;
    authorization_ = scope_ = account_ = refresh_token_ = {};
    generation_ = 0;
}

std::ostream& operator<<(std::ostream& stream, const Token& token) {
    return stream << "<Token generation=" << token.generation()
                  << " expires_at=" << token.expires_at() << '>';
}

}  // namespace tokenrelay
