#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "peer.hpp"
#include "tokenrelay/store.hpp"

// The state table of docs/protocol.md is run by test_vectors.

using namespace tokenrelay;

namespace {

std::atomic<std::size_t> allocations{0};

TokenUpdate update(std::string_view token, std::int64_t serial) {
    TokenUpdate result;
    result.access_token = token;
    result.serial = serial;
    return result;
}

TokenStore::Outcome apply(TokenStore& store, std::string_view token, std::int64_t serial) {
    Detail detail;
    return store.apply(update(token, serial), now(), detail);
}

std::int64_t in_ms(std::int64_t ms) { return clock_ns(CLOCK_MONOTONIC) + ms * 1'000'000; }

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size) {
    ++allocations;
    if (void* memory = std::malloc(size)) return memory;
    throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    ++allocations;
    return std::malloc(size);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

TEST(a_store_begins_empty) {
    TokenStore store;
    CHECK(!store.current());
    CHECK_EQUAL(store.generation(), 0U);
    CHECK(!store.has_retired());
}

TEST(the_newest_token_is_current) {
    TokenStore store;
    const auto outcome = apply(store, "first", 1);
    CHECK(outcome.published);
    CHECK_EQUAL(outcome.generation, 1U);
    CHECK_EQUAL(store.current()->access_token(), "first");
    apply(store, "second", 2);
    CHECK_EQUAL(store.current()->access_token(), "second");
    CHECK_EQUAL(store.generation(), 2U);
    CHECK(store.has_retired());
    store.reclaim();
    CHECK(!store.has_retired());
}

namespace {

// What a connection has: a slot, and in it the frame of a token.
struct Received {
    TokenSlot slot;
    TokenUpdate in_it(std::string_view token, std::int64_t serial) const {
        constexpr std::size_t before = 17;
        std::copy(token.begin(), token.end(), slot.bytes() + before);
        return update({slot.bytes() + before, token.size()}, serial);
    }
};

}  // namespace

TEST(a_frame_becomes_the_token_where_it_is) {
    TokenStore store;
    Received received;
    const char* const bytes = received.slot.bytes();
    Detail detail;
    CHECK(store.apply(received.in_it("first", 1), now(), detail, &received.slot).published);
    const auto first = store.current();
    CHECK_EQUAL(first->authorization(), "Bearer first");
    CHECK(first->access_token().data() > bytes && first->access_token().data() < bytes + 20);
    CHECK(received.slot.bytes() != bytes);
    CHECK(store.apply(received.in_it("second", 2), now(), detail, &received.slot).published);
    CHECK_EQUAL(store.current()->access_token(), "second");
    CHECK_EQUAL(first->access_token(), "first");
}

TEST(a_frame_that_is_not_published_stays_where_it_is) {
    TokenStore store;
    Received received;
    Detail detail;
    apply(store, "current", 2);
    const char* const bytes = received.slot.bytes();
    CHECK(store.apply(received.in_it("older", 1), now(), detail, &received.slot).refusal ==
          Refusal::stale);
    CHECK_EQUAL(static_cast<const void*>(received.slot.bytes()), static_cast<const void*>(bytes));
    CHECK_EQUAL(store.current()->access_token(), "current");
}

TEST(a_token_made_of_its_frame_is_wiped_as_others) {
    TokenStore store;
    Received received;
    Detail detail;
    store.apply(received.in_it("secret", 1), now(), detail, &received.slot);
    const char* const bytes = store.current()->access_token().data();
    apply(store, "next", 2);
    store.reclaim();
    CHECK_EQUAL(std::string_view(bytes, 6), std::string_view("\0\0\0\0\0\0", 6));
}

TEST(a_burst_finds_slots_without_growing) {
    TokenStore store;
    store.current();
    const std::size_t before = allocations;
    for (int i = 1; i <= 1000; ++i) CHECK(apply(store, "token", i).published);
    CHECK_EQUAL(allocations.load(), before);
    CHECK(store.has_retired());
    store.reclaim();
    CHECK(!store.has_retired());
}

TEST(applying_allocates_nothing) {
    TokenStore store;
    store.current();
    store.callbacks().add([](const Token&) {});
    Received received;
    const std::size_t before = allocations;
    for (int i = 1; i <= 1000; ++i) {
        apply(store, "token", 2 * i);
        Detail detail;
        store.apply(received.in_it("token", 2 * i + 1), now(), detail, &received.slot);
        store.reclaim();
    }
    CHECK_EQUAL(allocations.load(), before);
    CHECK_EQUAL(store.generation(), 2000U);
}

TEST(held_guards_make_the_pool_grow_and_keep_their_tokens) {
    TokenStore store;
    std::vector<Guard<Token>> guards;
    for (int i = 1; i <= 30; ++i) {
        CHECK(apply(store, std::to_string(i), i).published);
        guards.push_back(store.current());
        if (i % 7 == 0) store.reclaim();
    }
    for (int i = 1; i <= 30; ++i) {
        CHECK_EQUAL(guards[static_cast<std::size_t>(i - 1)]->access_token(), std::to_string(i));
    }
    store.reclaim();
    CHECK_EQUAL(store.retained(), 29U);
    guards.clear();
    store.reclaim();
    CHECK_EQUAL(store.retained(), 0U);
}

TEST(a_replaced_token_is_wiped_when_the_last_guard_goes) {
    TokenStore store;
    apply(store, "secret", 1);
    auto guard = store.current();
    const char* const bytes = guard->access_token().data();
    apply(store, "next", 2);
    store.reclaim();
    CHECK_EQUAL(std::string(bytes, 6), "secret");
    guard = {};
    store.reclaim();
    CHECK_EQUAL(std::string_view(bytes, 6), std::string_view("\0\0\0\0\0\0", 6));
}

TEST(the_largest_token_fits) {
    TokenStore store;
    const std::string token(16'384, 't');
    const std::string text(16'000, 's');
    TokenUpdate large = update(token, 1);
    large.scope = large.account = text;
    large.refresh_token = token;
    Detail detail;
    CHECK(store.apply(large, now(), detail).published);
    CHECK_EQUAL(store.current()->refresh_token(), token);
    CHECK_EQUAL(store.current()->account(), text);
}

TEST(new_callbacks_hear_of_the_current_token) {
    TokenStore store;
    int calls = 0;
    store.callbacks().add([&](const Token&) { ++calls; });
    store.greet_new_callbacks();
    CHECK_EQUAL(calls, 0);
    apply(store, "a", 1);
    store.greet_new_callbacks();
    CHECK_EQUAL(calls, 1);
    store.callbacks().add(
        [&](const Token& token) { calls += token.access_token() == "a" ? 10 : 0; });
    store.greet_new_callbacks();
    CHECK_EQUAL(calls, 11);
}

TEST(a_callback_sees_the_new_token_as_current) {
    TokenStore store;
    bool same = false;
    store.callbacks().add([&](const Token& token) {
        same = &*store.current() == &token && store.generation() == token.generation();
    });
    apply(store, "a", 1);
    CHECK(same);
}

TEST(wait_returns_a_newer_token_or_times_out) {
    TokenStore store;
    CHECK(store.wait(0, in_ms(5)) == TokenStore::Waited::timed_out);
    apply(store, "a", 1);
    CHECK(store.wait(0, 0) == TokenStore::Waited::token);
    CHECK(store.wait(1, in_ms(5)) == TokenStore::Waited::timed_out);
    std::thread waiter([&] { CHECK(store.wait(1, LLONG_MAX) == TokenStore::Waited::token); });
    apply(store, "b", 2);
    waiter.join();
}

TEST(wait_never_returns_an_expired_token) {
    TokenStore store;
    TokenUpdate old = update("a", 1);
    old.expires_at = 1000;
    Detail detail;
    CHECK(store.apply(old, {999'000'000'000, 0}, detail).published);
    CHECK(store.current()->expired());
    CHECK(store.wait(0, in_ms(5)) == TokenStore::Waited::timed_out);
    CHECK(apply(store, "b", 1).published);
    CHECK(store.wait(0, LLONG_MAX) == TokenStore::Waited::token);
}

TEST(closing_ends_every_wait) {
    TokenStore store;
    std::vector<std::thread> waiters;
    for (int i = 0; i < 3; ++i) {
        waiters.emplace_back(
            [&] { CHECK(store.wait(0, LLONG_MAX) == TokenStore::Waited::closed); });
    }
    store.close();
    for (auto& waiter : waiters) waiter.join();
    store.open();
    CHECK(store.wait(0, in_ms(1)) == TokenStore::Waited::timed_out);
}

TEST(readers_on_other_threads_see_whole_tokens) {
    TokenStore store;
    std::atomic<bool> done{false};
    std::vector<std::thread> readers;
    for (int i = 0; i < 2; ++i) {
        readers.emplace_back([&] {
            std::uint64_t last = 0;
            while (!done) {
                const auto guard = store.current();
                if (!guard) continue;
                const Token copy = *guard;
                CHECK_EQUAL(copy.access_token(), std::to_string(*copy.serial()));
                CHECK(copy.generation() >= last);
                last = copy.generation();
            }
        });
    }
    for (int i = 1; i <= 3000; ++i) {
        apply(store, std::to_string(i), i);
        if (i % 3 == 0) store.reclaim();
    }
    done = true;
    for (auto& reader : readers) reader.join();
}

TEST(a_forked_child_has_no_token_and_goes_on_counting) {
    TokenStore store;
    apply(store, "a", 1);
    apply(store, "b", 2);
    const auto held = store.current();
    const pid_t child = fork();
    if (child == 0) {
        store.after_fork();
        bool good = !store.current() && store.generation() == 0 && held->access_token().empty();
        good &= apply(store, "c", 1).generation == 3 && store.current()->access_token() == "c";
        // The slot of the guard from before the fork is not reused under it.
        for (int i = 4; i < 12; ++i) apply(store, "d", i);
        good &= held->access_token().empty();
        _exit(good ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(held->access_token(), "b");
}
