#include <future>
#include <thread>
#include <vector>

#include "check.hpp"
#include "peer.hpp"
#include "tokenrelay/callbacks.hpp"

using tokenrelay::Callbacks;
using tokenrelay::Token;
using tokenrelay::TokenUpdate;

namespace {

// Tokens of any generation.
struct Tokens {
    char storage[16] = {};
    Token token;
    const Token& operator()(std::uint64_t generation) {
        TokenUpdate update;
        update.access_token = "a";
        token.fill(update, storage, generation, {0, 0});
        return token;
    }
};

}  // namespace

TEST(each_callback_hears_of_each_generation_once) {
    Callbacks callbacks;
    Tokens tokens;
    callbacks.notify(tokens(1));
    std::vector<std::uint64_t> first;
    std::vector<std::uint64_t> second;
    callbacks.add([&](const Token& token) { first.push_back(token.generation()); });
    callbacks.notify(tokens(1));
    callbacks.add([&](const Token& token) { second.push_back(token.generation()); });
    callbacks.notify(tokens(1));
    callbacks.notify(tokens(1));
    callbacks.notify(tokens(2));
    CHECK((first == std::vector<std::uint64_t>{1, 2}));
    CHECK((second == std::vector<std::uint64_t>{1, 2}));
}

TEST(a_removed_callback_hears_nothing) {
    Callbacks callbacks;
    Tokens tokens;
    int calls = 0;
    const auto id = callbacks.add([&](const Token&) { ++calls; });
    callbacks.remove(id + 1);
    callbacks.notify(tokens(1));
    callbacks.remove(id);
    callbacks.remove(id);
    callbacks.notify(tokens(2));
    CHECK_EQUAL(calls, 1);
}

TEST(a_callback_may_remove_itself_and_others_and_add_more) {
    Callbacks callbacks;
    Tokens tokens;
    int calls = 0;
    int late = 0;
    int removed_calls = 0;
    std::uint64_t own = 0;
    std::uint64_t other = 0;
    own = callbacks.add([&](const Token&) {
        ++calls;
        callbacks.remove(own);
        callbacks.remove(other);
        callbacks.add([&](const Token&) { ++late; });
    });
    other = callbacks.add([&](const Token&) { ++removed_calls; });
    callbacks.notify(tokens(1));
    callbacks.notify(tokens(2));
    CHECK_EQUAL(calls, 1);
    CHECK_EQUAL(late, 1);
    CHECK_EQUAL(removed_calls, 0);
}

TEST(remove_waits_for_a_callback_that_runs) {
    Callbacks callbacks;
    std::promise<void> entered;
    std::promise<void> leave;
    std::atomic<bool> left{false};
    std::atomic<bool> removed{false};
    const auto id = callbacks.add([&](const Token&) {
        entered.set_value();
        leave.get_future().wait();
        CHECK(!removed);
        left = true;
    });
    std::thread notifier([&] {
        Tokens tokens;
        callbacks.notify(tokens(1));
    });
    entered.get_future().wait();
    std::thread remover([&] {
        callbacks.remove(id);
        removed = true;
        CHECK(left);
    });
    leave.set_value();
    remover.join();
    notifier.join();
}

TEST(a_callback_may_cancel_while_another_thread_waits_for_it) {
    Callbacks callbacks;
    std::promise<void> entered;
    std::atomic<bool> gone{false};
    std::uint64_t first = 0;
    const auto second = callbacks.add([&](const Token&) {
        entered.set_value();
        CHECK(check::eventually([&] { return gone.load(); }));
        callbacks.remove(first);
        callbacks.add([](const Token&) {});
    });
    first = callbacks.add([](const Token&) {});
    std::thread notifier([&] {
        Tokens tokens;
        callbacks.notify(tokens(1));
    });
    entered.get_future().wait();
    std::thread remover([&] {
        gone = true;
        callbacks.remove(second);
    });
    remover.join();
    notifier.join();
}

TEST(what_a_callback_holds_goes_with_it) {
    Callbacks callbacks;
    Tokens tokens;
    auto held = std::make_shared<int>(0);
    const auto id = callbacks.add([held](const Token&) {});
    callbacks.notify(tokens(1));
    callbacks.remove(id);
    CHECK_EQUAL(held.use_count(), 1);
}

TEST(adding_and_removing_while_notifying_loses_nobody) {
    Callbacks callbacks;
    constexpr std::uint64_t kRounds = 3000;
    std::atomic<bool> done{false};
    std::uint64_t steady = 0;
    callbacks.add([&](const Token&) { ++steady; });
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&] {
            while (!done) {
                auto alive = std::make_unique<std::atomic<bool>>(true);
                const auto id = callbacks.add([&flag = *alive](const Token&) { CHECK(flag); });
                callbacks.remove(id);
                *alive = false;
            }
        });
    }
    Tokens tokens;
    for (std::uint64_t i = 1; i <= kRounds; ++i) callbacks.notify(tokens(i));
    done = true;
    for (auto& thread : threads) thread.join();
    CHECK_EQUAL(steady, kRounds);
}
