#include "tokenrelay/thread_group.hpp"

#include <pthread.h>
#include <sched.h>

#include "tokenrelay/exceptions.hpp"

namespace tokenrelay {
namespace {

constinit thread_local const ThreadGroup* this_threads_group = nullptr;

void pin_to(int cpu) noexcept {
    if (cpu < 0 || cpu >= CPU_SETSIZE) return;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<std::size_t>(cpu), &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
}

// Where a thread's own fault is blocked, the kernel ends the process and asks no handler.
sigset_t all_but_faults() noexcept {
    sigset_t signals;
    sigfillset(&signals);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) {
        sigdelset(&signals, fault);
    }
    return signals;
}

}  // namespace

bool ThreadGroup::start() noexcept {
    // The thread inherits the mask.
    const sigset_t blocked = all_but_faults();
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    if (threads_.empty()) program_mask_ = before;
    running_.fetch_add(1, std::memory_order_relaxed);
    const auto add_one = [this] {
        threads_.push_back(std::make_unique<std::thread>([this] { run(); }));
        return true;
    };
    const bool started = caught(add_one, false);
    if (!started) running_.fetch_sub(1, std::memory_order_relaxed);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
}

void ThreadGroup::run() noexcept {
    pthread_setname_np(pthread_self(), "tokenrelay");
    pin_to(cpu_);
    this_threads_group = this;
    body_();
    running_.fetch_sub(1, std::memory_order_release);
    ended_.advance();
}

bool ThreadGroup::wait_for_end(std::int64_t deadline) noexcept {
    for (;;) {
        const std::uint32_t seen = ended_.value();
        if (running_.load(std::memory_order_acquire) == 0) return true;
        if (ended_.wait(seen, deadline) == WakeCount::Woken::timed_out) return false;
    }
}

void ThreadGroup::join() noexcept {
    for (auto& thread : threads_) thread->join();
    threads_.clear();
}

void ThreadGroup::abandon() noexcept {
    for (auto& thread : threads_) static_cast<void>(thread.release());
    threads_.clear();
    running_.store(0, std::memory_order_relaxed);
}

bool ThreadGroup::inside() const noexcept { return this_threads_group == this; }

}  // namespace tokenrelay
