#include "tokenrelay/inherited_socket.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <string_view>

namespace tokenrelay {
namespace {

constexpr int kFirst = 3;  // SD_LISTEN_FDS_START

int number_in(const char* variable) noexcept {
    const char* text = secure_getenv(variable);
    int number = 0;
    if (text == nullptr) return number;
    std::from_chars(text, text + std::string_view(text).size(), number);
    return number;
}

bool listens_at(int fd, const std::string& path) noexcept {
    int listening = 0;
    int type = 0;
    socklen_t size = sizeof listening;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening == 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM) {
        return false;
    }
    sockaddr_un address{};
    socklen_t length = sizeof address - 1;  // the last byte stays zero
    return getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
           address.sun_family == AF_UNIX && path == address.sun_path;
}

}  // namespace

UniqueFd inherited_socket(const std::string& path) noexcept {
    if (number_in("LISTEN_PID") != getpid()) return {};
    const int count = number_in("LISTEN_FDS");
    for (int fd = kFirst; fd - kFirst < count; ++fd) {
        if (!listens_at(fd, path)) continue;
        // As sd_listen_fds(3) does: nothing that this process starts is meant to have it.
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, kFirst));
    }
    return {};
}

}  // namespace tokenrelay
