#include "tokenrelay/usual_frame.hpp"

#include <cstring>

#include "tokenrelay/digits.hpp"
#include "tokenrelay/limits.hpp"
#include "tokenrelay/scan.hpp"

namespace tokenrelay {
namespace {

// Where the reading is; a local variable of one function, so that it stays in registers.
struct Cursor {
    const char* const begin;
    const char* at;
    const char* const end;

    // The text, if it stands here.
    template <std::size_t N>
    [[gnu::always_inline]] bool take(const char (&text)[N]) noexcept {
        constexpr std::size_t size = N - 1;
        if (end - at < static_cast<std::ptrdiff_t>(size) || std::memcmp(at, text, size) != 0) {
            return false;
        }
        at += size;
        return true;
    }

    // The rest of a string of ASCII without escapes, and its quote.
    [[gnu::always_inline]] bool take_text(std::string_view& text, bool blanks = true) noexcept {
        const char* quote = find_special(begin, at, end);
        while (quote != end && (*quote == '!' || (*quote == ' ' && blanks))) {
            quote = find_special(begin, quote + 1, end);
        }
        if (quote == end || *quote != '"') return false;
        text = {at, static_cast<std::size_t>(quote - at)};
        at = quote + 1;
        return true;
    }

    [[gnu::always_inline]] bool take_token(std::string_view& token) noexcept {
        return take_text(token, false) && !token.empty() && token.size() <= kMaxToken;
    }

    // What follows it is not looked at: a point or an exponent is not what the next take() expects.
    [[gnu::always_inline]] bool take_number(std::optional<std::int64_t>& number,
                                            std::int64_t limit) noexcept {
        constexpr std::ptrdiff_t kAlwaysFits = 18;  // digits
        const char* const first = at;
        if (at == end || *at == '0') return false;
        std::uint64_t value = 0;
        while (end - at >= 8 && take_eight_digits(at, value)) at += 8;
        for (; at < end && is_digit(*at); ++at) {
            value = value * 10 + static_cast<std::uint64_t>(*at - '0');
        }
        if (at == first || at - first > kAlwaysFits) return false;
        number = static_cast<std::int64_t>(value);
        return *number <= limit;
    }
};

}  // namespace

// Into local variables: an update that is filled member by member is zeroed as a whole before.
std::optional<TokenUpdate> take_usual_frame(LineBuffer& input) noexcept {
    const auto bytes = input.unsearched();
    Cursor cursor{bytes.data(), bytes.data(), bytes.data() + bytes.size()};
    std::string_view access_token, refresh_token, scope, account;
    std::optional<std::int64_t> expires_at, serial, issued_at, grant_expires_at;
    if (!cursor.take(R"({"access_token":")") || !cursor.take_token(access_token)) return {};
    if (cursor.take(R"(,"token_type":)") && !cursor.take(R"("Bearer")")) return {};
    if (cursor.take(R"(,"expires_at":)") && !cursor.take_number(expires_at, kMaxUnixTime)) {
        return {};
    }
    if (cursor.take(R"(,"serial":)") && !cursor.take_number(serial, kMaxSerial)) return {};
    if (cursor.take(R"(,"issued_at":)") && !cursor.take_number(issued_at, kMaxUnixTime)) return {};
    if (cursor.take(R"(,"grant_expires_at":)") &&
        !cursor.take_number(grant_expires_at, kMaxUnixTime)) {
        return {};
    }
    if (cursor.take(R"(,"scope":")") && !cursor.take_text(scope)) return {};
    if (cursor.take(R"(,"account":")") && !cursor.take_text(account)) return {};
    if (!cursor.take("}\n") && !(cursor.take(R"(,"refresh_token":")") &&
                                 cursor.take_token(refresh_token) && cursor.take("}\n"))) {
        return {};
    }
    const auto size = static_cast<std::size_t>(cursor.at - cursor.begin);
    if (size - 1 > kMaxFrame) return {};
    input.skip(size);
    return TokenUpdate{.access_token = access_token,
                       .refresh_token = refresh_token,
                       .scope = scope,
                       .account = account,
                       .expires_at = expires_at,
                       .serial = serial,
                       .issued_at = issued_at,
                       .grant_expires_at = grant_expires_at};
}

}  // namespace tokenrelay
