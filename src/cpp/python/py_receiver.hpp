// PyReceiver: a TokenReceiver as a Python object owns it, with an end that never waits for ever.
#pragma once

#include <nanobind/nanobind.h>

#include <chrono>
#include <memory>

#include "dispatcher.hpp"
#include "newest_token.hpp"
#include "tokenrelay/receiver.hpp"

namespace tokenrelay::python {

class PyReceiver {
public:
    explicit PyReceiver(Options options) : core_(std::make_unique<Core>(std::move(options))) {}
    ~PyReceiver();
    PyReceiver(const PyReceiver&) = delete;
    PyReceiver& operator=(const PyReceiver&) = delete;

    TokenReceiver& receiver() const noexcept { return core_->receiver; }
    Dispatcher& dispatcher() const noexcept { return core_->dispatcher; }

    // The newest token, a new reference, or null where token() must look. Lock-free.
    PyObject* cached_token() const noexcept {
        if (!core_) [[unlikely]]
            return nullptr;  // zeroed memory: __init__ was never called
        return core_->newest.cached();
    }
    // The newest token or None; the same object until the next publication.
    nb::object token() const;

    // Negative timeout: as long as it takes. False if a callback still runs or is calling.
    // Looks at signals.
    bool stop(std::chrono::nanoseconds timeout) const;
    // Python is about to take the object apart: no more callbacks, threads ended or left behind.
    void close() const noexcept;
    void after_fork() const noexcept;

private:
    // Apart, so that a thread that can't be waited for may keep it.
    struct Core {
        explicit Core(Options options) : receiver(std::move(options)) {}

        TokenReceiver receiver;
        NewestToken newest{receiver};
        Dispatcher dispatcher{newest};
    };

    bool stop_without_signals(std::chrono::nanoseconds timeout) const noexcept;

    std::unique_ptr<Core> core_;
};

}  // namespace tokenrelay::python
