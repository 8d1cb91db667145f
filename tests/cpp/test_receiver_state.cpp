// ReceiverState, through TokenReceiver: what a forked child finds.
#include <pthread.h>
#include <signal.h>

#include <functional>
#include <optional>
#include <thread>

#include "mapping.hpp"
#include "receiver_fixture.hpp"
#include "thread_state.hpp"
#include "tokenrelay/sanitizer.hpp"

// A forked child of a program with threads starts threads of its own here.
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }

using namespace tokenrelay;
using namespace check;

namespace {

// ThreadSanitizer's book-keeping of threads does not survive a fork.
constexpr bool kThreadsAfterFork = !TOKENRELAY_SANITIZE_THREAD;

// Called by fork(2) after the library's handler: it was registered before the first receiver was made,
// and they run in reverse order (pthread_atfork(3)).
std::function<void()> while_forking = [] {};
const int registered = pthread_atfork([] { while_forking(); }, nullptr, nullptr);

}  // namespace

namespace {

// What a child of a running receiver finds; the number of the first thing wrong, or 0.
int check_child(TokenReceiver& receiver, std::size_t descriptors, int event_fd,
                const std::string& parents_path) {
    if (receiver.current() || receiver.generation() != 0) return 1;
    if (!receiver.forked() || receiver.running()) return 2;
    // Of all that the receiver had, the event descriptor, a new one.
    if (open_descriptors() > descriptors + 1) return 3;
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

// Locks are not inherited, mlock(2).
TEST(a_forked_child_that_starts_locks_its_memory_again) {
    SKIP_UNLESS(kThreadsAfterFork, "ThreadSanitizer allows no threads after fork(2)");
    const TemporaryDirectory directory;
    setenv("TOKENRELAY_RUNTIME_DIR", (directory / "run").c_str(), 1);
    TokenReceiver receiver(Options{});
    const bool locked = receiver.stats().memory_locked;
    const pid_t child = fork();
    if (child == 0) {
        if (receiver.stats().memory_locked) _exit(1);
        if (receiver.start()) _exit(2);
        if (receiver.stats().memory_locked != locked) _exit(3);
        Peer peer(receiver.path());
        if (peer.ask(frame(1)) != accepted(1)) _exit(4);
        const auto token = receiver.current();
        _exit(!locked || has_flag(token->access_token().data(), "lo") ? 0 : 5);
    }
    CHECK_EQUAL(exit_code_of(child), 0);
    unsetenv("TOKENRELAY_RUNTIME_DIR");
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

TEST(nobody_subscribes_while_the_process_forks) {
    CHECK_EQUAL(registered, 0);
    Fixture fixture;
    std::atomic<pid_t> id{0};
    std::atomic<bool> go{false};
    std::atomic<bool> subscribed{false};
    std::thread other([&] {
        id = gettid();
        while (!go) std::this_thread::yield();
        const auto subscription = fixture.receiver.subscribe([](const Token&) noexcept {});
        subscribed = true;
    });
    bool between = true;
    while_forking = [&] {
        CHECK(eventually([&] { return id != 0; }));
        go = true;
        CHECK(eventually([&] { return subscribed || is_asleep(id); }));
        between = subscribed;
    };
    const pid_t child = fork();
    if (child == 0) _exit(0);
    while_forking = [] {};
    other.join();
    CHECK_EQUAL(exit_code_of(child), 0);
    CHECK(!between);
}

namespace {

// What happens in a child that a callback forks and that starts there; the number of the first thing
// wrong, or 0. `forker` is the thread of that callback, which is over once this can go on.
int check_childs_receiver(TokenReceiver& receiver, pid_t forker, Subscription& first,
                          const std::atomic<int>& calls) {
    if (!eventually([&] { return is_over(forker); })) return 2;
    if (calls != 0) return 3;  // of the second callback: it is not called with an empty token
    first.cancel();
    if (!Peer(receiver.path()).ask(frame(2)).starts_with("{\"ok\":true")) return 4;
    return calls == 1 ? 0 : 5;
}

}  // namespace

TEST(a_child_that_a_callback_forks_can_destroy_the_receiver_there) {
    SKIP_UNLESS(kThreadsAfterFork, "ThreadSanitizer allows no threads after fork(2)");
    const TemporaryDirectory directory;
    std::optional<TokenReceiver> receiver(Options{.path = directory / "socket"});
    CHECK(!receiver->start());
    pid_t child = -1;
    const auto first = receiver->subscribe([&](const Token&) noexcept {
        if (child > 0 || (child = fork()) > 0) return;
        receiver.reset();
        std::thread([forker = gettid()] {
            _exit(eventually([&] { return is_over(forker); }) ? 0 : 1);
        }).detach();
    });
    CHECK_EQUAL(Peer(directory / "socket").ask(frame(1)), accepted(1));
    CHECK_EQUAL(exit_code_of(child), 0);
}

TEST(a_child_that_a_callback_forks_can_start_and_cancel_there) {
    SKIP_UNLESS(kThreadsAfterFork, "ThreadSanitizer allows no threads after fork(2)");
    const TemporaryDirectory directory;
    setenv("TOKENRELAY_RUNTIME_DIR", (directory / "run").c_str(), 1);
    TokenReceiver receiver(Options{});
    CHECK(!receiver.start());
    pid_t child = -1;
    std::atomic<int> calls{0};
    Subscription first;
    first = receiver.subscribe([&](const Token&) noexcept {
        if (child > 0 || (child = fork()) > 0) return;
        if (receiver.start()) _exit(1);
        std::thread([&, forker = gettid()] {
            sigset_t alarm_only;
            sigemptyset(&alarm_only);
            sigaddset(&alarm_only, SIGALRM);
            pthread_sigmask(SIG_UNBLOCK, &alarm_only, nullptr);
            alarm(static_cast<unsigned>(kPatience.count()));
            _exit(check_childs_receiver(receiver, forker, first, calls));
        }).detach();
    });
    const auto second = receiver.subscribe([&](const Token&) noexcept { ++calls; });
    CHECK_EQUAL(Peer(receiver.path()).ask(frame(1)), accepted(1));
    CHECK_EQUAL(calls.load(), 1);
    CHECK_EQUAL(exit_code_of(child), 0);
    unsetenv("TOKENRELAY_RUNTIME_DIR");
}
