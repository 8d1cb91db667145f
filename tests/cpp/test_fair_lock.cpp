#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "check.hpp"
#include "peer.hpp"
#include "thread_state.hpp"
#include "tokenrelay/fair_lock.hpp"

using tokenrelay::FairLock;

TEST(one_thread_at_a_time_has_it) {
    FairLock lock;
    long count = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int k = 0; k < 20'000; ++k) {
                const std::scoped_lock held(lock);
                ++count;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK_EQUAL(count, 80'000);
}

TEST(it_is_tried_without_waiting) {
    FairLock lock;
    CHECK(lock.try_lock());
    CHECK(!lock.try_lock());
    lock.unlock();
    CHECK(lock.try_lock());
    lock.unlock();
}

// Whoever has just had it, and wants it again, comes behind those who wait: in the order of coming.
TEST(it_goes_to_whoever_has_waited_longest) {
    FairLock lock;
    std::vector<int> order;
    std::vector<std::thread> threads;
    lock.lock();
    for (int i = 0; i < 3; ++i) {
        std::atomic<pid_t> id{0};
        threads.emplace_back([&, i] {
            id = gettid();
            const std::scoped_lock held(lock);
            order.push_back(i);
        });
        CHECK(check::eventually([&] { return id != 0 && check::is_asleep(id); }));
    }
    lock.unlock();
    CHECK(!lock.try_lock() || order.size() == 3);
    for (auto& thread : threads) thread.join();
    CHECK((order == std::vector{0, 1, 2}));
}
