#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "check.hpp"
#include "mapping.hpp"
#include "tokenrelay/secret_memory.hpp"

using check::has_flag;
using tokenrelay::SecretMemory;

TEST(memory_is_whole_zeroed_pages) {
    const SecretMemory memory(5000);
    CHECK_EQUAL(memory.size() % static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), 0U);
    CHECK(memory.size() >= 5000);
    CHECK(std::all_of(memory.data(), memory.data() + memory.size(), [](char c) { return !c; }));
}

TEST(memory_stays_out_of_core_dumps_and_of_children) {
    SecretMemory memory(4096);
    CHECK(has_flag(memory.data(), "dd"));
    CHECK(has_flag(memory.data(), "wf"));
    const bool locked = has_flag(memory.data(), "lo");
    CHECK_EQUAL(locked, memory.lock());
}

TEST(a_forked_child_can_lock_its_own) {
    SecretMemory memory(4096);
    const pid_t child = fork();
    if (child == 0) {
        const bool inherited = has_flag(memory.data(), "lo");
        _exit(!inherited && memory.lock() == has_flag(memory.data(), "lo") ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_EQUAL(status, 0);
}

TEST(a_forked_child_sees_zeros) {
    SecretMemory memory(4096);
    std::strcpy(memory.data(), "secret");
    const pid_t child = fork();
    if (child == 0) _exit(memory.data()[0] == 0 ? 0 : 1);
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(std::string(memory.data()), "secret");
}

TEST(a_move_takes_the_pages) {
    SecretMemory memory(4096);
    char* const data = memory.data();
    SecretMemory other(std::move(memory));
    CHECK(memory.data() == nullptr);
    CHECK(other.data() == data);
    SecretMemory third;
    third = std::move(other);
    CHECK(third.data() == data);
    third.prefault(0, 1 << 20);  // beyond its end: bounded
}

TEST(prefaulted_pages_are_resident) {
    constexpr std::size_t kPage = 4096;
    SecretMemory memory(8 * kPage);
    memory.prefault(2 * kPage + 100, kPage);
    unsigned char resident[8] = {};
    CHECK_EQUAL(mincore(memory.data(), 8 * kPage, resident), 0);
    for (int page = 0; page < 8; ++page) CHECK_EQUAL(resident[page] & 1, page == 2 || page == 3);
}
