#include "dispatcher.hpp"

#include <algorithm>
#include <climits>
#include <new>

#include "interpreter.hpp"
#include "py_token.hpp"
#include "tokenrelay/clock.hpp"

namespace tokenrelay::python {
namespace {

bool call(PyObject* callback, PyObject* token) {
    PyObject* const result = PyObject_Vectorcall(callback, &token, 1, nullptr);
    if (!result) PyErr_WriteUnraisable(callback);
    Py_XDECREF(result);
    return result != nullptr;
}

}  // namespace

std::uint64_t Dispatcher::add(nb::object callback) {
    auto entry = std::make_shared<Entry>(0, std::move(callback), clock_ns(CLOCK_BOOTTIME));
    const nb::ft_lock_guard lock(mutex_);
    entry->id = ++ids_;
    entries_.push_back(std::move(entry));
    count_.store(entries_.size(), std::memory_order_release);
    return ids_;
}

void Dispatcher::remove(std::uint64_t id) {
    std::shared_ptr<Entry> removed;  // its callback may run code when it goes: after the change
    {
        const nb::ft_lock_guard lock(mutex_);
        const auto at = std::find_if(entries_.begin(), entries_.end(),
                                     [id](const auto& entry) { return entry->id == id; });
        if (at != entries_.end()) {
            removed = std::move(*at);
            entries_.erase(at);
            count_.store(entries_.size(), std::memory_order_release);
        }
    }
    if (runner_.load(std::memory_order_relaxed) == std::this_thread::get_id()) return;
    for (;;) {
        const std::uint32_t seen = done_.value();
        if (running_.load(std::memory_order_acquire) != id) return;
        auto woken = WakeCount::Woken::advanced;
        {
            const WithoutInterpreter without;
            woken = done_.wait(seen, LLONG_MAX);
        }
        if (woken == WakeCount::Woken::interrupted && PyErr_CheckSignals() != 0) {
            throw nb::python_error();
        }
    }
}

void Dispatcher::clear() noexcept {
    std::vector<std::shared_ptr<Entry>> entries;
    const nb::ft_lock_guard lock(mutex_);
    entries.swap(entries_);
    count_.store(0, std::memory_order_release);
}

int Dispatcher::traverse(visitproc visit, void* arg) const noexcept {
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
        own_thread::attach();
        or_park([this] { deliver(); });
        own_thread::detach();
    } while (!due_.compare_exchange_strong(seen, 0, std::memory_order_acq_rel));
}

void Dispatcher::leave() noexcept { own_thread::release(); }

void Dispatcher::deliver() {
    try {
        while (call_next()) {
        }
        newest_.drop_replaced();
    } catch (nb::python_error& error) {
        errors_.fetch_add(1, std::memory_order_relaxed);
        error.discard_as_unraisable("tokenrelay: delivering a token");
    } catch (const std::bad_alloc&) {
        errors_.fetch_add(1, std::memory_order_relaxed);
    }
}

// Tells one callback, the one that has waited longest. Looks at the newest token each time: the one
// before may have been replaced while a callback ran.
bool Dispatcher::call_next() {
    const nb::object token = newest_.get();
    if (token.is_none()) return false;
    const Token& snapshot = py_token(token).token;
    std::shared_ptr<Entry> entry = take_next(snapshot.generation());
    if (!entry) return false;
    // Not of the token that was there before the callback was.
    const std::int64_t received_at = snapshot.received_at_ns();
    if (received_at >= entry->added_at) latencies_.record(clock_ns(CLOCK_BOOTTIME) - received_at);
    const bool good = or_park([&] { return call(entry->callback.ptr(), token.ptr()); });
    if (!good) errors_.fetch_add(1, std::memory_order_relaxed);
    entry.reset();  // if it was removed meanwhile, its callback goes before remove() returns
    end_of_call();
    return true;
}

// The callback to run now, marked as running; null if all have heard of this generation.
std::shared_ptr<Dispatcher::Entry> Dispatcher::take_next(std::uint64_t generation) {
    const nb::ft_lock_guard lock(mutex_);
    const auto next =
        std::min_element(entries_.begin(), entries_.end(),
                         [](const auto& a, const auto& b) { return a->heard < b->heard; });
    if (next == entries_.end() || (*next)->heard >= generation) return nullptr;
    (*next)->heard = generation;
    running_.store((*next)->id, std::memory_order_relaxed);
    runner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    return *next;
}

void Dispatcher::end_of_call() noexcept {
    running_.store(0, std::memory_order_release);
    runner_.store({}, std::memory_order_relaxed);
    done_.advance();
}

void Dispatcher::after_fork() noexcept {
    new (&mutex_) nb::ft_mutex;
    new (&done_) WakeCount;
    running_.store(0, std::memory_order_relaxed);
    runner_.store({}, std::memory_order_relaxed);
    due_.store(0, std::memory_order_relaxed);
}

}  // namespace tokenrelay::python
