// What each bind_*.cpp adds to the module.
#pragma once

#include <nanobind/nanobind.h>

#include "py_receiver.hpp"

namespace tokenrelay::python {

void bind_token(nb::module_& module);
void bind_receiver(nb::module_& module);
void bind_native_callbacks(nb::module_& module, nb::class_<PyReceiver>& receiver);
void bind_measure(nb::module_& module);

}  // namespace tokenrelay::python
