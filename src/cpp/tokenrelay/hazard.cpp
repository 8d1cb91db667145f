#include "tokenrelay/hazard.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <new>

#include "tokenrelay/sanitizer.hpp"

namespace tokenrelay::detail {
namespace {

// Of a thread without a record; in no list, its first slot never free.
constinit ReaderRecord no_record{1};

constexpr bool kSanitizeThread = TOKENRELAY_SANITIZE_THREAD;  // it does not model membarrier

constinit std::atomic<ReaderRecord*> records{nullptr};

long membarrier(int command) noexcept { return syscall(SYS_membarrier, command, 0, 0); }

constinit thread_local ReaderRecord* owned_records = nullptr;
constinit thread_local bool owner_ended = false;

// Gives the thread's records back when it ends.
struct RecordOwner {
    ~RecordOwner() {
        owner_ended = true;
        this_threads_record.value = &no_record;
        while (ReaderRecord* record = owned_records) {
            owned_records = record->next_owned;
            give_back(*record);
        }
    }
};

// Acquire: pairs with release() of the guard, which may be another thread's.
bool nothing_is_posted(const ReaderRecord& record) noexcept {
    return std::all_of(std::begin(record.slots), std::end(record.slots),
                       [](const auto& slot) { return slot.load(std::memory_order_acquire) == 0; });
}

ReaderRecord* reuse_record() noexcept {
    for (ReaderRecord* record = first_record(); record; record = record->next) {
        if (record->taken.load(std::memory_order_relaxed) ||
            record->taken.exchange(true, std::memory_order_acquire)) {
            continue;
        }
        if (nothing_is_posted(*record)) return record;
        give_back(*record);  // guards outlive their thread's RecordOwner
    }
    return nullptr;
}

ReaderRecord* new_record() noexcept {
    auto* record = new ReaderRecord;
    record->next = records.load(std::memory_order_relaxed);
    // Release: whoever finds the record finds it whole. Sequentially consistent, so that the
    // writer's scan finds it or this thread's later validation finds the writer's exchange.
    while (!records.compare_exchange_weak(record->next, record, std::memory_order_seq_cst)) {
    }
    return record;
}

}  // namespace

constinit thread_local SecondHalf<ReaderRecord*> this_threads_record{.value = &no_record};

ReaderRecord* first_record() noexcept { return records.load(std::memory_order_seq_cst); }

ReaderRecord& take_record() noexcept {
    ReaderRecord* record = reuse_record();
    return record ? *record : *new_record();
}

void give_back(ReaderRecord& record) noexcept {
    record.next_owned = nullptr;
    // Pairs with the exchange in reuse_record(): the next owner sees what was posted.
    record.taken.store(false, std::memory_order_release);
}

ReaderRecord& record_of_this_thread() noexcept {
    if (!owned_records) {
        thread_local RecordOwner owner;
        owned_records = &take_record();
        if (!readers_are_fenced()) this_threads_record.value = owned_records;
    }
    return *owned_records;
}

namespace {

// Of a thread that reads in the destructor of a thread_local object, after its RecordOwner's: the
// record is given back at once, and what is posted in it keeps it from others as long as it must.
std::atomic<Hazard>& last_slot() noexcept {
    ReaderRecord& record = take_record();
    record.slots[0].store(1, std::memory_order_relaxed);  // not free, and protects nothing
    give_back(record);
    return record.slots[0];
}

}  // namespace

std::atomic<Hazard>& free_slot() noexcept {
    if (owner_ended) return last_slot();
    for (ReaderRecord* record = &record_of_this_thread(); record; record = record->next_owned) {
        for (auto& slot : record->slots) {
            if (slot.load(std::memory_order_relaxed) == 0) return slot;
        }
    }
    ReaderRecord& more = take_record();
    more.next_owned = owned_records->next_owned;
    owned_records->next_owned = &more;
    return more.slots[0];
}

bool readers_are_fenced() noexcept {
    static const bool fenced =
        kSanitizeThread || membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) != 0;
    return fenced;
}

// A forked child inherits the registration.
bool heavy_barrier() noexcept {
    return readers_are_fenced() || membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0;
}

}  // namespace tokenrelay::detail
