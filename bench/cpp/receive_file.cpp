// Waits with inotify for the token file to be replaced and reads it again.
//   receive_file --ledger FILE --file PATH --ack FD
#include <sys/inotify.h>

#include <filesystem>

#include "frame.hpp"
#include "ledger.hpp"

namespace {

/// True when one of the events in `buffer` is a rename onto `name`.
bool replaced(const char* buffer, ssize_t size, const std::string& name) {
    for (ssize_t at = 0; at < size;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
        if (event->len > 0 && name == event->name) return true;
        at += static_cast<ssize_t>(sizeof *event + event->len);
    }
    return false;
}

}  // namespace

int main(int count, char** values) {
    const bench::Arguments arguments(count, values);
    bench::Ledger& ledger = bench::map_ledger(arguments.text("--ledger"));
    const int acknowledgements = arguments.number("--ack", -1);
    const std::filesystem::path path = arguments.text("--file");
    const int watcher = ::inotify_init1(IN_CLOEXEC);
    if (::inotify_add_watch(watcher, path.parent_path().c_str(), IN_MOVED_TO) < 0)
        bench::fail("inotify_add_watch");
    bench::say("ready");
    alignas(inotify_event) char events[4096];
    char content[2 * bench::frame_size];
    for (;;) {
        const ssize_t size = ::read(watcher, events, sizeof events);
        if (size <= 0) bench::fail("read of inotify");
        if (!replaced(events, size, path.filename())) continue;
        const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        const ssize_t got = ::read(descriptor, content, sizeof content);
        ::close(descriptor);
        const std::int64_t received = bench::now_ns();
        if (got <= 0) bench::fail("read of the token file");
        if (bench::find_token({content, static_cast<std::size_t>(got)}).size() != bench::token_size)
            bench::fail("token");
        ledger.stamp(received, bench::now_ns());
        if (::write(acknowledgements, "x", 1) != 1) bench::fail("acknowledgement");
    }
}
