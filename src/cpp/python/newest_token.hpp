// NewestToken: the newest token as Python sees it: one object, the same for every reader until the
// next publication.
//
// Without the GIL, one thread takes its reference while another replaces the object. So the object
// is published through a cell, like the native token: a reader protects it, takes its reference and
// lets go, without a lock. With the GIL nothing comes between, and a plain load does.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "tokenrelay/cell.hpp"
#include "tokenrelay/receiver.hpp"

namespace tokenrelay::python {

namespace nb = nanobind;

// All of it is called in the interpreter, by any thread.
class NewestToken {
public:
    explicit NewestToken(const TokenReceiver& receiver) noexcept : receiver_(receiver) {}

    // A new reference, or null where get() must look. Lock-free.
    PyObject* cached() const noexcept {
#if defined(NB_FREE_THREADED)
        const auto kept = cell_.read();
#else
        const Kept* const kept = cell_.peek();
#endif
        if (!kept || kept->generation != receiver_.generation()) return nullptr;
        return kept->token.inc_ref().ptr();
    }
    // The newest token or None. May keep the object it replaces until drop_replaced().
    nb::object get();
    // Lets go of the objects that were replaced: one membarrier(2) without the GIL, which is why it
    // is apart from get().
    void drop_replaced() noexcept;
    // Nothing is kept from now on, and get() returns None.
    void close() noexcept;
    // In a forked child.
    void after_fork() noexcept;

private:
    struct Kept {
        nb::object token;
        std::uint64_t generation;
        bool in_use = false;
    };

    nb::object keep(std::unique_ptr<Kept> next);

    const TokenReceiver& receiver_;
    Cell<Kept> cell_;  // what `current_` points to

    // Guards what follows, where the GIL does not. Python code never runs while it is held.
    nb::ft_mutex mutex_;
    bool closed_ = false;
    std::unique_ptr<Kept> current_;
    std::vector<std::unique_ptr<Kept>> replaced_;
};

}  // namespace tokenrelay::python
