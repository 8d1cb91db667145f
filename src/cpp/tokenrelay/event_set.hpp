// EventSet: what the receiver's threads wait for: descriptors (epoll(7)) and one moment
// (timerfd_create(2)). Any number of threads may wait; all else is the leader's.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <span>

#include "tokenrelay/error.hpp"
#include "tokenrelay/fd.hpp"

namespace tokenrelay {

// Whom an event is for: one of these, or a connection's place with its use in the upper half.
inline constexpr std::uint64_t kListenKey = ~0ULL;
inline constexpr std::uint64_t kDoorbellKey = ~1ULL;
inline constexpr std::uint64_t kTimerKey = ~2ULL;
inline constexpr std::uint64_t kDirectoryKey = ~3ULL;

class EventSet {
public:
    // Reports kDoorbellKey to every thread as long as `doorbell` is readable.
    Error open(int doorbell);
    // Reports `events` of the descriptor, which may be in the set already, under `key`. False, with
    // errno, if the kernel has no room for one more: such a descriptor would be deaf.
    bool watch(int fd, std::uint64_t key, std::uint32_t events) noexcept;
    // What errno means after a descriptor could not be made, or not be watched.
    static Error cannot_open();
    static Error cannot_watch();
    // Reports kTimerKey when CLOCK_BOOTTIME reaches `at` (ns). One moment only, the earliest.
    void wake_at(std::int64_t at) noexcept;
    // To be called at each kTimerKey.
    void timer_rang() noexcept;
    // Blocks for at most `timeout` ms (negative: as long as it takes). The number of events.
    int wait(std::span<epoll_event> events, int timeout) const noexcept;
    // In a forked child.
    void abandon() noexcept;

private:
    UniqueFd epoll_;
    UniqueFd timer_;
    std::int64_t timer_at_ = 0;  // 0: not armed
};

}  // namespace tokenrelay
