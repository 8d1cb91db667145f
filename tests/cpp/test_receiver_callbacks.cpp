// TokenReceiver: callbacks and waiting.
#include <future>
#include <memory>
#include <thread>

#include "receiver_fixture.hpp"
#include "thread_state.hpp"

using namespace tokenrelay;
using namespace check;
using namespace std::chrono_literals;

TEST(a_callback_is_entered_before_the_sender_is_answered) {
    Fixture fixture;
    HeldAtFirstToken held(fixture.receiver);
    Peer peer(fixture.path());
    CHECK(peer.send(frame(1)));
    held.wait_until_here();
    CHECK_EQUAL(fixture.receiver.current()->access_token(), "t1");
    CHECK(!peer.readable());
    held.let_go();
    CHECK_EQUAL(peer.line().value_or(""), accepted(1));
}

TEST(a_late_subscriber_hears_of_the_current_token_soon) {
    Fixture fixture;
    CHECK_EQUAL(Peer(fixture.path()).ask(frame(1)), accepted(1));
    std::promise<std::uint64_t> heard;
    const auto subscription = fixture.receiver.subscribe(
        [&](const Token& token) noexcept { heard.set_value(token.generation()); });
    CHECK_EQUAL(heard.get_future().get(), 1U);
}

TEST(a_cancelled_subscription_hears_nothing) {
    Fixture fixture;
    std::atomic<int> calls{0};
    auto subscription = fixture.receiver.subscribe([&](const Token&) noexcept { ++calls; });
    Peer peer(fixture.path());
    CHECK_EQUAL(peer.ask(frame(1)), accepted(1));
    auto moved = std::move(subscription);
    moved.cancel();
    moved.cancel();
    CHECK_EQUAL(peer.ask(frame(2)), accepted(2));
    CHECK_EQUAL(calls.load(), 1);
}

TEST(a_subscription_may_outlive_its_receiver) {
    Subscription subscription;
    {
        Fixture fixture;
        subscription = fixture.receiver.subscribe([](const Token&) noexcept {});
    }
    subscription.cancel();
}

TEST(a_callback_may_stop_the_receiver) {
    Fixture fixture;
    Error restart;
    const auto subscription = fixture.receiver.subscribe([&](const Token&) noexcept {
        fixture.receiver.stop();
        CHECK(!fixture.receiver.running());
        restart = fixture.receiver.start();
    });
    Peer peer(fixture.path());
    CHECK(peer.send(frame(1)));
    CHECK(eventually([&] { return !fixture.receiver.running(); }));
    fixture.receiver.stop();
    CHECK_EQUAL(restart.number(), EDEADLK);
    CHECK(!exists(fixture.path()));
    CHECK_EQUAL(fixture.receiver.current()->access_token(), "t1");
    CHECK(!fixture.receiver.start());
    CHECK_EQUAL(Peer(fixture.path()).ask(frame(2)), accepted(2));
}

TEST(a_callback_may_destroy_the_receiver) {
    const TemporaryDirectory directory;
    auto receiver = std::make_unique<TokenReceiver>(Options{.path = directory / "s"});
    CHECK(!receiver->start());
    auto subscription = std::make_unique<Subscription>();
    std::promise<void> gone;
    *subscription = receiver->subscribe([&](const Token&) noexcept {
        receiver.reset();
        subscription.reset();
        gone.set_value();
    });
    const std::size_t before = open_descriptors();
    {
        Peer peer(directory / "s");
        CHECK(peer.send(frame(1)));
        gone.get_future().wait();
    }
    CHECK(eventually([&] { return !exists(directory / "s"); }));
    CHECK(eventually([&] { return open_descriptors() < before; }));
}

TEST(stop_and_start_do_not_wait_for_a_callback_with_the_lock_held) {
    Fixture fixture;
    std::promise<void> entered;
    std::atomic<bool> stopping{false};
    const auto subscription = fixture.receiver.subscribe([&](const Token&) noexcept {
        entered.set_value();
        CHECK(eventually([&] { return stopping && !fixture.receiver.running(); }));
        fixture.receiver.path();  // takes the lock
    });
    Peer peer(fixture.path());
    CHECK(peer.send(frame(1)));
    entered.get_future().wait();
    std::thread second([&] {
        CHECK(eventually([&] { return stopping && !fixture.receiver.running(); }));
        CHECK(!fixture.receiver.start());
    });
    stopping = true;
    fixture.receiver.stop();
    second.join();
    CHECK(fixture.receiver.running());
}

// --- waiting --------------------------------------------------------------------------------------

TEST(wait_returns_the_first_token_and_the_next) {
    Fixture fixture;
    CHECK(!fixture.receiver.wait(1ms));
    std::thread sender([&] { CHECK_EQUAL(Peer(fixture.path()).ask(frame(1)), accepted(1)); });
    const auto first = fixture.receiver.wait(kPatience);
    CHECK_EQUAL(first->access_token(), "t1");
    sender.join();
    std::thread next([&] { CHECK_EQUAL(Peer(fixture.path()).ask(frame(2)), accepted(2)); });
    CHECK_EQUAL(fixture.receiver.wait(kPatience, *first)->access_token(), "t2");
    next.join();
}

TEST(stop_ends_a_wait) {
    Fixture fixture;
    std::thread waiter([&] { CHECK(!fixture.receiver.wait(std::chrono::nanoseconds::max())); });
    fixture.receiver.stop();
    waiter.join();
}

TEST(a_timeout_that_has_passed_already_is_over_at_once) {
    Fixture fixture;
    CHECK(!fixture.receiver.wait(-1ns));
    CHECK_EQUAL(Peer(fixture.path()).ask(frame(1)), accepted(1));
    CHECK(static_cast<bool>(fixture.receiver.wait(-1ns)));
}

TEST(the_longest_time_to_stop_is_no_time_that_has_passed) {
    Fixture fixture;
    HeldAtFirstToken held(fixture.receiver);
    Peer peer(fixture.path());
    CHECK(peer.send(frame(1)));
    held.wait_until_here();
    std::atomic<pid_t> id{0};
    std::atomic<bool> returned{false};
    std::thread stopper([&] {
        id = gettid();
        CHECK(fixture.receiver.stop_within(std::chrono::nanoseconds::max()));
        returned = true;
    });
    CHECK(eventually([&] { return returned || (id != 0 && is_asleep(id)); }));
    held.let_go();
    stopper.join();
}

TEST(the_event_descriptor_is_readable_at_each_publication) {
    Fixture fixture;
    const int fd = fixture.receiver.event_fd();
    CHECK_EQUAL(fixture.receiver.event_fd(), fd);
    Peer peer(fixture.path());
    for (int i = 1; i <= 3; ++i) {
        CHECK_EQUAL(peer.ask(frame(i)), accepted(i));
        std::uint64_t count = 0;
        CHECK_EQUAL(read(fd, &count, sizeof count), static_cast<ssize_t>(sizeof count));
        CHECK_EQUAL(count, 1U);
    }
    std::uint64_t count = 0;
    CHECK_EQUAL(read(fd, &count, sizeof count), -1);
}

TEST(a_refresh_is_asked_of_those_who_delivered_a_serial) {
    Fixture fixture;
    Peer sender(fixture.path());
    Peer other(fixture.path());
    CHECK_EQUAL(other.ask("{\"access_token\":\"x\"}\n"), accepted(1));
    fixture.receiver.request_refresh(*fixture.receiver.current());  // has no serial
    CHECK_EQUAL(sender.ask(frame(5)), accepted(2));
    const Token old = *fixture.receiver.current();
    fixture.receiver.request_refresh(old);
    CHECK_EQUAL(sender.line().value_or(""), R"({"request":"refresh","serial":5})");
    CHECK(sender.send("{\"refresh\":\"refused\",\"reason\":\"x\"}\n"));
    CHECK_EQUAL(sender.ask(frame(6)), accepted(3));  // the line before was not answered
    fixture.receiver.request_refresh(old);           // no longer the newest
    CHECK_EQUAL(sender.ask(frame(7)), accepted(4));
    CHECK(!other.readable());
    const auto stats = fixture.receiver.stats();
    CHECK_EQUAL(stats.refresh_requests, 1U);
    CHECK_EQUAL(stats.refresh_refusals, 1U);
}

// Two threads may each have been refused, one of them with the token before.
TEST(a_late_refusal_of_the_token_before_does_not_hide_that_of_the_newest) {
    Fixture fixture;
    Peer sender(fixture.path());
    CHECK_EQUAL(sender.ask(frame(5)), accepted(1));
    const Token old = *fixture.receiver.current();
    const auto subscription = fixture.receiver.subscribe([&](const Token& token) noexcept {
        if (token.serial() == old.serial()) return;
        fixture.receiver.request_refresh(token);
        fixture.receiver.request_refresh(old);
    });
    CHECK_EQUAL(sender.ask(frame(6)), accepted(2));
    CHECK_EQUAL(sender.line().value_or(""), R"({"request":"refresh","serial":6})");
}

TEST(busy_polling_serves_and_sleeps_after_a_while) {
    Fixture fixture(Options{.busy_poll = 2ms, .cpu = 0});
    Peer peer(fixture.path());
    for (int i = 1; i <= 50; ++i) CHECK_EQUAL(peer.ask(frame(i)), accepted(i));
    poll(nullptr, 0, 10);  // longer than it spins
    CHECK_EQUAL(peer.ask(frame(51)), accepted(51));
    CHECK_EQUAL(Peer(fixture.path()).ask("bare\n"), accepted(52));
}
