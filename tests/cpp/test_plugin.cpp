// The static library within a shared one that is opened while the program runs (dlopen(3)).
#include <dlfcn.h>

#include <thread>

#include "receiver_fixture.hpp"

// The few bytes that live as long as the process are lost with a plugin that is closed.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

using namespace check;

namespace {

bool deliver(const char* path) { return Peer(path).ask(frame(1)) == accepted(1); }

}  // namespace

TEST(a_plugin_with_a_receiver_is_opened_used_and_closed) {
    const TemporaryDirectory directory;
    for (int round = 0; round < 3; ++round) {
        void* const plugin = dlopen(TOKENRELAY_PLUGIN, RTLD_NOW | RTLD_LOCAL);
        if (!plugin) return fail(__FILE__, __LINE__, dlerror());
        const auto run = reinterpret_cast<int (*)(const char*, bool (*)(const char*))>(
            dlsym(plugin, "run_receiver"));
        // A thread that has read: its place among the readers is given back as it ends.
        std::thread([&] { CHECK_EQUAL(run((directory / "s").c_str(), deliver), 0); }).join();
        CHECK_EQUAL(dlclose(plugin), 0);
        // What the plugin left with the process does not run in code that is gone.
        const pid_t child = fork();
        if (child == 0) _exit(0);
        CHECK_EQUAL(exit_code_of(child), 0);
    }
}
