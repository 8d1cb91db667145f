// The cheapest a binding can be: a property and a raw getset, each returning a cached object.
// What receiver.token is compared with.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

namespace {

struct Floor {
    nb::object cached;
};

PyObject* get_cached(PyObject* self, void*) {
    return nb::inst_ptr<Floor>(self)->cached.inc_ref().ptr();
}

PyGetSetDef getset[] = {{"raw", get_cached, nullptr, nullptr, nullptr}, {}};
PyType_Slot slots[] = {{Py_tp_getset, getset}, {0, nullptr}};

}  // namespace

NB_MODULE(bench_floor, module) {
    nb::class_<Floor>(module, "Floor", nb::type_slots(slots))
        .def("__init__",
             [](Floor* self, nb::object cached) { new (self) Floor{std::move(cached)}; })
        .def_prop_ro("property", [](const Floor& self) { return self.cached; });
}
