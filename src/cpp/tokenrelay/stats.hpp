// Stats: what a receiver has seen since it was made, counted by its thread and read by any.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <string>

#include "tokenrelay/error.hpp"

namespace tokenrelay {

// Latencies in buckets an eighth of a power of two wide: 2^(i/8) to 2^((i+1)/8) ns, roughly.
// One thread records, any reads; wait-free.
class Histogram {
public:
    static constexpr int kBuckets = 40 * 8;

    void record(std::int64_t ns) noexcept {
        auto& bucket = buckets_[static_cast<std::size_t>(index(ns))];
        bucket.store(bucket.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    // Upper bound, in ns, of the bucket that the quantile (0 to 1) falls into; 0 where empty.
    std::int64_t quantile(double q) const noexcept {
        std::uint64_t total = 0;
        for (const auto& bucket : buckets_) total += bucket.load(std::memory_order_relaxed);
        if (total == 0) return 0;
        auto left = static_cast<std::uint64_t>(q * static_cast<double>(total - 1)) + 1;
        for (int i = 0; i < kBuckets; ++i) {
            const auto count =
                buckets_[static_cast<std::size_t>(i)].load(std::memory_order_relaxed);
            if (count >= left) return upper_bound(i);
            left -= count;
        }
        return upper_bound(kBuckets - 1);
    }

private:
    static int index(std::int64_t ns) noexcept {
        const auto value = static_cast<std::uint64_t>(ns < 8 ? 8 : ns);
        const int exponent = static_cast<int>(std::bit_width(value)) - 1;
        const int eighth = static_cast<int>(value >> (exponent - 3)) & 7;
        const int at = (exponent - 3) * 8 + eighth;
        return at < kBuckets ? at : kBuckets - 1;
    }
    static std::int64_t upper_bound(int at) noexcept {
        return static_cast<std::int64_t>(9 + at % 8) << (at / 8);
    }

    std::array<std::atomic<std::uint64_t>, kBuckets> buckets_{};
};

// What Stats is read from. The receiver's thread counts, any thread reads; wait-free.
struct Counters {
    using Count = std::atomic<std::uint64_t>;

    Count published{0}, repeated{0}, connections{0}, accepted{0}, foreign{0}, accept_failures{0},
        rebinds{0}, callback_overruns{0}, refresh_requests{0}, refresh_refusals{0};
    std::array<Count, kRefusals> refused{};
    std::atomic<std::int64_t> callbacks_max{0};
    Histogram callbacks;

    // One thread writes: no read-modify-write is needed.
    static void add(Count& count, std::uint64_t by = 1) noexcept {
        count.store(count.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
    }
    void record_callbacks(std::int64_t ns) noexcept {
        callbacks.record(ns);
        if (ns <= callbacks_max.load(std::memory_order_relaxed)) return;
        callbacks_max.store(ns, std::memory_order_relaxed);
    }
};

// An immutable snapshot. Times in nanoseconds.
struct Stats {
    std::uint64_t generation = 0;     // of the current token
    std::uint64_t published = 0;      // tokens made current
    std::uint64_t repeated = 0;       // frames with the current token again
    std::array<std::uint64_t, kRefusals> refused{};  // by Refusal
    std::uint64_t connections = 0;    // open now
    std::uint64_t accepted = 0;
    std::uint64_t foreign = 0;        // disconnected for their uid
    std::uint64_t accept_failures = 0;  // no descriptor left, and the like
    std::uint64_t rebinds = 0;        // the socket file was gone or replaced
    std::uint64_t callback_overruns = 0;  // new tokens whose native callbacks took over 1 ms
    std::uint64_t refresh_requests = 0;
    std::uint64_t refresh_refusals = 0;
    std::uint64_t retained = 0;       // replaced tokens still held by readers
    std::int64_t callbacks_p50 = 0;   // last byte read to native callbacks returned
    std::int64_t callbacks_p99 = 0;
    std::int64_t callbacks_max = 0;
    bool membarrier = false;          // false: readers use fences
    bool memory_locked = false;

    void take(const Counters& counters) noexcept {
        const auto value = [](const auto& count) { return count.load(std::memory_order_relaxed); };
        published = value(counters.published);
        repeated = value(counters.repeated);
        for (std::size_t i = 0; i < kRefusals; ++i) refused[i] = value(counters.refused[i]);
        connections = value(counters.connections);
        accepted = value(counters.accepted);
        foreign = value(counters.foreign);
        accept_failures = value(counters.accept_failures);
        rebinds = value(counters.rebinds);
        callback_overruns = value(counters.callback_overruns);
        refresh_requests = value(counters.refresh_requests);
        refresh_refusals = value(counters.refresh_refusals);
        callbacks_p50 = counters.callbacks.quantile(0.5);
        callbacks_p99 = counters.callbacks.quantile(0.99);
        callbacks_max = value(counters.callbacks_max);
    }
};

}  // namespace tokenrelay
