#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "tokenrelay/hazard.hpp"
#include "tokenrelay/store.hpp"

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

TEST(what_a_read_loads_has_never_the_low_bits_of_what_it_stores_to) {
    const auto place = [](const void* at) { return reinterpret_cast<std::uintptr_t>(at) % 16; };
    const SecondHalf<void*> anywhere{};
    std::thread([&] {
        CHECK_EQUAL(place(&free_slot()), 0U);
        CHECK_EQUAL(place(&this_threads_record.value), 8U);
        CHECK_EQUAL(place(&anywhere.value), 8U);
    }).join();
}

TEST(threads_that_come_and_go_share_records) {
    std::thread([] { record_of_this_thread(); }).join();
    const std::size_t before = records();
    for (int i = 0; i < 100; ++i) {
        std::thread([] {
            std::vector<std::atomic<Hazard>*> slots;
            for (int j = 0; j < 10; ++j) {
                slots.push_back(&free_slot());
                slots.back()->store(8, std::memory_order_relaxed);
            }
            for (auto* slot : slots) slot->store(0, std::memory_order_relaxed);
        }).join();
    }
    CHECK(records() <= before + 1);
}

TEST(a_record_is_not_taken_again_while_something_is_posted_in_it) {
    ReaderRecord& record = take_record();
    record.slots[1].store(8, std::memory_order_relaxed);
    give_back(record);
    ReaderRecord& other = take_record();
    CHECK(&other != &record);
    CHECK_EQUAL(record.slots[1].load(), 8U);
    record.slots[1].store(0, std::memory_order_release);
    CHECK(&take_record() == &record);
    give_back(other);
    give_back(record);
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

namespace {

// From now on this thread's membarrier(2) fails.
bool forbid_membarrier() {
    sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{std::size(code), code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

bool publish(tokenrelay::TokenStore& store, std::int64_t serial) {
    const std::string token = std::to_string(serial);
    tokenrelay::TokenUpdate update;
    update.access_token = token;
    update.serial = serial;
    tokenrelay::Detail detail;
    const bool published = store.apply(update, tokenrelay::now(), detail).published;
    store.reclaim();
    return published;
}

}  // namespace

TEST(where_a_filter_forbids_the_barrier_tokens_go_on_and_none_is_reused) {
    SKIP_UNLESS(!readers_are_fenced(), "no membarrier(2) is used here");
    const pid_t child = fork();
    if (child == 0) {
        tokenrelay::TokenStore store;
        bool good = publish(store, 1) && heavy_barrier() && forbid_membarrier() && !heavy_barrier();
        for (std::int64_t serial = 2; serial <= 20; ++serial) good &= publish(store, serial);
        good &= store.current()->access_token() == "20" && store.retained() == 19;
        _exit(good ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_EQUAL(status, 0);
}

TEST(a_forked_child_inherits_the_registration) {
    SKIP_UNLESS(!readers_are_fenced(), "no membarrier(2) is used here");
    const pid_t child = fork();
    if (child == 0) {
        _exit(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0 ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_EQUAL(status, 0);
}
