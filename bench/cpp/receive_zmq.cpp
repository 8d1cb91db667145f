// libzmq PULL over ipc://.
//   receive_zmq --ledger FILE --socket PATH --ack FD
#include <zmq.h>

#include "frame.hpp"
#include "ledger.hpp"

int main(int count, char** values) {
    const bench::Arguments arguments(count, values);
    bench::Ledger& ledger = bench::map_ledger(arguments.text("--ledger"));
    const int acknowledgements = arguments.number("--ack", -1);
    void* context = zmq_ctx_new();
    void* socket = zmq_socket(context, ZMQ_PULL);
    if (zmq_bind(socket, ("ipc://" + arguments.text("--socket")).c_str()) != 0)
        bench::fail("zmq_bind");
    bench::say("ready");
    char buffer[2 * bench::frame_size];
    for (;;) {
        const int size = zmq_recv(socket, buffer, sizeof buffer, 0);
        const std::int64_t received = bench::now_ns();
        if (size < 0) bench::fail("zmq_recv");
        if (bench::find_token({buffer, static_cast<std::size_t>(size)}).size() != bench::token_size)
            bench::fail("token");
        ledger.stamp(received, bench::now_ns());
        if (::write(acknowledgements, "x", 1) != 1) bench::fail("acknowledgement");
    }
}
