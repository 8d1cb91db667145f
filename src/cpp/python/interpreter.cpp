#include "interpreter.hpp"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <mutex>

namespace tokenrelay::python {
namespace {

std::atomic<bool> closed{false};

constinit thread_local PyThreadState* kept_state = nullptr;

PyInterpreterState* interpreter = nullptr;

// A child that is forked while a thread makes its state finds Python's list of threads locked for
// ever, before 3.11.8 (python/cpython#112275). So none of ours makes one while anybody forks. Later
// ones hold that list's lock while they fork: taken in the other order, this one would deadlock.
std::mutex state_in_the_making;

bool forks_leave_the_list_locked() noexcept { return Py_Version < 0x030b08f0; }

PyThreadState* new_state() {
    std::unique_lock lock(state_in_the_making, std::defer_lock);
    if (forks_leave_the_list_locked()) lock.lock();
    return PyThreadState_New(interpreter);
}

}  // namespace

void open_interpreter() noexcept {
    interpreter = PyInterpreterState_Get();
    if (!forks_leave_the_list_locked()) return;
    const auto unlock = [] { state_in_the_making.unlock(); };
    pthread_atfork([] { state_in_the_making.lock(); }, unlock, unlock);
}

void park() noexcept {
    for (;;) pause();
}

void close_interpreter() noexcept { closed.store(true, std::memory_order_release); }

bool interpreter_is_closed() noexcept { return closed.load(std::memory_order_acquire); }

void own_thread::attach() {
    if (interpreter_is_closed()) park();
    if (!kept_state) kept_state = new_state();
    or_park([] { PyEval_RestoreThread(kept_state); });
}

void own_thread::detach() noexcept { kept_state = PyEval_SaveThread(); }

void own_thread::release() noexcept {
    if (!kept_state) return;
    attach();
    // A new state counts as one PyGILState_Ensure(), whose counterpart deletes it.
    or_park([] { PyGILState_Release(PyGILState_UNLOCKED); });
    kept_state = nullptr;
}

}  // namespace tokenrelay::python
