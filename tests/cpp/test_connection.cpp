// Connection, through TokenReceiver: frames over a real socket.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include <cstdint>
#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "mapping.hpp"
#include "receiver_fixture.hpp"
#include "tokenrelay/connection.hpp"

using namespace tokenrelay;
using namespace check;
using namespace std::chrono_literals;

TEST(a_token_arrives_and_is_answered) {
    Fixture fixture;
    Peer peer(fixture.path());
    CHECK_EQUAL(peer.ask(frame(1)), accepted(1));
    CHECK_EQUAL(fixture.receiver.current()->access_token(), "t1");
    CHECK_EQUAL(peer.ask(frame(2)), accepted(2));
    CHECK(!peer.readable());  // stays open
}

TEST(a_bare_token_is_answered_and_ends_the_connection) {
    Fixture fixture;
    Peer peer(fixture.path());
    CHECK_EQUAL(peer.ask("test_token_abc123\n"), accepted(1));
    CHECK(peer.ended());
}

TEST(a_frame_may_come_byte_by_byte) {
    Fixture fixture;
    Peer peer(fixture.path());
    const std::string bytes = frame(1) + frame(2);
    for (const char byte : bytes) CHECK(peer.send({&byte, 1}));
    CHECK_EQUAL(peer.line().value_or(""), accepted(1));
    CHECK_EQUAL(peer.line().value_or(""), accepted(2));
}

TEST(frames_may_come_together) {
    Fixture fixture;
    Peer peer(fixture.path());
    std::string frames;
    for (int i = 1; i <= 100; ++i) frames += i % 10 == 0 ? "{}\n" : frame(i);
    CHECK(peer.send(frames));
    for (int i = 1, generation = 0; i <= 100; ++i) {
        const std::string answer = peer.line().value_or("");
        if (i % 10 == 0) {
            CHECK(refused_as(answer, "malformed"));
        } else {
            CHECK_EQUAL(answer, accepted(++generation));
        }
    }
}

TEST(after_a_half_close_what_is_complete_is_answered) {
    Fixture fixture;
    Peer peer(fixture.path());
    CHECK(peer.send(frame(1) + frame(2) + R"({"access_token":"last"})"));
    peer.finish();
    for (int i = 1; i <= 3; ++i) CHECK_EQUAL(peer.line().value_or(""), accepted(i));
    CHECK(peer.ended());
    CHECK_EQUAL(fixture.receiver.current()->access_token(), "last");
}

// The kernel may keep the file behind a closed descriptor for a thread that looked at it in epoll.
TEST(a_sender_that_has_finished_is_told_the_end_at_once) {
    Fixture fixture;
    for (int i = 1; i <= 5000; ++i) {
        Peer peer(fixture.path());
        CHECK_EQUAL(peer.ask(frame(i)), accepted(i));
        CHECK(refused_as(peer.ask("{}\n"), "malformed"));
        peer.finish();
        if (!peer.answered()) return fail(__FILE__, __LINE__, "no end");
        CHECK(peer.ended());
    }
}

TEST(the_last_frame_needs_no_ending_from_a_peer_that_reads_no_answers) {
    Fixture fixture;
    {
        Peer peer(fixture.path());
        CHECK(peer.send(frame(1)));
        CHECK(peer.answered());
        CHECK(peer.send(R"({"access_token":"last"})"));
    }
    const auto token = fixture.receiver.wait(kPatience, 1);
    CHECK_EQUAL(token ? token->access_token() : "", "last");
}

TEST(large_frames_flow_through) {
    Fixture fixture;
    Peer peer(fixture.path());
    const std::string padding(60'000, 'x');
    std::thread sender([&] {
        for (int i = 1; i <= 30; ++i) {
            std::string bytes = frame(i);
            bytes.insert(1, "\"x\":\"" + padding + "\",");
            CHECK(peer.send(bytes));
        }
    });
    for (int i = 1; i <= 30; ++i) CHECK_EQUAL(peer.line().value_or(""), accepted(i));
    sender.join();
}

TEST(too_large_a_frame_ends_the_connection) {
    Fixture fixture;
    for (const std::string& bytes : {std::string(65'538, 'x'), std::string(65'537, 'x') + "\n"}) {
        Peer peer(fixture.path());
        CHECK_EQUAL(peer.ask(bytes), R"({"ok":false,"error":"too_large",)"
                                     R"("detail":"more than 65536 bytes in a line"})");
        CHECK(peer.ended());
    }
}

TEST(a_frame_not_complete_after_two_seconds_is_refused) {
    Fixture fixture;
    Peer slow(fixture.path());
    Peer idle(fixture.path());
    const auto began = Clock::now();
    CHECK(slow.send("{"));
    CHECK(refused_as(slow.line().value_or(""), "timeout"));
    CHECK(slow.ended());
    CHECK(Clock::now() - began >= 1990ms);
    CHECK(!idle.readable());  // waits for ever before a frame's first byte
    CHECK_EQUAL(idle.ask(frame(1)), accepted(1));
    CHECK_EQUAL(fixture.receiver.stats().refused[static_cast<std::size_t>(Refusal::timeout)], 1U);
}

TEST(a_sender_that_has_delivered_must_complete_its_frames_too) {
    Fixture fixture;
    Peer peer(fixture.path());
    Peer other(fixture.path());
    CHECK_EQUAL(peer.ask(frame(1)), accepted(1));
    CHECK(peer.send("{"));
    CHECK_EQUAL(other.ask(frame(2)), accepted(2));
    CHECK(refused_as(peer.line().value_or(""), "timeout"));
    CHECK(peer.ended());
    CHECK_EQUAL(other.ask(frame(3)), accepted(3));
}

TEST(senders_may_take_turns) {
    Fixture fixture;
    std::vector<Peer> peers;
    for (int i = 0; i < 3; ++i) peers.emplace_back(fixture.path());
    for (int i = 1; i <= 300; ++i) {
        CHECK_EQUAL(peers[static_cast<std::size_t>(i * i % 3)].ask(frame(i)), accepted(i));
    }
    peers.pop_back();
    for (int i = 301; i <= 400; ++i) {
        CHECK_EQUAL(peers[static_cast<std::size_t>(i % 2)].ask(frame(i)), accepted(i));
    }
}

// One that has delivered may be attended: a thread sleeps in its recv(2).
TEST(a_sender_that_reads_no_requests_is_dropped) {
    Fixture fixture;
    Peer deaf(fixture.path());
    CHECK_EQUAL(deaf.ask(frame(1)), accepted(1));
    std::uint64_t asked = 0;
    while (fixture.receiver.stats().connections == 1) {
        fixture.receiver.request_refresh(*fixture.receiver.current());
        ++asked;
        CHECK(eventually([&] { return fixture.receiver.stats().refresh_requests == asked; }));
    }
    CHECK(asked > 10);
    CHECK_EQUAL(Peer(fixture.path()).ask(frame(2)), accepted(2));
}

TEST(a_peer_that_never_reads_is_dropped_and_disturbs_nobody) {
    Fixture fixture;
    Peer deaf(fixture.path());
    Peer other(fixture.path());
    std::thread flood([&] {
        std::string frames;
        for (int i = 0; i < 1000; ++i) frames += "{}\n";
        while (deaf.send(frames)) {
        }
    });
    for (int i = 1; i <= 20; ++i) CHECK_EQUAL(other.ask(frame(i)), accepted(i));
    flood.join();
    CHECK(eventually([&] { return fixture.receiver.stats().connections == 1; }));
}

namespace {

bool is_current(const TokenReceiver& receiver, std::string_view token) {
    const auto current = receiver.current();
    return current && current->access_token() == token;
}

int unread_bytes(const Peer& peer) {
    int size = 0;
    ioctl(peer.fd(), FIONREAD, &size);
    return size;
}

}  // namespace

TEST(a_sender_that_closes_without_its_answers_loses_no_frame) {
    Fixture fixture;
    HeldAtFirstToken held(fixture.receiver);
    {
        Peer peer(fixture.path());
        CHECK(peer.send(frame(1) + frame(2)));
        held.wait_until_here();
    }
    held.let_go();
    CHECK(eventually([&] { return is_current(fixture.receiver, "t2"); }));
    CHECK(eventually([&] { return fixture.receiver.stats().connections == 0; }));
}

TEST(a_sender_that_closes_with_answers_unsent_loses_no_frame) {
    Fixture fixture;
    HeldAtFirstToken held(fixture.receiver);
    Peer other(fixture.path());
    {
        Peer deaf(fixture.path());
        std::uint64_t refused = 0;
        int unread = -1;
        while (unread_bytes(deaf) > unread) {  // until an answer does not fit any more
            unread = unread_bytes(deaf);
            CHECK(deaf.send("{}\n"));
            ++refused;
            CHECK(eventually([&] {
                const auto index = static_cast<std::size_t>(Refusal::malformed);
                return fixture.receiver.stats().refused[index] == refused;
            }));
            // Counted before it is answered: a frame of another connection comes after both.
            CHECK(refused_as(other.ask("{\"access_token\":\"\"}\n"), "invalid_token"));
        }
        CHECK(other.send(frame(1)));
        held.wait_until_here();
        CHECK(deaf.send(frame(2)));
    }
    held.let_go();
    CHECK(eventually([&] { return is_current(fixture.receiver, "t2"); }));
}

TEST(a_slow_callback_is_counted_once_however_many_frames_wait_behind_it) {
    Fixture fixture;
    HeldAtFirstToken held(fixture.receiver);
    Peer peer(fixture.path());
    std::string frames;
    for (int i = 1; i <= 20; ++i) frames += frame(i);
    CHECK(peer.send(frames));
    held.wait_until_here();
    const auto began = Clock::now();
    CHECK(eventually([&] { return Clock::now() - began > 1ms; }));
    held.let_go();
    for (int i = 1; i <= 20; ++i) CHECK_EQUAL(peer.line().value_or(""), accepted(i));
    const std::uint64_t overruns = fixture.receiver.stats().callback_overruns;
    CHECK(overruns >= 1 && overruns < 20);  // another may have been preempted
}

// An attended sender's frame may be read while another one's is being told.
TEST(a_slow_callback_is_counted_once_whoever_waits_for_it) {
    bool once = false;
    for (int tries = 0; tries < 20 && !once; ++tries) {  // a thread may be preempted for as long
        Fixture fixture;
        const auto slow = fixture.receiver.subscribe([](const Token& token) noexcept {
            const auto began = Clock::now();
            while (token.generation() == 2 && Clock::now() - began < 20ms) {
            }
        });
        Peer attended(fixture.path());
        Peer other(fixture.path());
        CHECK_EQUAL(attended.ask(frame(1)), accepted(1));
        CHECK(other.send(frame(2)));
        CHECK(eventually([&] { return is_current(fixture.receiver, "t2"); }));
        CHECK_EQUAL(attended.ask(frame(3)), accepted(3));
        once = fixture.receiver.stats().callback_overruns == 1;
    }
    CHECK(once);
}

TEST(a_frame_that_waits_for_a_new_callbacks_greeting_has_no_slow_one) {
    bool none = false;
    for (int tries = 0; tries < 20 && !none; ++tries) {  // a thread may be preempted for as long
        Fixture fixture;
        Peer attended(fixture.path());
        CHECK_EQUAL(attended.ask(frame(1)), accepted(1));
        std::promise<void> greeted;
        const auto slow = fixture.receiver.subscribe([&](const Token& token) noexcept {
            if (token.generation() != 1) return;
            greeted.set_value();
            const auto began = Clock::now();
            while (Clock::now() - began < 20ms) {
            }
        });
        greeted.get_future().wait();
        CHECK_EQUAL(attended.ask(frame(2)), accepted(2));
        none = fixture.receiver.stats().callback_overruns == 0;
    }
    CHECK(none);
}

TEST(a_refresh_token_is_kept_only_if_wanted) {
    for (const bool keep : {false, true}) {
        Fixture fixture(Options{.keep_refresh_token = keep});
        Peer peer(fixture.path());
        CHECK_EQUAL(peer.ask(R"({"access_token":"a","refresh_token":"r"})"
                             "\n"),
                    accepted(1));
        CHECK_EQUAL(fixture.receiver.current()->refresh_token(), keep ? "r" : "");
    }
}

TEST(a_refresh_token_that_is_not_kept_is_not_in_the_receivers_memory) {
    for (const bool keep : {false, true}) {
        Fixture fixture(Options{.keep_refresh_token = keep});
        Peer peer(fixture.path());
        CHECK_EQUAL(peer.ask(R"({"access_token":"for-programs","refresh_token":"not-for-them"})"
                             "\n"),
                    accepted(1));
        CHECK_EQUAL(fixture.receiver.current()->access_token(), "for-programs");
        CHECK(secret_memory_holds("Bearer for-programs"));
        // Wiped behind the answer.
        CHECK(eventually([&] { return secret_memory_holds("not-for-them") == keep; }));
    }
}

// A stand-in for a user who has no watch left: the kernel cannot report events of this file at all.
TEST(a_connection_whose_events_nobody_reports_is_closed) {
    TokenStore store;
    Counters counters;
    EventSet events;
    const UniqueFd doorbell(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    CHECK(!events.open(doorbell.get()));
    Connection::Service service{store, counters, events, false};
    Connection connection;
    CHECK(connection.settle(service, 0));
    connection.open(UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)), 1);
    CHECK(!connection.is_open());
    CHECK_EQUAL(counters.connections.load(), 0U);
    CHECK_EQUAL(counters.accept_failures.load(), 1U);
}
