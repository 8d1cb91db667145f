// TokenReceiver: start and stop.
#include <sys/resource.h>

#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "receiver_fixture.hpp"
#include "tokenrelay/clock.hpp"

using namespace tokenrelay;
using namespace check;
using namespace std::chrono_literals;

TEST(starting_and_stopping_leaks_no_descriptor) {
    const TemporaryDirectory directory;
    TokenReceiver receiver(Options{.path = directory / "s"});
    CHECK(!receiver.start());
    receiver.stop();
    const std::size_t before = open_descriptors();
    // Closing an inotify(7) instance waits some milliseconds for the kernel.
    const int rounds = check::long_seconds > 0 ? 1000 : 250;
    for (int i = 0; i < rounds; ++i) {
        CHECK(!receiver.start());
        CHECK(!receiver.start());
        if (i % 100 == 0) CHECK(Peer(directory / "s").ask("token\n").starts_with("{\"ok\":true"));
        receiver.stop();
        receiver.stop();
        CHECK(!exists(directory / "s"));
    }
    CHECK_EQUAL(open_descriptors(), before);
}

TEST(stats_go_on_over_stop_and_start) {
    Fixture fixture;
    CHECK_EQUAL(Peer(fixture.path()).ask(frame(1)), accepted(1));
    fixture.receiver.stop();
    CHECK_EQUAL(fixture.receiver.stats().published, 1U);
    CHECK_EQUAL(fixture.receiver.stats().connections, 0U);
    CHECK(!fixture.receiver.start());
    CHECK_EQUAL(Peer(fixture.path()).ask(frame(2)), accepted(2));
    CHECK_EQUAL(fixture.receiver.stats().published, 2U);
}

TEST(a_token_held_over_stop_and_start_is_wiped_without_another_frame) {
    Fixture fixture;
    CHECK_EQUAL(Peer(fixture.path()).ask(frame(1)), accepted(1));
    auto guard = fixture.receiver.current();
    CHECK_EQUAL(Peer(fixture.path()).ask(frame(2)), accepted(2));
    fixture.receiver.stop();
    CHECK_EQUAL(fixture.receiver.stats().retained, 1U);
    CHECK(!fixture.receiver.start());
    guard = {};
    CHECK(eventually([&] { return fixture.receiver.stats().retained == 0; }));
}

TEST(many_threads_may_start_and_stop) {
    Fixture fixture;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&, i] {
            for (int j = 0; j < 50; ++j) {
                if (i % 2 == 0) {
                    CHECK(!fixture.receiver.start());
                } else {
                    fixture.receiver.stop();
                }
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(!fixture.receiver.start());
    CHECK(Peer(fixture.path()).ask("token\n").starts_with("{\"ok\":true"));
}

TEST(a_bad_account_is_an_error_that_says_the_rule) {
    TokenReceiver receiver(Options{.account = "No Such"});
    CHECK_EQUAL(receiver.start().number(), EINVAL);
    CHECK(!receiver.running());
    CHECK(receiver.path().empty());
}

TEST(a_path_in_use_is_an_error_and_can_be_tried_again) {
    const TemporaryDirectory directory;
    TokenReceiver first(Options{.path = directory / "s"});
    TokenReceiver second(Options{.path = directory / "s"});
    CHECK(!first.start());
    CHECK_EQUAL(second.start().number(), EADDRINUSE);
    first.stop();
    CHECK(!second.start());
}

TEST(a_receiver_made_without_descriptors_starts_once_there_are_some) {
    const TemporaryDirectory directory;
    rlimit before{};
    getrlimit(RLIMIT_NOFILE, &before);
    const rlimit none{0, before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    TokenReceiver receiver(Options{.path = directory / "s"});
    const auto error = receiver.start();
    setrlimit(RLIMIT_NOFILE, &before);
    CHECK_EQUAL(error.number(), EMFILE);
    CHECK(error.message().find("ulimit -n") != std::string::npos);
    CHECK(!receiver.start());
    CHECK_EQUAL(Peer(directory / "s").ask(frame(1)), accepted(1));
}

TEST(a_start_that_fails_leaves_a_stopped_receiver_stopped) {
    Fixture fixture;
    fixture.receiver.stop();
    TokenReceiver other(Options{.path = fixture.path()});
    CHECK(!other.start());
    CHECK_EQUAL(fixture.receiver.start().number(), EADDRINUSE);
    const std::int64_t soon = clock_ns(CLOCK_MONOTONIC) + 10'000'000;
    CHECK(fixture.receiver.wait_until(soon, 0) == TokenReceiver::Waited::stopped);
}
