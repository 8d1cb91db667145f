// The work of one frame and of one read, for callgrind to count: see instructions.cmake.
//   instructions usual_frame|other_frame|current|reader COUNT
#include <sys/syscall.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "tokenrelay/cell.hpp"
#include "tokenrelay/frame.hpp"
#include "tokenrelay/message.hpp"
#include "tokenrelay/store.hpp"
#include "tokenrelay/usual_frame.hpp"

using namespace tokenrelay;

namespace {

constexpr Now kNow{1'700'000'000'000'000'000, 1'000'000'000};

// `blank`: where other senders may write one.
std::string frame(int serial, std::string_view blank) {
    const std::string digits = std::to_string(1'000'000 + serial);
    return R"({"access_token":)" + std::string(blank) + '"' + std::string(1263, 'k') + digits +
           R"(","token_type":"Bearer","expires_at":4102444800,"serial":)" + digits +
           R"(,"scope":")" + std::string(100, 's') + "\"}\n";
}

// A connection's.
struct Input {
    TokenSlot slot;
    LineBuffer buffer{slot.bytes()};
    TokenUpdate usual;
};

}  // namespace

// valgrind lacks membarrier(2), and runs one thread at a time, so that none is needed: without this
// the fenced reads would be counted.
extern "C" long syscall(long number, ...) noexcept {
    if (number == SYS_membarrier) return 0;
    errno = ENOSYS;
    return -1;
}

// What callgrind collects: from the bytes in the buffer to the composed answer.
extern "C" [[gnu::noinline]] void serve_a_frame(Input& input, TokenStore& store, Answer& answer) {
    Detail detail;
    TokenStore::Outcome outcome;
    if (take_usual_frame(input.buffer, input.usual)) {
        outcome = store.apply(input.usual, kNow, detail, &input.slot);
        input.buffer = LineBuffer(input.slot.bytes());
    } else {
        const auto line = input.buffer.next_line();
        Message message;
        if (!line || parse_message(*line, message, detail) != Refusal::none) std::abort();
        outcome = store.apply(message.update, kNow, detail);
        input.buffer.wipe_taken();
    }
    if (!outcome.published) std::abort();
    answer_accepted(answer, outcome.generation);
}

extern "C" [[gnu::noinline]] void read_with_a_guard(TokenStore& store) {
    if (store.current()->serial() == 0) std::abort();
}

extern "C" [[gnu::noinline]] void read_with_a_reader(CellReader<Token>& reader) {
    if (reader.read()->serial() == 0) std::abort();
}

int main(int count, char** arguments) {
    if (count != 3) return EXIT_FAILURE;
    const std::string_view what = arguments[1];
    Input input;
    TokenStore store;
    const auto serve = [&](int serial) {
        const std::string text = frame(serial, what == "other_frame" ? " " : "");
        std::memcpy(input.buffer.space().data(), text.data(), text.size());
        input.buffer.received(text.size());
        Answer answer;
        serve_a_frame(input, store, answer);
        store.reclaim();
    };
    const int times = std::atoi(arguments[2]);
    if (what.ends_with("frame")) {
        for (int i = 0; i < times; ++i) serve(i);
        return EXIT_SUCCESS;
    }
    serve(0);
    CellReader<Token> reader(store.cell());
    for (int i = 0; i < times; ++i) {
        what == "current" ? read_with_a_guard(store) : read_with_a_reader(reader);
    }
}
