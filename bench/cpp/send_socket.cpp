// The C sender of every row that speaks over a Unix stream socket.
//   send_socket --ledger FILE --socket PATH [--ack FD] [--cpu N] [--spin 1]
#include "pacing.hpp"
#include "unix_socket.hpp"

int main(int count, char** values) {
    const bench::Arguments arguments(count, values);
    bench::pin_to(arguments.number("--cpu", -1));
    bench::Ledger& ledger = bench::map_ledger(arguments.text("--ledger"));
    const int connection = bench::connect_to(arguments.text("--socket"));
    const bool spin = arguments.number("--spin", 0) != 0;
    const int acknowledgements = arguments.number("--ack", -1);
    bench::serve_blocks(
        ledger, [&](const bench::Frame& frame) { bench::send_all(connection, frame.line()); },
        [&] {
            bench::expect_accepted(connection, spin);
            if (acknowledgements >= 0) bench::await_acknowledgement(acknowledgements);
        });
}
