// What tests of sockets share: a directory of their own, a sender's end, waiting with a deadline.
#pragma once

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace check {

using Clock = std::chrono::steady_clock;
inline constexpr std::chrono::seconds kPatience{30};  // a loaded machine under a sanitizer

// Looks again each millisecond until `condition` holds.
template <class F>
bool eventually(F condition) {
    const auto deadline = Clock::now() + kPatience;
    while (!condition()) {
        if (Clock::now() > deadline) return false;
        poll(nullptr, 0, 1);
    }
    return true;
}

class TemporaryDirectory {
public:
    TemporaryDirectory() {
        char name[] = "/tmp/tokenrelay-test-XXXXXX";
        path_ = mkdtemp(name);
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
    const std::string& path() const { return path_; }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

// A sender's end of a connection.
class Peer {
public:
    explicit Peer(int type = SOCK_STREAM) : fd_(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0)) {}
    explicit Peer(const std::string& path) : Peer() { connected_ = connect(path); }
    Peer(Peer&& other) noexcept
        : fd_(std::exchange(other.fd_, -1)),
          connected_(other.connected_),
          input_(std::move(other.input_)) {}
    ~Peer() {
        if (fd_ >= 0) ::close(fd_);
    }

    bool connect(const std::string& path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.data(), path.size());
        connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
        return connected_;
    }
    bool connected() const { return connected_; }
    int fd() const { return fd_; }

    // False if the other end is gone.
    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent < 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
        return true;
    }
    void finish() { shutdown(fd_, SHUT_WR); }

    // The other end has read all.
    bool all_read() const {
        int memory = -1;
        return ioctl(fd_, SIOCOUTQ, &memory) == 0 && memory == 0;
    }

    // Something to read, or the end, is there at this moment.
    bool readable() const {
        pollfd event{fd_, POLLIN, 0};
        return poll(&event, 1, 0) == 1;
    }
    // The same, waited for.
    bool answered() const {
        pollfd event{fd_, POLLIN, 0};
        return poll(&event, 1, std::chrono::milliseconds(kPatience).count()) == 1;
    }
    // The next line without its \n; nothing at the end of the stream.
    std::optional<std::string> line() {
        for (;;) {
            if (const auto at = input_.find('\n'); at != input_.npos) {
                std::string line = input_.substr(0, at);
                input_.erase(0, at + 1);
                return line;
            }
            if (!receive()) return std::nullopt;
        }
    }
    std::string ask(std::string_view bytes) { return send(bytes) ? line().value_or("") : ""; }
    // The other end closes, and sends nothing before.
    bool ended() { return !line() && input_.empty(); }

private:
    bool receive() {
        pollfd event{fd_, POLLIN, 0};
        if (poll(&event, 1, std::chrono::milliseconds(kPatience).count()) != 1) std::abort();
        char bytes[4096];
        const ssize_t size = recv(fd_, bytes, sizeof bytes, 0);
        if (size > 0) input_.append(bytes, static_cast<std::size_t>(size));
        return size > 0;
    }

    int fd_;
    bool connected_ = false;
    std::string input_;
};

inline std::size_t open_descriptors() {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        count += entry.path().empty() ? 0 : 1;
    }
    return count;
}

}  // namespace check
