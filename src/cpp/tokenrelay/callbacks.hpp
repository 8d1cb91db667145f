// Callbacks: who is told of a new token, on the receiver's threads.
//
// One thread at a time notifies and takes no lock for it; any thread adds and removes. remove()
// returns when the callback no longer runs, except from inside a callback: one that removes another
// may destroy what that one uses, for it is not called again, in the same round either.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tokenrelay/token.hpp"

namespace tokenrelay {

class Callbacks {
public:
    using Function = std::function<void(const Token&)>;  // must not throw

    Callbacks() = default;
    ~Callbacks();
    Callbacks(const Callbacks&) = delete;
    Callbacks& operator=(const Callbacks&) = delete;

    // May block. The new callback hears of the current token at the next notify().
    std::uint64_t add(Function function);
    // May block while a callback runs.
    void remove(std::uint64_t id) noexcept;

    // The writer's thread. Calls each callback that has not heard of this generation yet. Lock-free.
    void notify(const Token& token) noexcept;

    // Around fork(2): the lists that the child inherits are whole. Blocks while another thread changes
    // them, never for a callback.
    void before_fork() noexcept { mutex_.lock(); }
    void after_fork_in_parent() noexcept { mutex_.unlock(); }
    // In a forked child: nobody notifies there. A notify() whose callback forked returns without
    // calling another, provided that its token is of another generation by then.
    void after_fork() noexcept;

private:
    struct Entry {
        std::uint64_t id;
        Function function;
        std::uint64_t heard = 0;  // generation; the notifier's
        bool removed = false;  // by a callback of the round that runs; the notifier's
    };
    using List = std::vector<std::shared_ptr<Entry>>;

    void replace(std::unique_ptr<List> list) noexcept;
    void wait_until_unused() noexcept;
    bool inside() const noexcept;

    std::mutex mutex_;  // guards changes of the list, ids_ and retired_; not held while waiting
    std::uint64_t ids_ = 0;
    std::vector<std::unique_ptr<List>> retired_;  // lists that a running notify() may still read
    std::atomic<List*> list_{nullptr};
    std::atomic<std::uint32_t> rounds_{0};  // odd while notify() runs
    std::atomic<std::thread::id> notifier_{};
};

}  // namespace tokenrelay
