// Senders, through TokenReceiver: how many, and whose.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <future>
#include <vector>

#include "receiver_fixture.hpp"

using namespace tokenrelay;
using namespace check;

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

// Its frame is behind the one that is being served, and before those who came with it.
TEST(a_crowd_at_the_door_does_not_keep_a_sender_waiting) {
    Fixture fixture;
    std::promise<void> here;
    std::promise<void> go_on;
    std::atomic<std::uint64_t> before_third{0};
    const auto subscription = fixture.receiver.subscribe([&](const Token& token) noexcept {
        if (token.generation() == 3) before_third = fixture.receiver.stats().accepted;
        if (token.generation() != 2) return;
        here.set_value();
        go_on.get_future().wait();
    });
    Peer sender(fixture.path());
    CHECK_EQUAL(sender.ask(frame(1)), accepted(1));
    Peer other(fixture.path());
    CHECK(other.send(frame(2)));
    here.get_future().wait();
    std::vector<Peer> crowd;
    for (int i = 0; i < 40; ++i) crowd.emplace_back(fixture.path());
    CHECK(sender.send(frame(3)));
    CHECK(eventually([&] { return sender.all_read(); }));
    go_on.set_value();
    CHECK_EQUAL(sender.line().value_or(""), accepted(3));
    CHECK(before_third <= 2 + 16);  // a few at once, should the crowd be first by a hair
    CHECK(eventually([&] { return fixture.receiver.stats().accepted == 42; }));
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
    const auto tries = static_cast<double>(fixture.receiver.stats().accept_failures);
    const std::chrono::duration<double> took = Clock::now() - began;
    setrlimit(RLIMIT_NOFILE, &before);
    CHECK(tries <= 2 + took.count() * 11);
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
    SKIP_UNLESS(geteuid() == 0, "only root can become another");
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

TEST(root_is_no_exception) {
    SKIP_UNLESS(geteuid() == 0, "only root can become another");
    const TemporaryDirectory directory;
    CHECK_EQUAL(chown(directory.path().c_str(), kStranger, kStranger), 0);
    int pipes[2][2];
    CHECK(pipe(pipes[0]) == 0 && pipe(pipes[1]) == 0);
    const pid_t child = fork();
    char byte = 0;
    if (child == 0) {
        if (setresuid(kStranger, kStranger, kStranger) != 0) _exit(2);
        TokenReceiver receiver(Options{.path = directory / "s"});
        if (receiver.start() || write(pipes[0][1], &byte, 1) != 1) _exit(3);
        if (read(pipes[1][0], &byte, 1) != 1) _exit(4);
        const bool good = receiver.stats().foreign == 1 && !receiver.current();
        receiver.stop();
        _exit(good ? 0 : 1);
    }
    CHECK_EQUAL(read(pipes[0][0], &byte, 1), 1);
    Peer peer(directory / "s");
    CHECK(peer.connected());
    peer.send(frame(1));
    CHECK(peer.ended());
    CHECK_EQUAL(write(pipes[1][1], &byte, 1), 1);
    CHECK_EQUAL(exit_code_of(child), 0);
    for (auto& ends : pipes) {
        for (const int fd : ends) close(fd);
    }
}
