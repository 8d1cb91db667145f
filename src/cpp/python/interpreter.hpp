// Entering and leaving the interpreter on threads that may outlive it.
//
// Before 3.14 a thread that asks a finished interpreter for the GIL is ended by pthread_exit(3),
// whose unwinding would abort the process at the first noexcept frame, and on its way there would
// touch Python objects without the GIL. Here such a thread stops for ever instead.
#pragma once

#include <nanobind/nanobind.h>

#include <type_traits>

namespace tokenrelay::python {

[[noreturn]] void park() noexcept;

// Calls `function`, which may enter the interpreter. A function of its own and not noexcept: inside
// a noexcept one, the compiler may leave out what unwinding should run.
template <class F>
[[gnu::noinline]] auto or_park(F&& function) {
    struct Guard {
        bool returned = false;
        ~Guard() {
            if (!returned) park();
        }
    } guard;
    if constexpr (std::is_void_v<decltype(function())>) {
        function();
        guard.returned = true;
    } else {
        auto result = function();
        guard.returned = true;
        return result;
    }
}

// Without the GIL while it lives; for a thread of Python's.
class WithoutInterpreter {
public:
    WithoutInterpreter() noexcept : state_(PyEval_SaveThread()) {}
    WithoutInterpreter(const WithoutInterpreter&) = delete;
    WithoutInterpreter& operator=(const WithoutInterpreter&) = delete;
    ~WithoutInterpreter() {
        or_park([this] { PyEval_RestoreThread(state_); });
    }

private:
    PyThreadState* state_;
};

// For a thread of our own: its Python state is kept from the first attach() to release(), since
// making one for each entry costs 5 to 10 µs. Parks once the interpreter is over.
namespace own_thread {
void attach();
void detach() noexcept;
// Gives the state back, if there is one.
void release() noexcept;
}  // namespace own_thread

// Once, with the GIL, before any thread attaches.
void open_interpreter() noexcept;

// The interpreter ends: none of our threads enters it from now on.
void close_interpreter() noexcept;
bool interpreter_is_closed() noexcept;

}  // namespace tokenrelay::python
