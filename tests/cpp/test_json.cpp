#include <string>
#include <string_view>
#include <vector>

#include "check.hpp"
#include "tokenrelay/json.hpp"

using tokenrelay::JsonKind;
using tokenrelay::JsonMember;
using tokenrelay::JsonObject;

namespace {

struct Read {
    std::vector<char> line;  // to the byte, so that AddressSanitizer sees a read beyond it
    std::vector<JsonMember> members;
    std::string_view problem;
    std::size_t place = 0;
};

Read read(std::string_view text) {
    Read all{{text.begin(), text.end()}, {}, {}};
    all.line.shrink_to_fit();
    JsonObject object(all.line);
    for (JsonMember member; object.next(member);) all.members.push_back(member);
    all.problem = object.problem();
    all.place = object.place();
    return all;
}

// The contents of {"k":"TEXT"}, or the problem.
std::string string_of(std::string_view text) {
    const Read all = read(std::string(R"({"k":")").append(text) + "\"}");
    if (!all.problem.empty()) return "problem: " + std::string(all.problem);
    return std::string(all.members.at(0).text);
}

bool is_good(std::string_view text) { return read(text).problem.empty(); }

}  // namespace

TEST(members_come_in_order_with_their_kinds) {
    const Read all = read(R"( { "a" : "b" , "c":-12,"d":1.5e3, "e" :true,"f":null } )");
    CHECK(all.problem.empty());
    CHECK_EQUAL(all.members.size(), 5U);
    CHECK_EQUAL(all.members[0].text, "b");
    CHECK(all.members[0].printable);
    CHECK(all.members[1].kind == JsonKind::integer);
    CHECK_EQUAL(all.members[1].integer, -12);
    CHECK(!all.members[1].printable);
    CHECK(all.members[2].kind == JsonKind::fraction);
    CHECK_EQUAL(all.members[2].text, "1.5e3");
    CHECK(all.members[3].kind == JsonKind::boolean);
    CHECK(all.members[4].kind == JsonKind::null);
    CHECK_EQUAL(all.members[4].key, "f");
    CHECK(read("{}").members.empty());
    CHECK(is_good("{}"));
}

TEST(blanks_stand_between_everything_and_there_are_four_of_them) {
    const std::vector<std::string> parts{"",  "{",      R"("a")", ":",      "12",
                                         ",", R"("b")", ":",      R"("c")", "}"};
    for (std::size_t gap = 0; gap < parts.size(); ++gap) {
        for (char byte = '\0'; byte <= ' '; ++byte) {
            std::string text;
            for (std::size_t i = 0; i < parts.size(); ++i) {
                text += parts[i];
                if (i == gap) text += byte;
            }
            const bool blank = byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
            CHECK_EQUAL(is_good(text), blank);
            if (!blank) continue;
            CHECK_EQUAL(read(text).members.at(0).text, "12");
            CHECK_EQUAL(read(text).members.at(1).text, "c");
        }
    }
}

// Blocks of 128, 32 and 16 bytes are looked at at once: each length and place is another way.
TEST(a_string_of_any_length_ends_at_its_quote) {
    for (std::size_t size = 0; size < 400; ++size) {
        for (const char* after :
             {"}", ",\"l\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}"}) {
            const std::string text(size, 'x');
            const Read all = read("{\"k\":\"" + text + "\"" + after);
            CHECK(all.problem.empty());
            CHECK_EQUAL(all.members.at(0).text, text);
            CHECK(all.members[0].printable);
        }
    }
}

TEST(each_byte_at_each_place_of_a_long_string_is_seen) {
    for (std::size_t at = 0; at < 300; ++at) {
        std::string text(300, 'x');
        for (const char byte : {' ', '\x7f'}) {
            text[at] = byte;
            const Read all = read("{\"k\":\"" + text + "\"}");
            CHECK_EQUAL(all.members.at(0).text, text);
            CHECK(!all.members[0].printable);
        }
        text[at] = '\x1f';
        const Read control = read("{\"k\":\"" + text + "\"}");
        CHECK_EQUAL(control.problem, "control character in a string");
        CHECK_EQUAL(control.place, at + 6);
        text[at] = '\xff';
        CHECK_EQUAL(read("{\"k\":\"" + text + "\"}").problem, "not UTF-8");
        text[at] = '"';
        CHECK(!is_good("{\"k\":\"" + text + "\"}"));
        text.replace(at, 1, "\\n");
        const Read escaped = read("{\"k\":\"" + text + "\"}");
        text.replace(at, 2, "\n");
        CHECK_EQUAL(escaped.members.at(0).text, text);
        CHECK(!escaped.members[0].printable);
    }
}

// It takes the way of the special bytes, for its place beside the quote, and is none.
TEST(an_exclamation_mark_is_printable_at_every_place) {
    for (std::size_t at = 0; at < 300; ++at) {
        std::string text(300, 'x');
        text[at] = '!';
        const Read plain = read("{\"k\":\"" + text + "\"}");
        CHECK_EQUAL(plain.members.at(0).text, text);
        CHECK(plain.members[0].printable);
        const Read escaped = read("{\"k\":\"\\u0021\\\"" + text + "!\"}");
        CHECK_EQUAL(escaped.members.at(0).text, "!\"" + text + "!");
        CHECK(escaped.members[0].printable);
        const Read accented = read("{\"k\":\"" + text + "!é!\"}");
        CHECK_EQUAL(accented.members.at(0).text, text + "!é!");
        CHECK(!accented.members[0].printable);
    }
}

TEST(escapes_are_decoded_where_they_stand) {
    CHECK_EQUAL(string_of(R"(\"\\\/\b\f\n\r\t)"), "\"\\/\b\f\n\r\t");
    CHECK_EQUAL(string_of(R"(a\u0062c)"), "abc");
    CHECK_EQUAL(string_of(R"(\u00e9\u20AC\ud83d\uDE00z)"), "é€😀z");
    CHECK_EQUAL(string_of("\\u0000"), std::string(1, '\0'));
    CHECK(read(R"({"k":"\u0041"})").members.at(0).printable);
    CHECK_EQUAL(read(R"({"\u006b\u0031":1})").members.at(0).key, "k1");
}

TEST(bad_escapes_are_refused) {
    for (const char* text :
         {R"(\x41)", R"(\u12)", R"(\u12g4)", R"(\u+123)", R"(\ud800)", R"(\ud800x)", R"(\ud800\n)",
          R"(\ud800\u0041)", R"(\udc00)", R"(\U0041)"}) {
        CHECK(string_of(text).starts_with("problem: "));
    }
}

TEST(utf8_is_checked_as_rfc_3629_says) {
    for (const char* text : {"\u00e9", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff",
                             "\xed\x9f\xbf", "\xee\x80\x80"}) {
        CHECK_EQUAL(string_of(text), text);
    }
    for (const char* text : {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc3", "\xc3(",
                             "\xe0\x9f\xbf", "\xe2\x82", "\xe2(\xa1", "\xed\xa0\x80",
                             "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
        CHECK_EQUAL(string_of(text), "problem: not UTF-8");
    }
}

TEST(numbers_are_those_of_rfc_8259_that_fit) {
    const auto number = [](const std::string& text) { return read("{\"k\":" + text + "}"); };
    for (const char* text : {"0", "-0", "7", "9223372036854775807", "-9223372036854775808"}) {
        CHECK(number(text).members.at(0).kind == JsonKind::integer);
        CHECK_EQUAL(number(text).members[0].integer, std::stoll(text));
    }
    for (const char* text : {"0.5", "-1e9", "1E+2", "1e-2", "0e0", "1.7976931348623157e308"}) {
        CHECK(number(text).members.at(0).kind == JsonKind::fraction);
    }
    for (const char* text : {"-", "+1", "01", "-01", ".5", "1.", "1.e1", "1e", "1e+", "--1", "0x1",
                             "1_0", "Infinity", "NaN", "9223372036854775808",
                             "-9223372036854775809", "99999999999999999999", "1e400", "1e-400"}) {
        CHECK(!number(text).problem.empty());
    }
}

// Eight digits at a time, and what is left: each length and end is another way.
TEST(an_integer_of_any_length_is_read_to_its_last_digit) {
    const std::string digits = "9128374650918273645";
    for (std::size_t size = 1; size < digits.size(); ++size) {
        const std::string number = digits.substr(0, size);
        for (const char* after : {"}", " }", R"(,"l":"x"})", R"(,"l":123456789})"}) {
            const Read all = read(R"({"j":"x","k":)" + number + after);
            CHECK(all.problem.empty());
            CHECK_EQUAL(all.members.at(1).integer, std::stoll(number));
            CHECK_EQUAL(all.members[1].text, number);
            CHECK(all.members[1].kind == JsonKind::integer);
        }
    }
}

TEST(an_object_cut_anywhere_is_refused) {
    const std::string text =
        R"( {"access_token":"kkkkkkkk!kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk\u00e9\ud83d\ude00é€😀!",)"
        R"("serial":179587600012345678, "f":-12.5e+3,"t":true,"n":null,"z":0})";
    CHECK(is_good(text));
    for (std::size_t size = 0; size < text.size(); ++size) CHECK(!is_good(text.substr(0, size)));
}

TEST(what_is_not_one_flat_object_is_refused) {
    for (const char* text : {"",
                             " ",
                             "{",
                             "}",
                             "[]",
                             "\"a\"",
                             "{]",
                             "{,}",
                             "{\"a\"}",
                             "{\"a\":}",
                             "{\"a\":1,}",
                             "{\"a\":1 \"b\":2}",
                             "{\"a\":1}}",
                             "{\"a\":1}x",
                             "{a:1}",
                             "{1:2}",
                             "{'a':1}",
                             "{\"a\":tru}",
                             "{\"a\":True}",
                             "{\"a\":nul}",
                             "{\"a\":[]}",
                             "{\"a\":{}}",
                             "{\"a\":1",
                             "{\"a\":\"b",
                             "{\"a\":\"b\\",
                             "{\"a\":\"b\\u00",
                             "{\"a",
                             "{\"a\":1,"}) {
        CHECK(!is_good(text));
    }
    CHECK_EQUAL(read("{\"a\":[1]}").problem, "nested value");
    CHECK_EQUAL(read("{\"a\":[1]}").place, 5U);
    CHECK_EQUAL(read("{} {").problem, "bytes behind the object");
    CHECK_EQUAL(read("{} {").place, 3U);
}
