// The stamps of one row, in memory shared by sender, receiver and conductor.
//
// The stamps travel beside the frame and not in it: so every transport is measured alike,
// whatever it does to the bytes, and a receiver under test need not know that it is measured.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

#include "harness.hpp"

namespace bench {

inline constexpr std::int64_t ledger_capacity = 8192;

/// Stamps in CLOCK_BOOTTIME ns; 0 is "not stamped". Same layout as lab/ledger.py.
struct Record {
    std::int64_t sent;                     // just before the send begins
    std::int64_t received;                 // the frame's last byte was read
    std::atomic<std::int64_t> entered;     // callback entered, token in hand
    std::atomic<std::int64_t> seen_after;  // ns from `received` until an observing thread had it
};

struct Ledger {
    std::atomic<std::int64_t> index;  // the record of the message in flight
    std::int64_t padding[7];
    Record records[ledger_capacity];

    [[nodiscard]] Record& current() noexcept {
        return records[index.load(std::memory_order_acquire)];
    }

    /// `entered` is taken by the caller first thing, before it touches this shared line. With many
    /// receivers of one message each has a slot of its own.
    void stamp(std::int64_t received, std::int64_t entered, int slot = -1) noexcept {
        Record& record = slot < 0 ? current() : records[slot];
        record.received = received;
        record.entered.store(entered, std::memory_order_release);
    }
};

inline Ledger& map_ledger(const std::string& path) {
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (descriptor < 0) fail(path);
    void* memory = ::mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_POPULATE, descriptor, 0);
    if (memory == MAP_FAILED) fail("mmap of " + path);
    ::close(descriptor);
    return *static_cast<Ledger*>(memory);
}

}  // namespace bench
