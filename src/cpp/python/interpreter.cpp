#include "interpreter.hpp"

#include <unistd.h>

#include <atomic>

namespace tokenrelay::python {
namespace {

std::atomic<bool> closed{false};

constinit thread_local PyThreadState* kept_state = nullptr;

}  // namespace

void park() noexcept {
    for (;;) pause();
}

void close_interpreter() noexcept { closed.store(true, std::memory_order_release); }

bool interpreter_is_closed() noexcept { return closed.load(std::memory_order_acquire); }

void own_thread::attach() {
    if (interpreter_is_closed()) park();
    or_park([] {
        if (kept_state) {
            PyEval_RestoreThread(kept_state);
        } else {
            PyGILState_Ensure();
        }
    });
}

void own_thread::detach() noexcept { kept_state = PyEval_SaveThread(); }

void own_thread::release() noexcept {
    if (!kept_state) return;
    attach();
    // The counterpart of attach()'s PyGILState_Ensure(): deletes the state.
    or_park([] { PyGILState_Release(PyGILState_UNLOCKED); });
    kept_state = nullptr;
}

}  // namespace tokenrelay::python
