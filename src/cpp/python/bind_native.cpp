// Callbacks that run on the receiver's thread without the interpreter.
#include <nanobind/nanobind.h>
#include <unistd.h>

#include <cstdint>

#include "bindings.hpp"
#include "interpreter.hpp"

namespace tokenrelay::python {
namespace {

// `authorization` is "Bearer …", valid during the call.
using NativeFunction = void (*)(const char* authorization, std::size_t size,
                                std::int64_t expires_at, std::uint64_t generation, void* context);
constexpr const char* kCapsuleName = "tokenrelay.native_callback";

class NativeSubscription {
public:
    explicit NativeSubscription(Subscription subscription) noexcept
        : subscription_(std::move(subscription)) {}
    NativeSubscription(NativeSubscription&&) noexcept = default;
    ~NativeSubscription() { cancel(); }
    void cancel() noexcept {
        Subscription ended = std::move(subscription_);  // another thread may come to cancel, too
        // A ctypes callback into Python needs the interpreter to end.
        const WithoutInterpreter without;
        ended.cancel();
    }

private:
    Subscription subscription_;
};

template <class F>
NativeSubscription add(const PyReceiver& self, F callback) {
    const WithoutInterpreter without;
    return NativeSubscription(self.receiver().subscribe(std::move(callback)));
}

NativeSubscription subscribe_function(const PyReceiver& self, NativeFunction function,
                                      void* context) {
    if (!function) throw nb::value_error("on_native: a null function pointer");
    return add(self, [function, context](const Token& token) noexcept {
        const auto text = token.authorization();
        // Should it lead into Python after all.
        or_park([&] {
            function(text.data(), text.size(), token.expires_at(), token.generation(), context);
        });
    });
}

NativeSubscription subscribe_address(const PyReceiver& self, std::uintptr_t address) {
    return subscribe_function(self, reinterpret_cast<NativeFunction>(address), nullptr);
}

NativeSubscription subscribe_capsule(const PyReceiver& self, nb::object capsule) {
    void* const function = PyCapsule_GetPointer(capsule.ptr(), kCapsuleName);
    if (!function) throw nb::python_error();
    void* const context = PyCapsule_GetContext(capsule.ptr());
    return subscribe_function(self, reinterpret_cast<NativeFunction>(function), context);
}

NativeSubscription subscribe_fd(const PyReceiver& self, int fd) {
    return add(self, [fd](const Token&) noexcept {
        const std::uint64_t one = 1;
        static_cast<void>(!write(fd, &one, sizeof one));
    });
}

}  // namespace

void bind_native_callbacks(nb::module_& module, nb::class_<PyReceiver>& receiver) {
    nb::class_<NativeSubscription>(module, "NativeSubscription",
                                   "A callback that runs without the interpreter.")
        .def("cancel", &NativeSubscription::cancel, nb::lock_self(),
             "End it. Returns when it no longer runs. Idempotent.");
    receiver.def("_subscribe_address", &subscribe_address, nb::arg("address"))
        .def("_subscribe_capsule", &subscribe_capsule, nb::arg("capsule"))
        .def("_subscribe_fd", &subscribe_fd, nb::arg("fd"));
}

}  // namespace tokenrelay::python
