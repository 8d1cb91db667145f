// The cell under full load, after the manner of the Linux kernel's rcutorture: readers check that
// each object is whole, not older than the one before and not reused under their eyes, while a
// writer swaps as fast as it can and threads come and go. Then the same for tokens, published through
// a receiver by two connections.
//   stress_cell [--reads N] [--swaps N] [--seconds S]     until both counts are reached, and S seconds
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "peer.hpp"
#include "tokenrelay/cell.hpp"
#include "tokenrelay/tokenrelay.hpp"

namespace {

using Clock = std::chrono::steady_clock;

struct Limits {
    std::uint64_t reads = 1'000'000'000;
    std::uint64_t swaps = 1'000'000;
    double seconds = 0;
};

std::atomic<std::uint64_t> reads{0};
std::atomic<std::uint64_t> swaps{0};
std::atomic<bool> ended{false};

[[noreturn]] void fail(const char* what, std::uint64_t seen, std::uint64_t expected) {
    std::fprintf(stderr, "FAILED: %s: %llu, expected %llu\n", what,
                 static_cast<unsigned long long>(seen), static_cast<unsigned long long>(expected));
    std::_Exit(EXIT_FAILURE);
}

// --- the cell alone ---------------------------------------------------------------------------

struct Snapshot {
    static constexpr std::uint64_t kPoison = 0xDEAD'DEAD'DEAD'DEAD;
    std::uint64_t generation = 0;
    std::array<std::uint64_t, 4> checksum{};

    void fill(std::uint64_t next) noexcept {
        generation = next;
        for (std::size_t i = 0; i < checksum.size(); ++i) checksum[i] = mix(next + i);
    }
    void poison() noexcept {
        generation = kPoison;
        checksum.fill(kPoison);
    }
    static std::uint64_t mix(std::uint64_t value) noexcept { return value * 0x9E3779B97F4A7C15; }
};

using Cell = tokenrelay::Cell<Snapshot>;

void verify(const Snapshot& found, std::uint64_t& last) {
    const std::uint64_t generation = found.generation;
    if (generation == Snapshot::kPoison) fail("read after free, generation", generation, last);
    if (generation < last) fail("an older generation after a newer one", generation, last);
    for (std::size_t i = 0; i < found.checksum.size(); ++i) {
        const std::uint64_t expected = Snapshot::mix(generation + i);
        if (found.checksum[i] != expected) fail("torn object", found.checksum[i], expected);
    }
    last = generation;
}

// Counts in bulk: a shared counter at each read would slow the readers into step.
template <class ReadOne>
void read_for(std::uint64_t count, ReadOne read_one) {
    constexpr std::uint64_t bulk = 4096;
    for (std::uint64_t done = 0; done < count && !ended.load(std::memory_order_relaxed);) {
        for (std::uint64_t i = 0; i < bulk; ++i) read_one();
        done += bulk;
        reads.fetch_add(bulk, std::memory_order_relaxed);
    }
}

void read_with_guards(const Cell& cell, std::uint64_t count) {
    std::uint64_t last = 0;
    std::uint64_t turn = 0;
    read_for(count, [&] {
        const auto guard = cell.read();
        verify(*guard, last);
        if (++turn % 1024 != 0) return;
        // Two guards at once, and the older one looked at again when the writer has gone on.
        const std::uint64_t held = guard->generation;
        {
            const auto newer = cell.read();
            verify(*newer, last);
            std::this_thread::yield();
        }
        if (guard->generation != held) fail("a held object changed", guard->generation, held);
    });
}

void read_with_handle(const Cell& cell, std::uint64_t count) {
    tokenrelay::CellReader<Snapshot> reader(cell);
    std::uint64_t last = 0;
    read_for(count, [&] { verify(*reader.read(), last); });
}

// Threads that come, read a little and go.
void churn(const Cell& cell) {
    while (!ended.load(std::memory_order_relaxed)) {
        std::thread guards(read_with_guards, std::cref(cell), 50'000);
        std::thread handle(read_with_handle, std::cref(cell), 50'000);
        guards.join();
        handle.join();
    }
}

class Writer {
public:
    explicit Writer(Cell& cell) : cell_(cell) { swap(); }

    void swap() {
        if (free_.empty()) {
            pool_.push_back(std::make_unique<Snapshot>());
            free_.push_back(pool_.back().get());
        }
        Snapshot* const next = free_.back();
        free_.pop_back();
        next->fill(++generation_);
        if (Snapshot* const old = cell_.publish(next)) retired_.push_back(old);
        reclaim();
    }
    std::size_t objects() const { return pool_.size(); }

private:
    void reclaim() {
        std::vector<const Snapshot*> held;
        if (!cell_.reclaim([&](const Snapshot* object) { held.push_back(object); })) return;
        std::erase_if(retired_, [&](Snapshot* object) {
            for (const Snapshot* one : held) {
                if (one == object) return false;
            }
            object->poison();
            free_.push_back(object);
            return true;
        });
    }

    Cell& cell_;
    std::uint64_t generation_ = 0;
    std::vector<std::unique_ptr<Snapshot>> pool_;
    std::vector<Snapshot*> free_;
    std::vector<Snapshot*> retired_;
};

bool reached(const Limits& limits, Clock::time_point begin) {
    return reads.load() >= limits.reads && swaps.load() >= limits.swaps &&
           std::chrono::duration<double>(Clock::now() - begin).count() >= limits.seconds;
}

void report(const char* what, Clock::time_point begin, const std::string& more) {
    std::printf("%s: %llu reads, %llu swaps in %.1f s%s\n", what,
                static_cast<unsigned long long>(reads.load()),
                static_cast<unsigned long long>(swaps.load()),
                std::chrono::duration<double>(Clock::now() - begin).count(), more.c_str());
}

void stress_cell(const Limits& limits) {
    const auto begin = Clock::now();
    Cell cell;
    Writer writer(cell);
    std::vector<std::thread> threads;
    threads.emplace_back(read_with_guards, std::cref(cell), UINT64_MAX);
    threads.emplace_back(read_with_handle, std::cref(cell), UINT64_MAX);
    threads.emplace_back(churn, std::cref(cell));
    while (!reached(limits, begin)) {
        for (int i = 0; i < 64; ++i) writer.swap();
        swaps.fetch_add(64, std::memory_order_relaxed);
    }
    ended = true;
    for (auto& thread : threads) thread.join();
    report("cell", begin, ", " + std::to_string(writer.objects()) + " objects");
}

// --- tokens, through the receiver ---------------------------------------------------------------

// A token whose bytes all follow from its expiry.
std::string frame(std::int64_t expires_at) {
    const std::string digits = std::to_string(expires_at);
    std::string text;
    while (text.size() < 600) text += digits;
    return R"({"access_token":")" + text + R"(","expires_at":)" + digits + "}\n";
}

void verify(const tokenrelay::Token& token, std::uint64_t& last) {
    if (token.generation() < last)
        fail("an older token after a newer one", token.generation(), last);
    last = token.generation();
    const std::string digits = std::to_string(token.expires_at());
    std::string_view text = token.access_token();
    if (text.empty()) fail("an empty token, generation", token.generation(), last);
    for (; !text.empty(); text.remove_prefix(digits.size())) {
        if (!text.starts_with(digits)) fail("a torn token, generation", token.generation(), last);
    }
}

void send_tokens(const std::string& path, std::int64_t first, std::uint64_t count) {
    check::Peer sender(path);
    for (std::uint64_t i = 0; i < count; ++i) {
        if (sender.ask(frame(first + static_cast<std::int64_t>(i))).find("\"ok\":true") ==
            std::string::npos) {
            fail("a token was refused, number", i, count);
        }
        swaps.fetch_add(1, std::memory_order_relaxed);
    }
}

void stress_receiver(const Limits& limits) {
    const auto begin = Clock::now();
    reads = swaps = 0;
    ended = false;
    const check::TemporaryDirectory directory;
    tokenrelay::TokenReceiver receiver{{.path = directory / "socket"}};
    if (const auto error = receiver.start()) {
        std::fprintf(stderr, "%s\n", error.message().c_str());
        std::exit(EXIT_FAILURE);
    }
    send_tokens(directory / "socket", 4'000'000'000, 1);
    std::thread reader([&] {
        std::uint64_t last = 0;
        read_for(UINT64_MAX, [&] { verify(*receiver.current(), last); });
    });
    std::thread handle([&] {
        tokenrelay::Reader newest(receiver);
        std::uint64_t last = 0;
        read_for(UINT64_MAX, [&] { verify(*newest.current(), last); });
    });
    const std::uint64_t each = limits.swaps / 100;
    do {
        std::thread one(send_tokens, directory / "socket", 5'000'000'000, each);
        send_tokens(directory / "socket", 6'000'000'000, each);
        one.join();
    } while (std::chrono::duration<double>(Clock::now() - begin).count() < limits.seconds);
    ended = true;
    reader.join();
    handle.join();
    report("receiver, two connections", begin, "");
}

Limits parse(int count, char** arguments) {
    Limits limits;
    for (int i = 1; i + 1 < count; i += 2) {
        const std::string_view name = arguments[i];
        if (name == "--reads") limits.reads = std::strtoull(arguments[i + 1], nullptr, 10);
        if (name == "--swaps") limits.swaps = std::strtoull(arguments[i + 1], nullptr, 10);
        if (name == "--seconds") limits.seconds = std::atof(arguments[i + 1]);
    }
    return limits;
}

}  // namespace

int main(int count, char** arguments) {
    const Limits limits = parse(count, arguments);
    stress_cell(limits);
    stress_receiver(limits);
}
