#include "tokenrelay/receiver_state.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <new>
#include <vector>

namespace tokenrelay {
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

    // The states are whole in the child: nobody is changing one.
    static void before() {
        instance().mutex_.lock();
        for (ReceiverState* state : instance().states_) {
            state->mutex.lock();
            state->store.callbacks().before_fork();
            if (state->listener) state->listener->before_fork();
        }
    }
    static void parent() {
        for (ReceiverState* state : instance().states_) {
            if (state->listener) state->listener->after_fork_in_parent();
            state->store.callbacks().after_fork_in_parent();
            state->mutex.unlock();
        }
        instance().mutex_.unlock();
    }
    static void child() {
        for (ReceiverState* state : instance().states_) state->after_fork();
        new (&instance().mutex_) std::mutex;
    }

    std::mutex mutex_;
    std::vector<ReceiverState*> states_;
};

}  // namespace

void ReceiverState::remember() { Registry::instance().add(this); }

void ReceiverState::forget() noexcept { Registry::instance().remove(this); }

void ReceiverState::after_fork() noexcept {
    new (&mutex) std::mutex;
    running.store(false);
    counters.connections.store(0, std::memory_order_relaxed);
    store.after_fork();
    if (listener) {
        forked.store(true);
        // The callback that forked returns into it, and may have destroyed the receiver by then.
        if (listener->on_own_thread()) {
            static_cast<void>(new std::shared_ptr<ReceiverState>(shared_from_this()));
        }
        // Its threads do not exist here and its locks may be held by them: closed, left as it is.
        // First, so that no new descriptor has a number that it still remembers.
        listener->abandon();
        static_cast<void>(new std::shared_ptr<Listener>(std::move(listener)));
    }
    doorbell.close();
    if (event_fd.load(std::memory_order_relaxed) < 0) {
        events.reset();  // a thread that is not in the child was about to subscribe it
    } else if (events) {
        // Under the same number, which the program may have kept.
        const UniqueFd own(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (!own || dup3(own.get(), events.get(), O_CLOEXEC) < 0) {
            events.reset();
            event_fd.store(-1, std::memory_order_relaxed);
        }
    }
}

}  // namespace tokenrelay
