// Hazard slots: how a reader tells the writer which object it is looking at (M. Michael, "Hazard
// Pointers", IEEE TPDS 2004), in the asymmetric form: the reader posts with a plain store, and the
// writer pays for the ordering with membarrier(2), once per reclaimed token.
//
// One list of records serves the whole process. A thread takes a record at its first read and gives
// it back when it ends, with what it still protects: guards in thread_local objects may be destroyed
// after that. Records are reused once nothing is posted in them, never freed. Where membarrier is
// missing (seccomp, old kernels) and under ThreadSanitizer, readers use sequentially consistent
// operations instead.
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

// What a read loads beside its slot. Processors take two addresses for the same whose low 12 bits are,
// and a load then waits for a store that it has nothing to do with; so a record's first slot, which
// only a guard beside another does without, is in the first half of 16 bytes, and these are in the
// second half of others.
template <class T>
struct alignas(16) SecondHalf {
    std::uint64_t first_half = 0;
    T value;
};

struct alignas(64) ReaderRecord {
    constexpr ReaderRecord() noexcept = default;
    constexpr explicit ReaderRecord(Hazard first_slot) noexcept : slots{first_slot} {}

    std::atomic<Hazard> slots[kSlotsPerRecord] = {};
    std::atomic<bool> taken{true};  // by an owner, who alone may post
    ReaderRecord* next = nullptr;  // in the process's list; fixed once the record is listed
    ReaderRecord* next_owned = nullptr;  // in the list of one thread that holds many guards
};

// The record this thread took first; before its first read, and always where readers are fenced, one
// whose first slot is never free, so that a read asks one question for this and for a guard held
// beside it. Without a model of thread-local storage, which is the build's to choose: initial-exec saves
// the call that asks for its address in a shared library, but such a library can be opened later only
// if all of its thread-locals fit into what the loader keeps for that, and on musl not at all. So
// CMakeLists.txt chooses it for our own shared library, on glibc.
extern TOKENRELAY_API constinit thread_local SecondHalf<ReaderRecord*> this_threads_record;

// This thread's first record, taken if it has none. Allocates if none is free: once a thread, and
// again for each kSlotsPerRecord guards held at the same time.
ReaderRecord& record_of_this_thread() noexcept;
// A free slot of this thread's.
TOKENRELAY_API std::atomic<Hazard>& free_slot() noexcept;
// A record for the caller alone, on any thread, until it is given back. All of its slots are free.
TOKENRELAY_API ReaderRecord& take_record() noexcept;
// What is posted in it stays protected; a slot may still be freed, but no more posted in.
TOKENRELAY_API void give_back(ReaderRecord& record) noexcept;

// The head of the list; pairs with the release in take_record().
TOKENRELAY_API ReaderRecord* first_record() noexcept;

// True where readers must order their own loads.
TOKENRELAY_API bool readers_are_fenced() noexcept;
// After this, each running reader has either posted its slot visibly or will see every store made
// before the call. About 11 µs while another thread runs, 1 µs otherwise. False if the kernel refuses,
// as it does after a seccomp(2) filter that came later than the first reader: nothing is ordered then.
[[nodiscard]] TOKENRELAY_API bool heavy_barrier() noexcept;

}  // namespace tokenrelay::detail
