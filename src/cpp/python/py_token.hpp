// Token as Python sees it: a copy of the snapshot, its strings made once, at first use.
#pragma once

#include <nanobind/nanobind.h>

#include "tokenrelay/token.hpp"

namespace tokenrelay::python {

namespace nb = nanobind;

struct PyToken {
    Token token;
    nb::object access_token;
    nb::object authorization;
};

const PyToken& py_token(nb::handle object);
nb::object make_py_token(const Token& token);
}  // namespace tokenrelay::python
