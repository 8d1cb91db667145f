// Senders: the connections of one receiver, at most kMaxConnections: who is let in, and who makes
// room. The leader's, and so without locks (listener.hpp). No allocation after construction.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <vector>

#include "tokenrelay/connection.hpp"
#include "tokenrelay/fd.hpp"
#include "tokenrelay/limits.hpp"

namespace tokenrelay {

class Senders {
public:
    Senders(const Connection::Service& service, std::vector<uid_t> allow_uids);
    Senders(const Senders&) = delete;
    Senders& operator=(const Senders&) = delete;

    // False if the kernel had no memory for the frames.
    bool has_memory() const noexcept { return has_memory_; }

    // Takes the connections that wait at the listening socket, up to as many as there are places; the
    // rest at its next event, or later, by accept_late(), where no descriptor is left.
    void accept(int listening) noexcept;
    void accept_late(int listening, std::int64_t now) noexcept;
    // An event with the key of a connection.
    void serve(std::uint64_t key, std::uint32_t events) noexcept;
    // Looks at every connection without an event. True if one had something.
    bool read_all() noexcept;
    void check_deadlines(std::int64_t now) noexcept;
    // The calling thread attends the newest connection that can be (Connection::attend()); null if
    // one is attended, or none can be.
    Connection* attend() noexcept;
    // Wakes the thread that attends one, whose connection it ends.
    void end_attended() noexcept;
    // Asks all who have delivered serials, if the current token is of this generation and has one.
    void request_refresh(std::uint64_t generation) noexcept;
    // The leader had to wait for its lock until `now`: no frame is to blame for that.
    void waited_until(std::int64_t now) noexcept { service_.charged_from = now; }
    // Warms the way of a frame; see Connection::rehearse().
    void rehearse() noexcept { connections_.front().rehearse(); }
    void close_all() noexcept;
    // In a forked child.
    void abandon() noexcept;

private:
    void admit(UniqueFd fd) noexcept;
    Connection* free_place() noexcept;

    Connection::Service service_;
    const std::vector<uid_t> allow_uids_;
    std::array<Connection, kMaxConnections> connections_;
    bool has_memory_ = true;
    // At least one connection had each of the first so many: those alone are looked at when spinning.
    std::size_t places_used_ = 0;
    std::uint64_t order_ = 0;  // of acceptance
    std::int64_t retry_at_ = 0;  // CLOCK_BOOTTIME ns; 0: not waiting
};

}  // namespace tokenrelay
