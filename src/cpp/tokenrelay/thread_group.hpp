// ThreadGroup: the receiver's threads, which no signal handler of the program runs in but for a fault
// of their own, and whose end can be waited for with a bound.
#pragma once

#include <signal.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "tokenrelay/wake_count.hpp"

namespace tokenrelay {

class ThreadGroup {
public:
    // Threads call `body`, on processor `cpu` where that is not negative.
    ThreadGroup(std::function<void()> body, int cpu) : body_(std::move(body)), cpu_(cpu) {}
    ThreadGroup(const ThreadGroup&) = delete;
    ThreadGroup& operator=(const ThreadGroup&) = delete;

    // Starts one more, with every signal blocked but those of faults (SIGSEGV and the like). False if
    // the system has none left. Not beside itself or join().
    bool start() noexcept;
    // None was started since the last join().
    bool empty() const noexcept { return threads_.empty(); }
    // Waits until all have ended, up to `deadline` (CLOCK_MONOTONIC, ns); false if they have not.
    bool wait_for_end(std::int64_t deadline) noexcept;
    // Gives back what ended threads held.
    void join() noexcept;
    // In a forked child, where the threads do not exist.
    void abandon() noexcept;

    // Whether a thread of the group is calling.
    bool inside() const noexcept;
    // For one of the threads: runs `function` with the signal mask of the program's thread that
    // called start() first, which the processes that it may start inherit.
    template <class F>
    void with_program_mask(F&& function) const noexcept {
        sigset_t blocked;
        pthread_sigmask(SIG_SETMASK, &program_mask_, &blocked);
        function();
        pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
    }

private:
    void run() noexcept;

    const std::function<void()> body_;
    const int cpu_;
    std::vector<std::unique_ptr<std::thread>> threads_;
    std::atomic<int> running_{0};
    WakeCount ended_;
    sigset_t program_mask_{};
};

}  // namespace tokenrelay
