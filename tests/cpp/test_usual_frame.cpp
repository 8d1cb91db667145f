#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "check.hpp"
#include "tokenrelay/limits.hpp"
#include "tokenrelay/message.hpp"
#include "tokenrelay/usual_frame.hpp"

using namespace tokenrelay;

namespace {

constexpr std::string_view kWhole =
    R"({"access_token":"ab","token_type":"Bearer","expires_at":4102444800,"serial":9007199254740991,)"
    R"("issued_at":1700000000,"grant_expires_at":1700600000,"scope":"api","account":"schwab",)"
    R"("refresh_token":"cd"})"
    "\n";

// A buffer that holds a stream.
struct Stream {
    explicit Stream(std::string_view bytes) : input(storage.data()) {
        std::copy(bytes.begin(), bytes.end(), input.space().begin());
        input.received(bytes.size());
    }
    bool take() { return take_usual_frame(input, update); }

    std::vector<char> storage = std::vector<char>(LineBuffer::kStorage);
    LineBuffer input;
    TokenUpdate update;
};

bool is_taken(std::string_view bytes) { return Stream(bytes).take(); }

bool same(const TokenUpdate& a, const TokenUpdate& b) {
    return a.access_token == b.access_token && a.refresh_token == b.refresh_token &&
           a.scope == b.scope && a.account == b.account && a.expires_at == b.expires_at &&
           a.serial == b.serial && a.issued_at == b.issued_at &&
           a.grant_expires_at == b.grant_expires_at;
}

// That it is read as parse_message() reads it, where it is taken at all.
void check_agreement(std::string_view bytes) {
    Stream hasty(bytes);
    if (!hasty.take()) return;
    Stream slow(bytes);
    Message message;
    Detail detail;
    const auto line = slow.input.next_line();
    CHECK(line && parse_message(*line, message, detail) == Refusal::none);
    CHECK(same(message.update, hasty.update));
    CHECK(message.kind == MessageKind::token && !message.bare);
    CHECK_EQUAL(hasty.input.partial(), slow.input.partial());
}

std::string with_token(std::size_t size) {
    return R"({"access_token":")" + std::string(size, 'k') + "\"}\n";
}

}  // namespace

TEST(a_frame_as_the_sender_writes_it_is_taken_whole) {
    Stream stream(kWhole);
    CHECK(stream.take());
    const TokenUpdate& update = stream.update;
    CHECK_EQUAL(update.access_token, "ab");
    CHECK_EQUAL(update.expires_at.value(), 4'102'444'800);
    CHECK_EQUAL(update.serial.value(), kMaxSerial);
    CHECK_EQUAL(update.issued_at.value(), 1'700'000'000);
    CHECK_EQUAL(update.grant_expires_at.value(), 1'700'600'000);
    CHECK_EQUAL(update.scope, "api");
    CHECK_EQUAL(update.account, "schwab");
    CHECK_EQUAL(update.refresh_token, "cd");
    CHECK(!stream.input.partial());
    CHECK(!stream.take());
}

TEST(members_may_be_left_out) {
    CHECK(is_taken("{\"access_token\":\"a\"}\n"));
    CHECK(is_taken("{\"access_token\":\"a\",\"serial\":1}\n"));
    CHECK(is_taken("{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"scope\":\"\"}\n"));
    CHECK(is_taken("{\"access_token\":\"a\",\"refresh_token\":\"b\"}\n"));
    CHECK(is_taken("{\"access_token\":\"!a!\",\"scope\":\" openid  offline_access! \"}\n"));
}

TEST(what_another_would_write_is_left_to_the_parser) {
    for (const std::string_view line : {"token",
                                        "{}",
                                        R"({"access_token":""})",
                                        R"({"access_token":"a b"})",
                                        R"({"access_token":"a\u0062"})",
                                        R"({"access_token": "a"})",
                                        R"({ "access_token":"a"})",
                                        R"({"access_token":"a" })",
                                        "{\"access_token\":\"a\"}\r",
                                        R"({"access_token":"a"}})",
                                        R"({"access_token":"a","token_type":"bearer"})",
                                        R"({"access_token":"a","scope":"b\nc"})",
                                        R"({"access_token":"a","scope":"b","serial":1})",
                                        R"({"access_token":"a","serial":01})",
                                        R"({"access_token":"a","serial":-1})",
                                        R"({"access_token":"a","serial":1.5})",
                                        R"({"access_token":"a","serial":1e3})",
                                        R"({"access_token":"a","serial":})",
                                        R"({"access_token":"a","serial":9007199254740992})",
                                        R"({"access_token":"a","serial":1000000000000000000})",
                                        R"({"access_token":"a","expires_at":100000000000})",
                                        R"({"access_token":"a","other":1})",
                                        R"({"access_token":"a","access_token":"a"})",
                                        R"({"access_token":"a","refresh_token":""})",
                                        R"({"token_type":"Bearer","access_token":"a"})",
                                        R"({"refresh":"refused"})"}) {
        CHECK(!is_taken(std::string(line) + "\n"));
    }
}

TEST(a_frame_is_taken_up_to_the_limits) {
    CHECK(is_taken(with_token(kMaxToken)));
    CHECK(!is_taken(with_token(kMaxToken + 1)));
    const std::string head = R"({"access_token":"a","scope":")";
    const auto of_size = [&](std::size_t size) {
        return head + std::string(size - head.size() - 2, 's') + "\"}\n";
    };
    CHECK(is_taken(of_size(kMaxFrame)));
    CHECK(!is_taken(of_size(kMaxFrame + 1)));
}

TEST(nothing_is_taken_before_the_frame_is_whole) {
    for (std::size_t size = 0; size < kWhole.size(); ++size) {
        Stream stream(kWhole.substr(0, size));
        CHECK(!stream.take());
        CHECK_EQUAL(stream.input.partial(), size > 0);
        // Nor again once a line's end was searched for in vain: a slow sender costs one pass.
        CHECK(!stream.input.next_line());
        CHECK(stream.input.unsearched().empty());
        stream.input.wipe_taken();
        const std::string_view rest = kWhole.substr(size);
        std::copy(rest.begin(), rest.end(), stream.input.space().begin());
        stream.input.received(rest.size());
        CHECK_EQUAL(stream.take(), size == 0);
        CHECK(size == 0 || stream.input.next_line().has_value());
    }
}

TEST(frames_that_came_together_are_taken_one_by_one) {
    const std::string both = with_token(2) + with_token(3);
    Stream stream(both + "{");
    CHECK(stream.take() && !stream.input.skipped_all());
    CHECK(stream.take() && !stream.input.skipped_all());
    CHECK_EQUAL(stream.update.access_token, "kkk");
    CHECK(!stream.take());
    CHECK(stream.input.partial());
    stream.input.wipe_taken();
    CHECK(std::find(stream.storage.begin(), stream.storage.end(), 'k') == stream.storage.end());
}

TEST(a_frame_may_be_all_that_the_buffer_holds) {
    Stream alone(kWhole);
    CHECK(alone.take() && alone.input.skipped_all());
    Stream last(with_token(2) + with_token(3));
    CHECK(last.take() && !last.input.skipped_all());
    CHECK(last.take() && !last.input.skipped_all());
}

TEST(members_of_the_frame_before_are_forgotten) {
    Stream stream(std::string(kWhole) + with_token(1));
    CHECK(stream.take() && stream.take());
    TokenUpdate expected;
    expected.access_token = "k";
    CHECK(same(stream.update, expected));
}

TEST(each_other_byte_at_each_place_is_read_alike_or_not_at_all) {
    std::string bytes(kWhole);
    for (char& byte : bytes) {
        const char original = byte;
        for (int other = 0; other < 256; ++other) {
            byte = static_cast<char>(other);
            check_agreement(bytes);
        }
        byte = original;
    }
}

TEST(each_byte_missing_or_twice_is_read_alike_or_not_at_all) {
    for (std::size_t at = 0; at < kWhole.size(); ++at) {
        const std::string before(kWhole.substr(0, at));
        check_agreement(before + std::string(kWhole.substr(at + 1)));
        check_agreement(before + kWhole[at] + std::string(kWhole.substr(at)));
    }
}
