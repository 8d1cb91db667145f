#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <unistd.h>

#include <chrono>
#include <climits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dispatcher.hpp"
#include "py_token.hpp"
#include "tokenrelay/receiver.hpp"

namespace tokenrelay::python {
namespace {

// A native callback: entered on the receiver's thread, without the interpreter. `authorization` is
// "Bearer …", valid during the call.
using NativeFunction = void (*)(const char* authorization, std::size_t size,
                                std::int64_t expires_at, std::uint64_t generation, void* context);
constexpr const char* kCapsuleName = "tokenrelay.native_callback";

struct PyReceiver {
    TokenReceiver receiver;
    std::shared_ptr<Dispatcher> dispatcher;
    nb::object cached;  // the newest Token object
    std::uint64_t cached_generation = 0;

    explicit PyReceiver(Options options)
        : receiver(std::move(options)),
          dispatcher(std::make_shared<Dispatcher>([this] { return token(); })) {}

    ~PyReceiver() {
        bool ended = false;
        {
            // A callback may need the GIL to end.
            nb::gil_scoped_release release;
            ended = receiver.stop_within(std::chrono::nanoseconds(-1));
        }
        if (!ended) new std::shared_ptr<Dispatcher>(dispatcher);
    }

    // The newest token or None: a compare and an incref until the next publication.
    nb::object token() {
        if (receiver.generation() != cached_generation) refresh();
        return cached.is_valid() ? cached : nb::none();
    }

    void refresh() {
        const auto guard = receiver.current();
        cached_generation = guard ? guard->generation() : 0;
        cached = guard ? make_py_token(*guard) : nb::object();
    }
};

[[noreturn]] void raise_forked() {
    PyErr_SetString(nb::module_::import_("tokenrelay.errors").attr("ForkedReceiver").ptr(),
                    "this receiver belongs to the process that was forked. "
                    "Call start() to make it one of this process");
    throw nb::python_error();
}

PyObject* get_token(PyObject* self, void*) noexcept {
    auto& receiver = *nb::inst_ptr<PyReceiver>(nb::handle(self));
    if (receiver.receiver.generation() == receiver.cached_generation && receiver.cached.is_valid())
        [[likely]] {
        return receiver.cached.inc_ref().ptr();
    }
    try {
        if (receiver.receiver.forked()) raise_forked();
        return receiver.token().release().ptr();
    } catch (nb::python_error& error) {
        error.restore();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
}

PyGetSetDef receiver_getset[] = {
    {"token", get_token, nullptr, "The newest Token, or None before the first. Never blocks.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    if (!nb::inst_ready(self)) return 0;
    return nb::inst_ptr<PyReceiver>(nb::handle(self))->dispatcher->traverse(visit, arg);
}

int clear(PyObject* self) {
    nb::inst_ptr<PyReceiver>(nb::handle(self))->dispatcher->clear();
    return 0;
}

PyType_Slot receiver_slots[] = {{Py_tp_getset, receiver_getset},
                                {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                                {Py_tp_clear, reinterpret_cast<void*>(clear)},
                                {0, nullptr}};

void raise_if(const Error& error) {
    if (!error) return;
    PyErr_SetObject(nb::module_::import_("tokenrelay.errors").attr("ReceiverError").ptr(),
                    nb::make_tuple(error.number(), error.message()).ptr());
    throw nb::python_error();
}

Subscription subscribe_native(PyReceiver& self, NativeFunction function, void* context) {
    return self.receiver.subscribe([function, context](const Token& token) noexcept {
        const auto text = token.authorization();
        function(text.data(), text.size(), token.expires_at(), token.generation(), context);
    });
}

Subscription subscribe_capsule(PyReceiver& self, nb::capsule capsule) {
    auto* function = reinterpret_cast<NativeFunction>(PyCapsule_GetPointer(capsule.ptr(), kCapsuleName));
    if (!function) throw nb::python_error();
    return subscribe_native(self, function, PyCapsule_GetContext(capsule.ptr()));
}

Subscription subscribe_fd(PyReceiver& self, int fd) {
    return self.receiver.subscribe([fd](const Token&) noexcept {
        const std::uint64_t one = 1;
        static_cast<void>(!write(fd, &one, sizeof one));
    });
}

// "token", "timeout" or "stopped"; looks at Python's signals while it waits.
const char* wait(PyReceiver& self, double timeout, std::uint64_t after) {
    const std::int64_t deadline =
        timeout < 0 ? LLONG_MAX
                    : clock_ns(CLOCK_MONOTONIC) + static_cast<std::int64_t>(timeout * 1e9);
    for (;;) {
        if (self.receiver.forked()) raise_forked();
        TokenReceiver::Waited waited;
        {
            nb::gil_scoped_release release;
            waited = self.receiver.wait_until(deadline, after);
        }
        switch (waited) {
            case TokenReceiver::Waited::token: return "token";
            case TokenReceiver::Waited::timed_out: return "timeout";
            case TokenReceiver::Waited::stopped: return "stopped";
            case TokenReceiver::Waited::interrupted:
                if (PyErr_CheckSignals() != 0) throw nb::python_error();
        }
    }
}

nb::dict stats(PyReceiver& self) {
    const Stats stats = self.receiver.stats();
    nb::dict refused;
    for (int i = 1; i < kRefusals; ++i) {
        const auto name = code(static_cast<Refusal>(i));
        refused[nb::str(name.data(), name.size())] = stats.refused[static_cast<std::size_t>(i)];
    }
    const Histogram& python = self.dispatcher->latencies();
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
    result["callback_errors"] = self.dispatcher->errors();
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
    nb::class_<Subscription>(module, "NativeSubscription", "A callback that runs without the interpreter.")
        .def("cancel", &Subscription::cancel, nb::call_guard<nb::gil_scoped_release>(),
             "End it. Returns when it no longer runs. Idempotent.");

    nb::class_<PyReceiver>(module, "Receiver", nb::type_slots(receiver_slots), nb::is_weak_referenceable(),
                           "The native half of TokenReceiver.")
        .def("__init__",
             [](PyReceiver* self, std::string account, std::string path, std::string program,
                std::int64_t busy_poll, int cpu, std::vector<uid_t> allow_uids, unsigned mode,
                bool keep_refresh_token) {
                 new (self) PyReceiver(Options{std::move(account), std::move(path), std::move(program),
                                               std::chrono::nanoseconds(busy_poll), cpu,
                                               std::move(allow_uids), static_cast<mode_t>(mode),
                                               keep_refresh_token});
             },
             nb::kw_only(), nb::arg("account"), nb::arg("path"), nb::arg("program"),
             nb::arg("busy_poll"), nb::arg("cpu"), nb::arg("allow_uids"), nb::arg("mode"),
             nb::arg("keep_refresh_token"))
        .def("_start", [](PyReceiver& self) {
            Error error;
            {
                nb::gil_scoped_release release;
                error = self.receiver.start();
            }
            raise_if(error);
        })
        .def("_stop", [](PyReceiver& self, double timeout) {
            nb::gil_scoped_release release;
            return self.receiver.stop_within(std::chrono::nanoseconds(static_cast<std::int64_t>(timeout * 1e9)));
        }, nb::arg("timeout"))
        .def("_wait", &wait, nb::arg("timeout"), nb::arg("after"))
        .def("_subscribe", [](PyReceiver& self, nb::object callback) {
            const std::uint64_t id = self.dispatcher->add(std::move(callback));
            Error error;
            {
                nb::gil_scoped_release release;
                error = self.receiver.follow(*self.dispatcher);
            }
            raise_if(error);
            return id;
        }, nb::arg("callback"))
        .def("_unsubscribe", [](PyReceiver& self, std::uint64_t id) { self.dispatcher->remove(id); }, nb::arg("id"))
        .def("_subscribe_address", [](PyReceiver& self, std::uintptr_t address, std::uintptr_t context) {
            return subscribe_native(self, reinterpret_cast<NativeFunction>(address), reinterpret_cast<void*>(context));
        }, nb::arg("address"), nb::arg("context"))
        .def("_subscribe_capsule", &subscribe_capsule, nb::arg("capsule"))
        .def("_subscribe_fd", &subscribe_fd, nb::arg("fd"))
        .def("_request_refresh", [](PyReceiver& self, const PyToken& token) { self.receiver.request_refresh(token.token); }, nb::arg("token"))
        .def("_after_fork", [](PyReceiver& self) { self.dispatcher->after_fork(); })
        .def("_stats", &stats, nb::sig("def _stats(self) -> dict[str, typing.Any]"))
        .def_prop_ro("running", [](PyReceiver& self) { return self.receiver.running(); },
                     "Whether it listens.")
        .def_prop_ro("forked", [](PyReceiver& self) { return self.receiver.forked(); },
                     "Whether this process was forked from the one that started it.")
        .def_prop_ro("path", [](PyReceiver& self) { return self.receiver.path(); },
                     "The socket's path; empty before the first start().");
    module.def("_close_interpreter", &Dispatcher::close_interpreter);
}

}  // namespace tokenrelay::python
