// Where exceptions of the standard library become values of this one, so that it can be compiled
// without them. Under -fno-exceptions what would throw ends the program, as the standard library's
// own code does then.
#pragma once

#include <cstdlib>
#include <new>
#include <type_traits>
#include <utility>

namespace tokenrelay {

// What `function` returns, or `otherwise` if it throws.
template <class F>
std::invoke_result_t<F> caught(F&& function, std::invoke_result_t<F> otherwise) noexcept {
#ifdef __cpp_exceptions
    try {
        return std::forward<F>(function)();
    } catch (...) {
        return otherwise;
    }
#else
    static_cast<void>(otherwise);
    return std::forward<F>(function)();
#endif
}

[[noreturn]] inline void out_of_memory() {
#ifdef __cpp_exceptions
    throw std::bad_alloc();
#else
    std::abort();
#endif
}

}  // namespace tokenrelay
