// A trading engine in small: a token manager and two market-data threads that put the newest token
// into every simulated request, at full speed, while tokens rotate. Prints what that cost against a
// plain atomic load, and fails if any request would have carried an expired token.
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>

#include "market_data.hpp"
#include "token_manager.hpp"

namespace {

constexpr int kThreads = 2;
constexpr std::chrono::seconds kComparison{2};

using Tallies = std::array<Tally, kThreads>;

// Runs `loop` on each market-data thread for `time`.
Tallies run_threads(std::chrono::seconds time,
                    const std::function<Tally(const std::atomic<bool>&)>& loop) {
    std::atomic<bool> stop{false};
    Tallies tallies;
    std::array<std::thread, kThreads> threads;
    for (int i = 0; i < kThreads; ++i) {
        threads[i] = std::thread([&, i] { tallies[i] = loop(stop); });
    }
    std::this_thread::sleep_for(time);
    stop = true;
    for (auto& thread : threads) thread.join();
    return tallies;
}

void print_speed(const char* what, const Tallies& tallies) {
    for (int i = 0; i < kThreads; ++i) {
        std::printf("%-26s thread %d: %7.1f million reads/s\n", what, i + 1,
                    static_cast<double>(tallies[i].reads) / tallies[i].seconds / 1e6);
    }
}

std::uint64_t print_tokens(const char* what, const Tallies& tallies) {
    print_speed(what, tallies);
    std::uint64_t stale = 0;
    for (int i = 0; i < kThreads; ++i) {
        stale += tallies[i].stale;
        std::printf("%-26s thread %d: %llu tokens seen, %llu stale reads\n", what, i + 1,
                    static_cast<unsigned long long>(tallies[i].tokens),
                    static_cast<unsigned long long>(tallies[i].stale));
    }
    return stale;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: trading_engine PATH SECONDS\n");
        return EXIT_FAILURE;
    }
    const std::chrono::seconds time(std::atoi(argv[2]));
    TokenManager tokens(argv[1]);
    if (!tokens.start()) return EXIT_FAILURE;

    const auto& receiver = tokens.receiver();
    const auto read = run_threads(
        time, [&](const std::atomic<bool>& stop) { return request_quotes(receiver, stop); });
    const auto guarded = run_threads(kComparison, [&](const std::atomic<bool>& stop) {
        return request_quotes_with_guards(receiver, stop);
    });
    const tokenrelay::Token one = *tokens.access_token();
    const auto floor = run_threads(kComparison, [&](const std::atomic<bool>& stop) {
        return request_quotes_with_one_token(one, stop);
    });
    const std::uint64_t updates = tokens.updates();
    tokens.stop();

    const std::uint64_t stale = print_tokens("Reader, tokens rotating", read) +
                                print_tokens("current(), tokens rotating", guarded);
    print_speed("plain atomic load", floor);
    std::printf("%llu tokens received, %llu stale reads past expiry\n",
                static_cast<unsigned long long>(updates), static_cast<unsigned long long>(stale));
    return stale == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
