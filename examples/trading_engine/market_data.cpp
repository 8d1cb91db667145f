#include "market_data.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <limits>

namespace {

// Between two looks at the clock: a look costs more than a hundred reads.
constexpr int kBatch = 1024;

std::int64_t wall_ns() {
    timespec time{};
    clock_gettime(CLOCK_REALTIME, &time);
    return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

// Requests of one batch, and the earliest expiry among their tokens.
struct Batch {
    std::uint64_t generation = 0;
    std::uint64_t changes = 0;
    std::int64_t earliest = std::numeric_limits<std::int64_t>::max();

    // Puts the token into the request: its bytes are touched, as copying it would do.
    void request(const tokenrelay::Token& token) {
        asm volatile("" : : "r"(token.authorization().data()) : "memory");
        changes += token.generation() != generation;
        generation = token.generation();
        earliest = std::min(earliest, token.expires_at());
    }
};

// All of a batch count as stale if any of its tokens had expired by its end: never too few.
template <class ReadOne>
Tally run(const std::atomic<bool>& stop, ReadOne read_one) {
    Tally tally;
    std::uint64_t generation = 0;
    const auto began = std::chrono::steady_clock::now();
    while (!stop.load(std::memory_order_relaxed)) {
        Batch batch{.generation = generation};
        for (int i = 0; i < kBatch; ++i) read_one(batch);
        generation = batch.generation;
        tally.reads += kBatch;
        tally.tokens += batch.changes;
        if (batch.earliest <= wall_ns() / 1'000'000'000) tally.stale += kBatch;
    }
    tally.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    return tally;
}

}  // namespace

Tally request_quotes(const tokenrelay::TokenReceiver& receiver, const std::atomic<bool>& stop) {
    tokenrelay::Reader reader(receiver);
    return run(stop, [&reader](Batch& batch) { batch.request(*reader.current()); });
}

Tally request_quotes_with_guards(const tokenrelay::TokenReceiver& receiver,
                                 const std::atomic<bool>& stop) {
    return run(stop, [&receiver](Batch& batch) {
        const auto token = receiver.current();
        batch.request(*token);
    });
}

Tally request_quotes_with_one_token(const tokenrelay::Token& token, const std::atomic<bool>& stop) {
    const std::atomic<const tokenrelay::Token*> pointer{&token};
    return run(stop, [&pointer](Batch& batch) {
        batch.request(*pointer.load(std::memory_order_acquire));
    });
}
