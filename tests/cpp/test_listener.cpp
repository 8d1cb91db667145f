#include <poll.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "receiver_fixture.hpp"
#include "thread_state.hpp"
#include "tokenrelay/listener.hpp"
#include "tokenrelay/spin_pause.hpp"

// Frames and connections are tested through TokenReceiver; here, what only a listener shows.

using namespace tokenrelay;
using check::frame;
using check::Peer;
using check::TemporaryDirectory;

namespace {

constexpr std::int64_t kMinute = 60'000'000'000;

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

// Those that have not ended.
int receiver_threads() {
    int count = 0;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        std::string name;
        std::ifstream file(task.path() / "comm");
        count += std::getline(file, name) && name == "tokenrelay" ? 1 : 0;
    }
    return count;
}

struct Fixture {
    explicit Fixture(ListenerOptions options = {})
        : listener(store, counters, doorbell, std::move(options)) {}

    TemporaryDirectory directory;
    TokenStore store;
    Counters counters;
    Doorbell doorbell;
    SlowFollowUp slow;  // outlives the threads that run it
    Listener listener;
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
        CHECK_EQUAL(fixture.store.current()->access_token(), std::string("t") + std::to_string(i));
    }
    CHECK(check::eventually([&] { return fixture.slow.runs() > 1; }));
    fixture.slow.go_on.set_value();
    fixture.listener.ask_to_stop();
    CHECK(fixture.listener.join(-1));
    CHECK_EQUAL(fixture.slow.leaves.load(), 2);
}

// Not even with busy_poll, or the thread that slept at the sender when there was no follow-up yet.
TEST(a_follow_up_given_later_holds_up_nobody_either) {
    for (const std::int64_t busy_poll : {std::int64_t{0}, kMinute}) {
        Fixture fixture({.busy_poll = busy_poll});
        CHECK(!fixture.listener.start(Place(fixture.directory), nullptr));
        Peer peer(fixture.directory / "s");
        CHECK_EQUAL(peer.ask(frame(1)), R"({"ok":true,"generation":1})");
        CHECK(!fixture.listener.follow(fixture.slow));
        fixture.slow.entered.get_future().wait();
        for (int i = 2; i < 20; ++i) {
            CHECK_EQUAL(peer.ask(frame(i)),
                        "{\"ok\":true,\"generation\":" + std::to_string(i) + "}");
            CHECK(Peer(fixture.directory / "s").ask("{}\n").starts_with("{\"ok\":false"));
        }
        CHECK(check::eventually([&] { return fixture.slow.runs() > 1; }));
        fixture.listener.ask_to_stop();
        CHECK(!fixture.listener.join(10'000'000));
        fixture.slow.go_on.set_value();
        CHECK(fixture.listener.join(-1));
        CHECK_EQUAL(fixture.slow.leaves.load(), busy_poll == 0 ? 3 : 2);
    }
}

// Each publication is followed up, however the two threads take turns: run() that begins after it.
TEST(no_publication_is_left_without_a_follow_up) {
    for (const std::int64_t busy_poll : {std::int64_t{0}, std::int64_t{20'000}, kMinute}) {
        struct Watching final : FollowUp {
            explicit Watching(TokenStore& of) : store(of) {}
            void run() noexcept override { seen.store(store.generation()); }
            void leave() noexcept override {}
            TokenStore& store;
            std::atomic<std::uint64_t> seen{0};
        };
        Fixture fixture({.busy_poll = busy_poll});
        Watching watching(fixture.store);
        CHECK(!fixture.listener.start(Place(fixture.directory), &watching));
        Peer peer(fixture.directory / "s");
        for (int i = 1; i <= 2000; ++i) {
            CHECK(peer.ask(frame(i)).starts_with("{\"ok\":true"));
            const auto due = static_cast<std::uint64_t>(i);
            CHECK(check::eventually([&] { return watching.seen.load() >= due; }));
        }
        fixture.listener.ask_to_stop();
        CHECK(fixture.listener.join(-1));
    }
}

// Otherwise a child keeps descriptors that are opened at that moment.
TEST(a_spinning_thread_stands_still_while_its_process_forks) {
    Fixture fixture({.busy_poll = kMinute});
    CHECK(!fixture.listener.start(Place(fixture.directory), nullptr));
    std::vector<Peer> peers;
    for (int i = 0; i < 16; ++i) peers.emplace_back(fixture.directory / "s");
    int stood = 0;
    for (int i = 1; i <= 100; ++i) {
        fixture.listener.before_fork();
        CHECK(peers[0].send(frame(i)));
        poll(nullptr, 0, 2);
        stood += peers[0].readable() ? 0 : 1;
        fixture.listener.after_fork_in_parent();
        CHECK(peers[0].line().has_value());
    }
    CHECK(stood > 90);  // not a hundred: a thread that the machine does not run is not waited for
    fixture.listener.ask_to_stop();
    CHECK(fixture.listener.join(-1));
}

// Otherwise the child keeps the descriptors, and with them the lock of the path.
TEST(nothing_is_closed_while_the_process_forks) {
    Fixture fixture;
    const std::string path = fixture.directory / "s";
    CHECK(!fixture.listener.start(Place(fixture.directory), nullptr));
    CHECK(check::eventually([] { return receiver_threads() == 2; }));  // they name themselves
    fixture.listener.ask_to_stop();
    CHECK(check::eventually([] { return receiver_threads() == 0; }));
    std::atomic<pid_t> id{0};
    std::atomic<bool> joined{false};
    fixture.listener.before_fork();
    std::thread other([&] {
        id = gettid();
        fixture.listener.join(-1);
        joined = true;
    });
    CHECK(check::eventually([&] { return joined || (id != 0 && check::is_asleep(id)); }));
    CHECK(!joined);
    CHECK(check::exists(path));
    fixture.listener.after_fork_in_parent();
    other.join();
    CHECK(!check::exists(path));
}

// Its next frame is there before the one at hand is answered: with or without a follow-up, there is
// no round that finds nothing to read, and a thread that attends it does not sleep.
TEST(a_sender_without_a_pause_keeps_the_others_from_nothing) {
    using Mode = std::pair<std::int64_t, bool>;  // busy_poll, whether there is a follow-up
    for (const auto& [busy_poll, followed] :
         {Mode{0, false}, Mode{0, true}, Mode{kMinute, false}, Mode{kMinute, true}}) {
        Fixture fixture({.busy_poll = busy_poll});
        fixture.slow.go_on.set_value();
        const std::string path = fixture.directory / "s";
        Peer busy;
        std::atomic<bool> stopping{false};
        fixture.store.callbacks().add([&](const Token& token) {
            char answer[256];
            static_cast<void>(recv(busy.fd(), answer, sizeof answer, MSG_DONTWAIT));
            CHECK(busy.send(frame(static_cast<int>(*token.serial()) + 1)) || stopping);
        });
        CHECK(
            !fixture.listener.start(Place(fixture.directory), followed ? &fixture.slow : nullptr));
        CHECK(busy.connect(path) && busy.send(frame(1)));
        CHECK(check::eventually([&] { return fixture.store.generation() > 1; }));
        CHECK(Peer(path).ask("{}\n").starts_with("{\"ok\":false"));
        unlink(path.c_str());
        CHECK(check::eventually([&] { return Peer(path).connected(); }));
        stopping = true;
        fixture.listener.ask_to_stop();
        CHECK(fixture.listener.join(-1));
    }
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
    CHECK_EQUAL(fixture.slow.leaves.load(), 3);
}

// Between the halves of a frame its sender is left to epoll, and attended again behind it.
TEST(frames_in_halves_are_read_by_one_thread_at_a_time) {
    for (const int cpu : {-1, 0}) {
        Fixture fixture({.cpu = cpu});
        CHECK(!fixture.listener.start(Place(fixture.directory), nullptr));
        Peer peer(fixture.directory / "s");
        Peer other(fixture.directory / "s");
        for (int i = 1; i <= 5000; ++i) {
            const std::string whole = frame(i);
            const std::size_t half = i % 2 == 0 ? whole.size() : whole.size() / 2;
            CHECK(peer.send(whole.substr(0, half)));
            for (int pause = i * 37 % 1000; pause > 0; --pause) spin_pause();
            CHECK(peer.send(whole.substr(half)));
            CHECK_EQUAL(peer.line().value_or(""),
                        "{\"ok\":true,\"generation\":" + std::to_string(i) + "}");
            if (i % 50 == 0) CHECK(other.ask("{}\n").starts_with("{\"ok\":false"));
        }
        fixture.listener.ask_to_stop();
        CHECK(fixture.listener.join(-1));
    }
}

// The bell may be answered for both at once, by a thread that did not know of the stop.
TEST(a_stop_behind_another_ring_is_heard_by_every_thread) {
    Fixture fixture;
    std::promise<void> entered;
    std::promise<void> go_on;
    CHECK(!fixture.listener.start(Place(fixture.directory), nullptr));
    CHECK(Peer(fixture.directory / "s").ask(frame(1)).starts_with("{\"ok\":true"));
    CHECK(check::eventually([&] { return fixture.counters.connections == 0; }));
    fixture.store.callbacks().add([&](const Token&) noexcept {
        entered.set_value();
        go_on.get_future().wait();
    });
    fixture.doorbell.ring();
    entered.get_future().wait();
    fixture.listener.ask_to_stop();
    fixture.doorbell.answer();  // as the thread in the callback might have, a moment ago
    go_on.set_value();
    CHECK(fixture.listener.join(10'000'000'000));
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
    CHECK(check::eventually([&] { return fixture.store.retained() == 0; }));
    fixture.slow.go_on.set_value();
}

// The next frame may be half an hour away.
TEST(a_token_held_while_it_is_replaced_is_wiped_without_another_frame) {
    for (const std::int64_t busy_poll : {std::int64_t{0}, kMinute}) {
        Fixture fixture({.busy_poll = busy_poll});
        CHECK(!fixture.listener.start(Place(fixture.directory), nullptr));
        Peer peer(fixture.directory / "s");
        peer.ask(frame(1));
        auto guard = fixture.store.current();
        const char* const bytes = guard->access_token().data();
        peer.ask(frame(2));
        CHECK(check::eventually([&] { return fixture.store.retained() == 1; }));
        CHECK_EQUAL(bytes[0], 't');
        guard = {};
        CHECK(check::eventually([&] { return fixture.store.retained() == 0; }));
        CHECK_EQUAL(bytes[0], '\0');
    }
}
