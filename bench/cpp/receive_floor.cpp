// The floor: what the kernel alone costs in each wait mode. Nothing is parsed or checked.
//   receive_floor --ledger FILE --socket PATH --mode recv|epoll|spin [--cpu N] [--slot N]
#include <fcntl.h>
#include <immintrin.h>
#include <sys/epoll.h>

#include "frame.hpp"
#include "ledger.hpp"
#include "unix_socket.hpp"

namespace {

void wait_in_epoll(int epoll) {
    epoll_event event{};
    while (::epoll_wait(epoll, &event, 1, -1) < 0 && errno == EINTR) {
    }
}

int watch(int descriptor) {
    const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
    epoll_event event{.events = EPOLLIN, .data = {.fd = descriptor}};
    if (::epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) < 0) bench::fail("epoll_ctl");
    return epoll;
}

/// Bytes of one line at `buffer`; 0 at the end of the stream.
template <class Wait>
std::size_t read_line(int connection, char* buffer, std::size_t capacity, Wait wait) {
    std::size_t size = 0;
    do {
        wait();
        const ssize_t got = ::recv(connection, buffer + size, capacity - size, 0);
        if (got == 0) return 0;
        if (got < 0 && errno != EAGAIN && errno != EINTR) bench::fail("recv");
        if (got < 0) continue;
        size += static_cast<std::size_t>(got);
    } while (size == 0 || buffer[size - 1] != '\n');
    return size;
}

template <class Wait>
void serve(bench::Ledger& ledger, int slot, int connection, Wait wait) {
    char buffer[2 * bench::frame_size];
    while (read_line(connection, buffer, sizeof buffer, wait) != 0) {
        const std::int64_t received = bench::now_ns();
        ledger.stamp(received, received, slot);
        bench::send_all(connection, bench::accepted_reply);
    }
}

}  // namespace

int main(int count, char** values) {
    const bench::Arguments arguments(count, values);
    bench::pin_to(arguments.number("--cpu", -1));
    bench::Ledger& ledger = bench::map_ledger(arguments.text("--ledger"));
    const int slot = arguments.number("--slot", -1);
    const std::string mode = arguments.text("--mode", "epoll");
    const int listener = bench::listen_at(arguments.text("--socket"));
    bench::say("ready");
    const int connection = bench::accept_from(listener);
    if (mode != "recv") ::fcntl(connection, F_SETFL, O_NONBLOCK);
    if (mode == "epoll") {
        serve(ledger, slot, connection, [epoll = watch(connection)] { wait_in_epoll(epoll); });
    } else if (mode == "spin") {
        serve(ledger, slot, connection, [] { _mm_pause(); });
    } else {
        serve(ledger, slot, connection, [] {});
    }
}
