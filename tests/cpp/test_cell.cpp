#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "check.hpp"
#include "tokenrelay/cell.hpp"

using tokenrelay::Cell;
using tokenrelay::CellReader;
using tokenrelay::Guard;

namespace {

std::vector<const int*> held(Cell<int>& cell) {
    std::vector<const int*> all;
    CHECK(cell.reclaim([&](const int* object) { all.push_back(object); }));
    return all;
}

bool contains(const std::vector<const int*>& all, const int& object) {
    return std::find(all.begin(), all.end(), &object) != all.end();
}

}  // namespace

TEST(an_empty_cell_gives_an_empty_guard) {
    Cell<int> cell;
    CHECK(!cell.read());
    CHECK(CellReader<int>(cell).read() == nullptr);
    CHECK(held(cell).empty());
}

TEST(a_guard_protects_what_it_shows) {
    Cell<int> cell;
    int first = 1;
    int second = 2;
    CHECK(cell.publish(&first) == nullptr);
    {
        const auto guard = cell.read();
        CHECK_EQUAL(*guard, 1);
        CHECK(cell.publish(&second) == &first);
        CHECK_EQUAL(*guard, 1);
        CHECK_EQUAL(*cell.read(), 2);
        CHECK(contains(held(cell), first));
    }
    CHECK(!contains(held(cell), first));
    CHECK(cell.publish(nullptr) == &second);
    CHECK(!cell.read());
}

TEST(a_thread_holds_any_number_of_guards) {
    Cell<int> cell;
    std::array<int, 40> objects{};
    std::vector<Guard<int>> guards;
    for (auto& object : objects) {
        cell.publish(&object);
        guards.push_back(cell.read());
    }
    for (std::size_t i = 0; i < objects.size(); ++i) CHECK(&*guards[i] == &objects[i]);
    const auto all = held(cell);
    for (const auto& object : objects) CHECK(contains(all, object));
    guards.erase(guards.begin(), guards.begin() + 20);
    const auto rest = held(cell);
    CHECK(!contains(rest, objects[0]));
    CHECK(contains(rest, objects[39]));
}

TEST(a_moved_guard_protects_and_an_overwritten_one_lets_go) {
    Cell<int> cell;
    int first = 1;
    int second = 2;
    cell.publish(&first);
    auto guard = cell.read();
    auto moved = std::move(guard);
    CHECK(!guard);
    CHECK_EQUAL(*moved, 1);
    cell.publish(&second);
    CHECK(contains(held(cell), first));
    moved = cell.read();
    CHECK(!contains(held(cell), first));
    CHECK(contains(held(cell), second));
    auto& same = moved;
    moved = std::move(same);
    CHECK_EQUAL(*moved, 2);
}

TEST(cells_do_not_protect_each_others_objects) {
    Cell<int> cell;
    Cell<int> other;
    int first = 1;
    int second = 2;
    cell.publish(&first);
    other.publish(&second);
    const auto guard = other.read();
    CHECK(!contains(held(cell), first));
}

TEST(a_reader_protects_what_it_saw_last) {
    Cell<int> cell;
    int first = 1;
    int second = 2;
    cell.publish(&first);
    CellReader<int> reader(cell);
    CHECK_EQUAL(*reader.read(), 1);
    cell.publish(&second);
    CHECK(contains(held(cell), first));
    CHECK_EQUAL(*reader.read(), 2);
    CHECK(!contains(held(cell), first));
    cell.publish(nullptr);
    CHECK(reader.read() == nullptr);
}

namespace {

// Runs `function` when its thread ends: later, the earlier it was made.
struct AtThreadsEnd {
    ~AtThreadsEnd() {
        if (function) function();
    }
    std::function<void()> function;
};

std::size_t records() {
    std::size_t count = 0;
    for (auto* record = tokenrelay::detail::first_record(); record; record = record->next) ++count;
    return count;
}

}  // namespace

TEST(a_thread_local_guard_protects_until_it_is_destroyed) {
    Cell<int> cell;
    int object = 1;
    int next = 2;
    cell.publish(&object);
    std::thread([&] {
        thread_local AtThreadsEnd after;
        // Before the first read of the thread, so that it ends later.
        thread_local Guard<int> guard;
        thread_local AtThreadsEnd before;
        guard = cell.read();
        cell.publish(&next);
        before.function = [&] {
            // Another thread reads what it may with the record of this one, had it been given back.
            std::thread([&] { CHECK_EQUAL(*cell.read(), 2); }).join();
            CHECK(contains(held(cell), object));
            CHECK_EQUAL(*guard, 1);
        };
        after.function = [&] { CHECK(!contains(held(cell), object)); };
    }).join();
}

TEST(a_read_at_the_end_of_a_thread_is_protected_and_leaves_nothing) {
    Cell<int> cell;
    int object = 1;
    cell.publish(&object);
    const auto read_late = [&] {
        std::thread([&] {
            thread_local AtThreadsEnd after;
            static_cast<void>(cell.read());
            after.function = [&] {
                const auto guard = cell.read();
                const auto beside = cell.read();
                std::thread([&] { CHECK_EQUAL(*cell.read(), 1); }).join();
                CHECK(contains(held(cell), object));
                CHECK(guard && beside);
            };
        }).join();
        CHECK(!contains(held(cell), object));
    };
    for (int i = 0; i < 3; ++i) read_late();
    const std::size_t enough = records();
    for (int i = 0; i < 10; ++i) read_late();
    CHECK_EQUAL(records(), enough);
}

// --- stress -----------------------------------------------------------------------------------

namespace {

struct Payload {
    std::array<std::uint64_t, 24> words{};
    std::uint64_t sum = 0;

    void fill(std::uint64_t generation) {
        sum = 0;
        for (std::size_t i = 0; i < words.size(); ++i) sum += words[i] = generation * (i + 1);
    }
    void poison() { words.fill(~0ULL); }
    // The generation, or 0 if the payload is torn or was reused.
    std::uint64_t check() const {
        std::uint64_t total = 0;
        for (const auto word : words) total += word;
        return total == sum && words[1] == 2 * words[0] ? words[0] : 0;
    }
};

// The writer's side, as the store does it: publish, then poison and reuse what nobody holds.
class Writer {
public:
    explicit Writer(Cell<Payload>& cell) : cell_(cell) {
        for (auto& payload : pool_) free_.push_back(&payload);
    }
    void publish(std::uint64_t generation) {
        if (free_.empty()) reclaim();
        if (free_.empty()) return;
        Payload* next = free_.back();
        free_.pop_back();
        next->fill(generation);
        if (Payload* old = cell_.publish(next)) retired_.push_back(old);
        if (generation % 3 == 0) reclaim();
    }

private:
    void reclaim() {
        std::vector<const Payload*> in_use;
        CHECK(cell_.reclaim([&](const Payload* payload) { in_use.push_back(payload); }));
        std::erase_if(retired_, [&](Payload* payload) {
            if (std::find(in_use.begin(), in_use.end(), payload) != in_use.end()) return false;
            payload->poison();
            free_.push_back(payload);
            return true;
        });
    }

    Cell<Payload>& cell_;
    std::array<Payload, 24> pool_;
    std::vector<Payload*> free_;
    std::vector<Payload*> retired_;
};

void read_guards(const Cell<Payload>& cell, const std::atomic<bool>& done) {
    std::uint64_t last = 0;
    while (!done.load(std::memory_order_relaxed)) {
        const auto outer = cell.read();
        const std::uint64_t first = outer ? outer->check() : last;
        CHECK(first >= last && (!outer || first != 0));
        const auto inner = cell.read();
        if (inner) CHECK((last = inner->check()) >= first);
        if (outer) CHECK_EQUAL(outer->check(), first);
    }
}

void read_with_reader(const Cell<Payload>& cell, const std::atomic<bool>& done) {
    CellReader<Payload> reader(cell);
    std::uint64_t last = 0;
    while (!done.load(std::memory_order_relaxed)) {
        const Payload* payload = reader.read();
        const std::uint64_t generation = payload ? payload->check() : last;
        CHECK(generation >= last && (!payload || generation != 0));
        last = generation;
    }
}

void come_and_go(const Cell<Payload>& cell, const std::atomic<bool>& done) {
    while (!done.load(std::memory_order_relaxed)) {
        std::thread([&] {
            for (int i = 0; i < 100; ++i) {
                if (const auto guard = cell.read()) CHECK(guard->check() != 0);
            }
        }).join();
    }
}

}  // namespace

TEST(readers_never_see_a_torn_or_reused_object) {
    Cell<Payload> cell;
    Writer writer(cell);
    std::atomic<bool> done{false};
    std::vector<std::thread> threads;
    threads.emplace_back([&] { read_guards(cell, done); });
    threads.emplace_back([&] { read_guards(cell, done); });
    threads.emplace_back([&] { read_with_reader(cell, done); });
    threads.emplace_back([&] { come_and_go(cell, done); });
    const auto length =
        std::chrono::duration<double>(check::long_seconds > 0 ? check::long_seconds : 3);
    const auto deadline = std::chrono::steady_clock::now() + length;
    for (std::uint64_t i = 1; std::chrono::steady_clock::now() < deadline; ++i) writer.publish(i);
    done = true;
    for (auto& thread : threads) thread.join();
}
