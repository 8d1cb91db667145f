// A native callback for a Python process: stamps the ledger without the interpreter.
#include <cstddef>

#include "ledger.hpp"

namespace {
bench::Ledger* ledger = nullptr;
}

extern "C" void bench_open(const char* path) { ledger = &bench::map_ledger(path); }

/// TokenReceiver(on_native=…). The moment of reading is not told here, so it stays unstamped.
extern "C" void bench_on_token(const char*, std::size_t, std::int64_t, std::uint64_t, void*) {
    ledger->stamp(0, bench::now_ns());
}
