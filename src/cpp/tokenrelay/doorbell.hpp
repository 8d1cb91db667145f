// Doorbell: how other threads reach the listener's, in a place that outlives every listener.
// Lock-free.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

#include "tokenrelay/fd.hpp"

namespace tokenrelay {

struct Doorbell {
    UniqueFd fd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    std::atomic<std::int64_t> refused_serial{-1};  // of a token that the API refused

    void ring() const noexcept {
        const std::uint64_t one = 1;
        if (fd) static_cast<void>(!::write(fd.get(), &one, sizeof one));
    }
    void answer() const noexcept {
        std::uint64_t count = 0;
        static_cast<void>(!::read(fd.get(), &count, sizeof count));
    }
};

}  // namespace tokenrelay
