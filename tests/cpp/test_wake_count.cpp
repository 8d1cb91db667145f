#include <pthread.h>
#include <signal.h>

#include <climits>
#include <thread>
#include <vector>

#include "check.hpp"
#include "peer.hpp"
#include "tokenrelay/wake_count.hpp"

using tokenrelay::clock_ns;
using tokenrelay::WakeCount;

namespace {

std::int64_t in_ms(std::int64_t ms) { return clock_ns(CLOCK_MONOTONIC) + ms * 1'000'000; }

}  // namespace

TEST(a_count_that_has_moved_on_does_not_wait) {
    WakeCount count;
    const auto seen = count.value();
    count.advance();
    CHECK(count.wait(seen, LLONG_MAX) == WakeCount::Woken::advanced);
    CHECK_EQUAL(count.value(), seen + 1);
}

TEST(a_deadline_ends_the_wait_and_not_before) {
    WakeCount count;
    const auto deadline = in_ms(20);
    CHECK(count.wait(count.value(), deadline) == WakeCount::Woken::timed_out);
    CHECK(clock_ns(CLOCK_MONOTONIC) >= deadline);
    CHECK(count.wait(count.value(), 0) == WakeCount::Woken::timed_out);
    CHECK(count.wait(count.value(), -5) == WakeCount::Woken::timed_out);
}

TEST(advance_wakes_every_waiter) {
    WakeCount count;
    std::atomic<int> woken{0};
    std::vector<std::thread> threads;
    const auto seen = count.value();
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            while (count.value() == seen) count.wait(seen, LLONG_MAX);
            ++woken;
        });
    }
    count.advance();
    for (auto& thread : threads) thread.join();
    CHECK_EQUAL(woken.load(), 4);
}

TEST(a_signal_handler_interrupts_the_wait) {
    struct sigaction action{};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, nullptr);
    WakeCount count;
    std::atomic<bool> done{false};
    std::thread thread([&] {
        const auto woken = count.wait(count.value(), LLONG_MAX);
        CHECK(woken == WakeCount::Woken::interrupted);
        done = true;
    });
    CHECK(check::eventually([&] {
        if (!done) pthread_kill(thread.native_handle(), SIGUSR1);
        return done.load();
    }));
    thread.join();
}

TEST(no_advance_is_missed) {
    WakeCount count;
    constexpr std::uint32_t kRounds = 20'000;
    std::thread advancer([&] {
        for (std::uint32_t i = 0; i < kRounds; ++i) count.advance();
    });
    for (std::uint32_t seen = 0; seen < kRounds; seen = count.value()) {
        CHECK(count.wait(seen, LLONG_MAX) == WakeCount::Woken::advanced);
    }
    advancer.join();
}
