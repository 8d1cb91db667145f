#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <future>

#include "check.hpp"
#include "tokenrelay/clock.hpp"
#include "tokenrelay/thread_group.hpp"

using namespace tokenrelay;

namespace {

bool is_blocked(int signal) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return sigismember(&mask, signal) == 1;
}

}  // namespace

TEST(an_end_is_waited_for_with_a_bound) {
    std::promise<void> let_go;
    auto gone = let_go.get_future().share();
    ThreadGroup group([&] { gone.wait(); }, -1);
    CHECK(group.empty());
    CHECK(group.start());
    CHECK(group.start());
    CHECK(!group.empty());
    CHECK(!group.wait_for_end(clock_ns(CLOCK_MONOTONIC) + 1'000'000));
    let_go.set_value();
    CHECK(group.wait_for_end(LLONG_MAX));
    group.join();
    CHECK(group.empty());
}

TEST(its_threads_know_themselves) {
    std::atomic<int> inside{0};
    ThreadGroup* self = nullptr;
    ThreadGroup other([] {}, -1);
    ThreadGroup group([&] { inside += self->inside() && !other.inside(); }, -1);
    self = &group;
    CHECK(!group.inside());
    CHECK(group.start());
    CHECK(group.wait_for_end(LLONG_MAX));
    group.join();
    CHECK_EQUAL(inside.load(), 1);
}

TEST(signals_are_blocked_but_where_the_program_has_its_turn) {
    sigset_t only_hup;
    sigset_t before;
    sigemptyset(&only_hup);
    sigaddset(&only_hup, SIGHUP);
    pthread_sigmask(SIG_SETMASK, &only_hup, &before);
    std::atomic<bool> good{false};
    ThreadGroup* self = nullptr;
    ThreadGroup group(
        [&] {
            const bool blocked = is_blocked(SIGINT) && is_blocked(SIGHUP);
            for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) {
                CHECK(!is_blocked(fault));
            }
            bool programs = false;
            self->with_program_mask([&] { programs = !is_blocked(SIGINT) && is_blocked(SIGHUP); });
            good = blocked && programs && is_blocked(SIGINT);
        },
        -1);
    self = &group;
    CHECK(group.start());
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    CHECK(group.wait_for_end(LLONG_MAX));
    group.join();
    CHECK(good.load());
}

TEST(a_fault_of_a_callback_reaches_the_handler_of_the_program) {
    const pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, [](int) { _exit(7); });
        void* const page = mmap(nullptr, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ThreadGroup group([page] { *static_cast<volatile char*>(page) = 1; }, -1);
        if (group.start()) group.wait_for_end(LLONG_MAX);
        _exit(1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status));
    CHECK_EQUAL(WEXITSTATUS(status), 7);
}

TEST(threads_stay_on_the_given_processor) {
    cpu_set_t ours;
    CHECK_EQUAL(sched_getaffinity(0, sizeof ours, &ours), 0);
    int cpu = 0;
    while (!CPU_ISSET(static_cast<std::size_t>(cpu), &ours)) ++cpu;
    std::atomic<bool> good{false};
    ThreadGroup group(
        [&] {
            cpu_set_t cpus;
            sched_getaffinity(0, sizeof cpus, &cpus);
            good = CPU_COUNT(&cpus) == 1 && CPU_ISSET(static_cast<std::size_t>(cpu), &cpus);
        },
        cpu);
    CHECK(group.start());
    CHECK(group.wait_for_end(LLONG_MAX));
    group.join();
    CHECK(good.load());
}
