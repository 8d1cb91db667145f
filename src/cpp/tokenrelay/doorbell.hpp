// Doorbell: how other threads reach the listener's, in a place that outlives every listener.
// Lock-free, but for open() and close().
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

#include "tokenrelay/fd.hpp"

namespace tokenrelay {

class Doorbell {
public:
    // Before the first listener starts; until then nobody is there to hear it. False, with errno, if
    // none can be made. Idempotent; one thread at a time.
    bool open() noexcept {
        if (!owner_) owner_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        fd_.store(owner_.get());
        return static_cast<bool>(owner_);
    }
    // In a forked child: it is the parent's.
    void close() noexcept {
        fd_.store(-1);
        owner_.reset();
    }
    // eventfd(2); -1 before open().
    int fd() const noexcept { return fd_.load(); }

    void ring() const noexcept {
        const std::uint64_t one = 1;
        if (const int open = fd(); open >= 0) static_cast<void>(!::write(open, &one, sizeof one));
    }
    void answer() const noexcept {
        std::uint64_t count = 0;
        static_cast<void>(!::read(fd(), &count, sizeof count));
    }

    // The API refused the token of this generation. Of several the newest counts, whoever comes last:
    // the others are replaced.
    void refuse(std::uint64_t generation) noexcept {
        std::uint64_t before = refused_.load(std::memory_order_relaxed);
        while (before < generation &&
               !refused_.compare_exchange_weak(before, generation, std::memory_order_acq_rel)) {
        }
        ring();
    }
    // The generation to ask a newer token for, once; 0: none.
    std::uint64_t take_refused() noexcept {
        return refused_.exchange(0, std::memory_order_acq_rel);
    }

private:
    UniqueFd owner_;
    std::atomic<int> fd_{-1};  // the same, for those who ring while it is made
    std::atomic<std::uint64_t> refused_{0};
};

}  // namespace tokenrelay
