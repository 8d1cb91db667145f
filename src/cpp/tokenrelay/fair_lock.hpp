// FairLock: a lock that goes to whoever has waited longest. A std::mutex goes to whoever is awake, and
// so again and again to the thread that had it last, as long as that one has more to do.
//
// A ticket lock (J. Mellor-Crummey, M. Scott, "Algorithms for Scalable Synchronization on
// Shared-Memory Multiprocessors", 1991, §2.2) whose waiters sleep. Lockable, as the standard calls it.
// A thread that waits must not end, nor its process go on without it: nobody would come after it.
#pragma once

#include <atomic>
#include <climits>
#include <cstdint>

#include "tokenrelay/wake_count.hpp"

namespace tokenrelay {

class FairLock {
public:
    // May block.
    void lock() noexcept {
        const std::uint32_t mine = tickets_.fetch_add(1, std::memory_order_relaxed);
        for (std::uint32_t now; (now = served_.value()) != mine;) served_.wait(now, LLONG_MAX);
    }
    // Lock-free.
    bool try_lock() noexcept {
        std::uint32_t now = served_.value();
        return tickets_.compare_exchange_strong(now, now + 1, std::memory_order_relaxed);
    }
    // Makes a system call only while somebody waits.
    void unlock() noexcept { served_.advance(); }

private:
    std::atomic<std::uint32_t> tickets_{0};
    WakeCount served_;  // the ticket whose turn it is
};

}  // namespace tokenrelay
