#include "tokenrelay/json.hpp"

#include <charconv>
#include <cstring>
#include <system_error>

#include "tokenrelay/digits.hpp"
#include "tokenrelay/scan.hpp"

namespace tokenrelay {
namespace {

constexpr std::string_view kBadString = "bad string";
constexpr std::string_view kUnclosed = "unclosed string";
constexpr std::string_view kBadNumber = "bad number, or one out of range";
constexpr std::string_view kNotUtf8 = "not UTF-8";

// Whether the value is one of a 64-bit integer or a double; reads the integer.
bool in_range(JsonMember& member) noexcept {
    const char* const end = member.text.data() + member.text.size();
    double fraction = 0;
    const auto read = member.kind == JsonKind::integer
                          ? std::from_chars(member.text.data(), end, member.integer)
                          : std::from_chars(member.text.data(), end, fraction);
    return read.ec == std::errc();
}

constexpr bool is_blank(char byte) noexcept {
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

constexpr bool is_continuation(char byte) noexcept { return (byte & 0xC0) == 0x80; }

// Bytes of the UTF-8 character at `at` (RFC 3629 §4), 0 where it is none.
std::size_t utf8_size(const char* at, const char* end) noexcept {
    const auto byte = [at, end](std::size_t i) noexcept {
        return static_cast<unsigned char>(at + i < end ? at[i] : 0);
    };
    const auto lead = byte(0);
    if (lead < 0x80) return 1;
    const std::size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    for (std::size_t i = 1; i < size; ++i) {
        if (!is_continuation(static_cast<char>(byte(i)))) return 0;
    }
    // Overlong forms, surrogates and what is beyond U+10FFFF.
    const auto second = byte(1);
    const bool good =
        size == 2 ? lead >= 0xC2
        : size == 3
            ? (lead != 0xE0 || second >= 0xA0) && (lead != 0xED || second < 0xA0)
            : lead <= 0xF4 && (lead != 0xF0 || second >= 0x90) && (lead != 0xF4 || second < 0x90);
    return good ? size : 0;
}

char* append_utf8(char* to, std::uint32_t point) noexcept {
    const auto put = [&to](std::uint32_t byte) noexcept { *to++ = static_cast<char>(byte); };
    const auto put_tail = [&put, point](unsigned shift) noexcept {
        put(0x80 | (point >> shift & 0x3F));
    };
    if (point < 0x80) {
        put(point);
    } else if (point < 0x800) {
        put(0xC0 | point >> 6);
        put_tail(0);
    } else if (point < 0x10000) {
        put(0xE0 | point >> 12);
        put_tail(6);
        put_tail(0);
    } else {
        put(0xF0 | point >> 18);
        put_tail(12);
        put_tail(6);
        put_tail(0);
    }
    return to;
}

}  // namespace

// --- members ------------------------------------------------------------------------------------

bool JsonObject::next(JsonMember& member) noexcept {
    if (!opened_) {
        if (!open()) return false;
    } else if (!take_between(',')) {
        return take('}') ? finish() : no_object();
    }
    bool printable = false;
    if (at_ == end_ || *at_ != '"') return no_object();
    if (!string(member.key, printable)) return false;
    if (!take_between(':')) return no_object();
    return value(member);
}

bool JsonObject::open() noexcept {
    opened_ = true;
    if (!take_between('{')) return no_object();
    return take('}') ? finish() : true;
}

bool JsonObject::finish() noexcept {
    skip_blanks();
    return at_ == end_ ? false : fail("bytes behind the object");
}

bool JsonObject::value(JsonMember& member) noexcept {
    member.printable = false;
    const char first = at_ < end_ ? *at_ : '\0';
    switch (first) {
        case '"':
            member.kind = JsonKind::string;
            return string(member.text, member.printable);
        case 't':
            return literal(member, "true", JsonKind::boolean);
        case 'f':
            return literal(member, "false", JsonKind::boolean);
        case 'n':
            return literal(member, "null", JsonKind::null);
        case '{':
        case '[':
            return fail("nested value");
        default:
            return first == '-' || is_digit(first) ? number(member) : no_object();
    }
}

// --- their parts --------------------------------------------------------------------------------

bool JsonObject::fail(std::string_view problem) noexcept {
    problem_ = problem;
    return false;
}

bool JsonObject::no_object() noexcept { return fail("not a JSON object (RFC 8259)"); }

bool JsonObject::take(char byte) noexcept {
    if (at_ == end_ || *at_ != byte) return false;
    ++at_;
    return true;
}

void JsonObject::skip_blanks() noexcept {
    while (at_ < end_ && is_blank(*at_)) ++at_;
}

bool JsonObject::take_between(char byte) noexcept {
    skip_blanks();
    if (!take(byte)) return false;
    skip_blanks();
    return true;
}

bool JsonObject::literal(JsonMember& member, std::string_view word, JsonKind kind) noexcept {
    const std::string_view rest(at_, static_cast<std::size_t>(end_ - at_));
    if (!rest.starts_with(word)) return fail("bad true, false or null");
    member.text = rest.substr(0, word.size());
    member.kind = kind;
    at_ += word.size();
    return true;
}

bool JsonObject::digits() noexcept {
    const char* const first = at_;
    while (at_ < end_ && is_digit(*at_)) ++at_;
    return at_ != first;
}

bool JsonObject::number(JsonMember& member) noexcept {
    const char* const first = at_;
    take('-');
    const char* const integer = at_;
    if (!digits() || (at_ - integer > 1 && *integer == '0')) return fail(kBadNumber);
    member.kind = JsonKind::integer;
    if (at_ < end_ && (*at_ == '.' || *at_ == 'e' || *at_ == 'E')) {
        member.kind = JsonKind::fraction;
        if (!fraction()) return fail(kBadNumber);
    }
    member.text = {first, static_cast<std::size_t>(at_ - first)};
    return in_range(member) ? true : fail(kBadNumber);
}

// What makes a number none of the integers, from the point or the exponent on.
bool JsonObject::fraction() noexcept {
    if (take('.') && !digits()) return false;
    if (take('e') || take('E')) {
        if (!take('-')) take('+');
        return digits();
    }
    return true;
}

bool JsonObject::string(std::string_view& text, bool& printable) noexcept {
    char* const first = ++at_;
    char* to = first;
    printable = true;
    for (;;) {
        // What is plain stays where it is until an escape has made the text shorter than the line.
        if (to == at_) to = at_ += find_special(begin_, at_, end_) - at_;
        if (at_ == end_) return fail(kUnclosed);
        if (*at_ == '"') break;
        char* const written = to;
        if (!(*at_ == '\\' ? unescape(to) : copy_character(to))) return false;
        printable &= is_printable(*written);
    }
    text = {first, static_cast<std::size_t>(to - first)};
    ++at_;
    return true;
}

// One character as it stands.
bool JsonObject::copy_character(char*& to) noexcept {
    if (static_cast<unsigned char>(*at_) < 0x20) return fail("control character in a string");
    const std::size_t size = utf8_size(at_, end_);
    if (size == 0) return fail(kNotUtf8);
    std::memmove(to, at_, size);
    to += size;
    at_ += size;
    return true;
}

bool JsonObject::unescape(char*& to) noexcept {
    constexpr std::string_view kNames = "\"\\/bfnrt";
    constexpr std::string_view kBytes = "\"\\/\b\f\n\r\t";
    ++at_;
    if (at_ == end_) return fail(kUnclosed);
    if (*at_ == 'u') return unicode_escape(to);
    const auto found = kNames.find(*at_);
    if (found == kNames.npos) return fail(kBadString);
    ++at_;
    *to++ = kBytes[found];
    return true;
}

// RFC 8259 §7; a surrogate without its other half names no character.
bool JsonObject::unicode_escape(char*& to) noexcept {
    std::uint32_t point = 0;
    if (!code_unit(point)) return false;
    if (point >= 0xDC00 && point < 0xE000) return fail(kBadString);
    if (point >= 0xD800 && point < 0xDC00) {
        std::uint32_t low = 0;
        if (!take('\\') || at_ == end_ || *at_ != 'u') return fail(kBadString);
        if (!code_unit(low)) return false;
        if (low < 0xDC00 || low >= 0xE000) return fail(kBadString);
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    }
    to = append_utf8(to, point);
    return true;
}

// The four hexadecimal digits behind a u.
bool JsonObject::code_unit(std::uint32_t& unit) noexcept {
    const char* const digits = at_ + 1;
    if (end_ - digits < 4) return fail(kBadString);
    const auto [stop, error] = std::from_chars(digits, digits + 4, unit, 16);
    if (error != std::errc() || stop != digits + 4) return fail(kBadString);
    at_ += 5;
    return true;
}

}  // namespace tokenrelay
