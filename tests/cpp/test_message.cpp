#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "check.hpp"
#include "tokenrelay/frame.hpp"
#include "tokenrelay/limits.hpp"
#include "tokenrelay/message.hpp"

using namespace tokenrelay;

namespace {

std::size_t allocations = 0;

struct Parsed {
    std::vector<char> line;  // the message's views point into it
    Message message;
    Detail detail;
    Refusal refusal;
};

// On the heap to the byte: AddressSanitizer sees a read beyond the line.
Parsed parse(const std::string& line) {
    Parsed parsed{{line.begin(), line.end()}, {}, {}, Refusal::none};
    parsed.line.shrink_to_fit();
    parsed.refusal = parse_message(parsed.line, parsed.message, parsed.detail);
    return parsed;
}

bool allowed(int byte) { return byte >= 0x21 && byte <= 0x7E; }

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size) {
    ++allocations;
    if (void* memory = std::malloc(size)) return memory;
    throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    ++allocations;
    return std::malloc(size);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

TEST(each_byte_of_a_bare_token_is_checked) {
    for (int byte = 0; byte < 256; ++byte) {
        const auto parsed = parse(std::string("a") + static_cast<char>(byte) + "b");
        CHECK(parsed.refusal == (allowed(byte) ? Refusal::none : Refusal::invalid_token));
        CHECK(parsed.message.bare);
    }
}

TEST(each_escaped_byte_of_a_token_is_checked) {
    for (int byte = 0; byte < 256; ++byte) {
        char line[64];
        std::snprintf(line, sizeof line, R"({"access_token":"a\u%04xb"})", byte);
        CHECK(parse(line).refusal == (allowed(byte) ? Refusal::none : Refusal::invalid_token));
    }
}

TEST(a_bad_byte_is_found_at_every_place) {
    for (std::size_t at = 0; at < 200; ++at) {
        std::string token(200, 't');
        token[at] = '\x7f';
        const auto parsed = parse(token);
        CHECK(parsed.refusal == Refusal::invalid_token);
        CHECK(parsed.detail.view().ends_with("at byte " + std::to_string(at)));
    }
}

TEST(nesting_of_any_depth_is_refused) {
    for (const char* open : {"[", "{\"a\":"}) {
        std::string line = "{\"access_token\":\"a\",\"x\":";
        while (line.size() < kMaxFrame - 10) line += open;
        CHECK(parse(line).refusal == Refusal::malformed);
    }
}

TEST(a_frame_full_of_short_values_is_refused) {
    std::string line = "{\"access_token\":\"a\",\"x\":[1";
    while (line.size() < kMaxFrame - 4) line += ",1";
    CHECK(parse(line + "]}").refusal == Refusal::malformed);
    std::string keys = "{\"access_token\":\"a\"";
    for (int i = 0; keys.size() < kMaxFrame - 20; ++i) keys += ",\"" + std::to_string(i) + "\":0";
    CHECK(parse(keys + "}").refusal == Refusal::malformed);
}

TEST(every_prefix_of_a_frame_is_refused) {
    const std::string line =
        R"({"access_token":"abc","expires_at":4102444800,"serial":12,"scope":"\u00e9é","x":true})";
    CHECK(parse(line).refusal == Refusal::none);
    for (std::size_t size = 1; size < line.size(); ++size) {
        CHECK(parse(line.substr(0, size)).refusal == Refusal::malformed);
    }
}

TEST(no_detail_shows_a_byte_of_a_token) {
    for (const char* line :
         {R"({"access_token":"SECRET","access_token":"SECRET"})", R"({"access_token":"SEC RET"})",
          R"({"access_token":"SECRET","SECRET":[]})", R"({"access_token":"SECRET)", "SEC RET",
          R"({"access_token":"SECRET","token_type":"SECRET"})"}) {
        const auto parsed = parse(line);
        CHECK(parsed.refusal != Refusal::none);
        CHECK(!parsed.detail.view().empty());
        CHECK(parsed.detail.view().find("SEC") == std::string_view::npos);
    }
}

TEST(a_refused_refresh_request_is_a_message_of_its_own) {
    const auto parsed = parse(R"({"refresh":"refused","reason":"one a minute","x":1})");
    CHECK(parsed.refusal == Refusal::none);
    CHECK(parsed.message.kind == MessageKind::refresh_refused);
}

TEST(parsing_allocates_nothing) {
    std::string line = R"({"access_token":")" + std::string(kMaxToken, 't') +
                       R"(","serial":1,"\u0078":")" + std::string(48'000, 'x') + R"("})";
    const std::size_t before = allocations;
    for (int i = 0; i < 10; ++i) {
        Message message;
        Detail detail;
        CHECK(parse_message(line, message, detail) == Refusal::none);
    }
    CHECK_EQUAL(allocations, before);
}

TEST(answers_are_lines_of_json) {
    Answer accepted;
    answer_accepted(accepted, 18'446'744'073'709'551'615U);
    CHECK_EQUAL(accepted.view(), "{\"ok\":true,\"generation\":18446744073709551615}\n");
    Answer refused;
    answer_refused(refused, Refusal::stale, "why", kMaxSerial);
    CHECK_EQUAL(
        refused.view(),
        "{\"ok\":false,\"error\":\"stale\",\"detail\":\"why\",\"serial\":9007199254740991}\n");
    Answer plain;
    answer_refused(plain, Refusal::busy, "", {});
    CHECK_EQUAL(plain.view(), "{\"ok\":false,\"error\":\"busy\",\"detail\":\"\"}\n");
    Answer request;
    ask_refresh(request, 0);
    CHECK_EQUAL(request.view(), "{\"request\":\"refresh\",\"serial\":0}\n");
}

TEST(the_longest_answer_fits) {
    Detail detail;
    detail << std::string(1000, 'd');
    CHECK_EQUAL(detail.view().size(), 160U);
    Answer answer;
    answer_refused(answer, Refusal::invalid_token, detail.view(), kMaxSerial);
    CHECK(answer.view().ends_with("}\n"));
}
