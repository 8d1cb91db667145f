// ReceiverState, through TokenReceiver: what a forked child finds.
#include "receiver_fixture.hpp"
#include "tokenrelay/sanitizer.hpp"

// A forked child of a program with threads starts threads of its own here.
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }

using namespace tokenrelay;
using namespace check;

namespace {

// ThreadSanitizer's book-keeping of threads does not survive a fork.
constexpr bool kThreadsAfterFork = !TOKENRELAY_SANITIZE_THREAD;

}  // namespace

namespace {

// What a child of a running receiver finds; the number of the first thing wrong, or 0.
int check_child(TokenReceiver& receiver, std::size_t descriptors, int event_fd,
                const std::string& parents_path) {
    if (receiver.current() || receiver.generation() != 0) return 1;
    if (!receiver.forked() || receiver.running()) return 2;
    // Of all that the receiver had, the doorbell and the event descriptor, both new.
    if (open_descriptors() > descriptors + 2) return 3;
    receiver.stop();
    if (!exists(parents_path)) return 4;
    if (!kThreadsAfterFork) return 0;
    if (receiver.start() || receiver.forked()) return 5;
    if (receiver.path() == parents_path) return 6;
    Peer peer(receiver.path());
    if (!peer.ask(frame(9)).starts_with("{\"ok\":true,\"generation\":3}")) return 7;
    if (receiver.current()->access_token() != "t9") return 8;
    std::uint64_t count = 0;
    if (receiver.event_fd() != event_fd || read(event_fd, &count, sizeof count) < 0) return 9;
    receiver.stop();
    return 0;
}

}  // namespace

TEST(a_forked_child_is_empty_and_can_start) {
    const TemporaryDirectory directory;
    setenv("TOKENRELAY_RUNTIME_DIR", (directory / "run").c_str(), 1);
    const std::size_t descriptors = open_descriptors();
    {
        TokenReceiver receiver(Options{});
        CHECK(!receiver.start());
        const int event_fd = receiver.event_fd();
        const std::string path = receiver.path();
        CHECK_EQUAL(Peer(path).ask(frame(1)), accepted(1));
        CHECK_EQUAL(Peer(path).ask(frame(2)), accepted(2));
        std::uint64_t count = 0;
        CHECK(read(event_fd, &count, sizeof count) > 0);
        const pid_t child = fork();
        if (child == 0) _exit(check_child(receiver, descriptors, event_fd, path));
        CHECK_EQUAL(exit_code_of(child), 0);
        CHECK(exists(path));
        CHECK_EQUAL(receiver.current()->access_token(), "t2");
        CHECK(read(event_fd, &count, sizeof count) < 0);  // the child's publication is not ours
        CHECK_EQUAL(Peer(path).ask(frame(3)), accepted(3));
    }
    unsetenv("TOKENRELAY_RUNTIME_DIR");
}

TEST(children_of_a_receiver_not_started_do_not_share_a_doorbell) {
    const TemporaryDirectory directory;
    TokenReceiver receiver(Options{.path = directory / "s"});
    for (int i = 0; i < 3; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            TokenReceiver other(Options{.path = directory / "other"});
            bool good = !other.start() && !receiver.start();
            for (int round = 0; round < 20; ++round) {
                receiver.stop();
                good &= !receiver.start();
            }
            good &= Peer(directory / "s").ask("token\n").starts_with("{\"ok\":true");
            receiver.stop();
            other.stop();
            _exit(good ? 0 : 1);
        }
        CHECK_EQUAL(exit_code_of(child), 0);
    }
}

TEST(a_child_of_a_stopped_receiver_has_no_token) {
    Fixture fixture;
    CHECK_EQUAL(Peer(fixture.path()).ask(frame(1)), accepted(1));
    fixture.receiver.stop();
    CHECK(static_cast<bool>(fixture.receiver.current()));
    const pid_t child = fork();
    if (child == 0) _exit(fixture.receiver.current() ? 1 : 0);
    CHECK_EQUAL(exit_code_of(child), 0);
}
