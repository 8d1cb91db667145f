#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <thread>
#include <vector>

#include "check.hpp"
#include "tokenrelay/hazard.hpp"

using namespace tokenrelay::detail;

namespace {

std::size_t records() {
    std::size_t count = 0;
    for (auto* record = first_record(); record; record = record->next) ++count;
    return count;
}

}  // namespace

TEST(a_thread_has_as_many_slots_as_it_asks_for) {
    std::set<std::atomic<Hazard>*> slots;
    for (int i = 0; i < 20; ++i) {
        auto& slot = free_slot();
        slot.store(8, std::memory_order_relaxed);
        CHECK(slots.insert(&slot).second);
    }
    for (auto* slot : slots) slot->store(0, std::memory_order_relaxed);
    CHECK(slots.contains(&free_slot()));
}

TEST(threads_that_come_and_go_share_records) {
    std::thread([] { record_of_this_thread(); }).join();
    const std::size_t before = records();
    for (int i = 0; i < 100; ++i) {
        std::thread([] {
            for (int j = 0; j < 10; ++j) free_slot().store(8, std::memory_order_relaxed);
        }).join();
    }
    CHECK(records() <= before + 1);
    for (auto* record = first_record(); record; record = record->next) {
        for (auto& slot : record->slots) CHECK_EQUAL(slot.load(), 0U);
    }
}

TEST(threads_at_the_same_time_have_records_of_their_own) {
    std::vector<std::thread> threads;
    std::atomic<int> ready{0};
    std::vector<ReaderRecord*> taken(8);
    for (std::size_t i = 0; i < taken.size(); ++i) {
        threads.emplace_back([&, i] {
            taken[i] = &record_of_this_thread();
            CHECK(&record_of_this_thread() == taken[i]);
            ++ready;
            while (ready != 8) std::this_thread::yield();
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK_EQUAL(std::set(taken.begin(), taken.end()).size(), taken.size());
}

TEST(a_record_given_back_is_taken_again) {
    ReaderRecord& record = take_record();
    CHECK(&take_record() != &record);
    give_back(record);
    CHECK(&take_record() == &record);
}

// heavy_barrier() ignores the result of membarrier(2) for this reason.
TEST(a_forked_child_inherits_the_registration) {
    if (readers_are_fenced()) return;
    const pid_t child = fork();
    if (child == 0) {
        _exit(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0 ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_EQUAL(status, 0);
}
