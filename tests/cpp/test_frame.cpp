#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "tokenrelay/frame.hpp"

using tokenrelay::kMaxFrame;
using tokenrelay::LineBuffer;

namespace {

struct Buffer {
    std::unique_ptr<char[]> storage = std::make_unique<char[]>(LineBuffer::kStorage);
    LineBuffer input{storage.get()};

    std::optional<std::string> next() { return copy(input.next_line()); }
    std::optional<std::string> last() { return copy(input.last_line()); }
    // As much of `bytes` as there is room for; the rest is returned.
    std::string_view put(std::string_view bytes) {
        const auto space = input.space();
        const std::size_t size = std::min(space.size(), bytes.size());
        if (size > 0) std::memcpy(space.data(), bytes.data(), size);
        input.received(size);
        return bytes.substr(size);
    }
    std::vector<std::string> lines() {
        std::vector<std::string> all;
        while (auto line = next()) all.push_back(std::move(*line));
        return all;
    }
    bool is_zero() const {
        return std::all_of(storage.get(), storage.get() + LineBuffer::kStorage,
                           [](char byte) { return byte == 0; });
    }

private:
    static std::optional<std::string> copy(std::optional<std::span<char>> line) {
        if (!line) return std::nullopt;
        return std::string(line->begin(), line->end());
    }
};

using Lines = std::vector<std::string>;

}  // namespace

TEST(lines_are_the_same_at_every_split) {
    const std::string stream = "one\n\r\ntwo\r\n\nthr\ree\r\r\nlast";
    const Lines expected{"one", "", "two", "", "thr\ree\r"};
    for (std::size_t first = 0; first <= stream.size(); ++first) {
        for (std::size_t second = first; second <= stream.size(); ++second) {
            Buffer buffer;
            Lines lines;
            const std::string_view text = stream;
            for (auto part :
                 {text.substr(0, first), text.substr(first, second - first), text.substr(second)}) {
                buffer.put(part);
                for (auto& line : buffer.lines()) lines.push_back(line);
                buffer.input.wipe_taken();
            }
            CHECK(lines == expected);
            CHECK(buffer.input.partial());
            CHECK(buffer.last() == "last");
            CHECK(!buffer.input.partial());
            buffer.input.wipe_taken();
            CHECK(buffer.is_zero());
        }
    }
}

TEST(the_end_of_the_stream_ends_a_line_once) {
    Buffer buffer;
    CHECK(!buffer.last());
    buffer.put("a\nb\r");
    CHECK(buffer.next() == "a");
    CHECK(!buffer.next());
    CHECK(buffer.last() == "b");
    CHECK(!buffer.last());
}

TEST(a_line_may_have_65536_bytes_and_any_ending) {
    for (const char* ending : {"\n", "\r\n"}) {
        Buffer buffer;
        const std::string line(kMaxFrame, 'x');
        CHECK(buffer.put(line).empty());
        CHECK(!buffer.input.too_large());
        CHECK(buffer.put(ending).empty());
        CHECK(buffer.next() == line);
    }
}

TEST(a_line_of_65537_bytes_is_too_large) {
    Buffer buffer;
    buffer.put(std::string(kMaxFrame + 1, 'x'));
    CHECK(buffer.input.too_large());
}

TEST(a_carriage_return_at_the_limit_may_belong_to_the_ending) {
    Buffer buffer;
    buffer.put(std::string(kMaxFrame, 'x') + '\r');
    CHECK(!buffer.input.too_large());
    buffer.put("x");
    CHECK(buffer.input.too_large());
}

TEST(there_is_room_until_a_line_is_too_large) {
    Buffer buffer;
    std::string_view rest;
    const std::string stream(200'000, 'x');
    for (rest = stream; !buffer.input.too_large(); rest = buffer.put(rest)) {
        CHECK(!buffer.input.space().empty());
    }
    CHECK(rest.size() >= stream.size() - LineBuffer::kStorage);
}

TEST(a_long_stream_flows_through_and_leaves_nothing) {
    Buffer buffer;
    std::string stream;
    Lines expected;
    for (std::size_t i = 0; i < 300; ++i) {
        expected.push_back(std::string(i * i % 65'000, static_cast<char>('a' + i % 26)));
        stream += expected.back() + (i % 2 ? "\n" : "\r\n");
    }
    Lines lines;
    for (std::string_view rest = stream; !rest.empty();) {
        rest = buffer.put(rest);
        for (auto& line : buffer.lines()) lines.push_back(line);
        buffer.input.wipe_taken();
    }
    CHECK(lines == expected);
    CHECK(buffer.is_zero());
}

TEST(taken_lines_are_wiped_and_a_partial_one_stays) {
    Buffer buffer;
    buffer.put("secret\npart");
    CHECK(buffer.next() == "secret");
    buffer.input.wipe_taken();
    CHECK(std::string_view(buffer.storage.get(), 7) == std::string_view("\0\0\0\0\0\0\0", 7));
    buffer.put("ial\n");
    CHECK(buffer.next() == "partial");
}

TEST(reset_wipes_everything) {
    Buffer buffer;
    buffer.put("a\nsecret");
    buffer.lines();
    buffer.input.reset();
    CHECK(buffer.is_zero());
    CHECK(!buffer.input.partial());
    buffer.put("b\n");
    CHECK(buffer.next() == "b");
}
