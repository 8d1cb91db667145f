// tests/vectors/wire.json against LineBuffer, parse_message and TokenStore, with the receiver's
// clock set by the case. tests/py/test_vectors.py runs the same cases over a real socket.
#include <optional>
#include <string>

#include "check.hpp"
#include "vectors.hpp"
#include "wire_receiver.hpp"

using namespace tokenrelay;
namespace json = simdjson::dom;
using check::array_of;
using check::bytes_of;
using check::value_or;
using check::WireReceiver;

namespace {

constexpr std::int64_t kUsualTime = 1'700'000'000;  // of cases that do not care

// The same keys with the same values; `detail` is free text.
bool same_reply(const std::string& answer, json::element expected, std::string_view detail) {
    json::parser parser;
    json::object got;
    if (parser.parse(answer).get_object().get(got)) return false;
    for (const auto [key, value] : got) {
        if (key == "detail") {
            if (value.get_string().value().find(detail) == std::string_view::npos) return false;
            continue;
        }
        json::element other;
        if (expected[key].get(other) || simdjson::minify(other) != simdjson::minify(value))
            return false;
    }
    return got.size() == expected.get_object().size() + (got["detail"].error() ? 0 : 1);
}

bool same_text(json::element expected, std::string_view text) {
    return text == (expected.is_null() ? "" : expected.get_string().value());
}

bool same_number(json::element expected, std::optional<std::int64_t> number) {
    if (expected.is_null()) return !number;
    return number && expected.get_int64().value() == *number;
}

bool same_field(std::string_view key, json::element value, const Token& token) {
    if (key == "access_token") return same_text(value, token.access_token());
    if (key == "refresh_token") return same_text(value, token.refresh_token());
    if (key == "scope") return same_text(value, token.scope());
    if (key == "account") return same_text(value, token.account());
    if (key == "expires_at") return same_number(value, token.expires_at());
    if (key == "serial") return same_number(value, token.serial());
    if (key == "issued_at") return same_number(value, token.issued_at());
    if (key == "grant_expires_at") return same_number(value, token.grant_expires_at());
    return key == "generation" && same_number(value, static_cast<std::int64_t>(token.generation()));
}

void fail(std::string_view name, const std::string& what) {
    check::fail("wire.json", 0, std::string(name) + ": " + what);
}

void run_step(WireReceiver& receiver, std::string_view name, json::object step) {
    const auto detail = value_or<std::string_view>(step, "detail_contains", "");
    const bool closes = value_or(step, "closes", false);
    const std::int64_t now = value_or(step, "now", kUsualTime);
    receiver.open();
    std::string answer = receiver.feed(bytes_of(step), now);
    if (value_or(step, "half_close", false)) answer += receiver.finish(now);
    const json::element reply = step["reply"].value();
    const bool same = reply.is_null() ? answer.empty() : same_reply(answer, reply, detail);
    if (!same) fail(name, "answered " + answer + "not " + simdjson::minify(reply));
    if (receiver.closed() != closes) fail(name, closes ? "stays open" : "closes");
}

void run_case(json::object item, check::Haste haste) {
    const std::string_view name = item["name"].get_string().value();
    json::object options;
    const bool keep =
        !item["options"].get(options) && value_or(options, "keep_refresh_token", false);
    WireReceiver receiver(keep, haste);
    for (json::object step : array_of(item, "steps")) run_step(receiver, name, step);
    const auto token = receiver.token();
    const json::element expected = item["token"].value();
    if (expected.is_null() == static_cast<bool>(token)) fail(name, "whether there is a token");
    if (!token || expected.is_null()) return;
    const json::object fields = expected.get_object().value();
    for (const auto [key, value] : fields) {
        if (!same_field(key, value, *token)) fail(name, std::string(key) + " of the token");
    }
}

}  // namespace

TEST(the_library_speaks_the_wire_as_the_vectors_say_in_haste_or_not) {
    json::parser parser;
    json::array cases;
    CHECK(!parser.load(TOKENRELAY_VECTORS "/wire.json").get_array().get(cases));
    for (json::object item : cases) {
        run_case(item, check::Haste::usual);
        run_case(item, check::Haste::none);
    }
    CHECK(cases.size() > 200);
}
