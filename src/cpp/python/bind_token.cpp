#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <string>

#include "bindings.hpp"
#include "py_token.hpp"

namespace tokenrelay::python {
namespace {

// Tokens are ASCII; scopes and account names are UTF-8 that the parser has checked.
nb::object text(std::string_view view) { return nb::str(view.data(), view.size()); }

nb::object cached(nb::object& cache, std::string_view view) {
    if (!cache.is_valid()) cache = text(view);
    return cache;
}

nb::object text_or_none(std::string_view view) { return view.empty() ? nb::none() : text(view); }

double seconds(std::chrono::nanoseconds time) { return static_cast<double>(time.count()) / 1e9; }

}  // namespace

const PyToken& py_token(nb::handle object) { return *nb::inst_ptr<PyToken>(object); }

nb::object make_py_token(const Token& token) {
    return nb::cast(PyToken{token, {}, {}}, nb::rv_policy::move);
}

void bind_token(nb::module_& module) {
    nb::class_<PyToken>(module, "Token", nb::is_final(),
                        "One immutable snapshot of a delivered token.\n\n"
                        "Never shows the secret in repr() or str(), and can't be pickled.")
        .def_prop_ro(
            "access_token",
            [](PyToken& self) { return cached(self.access_token, self.token.access_token()); },
            nb::lock_self(), nb::sig("def access_token(self) -> str"), "The secret itself.")
        .def_prop_ro(
            "authorization",
            [](PyToken& self) { return cached(self.authorization, self.token.authorization()); },
            nb::lock_self(), nb::sig("def authorization(self) -> str"),
            "``Bearer …``: the value of an Authorization header (RFC 6750 section 2.1).")
        .def_prop_ro(
            "refresh_token", [](PyToken& self) { return text_or_none(self.token.refresh_token()); },
            nb::sig("def refresh_token(self) -> str | None"),
            "None unless the sender sends it and the receiver keeps it.")
        .def_prop_ro(
            "scope", [](PyToken& self) { return text_or_none(self.token.scope()); },
            nb::sig("def scope(self) -> str | None"),
            "Scopes, separated by spaces (RFC 6749 section 3.3).")
        .def_prop_ro(
            "account", [](PyToken& self) { return text_or_none(self.token.account()); },
            nb::sig("def account(self) -> str | None"), "The sender's name for the login.")
        .def_prop_ro(
            "expires_at", [](PyToken& self) { return self.token.expires_at(); }, "Unix seconds.")
        .def_prop_ro(
            "expires_in", [](PyToken& self) { return seconds(self.token.expires_in()); },
            "Seconds left, by the wall clock or since boot, whichever says less; negative once "
            "expired.")
        .def_prop_ro(
            "expired", [](PyToken& self) { return self.token.expired(); },
            "Whether its time is over.")
        .def_prop_ro(
            "issued_at", [](PyToken& self) { return self.token.issued_at(); },
            "Unix seconds, or None.")
        .def_prop_ro(
            "grant_expires_at", [](PyToken& self) { return self.token.grant_expires_at(); },
            "When the login itself ends, Unix seconds, or None.")
        .def_prop_ro(
            "generation", [](PyToken& self) { return self.token.generation(); },
            "Counts the publications of its receiver, from 1.")
        .def_prop_ro(
            "serial", [](PyToken& self) { return self.token.serial(); },
            "The sender's order of issue, or None.")
        .def_prop_ro(
            "received_at_ns", [](PyToken& self) { return self.token.received_at_ns(); },
            "When its last byte was read: nanoseconds of CLOCK_BOOTTIME.")
        .def("__repr__",
             [](PyToken& self) {
                 return "<Token generation=" + std::to_string(self.token.generation()) +
                        " expires_at=" + std::to_string(self.token.expires_at()) + ">";
             })
        .def(
            "__reduce__",
            [](PyToken&) -> nb::object {
                throw nb::type_error(
                    "a Token can't be pickled or copied: it holds a secret. "
                    "Give the other process a TokenReceiver of its own");
            },
            nb::sig("def __reduce__(self) -> typing.Never"));
}

}  // namespace tokenrelay::python
