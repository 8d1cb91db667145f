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

// The size of the frame at the begin of `bytes`, with its line's end; 0 where it is not the usual one.
std::size_t read(std::span<const char> bytes, TokenUpdate& update) noexcept {
    Cursor cursor{bytes.data(), bytes.data(), bytes.data() + bytes.size()};
    if (!cursor.take(R"({"access_token":")") || !cursor.take_token(update.access_token)) return 0;
    if (cursor.take(R"(,"token_type":)") && !cursor.take(R"("Bearer")")) return 0;
    if (cursor.take(R"(,"expires_at":)") && !cursor.take_number(update.expires_at, kMaxUnixTime)) {
        return 0;
    }
    if (cursor.take(R"(,"serial":)") && !cursor.take_number(update.serial, kMaxSerial)) return 0;
    if (cursor.take(R"(,"issued_at":)") && !cursor.take_number(update.issued_at, kMaxUnixTime)) {
        return 0;
    }
    if (cursor.take(R"(,"grant_expires_at":)") &&
        !cursor.take_number(update.grant_expires_at, kMaxUnixTime)) {
        return 0;
    }
    if (cursor.take(R"(,"scope":")") && !cursor.take_text(update.scope)) return 0;
    if (cursor.take(R"(,"account":")") && !cursor.take_text(update.account)) return 0;
    if (!cursor.take("}\n") && !(cursor.take(R"(,"refresh_token":")") &&
                                 cursor.take_token(update.refresh_token) && cursor.take("}\n"))) {
        return 0;
    }
    const auto size = static_cast<std::size_t>(cursor.at - cursor.begin);
    return size - 1 <= kMaxFrame ? size : 0;
}

}  // namespace

bool take_usual_frame(LineBuffer& input, Message& message) noexcept {
    const std::size_t size = read(input.unsearched(), message.update);
    if (size == 0) {
        message.update = {};
        return false;
    }
    input.skip(size);
    return true;
}

}  // namespace tokenrelay
