#include "tokenrelay/receiver.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <thread>

#include "tokenrelay/clock.hpp"
#include "tokenrelay/exceptions.hpp"
#include "tokenrelay/paths.hpp"
#include "tokenrelay/receiver_state.hpp"
#include "tokenrelay/socket.hpp"

namespace tokenrelay {

namespace {

SocketPlace place_for(const Options& options) {
    const std::string runtime = runtime_directory(Environment::current());
    return {.path = options.path,
            .directory = runtime + "/" + options.account,
            .program = program_label(options.program.empty() ? program_invocation_short_name
                                                             : options.program),
            .locks = runtime + "/locks",
            .mode = options.mode};
}

}  // namespace

void Subscription::cancel() noexcept {
    if (const auto receiver = receiver_.lock()) receiver->store.callbacks().remove(id_);
    receiver_.reset();
}

TokenReceiver::TokenReceiver(Options options)
    : state_(std::make_shared<ReceiverState>(std::move(options))),
      cell_{.value = &state_->store.cell()} {
    state_->remember();
}

TokenReceiver::~TokenReceiver() {
    if (!state_) return;
    if (stop_within(std::chrono::nanoseconds(-1))) {
        state_->forget();
    } else {
        // Destroyed by one of its own callbacks, whose thread can't wait for its own end.
        let_go();
    }
}

void TokenReceiver::let_go() noexcept {
    const auto state = std::move(state_);
    state->forget();
    std::shared_ptr<Listener> listener;
    {
        const std::scoped_lock lock(state->mutex);
        state->store.close();
        state->running.store(false);
        if (!(listener = state->listener)) return;
    }
    listener->ask_to_stop();
    const auto wait_elsewhere = [&] {
        std::thread([state, listener] { listener->join(-1); }).detach();
        return true;
    };
    // Where no thread is left to wait in, they live for ever.
    if (!caught(wait_elsewhere, false)) {
        static_cast<void>(new std::shared_ptr<ReceiverState>(state));
    }
}

Error TokenReceiver::start() {
    std::unique_lock lock(state_->mutex);
    while (state_->listener && !state_->running.load()) {
        const auto ended = state_->listener;
        if (ended->on_own_thread()) {
            return {EDEADLK, "a callback cannot start the receiver that it has stopped"};
        }
        lock.unlock();
        ended->join(-1);
        lock.lock();
        if (state_->listener == ended) state_->listener.reset();
    }
    if (state_->running.load()) return {};
    const Options& options = state_->options;
    if (options.path.empty() && !is_account_name(options.account)) {
        return {EINVAL, "'" + options.account +
                            "' is not an account name: use 1 to 32 of a-z 0-9 _ "
                            "- , beginning with a letter or digit"};
    }
    state_->store.lock_memory();
    auto listener =
        std::make_shared<Listener>(state_->store, state_->counters, state_->doorbell,
                                   ListenerOptions{options.allow_uids, options.busy_poll.count(),
                                                   options.cpu, options.keep_refresh_token});
    if (auto error = listener->start(place_for(options), state_->follow_up)) return error;
    state_->path = listener->path();
    state_->forked.store(false);
    state_->listener = std::move(listener);
    state_->store.open();
    state_->running.store(true);
    return {};
}

void TokenReceiver::stop() noexcept { stop_within(std::chrono::nanoseconds(-1)); }

bool TokenReceiver::stop_within(std::chrono::nanoseconds timeout) noexcept {
    std::unique_lock lock(state_->mutex);
    state_->store.close();
    state_->running.store(false);
    const auto listener = state_->listener;
    if (!listener) return true;
    listener->ask_to_stop();
    // Its own callback can't wait for itself to end: the next stop or start joins.
    if (listener->on_own_thread()) return false;
    lock.unlock();
    if (!listener->join(timeout.count())) return false;
    lock.lock();
    if (state_->listener == listener) state_->listener.reset();
    return true;
}

bool TokenReceiver::in_callback() const noexcept {
    const std::scoped_lock lock(state_->mutex);
    return state_->listener && state_->listener->on_own_thread();
}

bool TokenReceiver::running() const noexcept { return state_->running.load(); }

bool TokenReceiver::forked() const noexcept { return state_->forked.load(); }

std::uint64_t TokenReceiver::generation() const noexcept { return state_->store.generation(); }

TokenReceiver::Waited TokenReceiver::wait_until(std::int64_t deadline,
                                                std::uint64_t after) noexcept {
    switch (state_->store.wait(after, deadline)) {
        case TokenStore::Waited::token:
            return Waited::token;
        case TokenStore::Waited::timed_out:
            return Waited::timed_out;
        case TokenStore::Waited::interrupted:
            return Waited::interrupted;
        default:
            return Waited::stopped;
    }
}

Guard<Token> TokenReceiver::wait(std::chrono::nanoseconds timeout, std::uint64_t after) noexcept {
    const std::int64_t deadline = deadline_after(std::max<std::int64_t>(timeout.count(), 0));
    for (;;) {
        const auto waited = wait_until(deadline, after);
        if (waited == Waited::interrupted) continue;
        if (waited != Waited::token) return {};
        // The next publication may have come between, and an expiry.
        if (auto token = current(); token && token->generation() > after && !token->expired()) {
            return token;
        }
    }
}

Subscription TokenReceiver::add_callback(std::function<void(const Token&)> callback) {
    Subscription subscription;
    subscription.id_ = state_->store.callbacks().add(std::move(callback));
    subscription.receiver_ = state_;
    state_->doorbell.ring();
    return subscription;
}

void TokenReceiver::request_refresh(const Token& token) noexcept {
    if (!token.serial()) return;
    state_->doorbell.refuse(token.generation());
}

int TokenReceiver::event_fd() {
    if (const int fd = state_->event_fd.load(std::memory_order_acquire); fd >= 0) return fd;
    {
        const std::scoped_lock lock(state_->mutex);
        if (state_->events) return state_->events.get();
        state_->events = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    }
    if (!state_->events) return -1;
    auto subscription = add_callback([state = state_.get()](const Token&) noexcept {
        const std::uint64_t one = 1;
        static_cast<void>(!write(state->events.get(), &one, sizeof one));
    });
    const std::scoped_lock lock(state_->mutex);
    state_->event_subscription = std::move(subscription);
    state_->event_fd.store(state_->events.get(), std::memory_order_release);
    return state_->events.get();
}

Error TokenReceiver::follow(FollowUp& follow_up) {
    const std::scoped_lock lock(state_->mutex);
    if (state_->listener) {
        if (auto error = state_->listener->follow(follow_up)) return error;
    }
    state_->follow_up = &follow_up;
    // The follow-up may have somebody new to tell of the current token.
    state_->doorbell.ring();
    return {};
}

Stats TokenReceiver::stats() const noexcept {
    Stats stats;
    stats.take(state_->counters);
    stats.generation = state_->store.generation();
    stats.retained = state_->store.retained();
    stats.membarrier = !detail::readers_are_fenced();
    stats.memory_locked = state_->store.memory_locked();
    return stats;
}

std::string TokenReceiver::path() const {
    const std::scoped_lock lock(state_->mutex);
    return state_->path;
}

}  // namespace tokenrelay
