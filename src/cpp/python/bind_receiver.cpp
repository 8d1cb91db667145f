#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <cstdint>
#include <new>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "interpreter.hpp"
#include "py_receiver.hpp"
#include "py_token.hpp"

namespace tokenrelay::python {
namespace {

constexpr double kNanoseconds = 1e9;
constexpr double kForEver = 1e9;  // s, and all above: 64 bits of nanoseconds end at 9.2e9

// Negative: for ever, as are NaN and what the clock can't hold.
std::chrono::nanoseconds to_timeout(double seconds) noexcept {
    if (!(seconds >= 0 && seconds < kForEver)) return std::chrono::nanoseconds(-1);
    return std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * kNanoseconds));
}

[[noreturn]] void raise_forked() {
    PyErr_SetString(nb::module_::import_("tokenrelay.errors").attr("ForkedReceiver").ptr(),
                    "this receiver belongs to the process that was forked. "
                    "Call start() to make it one of this process");
    throw nb::python_error();
}

nb::object checked_token(nb::handle self) {
    if (!nb::inst_ready(self)) throw nb::type_error("the receiver's __init__ was not called");
    const auto& receiver = *nb::inst_ptr<PyReceiver>(self);
    if (receiver.receiver().forked()) raise_forked();
    return receiver.token();
}

PyObject* get_token(PyObject* self, void*) noexcept {
    if (PyObject* token = nb::inst_ptr<PyReceiver>(nb::handle(self))->cached_token()) [[likely]] {
        return token;
    }
    try {
        return checked_token(self).release().ptr();
    } catch (nb::python_error& error) {
        error.restore();
    } catch (const nb::builtin_exception& error) {
        PyErr_SetString(PyExc_TypeError, error.what());
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    }
    return nullptr;
}

PyGetSetDef receiver_getset[] = {
    {"token", get_token, nullptr, "The newest Token, or None before the first. Never blocks.",
     nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    if (!nb::inst_ready(self)) return 0;
    return nb::inst_ptr<PyReceiver>(nb::handle(self))->dispatcher().traverse(visit, arg);
}

int clear(PyObject* self) {
    if (nb::inst_ready(self)) nb::inst_ptr<PyReceiver>(nb::handle(self))->dispatcher().clear();
    return 0;
}

// Runs before anything of the object, or of a garbage cycle it is part of, is taken apart.
void finalize(PyObject* self) {
    const nb::error_scope scope;
    if (nb::inst_ready(self)) nb::inst_ptr<PyReceiver>(nb::handle(self))->close();
}

PyType_Slot receiver_slots[] = {{Py_tp_getset, receiver_getset},
                                {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                                {Py_tp_clear, reinterpret_cast<void*>(clear)},
                                {Py_tp_finalize, reinterpret_cast<void*>(finalize)},
                                {0, nullptr}};

void raise_if(const Error& error) {
    if (!error) return;
    PyErr_SetObject(nb::module_::import_("tokenrelay.errors").attr("ReceiverError").ptr(),
                    nb::make_tuple(error.number(), error.message()).ptr());
    throw nb::python_error();
}

void start(const PyReceiver& self) {
    // Should a callback have stopped it and still run, this waits for its end, and for signals.
    if (!self.receiver().running()) self.stop(std::chrono::nanoseconds(-1));
    Error error;
    {
        const WithoutInterpreter without;
        error = self.receiver().start();
    }
    raise_if(error);
}

std::uint64_t subscribe(const PyReceiver& self, nb::object callback) {
    const std::uint64_t id = self.dispatcher().add(std::move(callback));
    Error error;
    {
        const WithoutInterpreter without;
        error = self.receiver().follow(self.dispatcher());
    }
    if (error) self.dispatcher().remove(id);
    raise_if(error);
    return id;
}

// "token", "timeout" or "stopped"; looks at Python's signals while it waits.
const char* wait(const PyReceiver& self, double timeout, std::uint64_t after) {
    const std::int64_t deadline = deadline_after(to_timeout(timeout).count());
    for (;;) {
        if (self.receiver().forked()) raise_forked();
        if (!self.receiver().running()) return "stopped";
        TokenReceiver::Waited waited;
        {
            const WithoutInterpreter without;
            waited = self.receiver().wait_until(deadline, after);
        }
        switch (waited) {
            case TokenReceiver::Waited::token:
                return "token";
            case TokenReceiver::Waited::timed_out:
                return "timeout";
            case TokenReceiver::Waited::stopped:
                return "stopped";
            case TokenReceiver::Waited::interrupted:
                if (PyErr_CheckSignals() != 0) throw nb::python_error();
        }
    }
}

void request_refresh(const PyReceiver& self, const PyToken& token) {
    if (self.receiver().forked()) raise_forked();
    self.receiver().request_refresh(token.token);
}

nb::dict stats(const PyReceiver& self) {
    const Stats stats = self.receiver().stats();
    nb::dict refused;
    for (int i = 1; i < kRefusals; ++i) {
        const auto name = code(static_cast<Refusal>(i));
        refused[nb::str(name.data(), name.size())] = stats.refused[static_cast<std::size_t>(i)];
    }
    const Histogram& python = self.dispatcher().latencies();
    nb::dict result;
    result["generation"] = stats.generation;
    result["published"] = stats.published;
    result["repeated"] = stats.repeated;
    result["refused"] = refused;
    result["connections"] = stats.connections;
    result["accepted"] = stats.accepted;
    result["foreign"] = stats.foreign;
    result["accept_failures"] = stats.accept_failures;
    result["rebinds"] = stats.rebinds;
    result["refresh_requests"] = stats.refresh_requests;
    result["refresh_refusals"] = stats.refresh_refusals;
    result["callback_overruns"] = stats.callback_overruns;
    result["callback_errors"] = self.dispatcher().errors();
    result["retained"] = stats.retained;
    result["native_p50_ns"] = stats.callbacks_p50;
    result["native_p99_ns"] = stats.callbacks_p99;
    result["native_max_ns"] = stats.callbacks_max;
    result["python_p50_ns"] = python.quantile(0.5);
    result["python_p99_ns"] = python.quantile(0.99);
    result["membarrier"] = stats.membarrier;
    result["memory_locked"] = stats.memory_locked;
    return result;
}

}  // namespace

void bind_receiver(nb::module_& module) {
    nb::class_<PyReceiver> receiver(module, "Receiver", nb::type_slots(receiver_slots),
                                    nb::is_weak_referenceable(),
                                    "The native half of TokenReceiver.");
    receiver
        .def(
            "__init__",
            [](PyReceiver* self, std::string account, std::string path, std::string program,
               double busy_poll, int cpu, std::vector<uid_t> allow_uids, unsigned mode,
               bool keep_refresh_token) {
                new (self) PyReceiver(Options{
                    std::move(account), std::move(path), std::move(program), to_timeout(busy_poll),
                    cpu, std::move(allow_uids), static_cast<mode_t>(mode), keep_refresh_token});
            },
            nb::kw_only(), nb::arg("account"), nb::arg("path"), nb::arg("program"),
            nb::arg("busy_poll"), nb::arg("cpu"), nb::arg("allow_uids"), nb::arg("mode"),
            nb::arg("keep_refresh_token"))
        .def("_start", &start)
        .def(
            "_stop",
            [](const PyReceiver& self, double timeout) { return self.stop(to_timeout(timeout)); },
            nb::arg("timeout"), "False if a callback still runs.")
        .def("_wait", &wait, nb::arg("timeout"), nb::arg("after"))
        .def("_subscribe", &subscribe, nb::arg("callback"))
        .def(
            "_unsubscribe",
            [](const PyReceiver& self, std::uint64_t id) { self.dispatcher().remove(id); },
            nb::arg("id"))
        .def("_request_refresh", &request_refresh, nb::arg("token"))
        .def("_after_fork", [](const PyReceiver& self) { self.after_fork(); })
        .def("_stats", &stats, nb::sig("def _stats(self) -> dict[str, typing.Any]"))
        .def_prop_ro(
            "running", [](const PyReceiver& self) { return self.receiver().running(); },
            "Whether it listens.")
        .def_prop_ro(
            "forked", [](const PyReceiver& self) { return self.receiver().forked(); },
            "Whether this process was forked from the one that started it.")
        .def_prop_ro(
            "path", [](const PyReceiver& self) { return self.receiver().path(); },
            "The socket's path; empty before the first start().");
    bind_native_callbacks(module, receiver);
    module.def("_close_interpreter", &close_interpreter);
}

}  // namespace tokenrelay::python
