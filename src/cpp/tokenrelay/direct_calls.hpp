// recv(2), send(2) and epoll_wait(2) as a frame's way makes them: without the two atomic operations
// by which glibc's functions of these names become cancellation points (pthreads(7)) in a process with
// threads. No thread of the library is ever cancelled. Errors are in errno, as theirs.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <span>
#include <string_view>

#include "tokenrelay/sanitizer.hpp"

namespace tokenrelay::direct {

#if TOKENRELAY_SANITIZE_THREAD  // learns from glibc's functions what a socket orders

inline ssize_t recv(int fd, std::span<char> to, int flags) noexcept {
    return ::recv(fd, to.data(), to.size(), flags);
}
inline ssize_t send(int fd, std::string_view bytes, int flags) noexcept {
    return ::send(fd, bytes.data(), bytes.size(), flags);
}
inline int epoll_wait(int epoll, std::span<epoll_event> events, int timeout) noexcept {
    return ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), timeout);
}

#else

inline ssize_t recv(int fd, std::span<char> to, int flags) noexcept {
    return syscall(SYS_recvfrom, fd, to.data(), to.size(), flags, nullptr, nullptr);
}
inline ssize_t send(int fd, std::string_view bytes, int flags) noexcept {
    return syscall(SYS_sendto, fd, bytes.data(), bytes.size(), flags, nullptr, 0);
}
inline int epoll_wait(int epoll, std::span<epoll_event> events, int timeout) noexcept {
#if defined(SYS_epoll_wait)
    return static_cast<int>(
        syscall(SYS_epoll_wait, epoll, events.data(), static_cast<int>(events.size()), timeout));
#else
    return static_cast<int>(syscall(SYS_epoll_pwait, epoll, events.data(),
                                    static_cast<int>(events.size()), timeout, nullptr,
                                    std::size_t{0}));
#endif
}

#endif

}  // namespace tokenrelay::direct
