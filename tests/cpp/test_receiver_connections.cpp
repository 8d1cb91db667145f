// TokenReceiver: how many senders, whose, and where the socket is.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <vector>

#include "receiver_fixture.hpp"

using namespace tokenrelay;
using namespace check;
using namespace std::chrono_literals;

TEST(the_oldest_that_never_delivered_makes_room) {
    Fixture fixture;
    std::vector<Peer> peers;
    for (int i = 0; i < 16; ++i) peers.emplace_back(fixture.path());
    CHECK_EQUAL(peers[0].ask(frame(1)), accepted(1));
    Peer late(fixture.path());
    CHECK_EQUAL(late.ask(frame(2)), accepted(2));
    CHECK(peers[1].ended());
    CHECK_EQUAL(peers[2].ask(frame(3)), accepted(3));
    CHECK_EQUAL(fixture.receiver.stats().connections, 16U);
}

TEST(seventeen_senders_that_deliver_are_too_many) {
    Fixture fixture;
    std::vector<Peer> peers;
    for (int i = 0; i < 16; ++i) {
        peers.emplace_back(fixture.path());
        CHECK_EQUAL(peers.back().ask(frame(1)), accepted(1));
    }
    Peer late(fixture.path());
    CHECK(refused_as(late.line().value_or(""), "busy"));
    CHECK(late.ended());
    peers.pop_back();
    CHECK(eventually([&] { return fixture.receiver.stats().connections == 15; }));
    CHECK_EQUAL(Peer(fixture.path()).ask(frame(2)), accepted(2));
}

TEST(without_descriptors_it_waits_and_does_not_spin) {
    Fixture fixture;
    Peer peer;
    rlimit before{};
    getrlimit(RLIMIT_NOFILE, &before);
    const int lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(lowest);
    const rlimit none{static_cast<rlim_t>(lowest), before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    const auto began = Clock::now();
    CHECK(peer.connect(fixture.path()));
    CHECK(eventually([&] { return fixture.receiver.stats().accept_failures >= 5; }));
    const auto failures = static_cast<double>(fixture.receiver.stats().accept_failures);
    const std::chrono::duration<double> took = Clock::now() - began;
    setrlimit(RLIMIT_NOFILE, &before);
    CHECK(failures <= 2 + took.count() * 11);
    CHECK_EQUAL(peer.ask(frame(1)), accepted(1));
}

namespace {

// Connects as another user and says a token: 0 if it was disconnected without an answer, 1 if answered.
int try_as_stranger(const std::string& path) {
    const pid_t child = fork();
    if (child == 0) {
        if (setresuid(kStranger, kStranger, kStranger) != 0) _exit(2);
        Peer peer(path);
        if (!peer.connected()) _exit(3);
        peer.send("{\"access_token\":\"stranger\"}\n");
        _exit(peer.line() ? 1 : 0);
    }
    return exit_code_of(child);
}

}  // namespace

TEST(another_user_is_disconnected_unless_named) {
    if (geteuid() != 0) return;  // only root can become another
    for (const bool named : {false, true}) {
        Options options{.mode = 0666};
        if (named) options.allow_uids = {kStranger};
        Fixture fixture(std::move(options));
        chmod(fixture.directory.path().c_str(), 0755);
        CHECK_EQUAL(try_as_stranger(fixture.path()), named ? 1 : 0);
        CHECK_EQUAL(fixture.receiver.stats().foreign, named ? 0U : 1U);
        CHECK_EQUAL(static_cast<bool>(fixture.receiver.current()), named);
    }
}

// --- the socket's place ---------------------------------------------------------------------------

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
