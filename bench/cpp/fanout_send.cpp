// Publishes to many receivers: one frame to each connection, then every answer.
//   fanout_send --ledger FILE --sockets PREFIX --receivers N [--cpu N]
// Receiver i listens at PREFIX<i>.sock and stamps slot i. Prints for each publication the ns from
// the first send to the last callback entered, and to the last answer.
#include <algorithm>
#include <iostream>
#include <vector>

#include "frame.hpp"
#include "ledger.hpp"
#include "unix_socket.hpp"

namespace {

void publish(bench::Ledger& ledger, const std::vector<int>& connections, bench::Frame& frame) {
    frame.restamp();
    for (std::size_t i = 0; i < connections.size(); ++i) ledger.records[i].entered.store(0);
    const std::int64_t begun = bench::now_ns();
    for (const int connection : connections) bench::send_all(connection, frame.line());
    for (const int connection : connections) bench::expect_accepted(connection);
    const std::int64_t answered = bench::now_ns();
    std::int64_t last = 0;
    for (std::size_t i = 0; i < connections.size(); ++i) {
        last = std::max(last, ledger.records[i].entered.load(std::memory_order_acquire));
    }
    std::printf("%lld %lld\n", static_cast<long long>(last - begun),
                static_cast<long long>(answered - begun));
}

}  // namespace

int main(int count, char** values) {
    const bench::Arguments arguments(count, values);
    bench::pin_to(arguments.number("--cpu", -1));
    bench::Ledger& ledger = bench::map_ledger(arguments.text("--ledger"));
    std::vector<int> connections;
    for (int i = 0; i < arguments.number("--receivers", 1); ++i) {
        connections.push_back(
            bench::connect_to(arguments.text("--sockets") + std::to_string(i) + ".sock"));
    }
    bench::Frame frame;
    bench::say("ready");
    for (std::int64_t publications = 0, gap = 0; std::cin >> publications >> gap;) {
        for (std::int64_t i = 0; i < publications; ++i) {
            bench::sleep_ns(gap);
            publish(ledger, connections, frame);
        }
        bench::say("done");
    }
}
