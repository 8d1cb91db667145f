// Dispatcher: runs Python callbacks on the receiver's threads, one at a time, newest token only.
#pragma once

#include <nanobind/nanobind.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tokenrelay/listener.hpp"
#include "tokenrelay/stats.hpp"

namespace tokenrelay::python {

namespace nb = nanobind;

class Dispatcher final : public FollowUp {
public:
    // `newest` returns the current token as a Python object, or None; called with the GIL.
    explicit Dispatcher(std::function<nb::object()> newest) : newest_(std::move(newest)) {}

    // With the GIL.
    std::uint64_t add(nb::object callback);
    // With the GIL, which is let go of while a running callback is waited for. Does not wait inside
    // a callback. Idempotent.
    void remove(std::uint64_t id);
    void clear() noexcept;
    int traverse(visitproc visit, void* arg) noexcept;

    // The receiver's threads: deliver if anybody listens; if the other thread is delivering, it
    // goes on with this token.
    void run() noexcept override;
    // Gives this thread's Python state back.
    void leave() noexcept override;
    // In a forked child.
    void after_fork() noexcept;

    std::uint64_t errors() const noexcept { return errors_.load(std::memory_order_relaxed); }
    const Histogram& latencies() const noexcept { return latencies_; }

    // The interpreter ends: no thread enters it from now on.
    static void close_interpreter() noexcept;

private:
    struct Entry {
        std::uint64_t id;
        nb::object callback;
        std::uint64_t heard = 0;  // generation
    };

    void deliver();
    bool call_next(nb::handle token, std::uint64_t generation, std::int64_t received_at);

    const std::function<nb::object()> newest_;
    std::atomic<std::uint32_t> due_{0};  // deliveries asked for; the thread that made it 1 delivers
    std::atomic<std::size_t> count_{0};  // of the entries
    std::atomic<std::uint64_t> errors_{0};
    Histogram latencies_;

    std::uint64_t ids_ = 0;       // the GIL guards it and
    std::vector<std::shared_ptr<Entry>> entries_;

    std::mutex mutex_;  // guards what follows; nothing is called while it is held
    std::condition_variable done_;
    std::uint64_t running_ = 0;  // id of the callback that runs
    std::thread::id runner_;
};

}  // namespace tokenrelay::python
