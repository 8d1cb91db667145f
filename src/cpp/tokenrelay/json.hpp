// JsonObject: the members of one flat JSON object (RFC 8259), one after the other, out of a line that
// may be written to. Strict: UTF-8 checked, no nesting, nothing behind the object.
//
//   JsonObject object(line);
//   JsonMember member;
//   while (object.next(member)) use(member.key, member.text);
//   if (!object.problem().empty()) refuse(object.problem(), object.place());
//
// Strings are unescaped where they stand, so that no second copy of a secret is made: what next()
// returns are views into the line, valid as long as it is. A string without escapes is looked at
// once, a block of bytes at a time; that is why this is not a library's parser: those build an index
// or a copy first, which takes longer and is to be wiped (docs/performance.md).
// Pure: no I/O, no allocation. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace tokenrelay {

enum class JsonKind : std::uint8_t { string, integer, fraction, boolean, null };

struct JsonMember {
    std::string_view key;  // unescaped
    std::string_view text;  // a string's contents, unescaped; otherwise the value as it stands
    std::int64_t integer;  // where the kind is integer
    JsonKind kind;
    bool printable;  // a string whose bytes are all 0x21 to 0x7E
};

class JsonObject {
public:
    explicit JsonObject(std::span<char> line) noexcept
        : begin_(line.data()), at_(line.data()), end_(line.data() + line.size()) {}

    // False at the object's end and at a problem.
    bool next(JsonMember& member) noexcept;

    // What is wrong; empty if nothing is.
    std::string_view problem() const noexcept { return problem_; }
    // Of the problem: bytes from the line's begin.
    std::size_t place() const noexcept { return static_cast<std::size_t>(at_ - begin_); }

private:
    bool take(char byte) noexcept;
    bool take_between(char byte) noexcept;
    void skip_blanks() noexcept;
    bool fail(std::string_view problem) noexcept;
    bool no_object() noexcept;
    bool open() noexcept;
    bool finish() noexcept;

    bool value(JsonMember& member) noexcept;
    bool number(JsonMember& member) noexcept;
    bool digits() noexcept;
    bool fraction() noexcept;
    bool literal(JsonMember& member, std::string_view word, JsonKind kind) noexcept;
    bool string(std::string_view& text, bool& printable) noexcept;
    bool unescape(char*& to) noexcept;
    bool unicode_escape(char*& to) noexcept;
    bool code_unit(std::uint32_t& unit) noexcept;
    bool copy_character(char*& to) noexcept;

    char* const begin_;
    char* at_;
    char* const end_;
    bool opened_ = false;
    std::string_view problem_;
};

}  // namespace tokenrelay
