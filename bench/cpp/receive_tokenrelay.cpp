// tokenrelay's receiver with a native callback.
//   receive_tokenrelay --ledger FILE --socket PATH [--busy-poll-ms N] [--cpu N] [--slot N]
//                      [--observe 1 --observer-cpu N]
// --observe adds a thread that reads current() without pause and notes how long after its last byte
// was read it saw each token: "visible to every reader", measured from outside.
#include <unistd.h>

#include <chrono>
#include <thread>
#include <tokenrelay/tokenrelay.hpp>

#include "frame.hpp"
#include "ledger.hpp"

namespace {

void observe(const tokenrelay::TokenReceiver& receiver, bench::Ledger& ledger, int cpu) {
    bench::pin_to(cpu);
    std::uint64_t last = 0;
    for (;;) {
        const auto token = receiver.current();
        if (!token || token->generation() == last) continue;
        const std::int64_t seen_after = bench::now_ns() - token->received_at_ns();
        last = token->generation();
        ledger.current().seen_after.store(seen_after, std::memory_order_release);
    }
}

tokenrelay::Options options_from(const bench::Arguments& arguments) {
    tokenrelay::Options options;
    options.path = arguments.text("--socket");
    options.busy_poll = std::chrono::milliseconds(arguments.number("--busy-poll-ms", 0));
    options.cpu = arguments.number("--cpu", -1);
    return options;
}

}  // namespace

int main(int count, char** values) {
    const bench::Arguments arguments(count, values);
    bench::Ledger& ledger = bench::map_ledger(arguments.text("--ledger"));
    const int slot = arguments.number("--slot", -1);
    tokenrelay::TokenReceiver receiver{options_from(arguments)};
    const auto subscription = receiver.subscribe([&](const tokenrelay::Token& token) noexcept {
        const std::int64_t entered = bench::now_ns();
        ledger.stamp(token.received_at_ns(), entered, slot);
    });
    if (auto error = receiver.start()) {
        std::fprintf(stderr, "%s\n", error.message().c_str());
        return 1;
    }
    if (arguments.number("--observe", 0) != 0) {
        std::thread(observe, std::cref(receiver), std::ref(ledger),
                    arguments.number("--observer-cpu", -1))
            .detach();
    }
    bench::say("ready");
    for (;;) ::pause();
}
