#include <future>

#include "receiver_fixture.hpp"
#include "tokenrelay/listener.hpp"

// Frames and connections are tested through TokenReceiver; here, what only a listener shows.

using namespace tokenrelay;
using check::frame;
using check::Peer;
using check::TemporaryDirectory;

namespace {

struct Place : SocketPlace {
    explicit Place(const TemporaryDirectory& parent)
        : SocketPlace{.path = parent / "s", .directory = {}, .program = {}, .locks = {}} {}
};

// Blocks in its first run() until let go.
class SlowFollowUp final : public FollowUp {
public:
    void run() noexcept override {
        if (runs_.fetch_add(1) > 0) return;
        entered.set_value();
        go_on.get_future().wait();
    }
    void leave() noexcept override { ++leaves; }

    int runs() const { return runs_.load(); }
    std::promise<void> entered;
    std::promise<void> go_on;
    std::atomic<int> leaves{0};

private:
    std::atomic<int> runs_{0};
};

struct Fixture {
    TemporaryDirectory directory;
    TokenStore store;
    Counters counters;
    Doorbell doorbell;
    SlowFollowUp slow;  // outlives the threads that run it
    Listener listener{store, counters, doorbell, {}};
};

}  // namespace

TEST(a_follow_up_that_blocks_does_not_hold_up_the_next_token) {
    Fixture fixture;
    CHECK(!fixture.listener.start(Place(fixture.directory), &fixture.slow));
    Peer peer(fixture.directory / "s");
    CHECK_EQUAL(peer.ask(frame(1)), R"({"ok":true,"generation":1})");
    fixture.slow.entered.get_future().wait();
    for (int i = 2; i < 20; ++i) {
        CHECK_EQUAL(peer.ask(frame(i)), "{\"ok\":true,\"generation\":" + std::to_string(i) + "}");
        CHECK_EQUAL(fixture.store.current()->access_token(), "t" + std::to_string(i));
    }
    CHECK(check::eventually([&] { return fixture.slow.runs() > 1; }));
    fixture.slow.go_on.set_value();
    fixture.listener.ask_to_stop();
    CHECK(fixture.listener.join(-1));
    CHECK_EQUAL(fixture.slow.leaves.load(), 2);
}

TEST(a_join_is_bounded_while_a_follow_up_blocks) {
    Fixture fixture;
    CHECK(!fixture.listener.start(Place(fixture.directory), &fixture.slow));
    CHECK(Peer(fixture.directory / "s").ask(frame(1)).starts_with("{\"ok\":true"));
    fixture.slow.entered.get_future().wait();
    fixture.listener.ask_to_stop();
    CHECK(!fixture.listener.join(10'000'000));
    fixture.slow.go_on.set_value();
    CHECK(fixture.listener.join(-1));
    CHECK(fixture.listener.join(-1));
}

TEST(a_running_listener_can_be_given_a_follow_up) {
    Fixture fixture;
    CHECK(!fixture.listener.start(Place(fixture.directory), nullptr));
    CHECK(Peer(fixture.directory / "s").ask(frame(1)).starts_with("{\"ok\":true"));
    CHECK(!fixture.listener.follow(fixture.slow));
    CHECK(!fixture.listener.follow(fixture.slow));
    fixture.slow.entered.get_future().wait();  // hears of the current token
    fixture.slow.go_on.set_value();
    fixture.listener.ask_to_stop();
    CHECK(fixture.listener.join(-1));
    CHECK_EQUAL(fixture.slow.leaves.load(), 2);
}

TEST(a_listener_that_stops_takes_no_follow_up) {
    Fixture fixture;
    CHECK(!fixture.listener.start(Place(fixture.directory), nullptr));
    fixture.listener.ask_to_stop();
    CHECK(!fixture.listener.follow(fixture.slow));
    CHECK(fixture.listener.join(-1));
    CHECK_EQUAL(fixture.slow.leaves.load(), 0);
}

TEST(a_replaced_token_is_wiped_while_a_follow_up_blocks) {
    Fixture fixture;
    CHECK(!fixture.listener.start(Place(fixture.directory), &fixture.slow));
    Peer peer(fixture.directory / "s");
    peer.ask(frame(1));
    fixture.slow.entered.get_future().wait();
    auto guard = fixture.store.current();
    peer.ask(frame(2));
    CHECK(check::eventually([&] { return fixture.store.retained() == 1; }));
    guard = {};
    CHECK(check::eventually([&] {
        peer.ask(frame(2));  // what waits for a reader is tried again with each frame
        return fixture.store.retained() == 0;
    }));
    fixture.slow.go_on.set_value();
}
