// Dispatcher: runs Python callbacks on the receiver's threads, one at a time, newest token only.
#pragma once

#include <nanobind/nanobind.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "newest_token.hpp"
#include "tokenrelay/follow_up.hpp"
#include "tokenrelay/stats.hpp"
#include "tokenrelay/wake_count.hpp"

namespace tokenrelay::python {

namespace nb = nanobind;

class Dispatcher final : public FollowUp {
public:
    // `newest` must outlive it.
    explicit Dispatcher(NewestToken& newest) noexcept : newest_(newest) {}

    // These are called in the interpreter, by any thread.
    std::uint64_t add(nb::object callback);
    // Leaves the interpreter while a running callback is waited for, and looks at signals. Does not
    // wait inside a callback. Idempotent.
    void remove(std::uint64_t id);
    void clear() noexcept;
    int traverse(visitproc visit, void* arg) const noexcept;

    // The receiver's threads: deliver if anybody listens; if the other thread is delivering, it
    // goes on with this token.
    void run() noexcept override;
    // Gives this thread's Python state back.
    void leave() noexcept override;
    // In a forked child.
    void after_fork() noexcept;

    std::uint64_t errors() const noexcept { return errors_.load(std::memory_order_relaxed); }
    const Histogram& latencies() const noexcept { return latencies_; }

private:
    struct Entry {
        std::uint64_t id;
        nb::object callback;
        std::int64_t added_at;  // CLOCK_BOOTTIME, ns
        std::uint64_t heard = 0;  // generation
    };

    void deliver();
    bool call_next();
    std::shared_ptr<Entry> take_next(std::uint64_t generation);
    void end_of_call() noexcept;

    NewestToken& newest_;
    std::atomic<std::uint32_t> due_{0};  // deliveries asked for; the thread that made it 1 delivers
    std::atomic<std::size_t> count_{0};  // of the entries
    std::atomic<std::uint64_t> errors_{0};
    Histogram latencies_;

    // Guards what follows, where the GIL does not. Python code never runs while it is held.
    nb::ft_mutex mutex_;
    std::uint64_t ids_ = 0;
    std::vector<std::shared_ptr<Entry>> entries_;

    // Set with the mutex.
    std::atomic<std::uint64_t> running_{0};  // id of the callback that runs
    std::atomic<std::thread::id> runner_{};
    WakeCount done_;
};

}  // namespace tokenrelay::python
