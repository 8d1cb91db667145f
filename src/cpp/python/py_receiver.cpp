#include "py_receiver.hpp"

#include <algorithm>

#include "interpreter.hpp"
#include "py_token.hpp"
#include "tokenrelay/clock.hpp"

namespace tokenrelay::python {
namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds kSignalCheck = std::chrono::milliseconds(100);
constexpr nanoseconds kCloseTimeout = std::chrono::seconds(1);  // for a callback that still runs

}  // namespace

PyReceiver::~PyReceiver() {
    if (stop_without_signals(nanoseconds(0))) return;
    core_->forget();
    {
        const nb::ft_lock_guard lock(core_->mutex);
        core_->left_behind = true;
    }
    core_->receiver.let_go();
    static_cast<void>(core_.release());
}

nb::object PyReceiver::Core::token() {
    Guard<Token> guard;
    {
        const nb::ft_lock_guard lock(mutex);
        if (left_behind) return nb::none();
        if (receiver.generation() == cached_generation)
            return cached.is_valid() ? cached : nb::none();
        guard = receiver.current();
    }
    if (!guard) return nb::none();
    // May run other Python code, which may be here as well.
    nb::object token = make_py_token(*guard);
    const nb::ft_lock_guard lock(mutex);
    if (guard->generation() > cached_generation) {
        cached_generation = guard->generation();
        std::swap(cached, token);
    }
    return cached;
}

void PyReceiver::Core::forget() noexcept {
    dispatcher.clear();
    nb::object token;
    const nb::ft_lock_guard lock(mutex);
    std::swap(cached, token);
    cached_generation = 0;
}

bool PyReceiver::stop(nanoseconds timeout) const {
    const std::int64_t begin = clock_ns(CLOCK_MONOTONIC);
    for (;;) {
        const nanoseconds waited(clock_ns(CLOCK_MONOTONIC) - begin);
        const nanoseconds left = timeout.count() < 0 ? nanoseconds::max() : timeout - waited;
        if (stop_without_signals(std::clamp(left, nanoseconds(0), kSignalCheck))) return true;
        if (left.count() <= 0 || interpreter_is_closed() || receiver().in_callback()) return false;
        if (PyErr_CheckSignals() != 0) throw nb::python_error();
    }
}

bool PyReceiver::stop_without_signals(nanoseconds timeout) const noexcept {
    const WithoutInterpreter without;  // a callback may need it to end
    return receiver().stop_within(interpreter_is_closed() ? nanoseconds(0) : timeout);
}

void PyReceiver::close() const noexcept {
    dispatcher().clear();
    stop_without_signals(kCloseTimeout);
}

void PyReceiver::after_fork() const noexcept {
    new (&core_->mutex) nb::ft_mutex;
    dispatcher().after_fork();
    nb::object token;
    std::swap(core_->cached, token);
    core_->cached_generation = 0;
}

}  // namespace tokenrelay::python
