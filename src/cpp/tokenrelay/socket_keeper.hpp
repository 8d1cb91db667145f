// SocketKeeper: keeps a listening socket in its place. It watches the directory (inotify(7)), and
// where the socket's file was removed or replaced, binds again: within a second, once nobody else
// listens there. Connections that exist are not touched.
//
// The leader's, and so without locks (listener.hpp). May block briefly.
#pragma once

#include <cstdint>
#include <string>

#include "tokenrelay/event_set.hpp"
#include "tokenrelay/fd.hpp"
#include "tokenrelay/socket.hpp"
#include "tokenrelay/stats.hpp"

namespace tokenrelay {

class SocketKeeper {
public:
    // Both outlive it.
    SocketKeeper(EventSet& events, Counters& counters) noexcept
        : events_(events), counters_(counters) {}

    // Binds, and has kListenKey and kDirectoryKey reported from now on.
    Error open(const SocketPlace& place);
    int fd() const noexcept { return socket_.fd(); }
    const std::string& path() const noexcept { return socket_.path(); }

    // To be called at each kDirectoryKey.
    void directory_changed() noexcept;
    // To be called at each kTimerKey.
    void look_late(std::int64_t now) noexcept;
    // Removes the socket's file, if it is still ours.
    void close() noexcept;
    // In a forked child.
    void abandon() noexcept;

private:
    void look() noexcept;
    void watch() noexcept;
    void retry() noexcept;

    EventSet& events_;
    Counters& counters_;
    ListeningSocket socket_;
    UniqueFd directory_;         // inotify(7)
    std::int64_t retry_at_ = 0;  // CLOCK_BOOTTIME ns; 0: not waiting
};

}  // namespace tokenrelay
