// libzmq PUSH over ipc://.
//   send_zmq --ledger FILE --socket PATH --ack FD
#include <zmq.h>

#include "pacing.hpp"

int main(int count, char** values) {
    const bench::Arguments arguments(count, values);
    bench::Ledger& ledger = bench::map_ledger(arguments.text("--ledger"));
    const int acknowledgements = arguments.number("--ack", -1);
    void* context = zmq_ctx_new();
    void* socket = zmq_socket(context, ZMQ_PUSH);
    if (zmq_connect(socket, ("ipc://" + arguments.text("--socket")).c_str()) != 0)
        bench::fail("zmq_connect");
    bench::serve_blocks(
        ledger,
        [&](const bench::Frame& frame) {
            zmq_send(socket, frame.line().data(), frame.line().size(), 0);
        },
        [&] { bench::await_acknowledgement(acknowledgements); });
}
