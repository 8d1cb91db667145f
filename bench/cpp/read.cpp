// ns per read of the newest token, one and two reading threads, writer at rest and at 10 kHz.
//   read --socket PATH [--rounds N] [--window-ms N]
// Rows take turns, window by window; every read runs beside other threads, because libstdc++
// drops its atomics while a process has one thread. One line of JSON for each window.
#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "frame.hpp"
#include "harness.hpp"
#include "read_cells.hpp"
#ifdef BENCH_WITH_TOKENRELAY
#include "read_tokenrelay.hpp"
#endif
#ifdef BENCH_WITH_URCU
#include "read_urcu.hpp"
#endif

namespace {

constexpr int batch = 8192;

struct Plan {
    int readers;
    int writer_hz;
    std::int64_t duration;
};

template <class Cell>
std::vector<double> read_in_batches(Cell& cell, int cpu, std::int64_t until) {
    bench::pin_to(cpu);
    typename Cell::ThreadState state(cell);
    std::vector<double> samples;
    samples.reserve(100'000);
    for (std::int64_t begin = bench::now_ns(); begin < until;) {
        // Unrolled: at a cycle a read the loop itself, and its alignment, would be measured.
#pragma GCC unroll 16
        for (int i = 0; i < batch; ++i) {
            const char byte = cell.read(state);
            asm volatile("" : : "r"(byte) : "memory");
        }
        const std::int64_t end = bench::now_ns();
        samples.push_back(static_cast<double>(end - begin) / batch);
        begin = bench::now_ns();
    }
    return samples;
}

/// Keeps the asked rate on average, like a provider that never tires.
template <class Cell>
void write_at(Cell& cell, int hz, std::int64_t until) {
    bench::pin_to(0);
    const std::string tokens[2] = {std::string(bench::token_size, 'a'),
                                   std::string(bench::token_size, 'b')};
    std::int64_t next = bench::now_ns();
    for (unsigned turn = 0; next < until; ++turn) {
        cell.write(tokens[turn % 2]);
        next = std::max(next + bench::nanoseconds_per_second / hz, bench::now_ns());
        bench::sleep_ns(std::max<std::int64_t>(0, next - bench::now_ns()));
    }
}

void print(const char* name, const Plan& plan, std::vector<double>& samples) {
    std::printf("{\"row\": \"%s\", \"threads\": %d, \"writer_hz\": %d, \"ns\": [", name,
                plan.readers, plan.writer_hz);
    const char* separator = "";
    for (const double sample : samples) {
        std::printf("%s%.3f", separator, sample);
        separator = ", ";
    }
    std::puts("]}");
}

template <class Cell>
void measure(Cell& cell, const Plan& plan) {
    const std::int64_t until = bench::now_ns() + plan.duration;
    std::vector<std::vector<double>> samples(static_cast<std::size_t>(plan.readers));
    std::vector<std::thread> threads;
    for (int i = 0; i < plan.readers; ++i) {
        // The first reader has a core of its own; the second shares one with the writer.
        threads.emplace_back(
            [&, i] { samples[static_cast<std::size_t>(i)] = read_in_batches(cell, 1 - i, until); });
    }
    if (plan.writer_hz > 0) threads.emplace_back([&] { write_at(cell, plan.writer_hz, until); });
    for (auto& thread : threads) thread.join();
    for (auto& of_reader : samples) print(Cell::name, plan, of_reader);
}

template <class... Cells>
void measure_all(int rounds, std::int64_t window, Cells&... cells) {
    (cells.write(std::string(bench::token_size, 'a')), ...);
    for (int round = 0; round < rounds; ++round) {
        for (const int readers : {1, 2}) {
            for (const int hz : {0, 10'000}) (measure(cells, {readers, hz, window}), ...);
        }
    }
}

}  // namespace

int main(int count, char** values) {
    const bench::Arguments arguments(count, values);
    bench::PlainLoad plain;
    bench::MutexCopy mutex_copy;
    bench::SharedMutex shared_mutex;
    bench::AtomicSharedPointer atomic_shared;
#ifdef BENCH_WITH_TOKENRELAY
    bench::Receiver receiver(arguments.text("--socket"));
    bench::PlainToken plain_token(receiver);
    bench::ReceiverWithReader reader(arguments.text("--socket") + "-reader");
#endif
#ifdef BENCH_WITH_URCU
    bench::UrcuMemb urcu;
    const bench::UrcuMemb::ThreadState state(urcu);
#endif
    measure_all(arguments.number("--rounds", 5), arguments.number("--window-ms", 50) * 1'000'000LL,
                plain,
#ifdef BENCH_WITH_TOKENRELAY
                plain_token, receiver, reader,
#endif
#ifdef BENCH_WITH_URCU
                urcu,
#endif
                mutex_copy, shared_mutex, atomic_shared);
}
