// An engine with an event loop of its own: one thread, one epoll, and the receiver's event_fd() is
// one descriptor among others. Prints what it sees of every token and ends after `COUNT` of them.
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <tokenrelay/tokenrelay.hpp>

namespace {

int fail(const char* what) {
    std::cerr << "event_loop: " << what << '\n';
    return EXIT_FAILURE;
}

bool watch(int epoll, int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

// Resets the eventfd; however many tokens came, the newest is the one that counts.
void acknowledge(int fd) {
    std::uint64_t count = 0;
    static_cast<void>(!read(fd, &count, sizeof count));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return fail("usage: event_loop PATH COUNT");
    const auto count = std::strtoull(argv[2], nullptr, 10);

    tokenrelay::TokenReceiver receiver{{.path = argv[1]}};
    const int tokens = receiver.event_fd();
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (tokens < 0 || epoll < 0 || !watch(epoll, tokens))
        return fail("no descriptors to wait with");
    if (auto error = receiver.start()) return fail(error.message().c_str());
    std::cout << "ready" << std::endl;

    std::uint64_t seen = 0;
    while (seen < count) {
        std::array<epoll_event, 8> events;
        const int ready = epoll_wait(epoll, events.data(), events.size(), 20'000);
        if (ready <= 0) return fail("no token within 20 s");
        acknowledge(tokens);
        const auto token = receiver.current();
        if (!token || token->generation() == seen) continue;
        seen = token->generation();
        std::cout << seen << ' ' << token->access_token() << ' ' << token->expires_at() << ' '
                  << *token << std::endl;
    }
    close(epoll);
    return EXIT_SUCCESS;
}
