// TokenReceiver: start and stop.
#include <cerrno>
#include <thread>
#include <vector>

#include "receiver_fixture.hpp"

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
