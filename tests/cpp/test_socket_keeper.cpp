// SocketKeeper, through TokenReceiver: the socket's file is removed or replaced.
#include <sys/un.h>

#include <cstring>

#include "receiver_fixture.hpp"

using namespace tokenrelay;
using namespace check;
using namespace std::chrono_literals;

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
    std::filesystem::remove_all(directory / "run");
    CHECK(eventually([&] { return Peer(path).connected(); }));
    CHECK_EQUAL(Peer(path).ask(frame(1)), accepted(1));
    receiver.stop();
    CHECK(!exists(path));
    unsetenv("TOKENRELAY_RUNTIME_DIR");
}
