#include "dispatcher.hpp"

#include <unistd.h>

#include <algorithm>
#include <new>

#include "py_token.hpp"
#include "tokenrelay/clock.hpp"

namespace tokenrelay::python {
namespace {

std::atomic<bool> interpreter_over{false};

[[noreturn]] void park() noexcept {
    for (;;) pause();
}

// Before 3.14 a thread that asks a finished interpreter for the GIL is ended by pthread_exit(3),
// whose unwinding would abort the process at the first noexcept frame. It stops here instead.
struct ParkWhenUnwound {
    bool entered = true;
    ~ParkWhenUnwound() {
        if (entered) park();
    }
};

// This thread's Python state, kept from its first entry to leave(): making one for each callback
// costs 5 to 10 µs.
constinit thread_local PyThreadState* kept_state = nullptr;

void attach() {
    if (interpreter_over.load(std::memory_order_acquire)) park();
    ParkWhenUnwound guard;
    if (kept_state) {
        PyEval_RestoreThread(kept_state);
    } else {
        PyGILState_Ensure();
    }
    guard.entered = false;
}

void detach() noexcept { kept_state = PyEval_SaveThread(); }

}  // namespace

void Dispatcher::close_interpreter() noexcept {
    interpreter_over.store(true, std::memory_order_release);
}

std::uint64_t Dispatcher::add(nb::object callback) {
    entries_.push_back(std::make_shared<Entry>(++ids_, std::move(callback)));
    count_.store(entries_.size(), std::memory_order_release);
    return ids_;
}

void Dispatcher::remove(std::uint64_t id) {
    std::shared_ptr<Entry> removed;  // its callback may run code when it goes: after the change
    const auto at = std::find_if(entries_.begin(), entries_.end(),
                                 [id](const auto& entry) { return entry->id == id; });
    if (at != entries_.end()) {
        removed = *at;
        entries_.erase(at);
        count_.store(entries_.size(), std::memory_order_release);
    }
    nb::gil_scoped_release release;
    std::unique_lock lock(mutex_);
    if (runner_ == std::this_thread::get_id()) return;
    done_.wait(lock, [&] { return running_ != id; });
}

void Dispatcher::clear() noexcept {
    auto entries = std::move(entries_);
    entries_.clear();
    count_.store(0, std::memory_order_release);
}

int Dispatcher::traverse(visitproc visit, void* arg) noexcept {
    for (const auto& entry : entries_) {
        if (const int result = visit(entry->callback.ptr(), arg)) return result;
    }
    return 0;
}

void Dispatcher::run() noexcept {
    if (count_.load(std::memory_order_acquire) == 0) return;
    if (due_.fetch_add(1, std::memory_order_acq_rel) != 0) return;
    std::uint32_t seen = 1;
    do {
        seen = due_.load(std::memory_order_acquire);
        attach();
        ParkWhenUnwound guard;
        deliver();
        guard.entered = false;
        detach();
    } while (!due_.compare_exchange_strong(seen, 0, std::memory_order_acq_rel));
}

void Dispatcher::leave() noexcept {
    if (!kept_state) return;
    attach();
    PyThreadState_Clear(PyThreadState_Get());
    PyThreadState_DeleteCurrent();
    kept_state = nullptr;
}

void Dispatcher::deliver() {
    const nb::object token = newest_();
    if (token.is_none()) return;
    const Token& snapshot = py_token(token).token;
    while (call_next(token, snapshot.generation(), snapshot.received_at_ns())) {
    }
}

// Calls one callback that has not heard of this generation. The list may change under the call.
bool Dispatcher::call_next(nb::handle token, std::uint64_t generation, std::int64_t received_at) {
    const auto at = std::find_if(entries_.begin(), entries_.end(), [generation](const auto& entry) {
        return entry->heard < generation;
    });
    if (at == entries_.end()) return false;
    const std::shared_ptr<Entry> entry = *at;
    entry->heard = generation;
    {
        const std::scoped_lock lock(mutex_);
        running_ = entry->id;
        runner_ = std::this_thread::get_id();
    }
    latencies_.record(clock_ns(CLOCK_BOOTTIME) - received_at);
    PyObject* result = PyObject_CallOneArg(entry->callback.ptr(), token.ptr());
    if (result) {
        Py_DECREF(result);
    } else {
        errors_.fetch_add(1, std::memory_order_relaxed);
        PyErr_WriteUnraisable(entry->callback.ptr());
    }
    {
        const std::scoped_lock lock(mutex_);
        running_ = 0;
        runner_ = {};
    }
    done_.notify_all();
    return true;
}

void Dispatcher::after_fork() noexcept {
    new (&mutex_) std::mutex;
    new (&done_) std::condition_variable;
    running_ = 0;
    runner_ = {};
    due_.store(0, std::memory_order_relaxed);
}

}  // namespace tokenrelay::python
