// JsonObject beside simdjson: the same objects are good, with the same members. Exempt are what only
// JsonObject refuses: nesting, integers from 2^63 up, fractions too small for a double, and a byte
// order mark.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "simdjson.h"
#include "tokenrelay/json.hpp"

namespace {

namespace json = simdjson::dom;

void require(bool condition) {
    if (!condition) std::abort();
}

bool is_exempt(json::element value) {
    return value.is_array() || value.is_object() || (value.is_uint64() && !value.is_int64());
}

bool same(const tokenrelay::JsonMember& ours, json::element theirs) {
    switch (theirs.type()) {
        case json::element_type::STRING:
            return ours.kind == tokenrelay::JsonKind::string &&
                   ours.text == theirs.get_string().value();
        case json::element_type::INT64:
            return ours.kind == tokenrelay::JsonKind::integer &&
                   ours.integer == theirs.get_int64().value();
        case json::element_type::DOUBLE:
            return ours.kind == tokenrelay::JsonKind::fraction;
        case json::element_type::BOOL:
            return ours.kind == tokenrelay::JsonKind::boolean;
        default:
            return ours.kind == tokenrelay::JsonKind::null;
    }
}

bool printable(std::string_view text) {
    for (const char byte : text) {
        if (byte < 0x21 || byte > 0x7E) return false;
    }
    return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    static json::parser parser;
    json::object theirs;
    if (text.starts_with("\xEF\xBB\xBF")) return 0;
    const bool good = !parser.parse(text).get_object().get(theirs);
    std::vector<char> line(text.begin(), text.end());
    tokenrelay::JsonObject object(line);
    tokenrelay::JsonMember member;
    auto expected = good ? theirs.begin() : json::object::iterator();
    std::size_t count = 0;
    for (; object.next(member); ++count) {
        const bool is_string = member.kind == tokenrelay::JsonKind::string;
        require(member.printable == (is_string && printable(member.text)));
        if (!good) continue;
        require(expected != theirs.end() && (*expected).key == member.key);
        require(same(member, (*expected).value));
        ++expected;
    }
    require(object.place() <= size);
    if (object.problem().empty()) {
        require(good && count == theirs.size());
    } else if (good) {
        const bool too_small =
            object.problem().starts_with("bad number") && (*expected).value.is_double();
        require(expected != theirs.end() && (is_exempt((*expected).value) || too_small));
    }
    return 0;
}
