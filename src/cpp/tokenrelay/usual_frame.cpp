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
    [[gnu::always_inline]] bool take_rest(std::string_view& text, bool blanks) noexcept {
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
        return take_rest(token, false) && !token.empty() && token.size() <= kMaxToken;
    }

    // A member that may be missing: with false, it is there and not as expected.
    template <std::size_t N>
    [[gnu::always_inline]] bool take_text(const char (&key)[N], std::string_view& text) noexcept {
        if (take(key)) return take_rest(text, true);
        text = {};
        return true;
    }

    template <std::size_t N>
    [[gnu::always_inline]] bool take_number(const char (&key)[N],
                                            std::optional<std::int64_t>& number,
                                            std::int64_t limit) noexcept {
        if (take(key)) return take_digits(number, limit);
        number.reset();
        return true;
    }

    // What follows them is not looked at: a point or an exponent is not what the next take() expects.
    [[gnu::always_inline]] bool take_digits(std::optional<std::int64_t>& number,
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

bool take_usual_frame(LineBuffer& input, TokenUpdate& update) noexcept {
    const auto bytes = input.unsearched();
    Cursor cursor{bytes.data(), bytes.data(), bytes.data() + bytes.size()};
    if (!cursor.take(R"({"access_token":")") || !cursor.take_token(update.access_token) ||
        (cursor.take(R"(,"token_type":)") && !cursor.take(R"("Bearer")")) ||
        !cursor.take_number(R"(,"expires_at":)", update.expires_at, kMaxUnixTime) ||
        !cursor.take_number(R"(,"serial":)", update.serial, kMaxSerial) ||
        !cursor.take_number(R"(,"issued_at":)", update.issued_at, kMaxUnixTime) ||
        !cursor.take_number(R"(,"grant_expires_at":)", update.grant_expires_at, kMaxUnixTime) ||
        !cursor.take_text(R"(,"scope":")", update.scope) ||
        !cursor.take_text(R"(,"account":")", update.account)) {
        return false;
    }
    update.refresh_token = {};
    if (!cursor.take("}\n") && !(cursor.take(R"(,"refresh_token":")") &&
                                 cursor.take_token(update.refresh_token) && cursor.take("}\n"))) {
        return false;
    }
    const auto size = static_cast<std::size_t>(cursor.at - cursor.begin);
    if (size - 1 > kMaxFrame) return false;
    input.skip(size);
    return true;
}

}  // namespace tokenrelay
