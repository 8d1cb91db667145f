#include "py_receiver.hpp"

#include <algorithm>

#include "interpreter.hpp"
#include "tokenrelay/clock.hpp"

namespace tokenrelay::python {
namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds kSignalCheck = std::chrono::milliseconds(100);
constexpr nanoseconds kCloseTimeout = std::chrono::seconds(1);  // for a callback that still runs

}  // namespace

PyReceiver::~PyReceiver() {
    if (stop_without_signals(nanoseconds(0))) return;
    core_->dispatcher.clear();
    core_->newest.close();
    core_->receiver.let_go();
    static_cast<void>(core_.release());
}

nb::object PyReceiver::token() const {
    nb::object token = core_->newest.get();
    core_->newest.drop_replaced();
    return token;
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
    dispatcher().after_fork();
    core_->newest.after_fork();
}

}  // namespace tokenrelay::python
