// Hazard slots: how a reader tells the writer which object it is looking at (M. Michael, "Hazard
// Pointers", IEEE TPDS 2004), in the asymmetric form: the reader posts with a plain store, and the
// writer pays for the ordering with membarrier(2), once per reclaimed token.
//
// One list of records serves the whole process. A thread takes a record at its first read and gives
// it back when it ends; records are reused, never freed. Where membarrier is missing (seccomp, old
// kernels) and under ThreadSanitizer, readers use sequentially consistent operations instead.
//
// Fork: the child keeps its own thread's record; those of threads that do not exist there stay
// taken, which costs their memory only.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "tokenrelay/export.h"

namespace tokenrelay::detail {

// What a slot holds: 0 for free, an object's address, or a cell's address plus 1 as a call for help.
using Hazard = std::uintptr_t;

inline constexpr std::size_t kSlotsPerRecord = 6;

struct alignas(64) ReaderRecord {
    constexpr ReaderRecord() noexcept = default;
    constexpr explicit ReaderRecord(Hazard first_slot) noexcept : slots{first_slot} {}

    std::atomic<Hazard> slots[kSlotsPerRecord] = {};
    std::atomic<bool> taken{true};
    ReaderRecord* next = nullptr;  // in the process's list; fixed once the record is listed
    ReaderRecord* next_owned = nullptr;  // in the list of one thread that holds many guards
};

// The record this thread took first; before its first read, and always where readers are fenced, one
// whose first slot is never free, so that a read asks one question for this and for a guard held
// beside it. Without a model of thread-local storage: initial-exec would save the call that asks for
// its address in a shared library, but such a library can be opened later only if all of its
// thread-locals fit into what the loader keeps for that, and on musl not at all.
extern TOKENRELAY_API constinit thread_local ReaderRecord* this_threads_record;

// This thread's first record, taken if it has none. Allocates if none is free: once a thread, and
// again for each kSlotsPerRecord guards held at the same time.
ReaderRecord& record_of_this_thread() noexcept;
// A free slot of this thread's.
TOKENRELAY_API std::atomic<Hazard>& free_slot() noexcept;
// A record for the caller alone, on any thread, until it is given back.
TOKENRELAY_API ReaderRecord& take_record() noexcept;
TOKENRELAY_API void give_back(ReaderRecord& record) noexcept;

// The head of the list; pairs with the release in take_record().
TOKENRELAY_API ReaderRecord* first_record() noexcept;

// True where readers must order their own loads.
TOKENRELAY_API bool readers_are_fenced() noexcept;
// After this, each running reader has either posted its slot visibly or will see every store made
// before the call. About 11 µs while another thread runs, 1 µs otherwise.
TOKENRELAY_API void heavy_barrier() noexcept;

}  // namespace tokenrelay::detail
