// SocketKeeper, through TokenReceiver: the socket's file is removed or replaced.
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "receiver_fixture.hpp"

using namespace tokenrelay;
using namespace check;
using namespace std::chrono_literals;

namespace {
std::atomic<const char*> removed_before_watch{nullptr};
}  // namespace

// The receiver's: what is to be removed goes between the socket's appearance and the watch.
extern "C" int inotify_add_watch(int fd, const char* path, std::uint32_t mask) noexcept {
    if (const char* const removed = removed_before_watch.exchange(nullptr)) unlink(removed);
    return static_cast<int>(syscall(SYS_inotify_add_watch, fd, path, mask));
}

TEST(a_socket_deleted_before_its_directory_is_watched_is_back) {
    const TemporaryDirectory directory;
    const std::string path = directory / "s";
    TokenReceiver receiver(Options{.path = path});
    removed_before_watch = path.c_str();
    CHECK(!receiver.start());
    CHECK(eventually([&] { return receiver.stats().rebinds == 1; }));
    CHECK_EQUAL(Peer(path).ask(frame(1)), accepted(1));  // and so the watch has begun
    removed_before_watch = path.c_str();
    unlink(path.c_str());
    CHECK(eventually([&] { return receiver.stats().rebinds == 3; }));
    CHECK_EQUAL(Peer(path).ask(frame(2)), accepted(2));
}

TEST(a_deleted_socket_is_back_within_a_second) {
    Fixture fixture;
    Peer connected(fixture.path());
    CHECK_EQUAL(connected.ask(frame(1)), accepted(1));
    const auto began = Clock::now();
    unlink(fixture.path().c_str());
    CHECK(eventually([&] { return Peer(fixture.path()).connected(); }));
    CHECK(Clock::now() - began < 1s);
    CHECK_EQUAL(Peer(fixture.path()).ask(frame(2)), accepted(2));
    CHECK_EQUAL(connected.ask(frame(3)), accepted(3));
    CHECK(eventually([&] { return fixture.receiver.stats().rebinds == 1; }));
}

TEST(a_replaced_socket_is_taken_back_when_its_owner_goes) {
    Fixture fixture;
    {
        Peer other;
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strcpy(address.sun_path, (fixture.directory / "other").c_str());
        CHECK_EQUAL(bind(other.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        CHECK_EQUAL(listen(other.fd(), 8), 0);
        std::filesystem::rename(fixture.directory / "other", fixture.path());
        CHECK(Peer(fixture.path()).connected());  // to the other
    }
    CHECK(eventually([&] { return fixture.receiver.stats().rebinds == 1; }));
    CHECK_EQUAL(Peer(fixture.path()).ask(frame(1)), accepted(1));
}

TEST(a_deleted_runtime_directory_is_made_again) {
    const TemporaryDirectory directory;
    setenv("TOKENRELAY_RUNTIME_DIR", (directory / "run").c_str(), 1);
    TokenReceiver receiver(Options{.account = "schwab", .program = "engine"});
    CHECK(!receiver.start());
    const std::string path = receiver.path();
    CHECK(path.starts_with(directory / "run/schwab/engine-"));
    std::error_code error;
    do {  // its socket, deleted first, may be back before the directory goes
        std::filesystem::remove_all(directory / "run", error);
    } while (error);
    CHECK(eventually([&] { return Peer(path).connected(); }));
    CHECK_EQUAL(Peer(path).ask(frame(1)), accepted(1));
    receiver.stop();
    CHECK(!exists(path));
    unsetenv("TOKENRELAY_RUNTIME_DIR");
}
