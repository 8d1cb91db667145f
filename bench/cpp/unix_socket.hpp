// Unix stream sockets as the sender and the floor receivers use them.
#pragma once

#include <immintrin.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "harness.hpp"

namespace bench {

inline constexpr std::string_view accepted_reply = "{\"ok\":true,\"generation\":1}\n";

inline sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) fail("socket path too long: " + path);
    path.copy(address.sun_path, path.size());
    return address;
}

inline int listen_at(const std::string& path) {
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto address = address_of(path);
    if (::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
        fail("bind " + path);
    if (::listen(descriptor, 16) < 0) fail("listen " + path);
    return descriptor;
}

inline int accept_from(int listener) {
    const int descriptor = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (descriptor < 0) fail("accept");
    return descriptor;
}

inline int connect_to(const std::string& path) {
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto address = address_of(path);
    if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
        fail("connect " + path);
    return descriptor;
}

inline void send_all(int descriptor, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0) fail("send");
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
}

/// One reply line, waited for asleep or spinning; anything but an acceptance would measure the wrong
/// path, so it ends the run.
inline void expect_accepted(int descriptor, bool spin = false) {
    char buffer[4096];
    std::size_t size = 0;
    do {
        const ssize_t got =
            ::recv(descriptor, buffer + size, sizeof buffer - size, spin ? MSG_DONTWAIT : 0);
        if (got < 0 && errno == EAGAIN) {
            _mm_pause();
            continue;
        }
        if (got <= 0) fail("the receiver closed the connection");
        size += static_cast<std::size_t>(got);
    } while (size == 0 || buffer[size - 1] != '\n');
    const std::string_view reply(buffer, size);
    if (reply.find("\"ok\":true") == std::string_view::npos) fail("refused: " + std::string(reply));
}

}  // namespace bench
