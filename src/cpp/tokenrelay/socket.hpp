// The listening socket: where it is bound, whose it is, who may connect. The only file that knows
// socket system calls beyond recv and send. Everything here may block briefly; none of it is on the
// way of a frame.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tokenrelay/error.hpp"
#include "tokenrelay/fd.hpp"

namespace tokenrelay {

struct SocketPlace {
    std::string path;  // a fixed path, or empty for a discovered one:
    std::string directory;  // RUNTIME/ACCOUNT
    std::string program;  // label in the socket's name
    std::string locks;  // RUNTIME/locks, for fixed paths in directories of others
    mode_t mode = 0600;
};

// A bound, listening Unix stream socket (unix(7)). It is bound under a dot-name, listens, and is
// then renamed into place, so that whoever sees it can connect and a stale socket is replaced in
// one step. A fixed path is owned through flock(2) on a sibling file that is never removed; a socket
// that the service manager already listens on there is taken over from it, and left to it.
class ListeningSocket {
public:
    ListeningSocket() = default;
    ~ListeningSocket();
    ListeningSocket(ListeningSocket&&) = default;
    ListeningSocket& operator=(ListeningSocket&&) = default;

    // Binds at `place`. EADDRINUSE names the process that owns the path.
    Error open(const SocketPlace& place);
    // Binds again at the same path, after the file was removed or replaced.
    Error reopen();
    // Removes the file, if it is still ours, and closes.
    void close() noexcept;
    // In a forked child: closes, and leaves the parent's file alone.
    void abandon() noexcept;

    int fd() const noexcept { return fd_.get(); }
    const std::string& path() const noexcept { return path_; }
    std::string directory() const;
    // The file at path() is the socket that we bound.
    bool in_place() const noexcept;

private:
    Error ensure_directories() const;
    Error take_lock();
    Error refuse_other_file() const;
    Error refuse_live_owner() const;
    bool take_inherited() noexcept;
    Error bind_and_rename();

    SocketPlace place_;
    std::string path_;
    UniqueFd lock_;
    UniqueFd fd_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
    bool inherited_ = false;
};

// The uid at the other end of a connection, as of its connect() (SO_PEERCRED, unix(7)).
bool peer_is_allowed(int fd, const std::vector<uid_t>& allowed) noexcept;

}  // namespace tokenrelay
