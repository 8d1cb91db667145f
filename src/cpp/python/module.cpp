// tokenrelay._core: conversions and the GIL, no logic.
#include <nanobind/nanobind.h>

#include "bindings.hpp"
#include "interpreter.hpp"

NB_MODULE(_core, module) {
    module.doc() = "The native receiver of tokenrelay.";
    tokenrelay::python::open_interpreter();
    tokenrelay::python::bind_token(module);
    tokenrelay::python::bind_receiver(module);
    tokenrelay::python::bind_measure(module);
}
