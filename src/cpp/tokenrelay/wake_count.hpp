// WakeCount: a counter that threads can wait on, futex(2). advance() is lock-free and makes a system
// call only while somebody waits; wait() blocks.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>

#include "tokenrelay/clock.hpp"

namespace tokenrelay {

class WakeCount {
public:
    enum class Woken : std::uint8_t { advanced, timed_out, interrupted };

    std::uint32_t value() const noexcept { return count_.load(std::memory_order_acquire); }

    void advance() noexcept {
        // Sequentially consistent with wait(): either the waiter sees the new count, or this sees
        // the waiter.
        count_.fetch_add(1, std::memory_order_seq_cst);
        if (waiters_.load(std::memory_order_seq_cst) != 0) {
            futex(FUTEX_WAKE_PRIVATE, INT_MAX, nullptr);
        }
    }

    // Until the count is no longer `seen`, CLOCK_MONOTONIC reaches `deadline` (ns), or a signal
    // was handled in this thread.
    Woken wait(std::uint32_t seen, std::int64_t deadline) noexcept {
        waiters_.fetch_add(1, std::memory_order_seq_cst);
        const timespec until{deadline / 1'000'000'000, deadline % 1'000'000'000};
        long result = 0;
        if (count_.load(std::memory_order_seq_cst) == seen) {
            result = futex(FUTEX_WAIT_BITSET_PRIVATE, seen, &until);
        }
        const int error = result == 0 ? 0 : errno;
        waiters_.fetch_sub(1, std::memory_order_relaxed);
        if (value() != seen) return Woken::advanced;
        if (error == EINTR) return Woken::interrupted;
        return clock_ns(CLOCK_MONOTONIC) >= deadline ? Woken::timed_out : Woken::advanced;
    }

private:
    long futex(int operation, std::uint32_t value, const timespec* until) noexcept {
        return syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&count_), operation, value,
                       until, nullptr, FUTEX_BITSET_MATCH_ANY);
    }

    std::atomic<std::uint32_t> count_{0};
    std::atomic<std::uint32_t> waiters_{0};
};

}  // namespace tokenrelay
