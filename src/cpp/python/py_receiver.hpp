// PyReceiver: a TokenReceiver as a Python object owns it: the newest Token object, and an end that
// never waits for ever.
#pragma once

#include <nanobind/nanobind.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "dispatcher.hpp"
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

    // The newest token, a new reference, or null where token() must look.
    PyObject* cached_token() const noexcept {
        if (!core_) [[unlikely]]
            return nullptr;  // zeroed memory: __init__ was never called
        const nb::ft_lock_guard lock(core_->mutex);
        if (core_->receiver.generation() != core_->cached_generation) return nullptr;
        PyObject* const token = core_->cached.ptr();
        Py_XINCREF(token);
        return token;
    }
    // The newest token or None; the same object until the next publication.
    nb::object token() const { return core_->token(); }

    // Negative timeout: as long as it takes. False if a callback still runs or is calling.
    // Looks at signals.
    bool stop(std::chrono::nanoseconds timeout) const;
    // Python is about to take the object apart: no more callbacks, threads ended or left behind.
    void close() const noexcept;
    void after_fork() const noexcept;

private:
    // Apart, so that a thread that can't be waited for may keep it.
    struct Core {
        explicit Core(Options options)
            : receiver(std::move(options)), dispatcher([this] { return token(); }) {}
        nb::object token();
        void forget() noexcept;

        TokenReceiver receiver;
        Dispatcher dispatcher;
        // Guards what follows, where the GIL does not. Python code never runs while it is held.
        nb::ft_mutex mutex;
        bool left_behind = false;
        nb::object cached;
        std::uint64_t cached_generation = 0;
    };

    bool stop_without_signals(std::chrono::nanoseconds timeout) const noexcept;

    std::unique_ptr<Core> core_;
};

}  // namespace tokenrelay::python
