// ReceiverState: what a TokenReceiver, its subscriptions and its callbacks share, and what becomes of
// it in a forked child. Internal to the library.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "tokenrelay/doorbell.hpp"
#include "tokenrelay/fd.hpp"
#include "tokenrelay/listener.hpp"
#include "tokenrelay/receiver.hpp"
#include "tokenrelay/stats.hpp"
#include "tokenrelay/store.hpp"

namespace tokenrelay {

struct ReceiverState : std::enable_shared_from_this<ReceiverState> {
    explicit ReceiverState(Options given) : options(std::move(given)) {}

    const Options options;
    TokenStore store;
    Counters counters;
    Doorbell doorbell;
    mutable std::mutex mutex;  // guards the rest; never held while a callback is waited for
    std::shared_ptr<Listener> listener;  // shared with those who wait for its end
    FollowUp* follow_up = nullptr;
    std::string path;
    UniqueFd events;  // eventfd(2)
    std::atomic<int> event_fd{-1};  // the same, once it is subscribed
    Subscription event_subscription;
    std::atomic<bool> running{false};
    std::atomic<bool> forked{false};

    // From now on, until forget(), fork(2) finds the state whole and empties the child's.
    void remember();
    void forget() noexcept;
    void after_fork() noexcept;
};

}  // namespace tokenrelay
