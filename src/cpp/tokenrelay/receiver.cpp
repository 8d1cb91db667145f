#include "tokenrelay/receiver.hpp"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <mutex>
#include <new>

#include "tokenrelay/fd.hpp"
#include "tokenrelay/listener.hpp"
#include "tokenrelay/paths.hpp"
#include "tokenrelay/socket.hpp"
#include "tokenrelay/store.hpp"

namespace tokenrelay {

struct ReceiverState : std::enable_shared_from_this<ReceiverState> {
    explicit ReceiverState(Options given) : options(std::move(given)) {}

    const Options options;
    TokenStore store;
    mutable std::mutex mutex;  // guards the rest; never held while a callback is waited for
    std::unique_ptr<Listener> listener;
    FollowUp* follow_up = nullptr;
    std::string path;
    UniqueFd event_fd;
    Subscription event_subscription;
    Doorbell doorbell;
    std::atomic<bool> running{false};
    std::atomic<bool> forked{false};

    void after_fork() noexcept;
};

namespace {

// Every receiver of the process, for the handlers of pthread_atfork(3).
class Registry {
public:
    static Registry& instance() {
        static Registry* const registry = new Registry;  // outlives every static destructor
        return *registry;
    }
    void add(ReceiverState* state) {
        const std::scoped_lock lock(mutex_);
        states_.push_back(state);
    }
    void remove(ReceiverState* state) {
        const std::scoped_lock lock(mutex_);
        std::erase(states_, state);
    }

private:
    Registry() { pthread_atfork(before, parent, child); }

    static void before() { instance().mutex_.lock(); }
    static void parent() { instance().mutex_.unlock(); }
    static void child() {
        for (ReceiverState* state : instance().states_) state->after_fork();
        new (&instance().mutex_) std::mutex;
    }

    std::mutex mutex_;
    std::vector<ReceiverState*> states_;
};

std::int64_t deadline_after(std::chrono::nanoseconds timeout) noexcept {
    const std::int64_t now = clock_ns(CLOCK_MONOTONIC);
    return timeout.count() > LLONG_MAX - now ? LLONG_MAX : now + timeout.count();
}

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

void ReceiverState::after_fork() noexcept {
    new (&mutex) std::mutex;
    if (!listener) return;
    running.store(false);
    forked.store(true);
    store.after_fork();
    // Its threads do not exist here and its locks may be held by them: closed, and left as it is.
    listener->abandon();
    static_cast<void>(listener.release());
    doorbell.fd = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    event_fd.reset();
}

void Subscription::cancel() noexcept {
    if (const auto receiver = receiver_.lock()) receiver->store.callbacks().remove(id_);
    receiver_.reset();
}

TokenReceiver::TokenReceiver(Options options)
    : state_(std::make_shared<ReceiverState>(std::move(options))), cell_(&state_->store.cell()) {
    Registry::instance().add(state_.get());
}

TokenReceiver::~TokenReceiver() {
    // Destroyed by one of its own callbacks: the thread goes on for a moment, with what it needs.
    if (!stop_within(std::chrono::nanoseconds(-1))) new std::shared_ptr<ReceiverState>(state_);
    Registry::instance().remove(state_.get());
}

Error TokenReceiver::start() {
    const std::scoped_lock lock(state_->mutex);
    if (state_->running.load()) return {};
    if (state_->listener && state_->listener->on_own_thread()) {
        return {EDEADLK, "a callback cannot start the receiver that it has stopped"};
    }
    state_->listener.reset();
    const Options& options = state_->options;
    if (options.path.empty() && !is_account_name(options.account)) {
        return {EINVAL, "'" + options.account + "' is not an account name: use 1 to 32 of a-z 0-9 _ "
                        "- , beginning with a letter or digit"};
    }
    auto listener = std::make_unique<Listener>(
        state_->store, state_->doorbell,
        ListenerOptions{options.allow_uids, options.busy_poll.count(), options.cpu,
                                       options.keep_refresh_token});
    state_->store.open();
    if (auto error = listener->start(place_for(options), state_->follow_up)) return error;
    state_->path = listener->path();
    state_->forked.store(false);
    state_->listener = std::move(listener);
    state_->running.store(true);
    return {};
}

void TokenReceiver::stop() noexcept { stop_within(std::chrono::nanoseconds(-1)); }

bool TokenReceiver::stop_within(std::chrono::nanoseconds timeout) noexcept {
    state_->store.close();
    std::unique_ptr<Listener> listener;
    {
        const std::scoped_lock lock(state_->mutex);
        if (!state_->listener) return true;
        state_->listener->ask_to_stop();
        state_->running.store(false);
        // Its own callback can't wait for itself to end: the next stop or start joins.
        if (state_->listener->on_own_thread()) return false;
        listener = std::move(state_->listener);
    }
    if (listener->join(timeout.count())) return true;
    // The thread lives on: so must all that it touches.
    static_cast<void>(listener.release());
    static_cast<void>(new std::shared_ptr<ReceiverState>(state_));
    return false;
}

bool TokenReceiver::running() const noexcept { return state_->running.load(); }

bool TokenReceiver::forked() const noexcept { return state_->forked.load(); }

std::uint64_t TokenReceiver::generation() const noexcept { return state_->store.generation(); }

TokenReceiver::Waited TokenReceiver::wait_until(std::int64_t deadline,
                                                std::uint64_t after) noexcept {
    switch (state_->store.wait(after, deadline)) {
        case TokenStore::Waited::token: return Waited::token;
        case TokenStore::Waited::timed_out: return Waited::timed_out;
        case TokenStore::Waited::interrupted: return Waited::interrupted;
        default: return Waited::stopped;
    }
}

Guard<Token> TokenReceiver::wait(std::chrono::nanoseconds timeout, std::uint64_t after) noexcept {
    const std::int64_t deadline = deadline_after(timeout);
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
    state_->doorbell.refused_serial.store(*token.serial(), std::memory_order_release);
    state_->doorbell.ring();
}

int TokenReceiver::event_fd() {
    {
        const std::scoped_lock lock(state_->mutex);
        if (state_->event_fd) return state_->event_fd.get();
        state_->event_fd = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    }
    if (!state_->event_fd) return -1;
    auto subscription = add_callback([fd = state_->event_fd.get()](const Token&) noexcept {
        const std::uint64_t one = 1;
        static_cast<void>(!write(fd, &one, sizeof one));
    });
    const std::scoped_lock lock(state_->mutex);
    state_->event_subscription = std::move(subscription);
    return state_->event_fd.get();
}

Error TokenReceiver::follow(FollowUp& follow_up) {
    const std::scoped_lock lock(state_->mutex);
    state_->follow_up = &follow_up;
    return state_->listener ? state_->listener->follow(follow_up) : Error{};
}

Stats TokenReceiver::stats() const noexcept {
    Stats stats;
    const std::scoped_lock lock(state_->mutex);
    if (state_->listener) state_->listener->read_stats(stats);
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
