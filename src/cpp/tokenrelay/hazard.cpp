#include "tokenrelay/hazard.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

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

// Gives the thread's records back when it ends.
struct RecordOwner {
    ~RecordOwner() {
        this_threads_record = &no_record;
        while (ReaderRecord* record = owned_records) {
            owned_records = record->next_owned;
            give_back(*record);
        }
    }
};

ReaderRecord* reuse_record() noexcept {
    for (ReaderRecord* record = first_record(); record; record = record->next) {
        if (!record->taken.load(std::memory_order_relaxed) &&
            !record->taken.exchange(true, std::memory_order_acquire)) {
            return record;
        }
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

constinit thread_local ReaderRecord* this_threads_record = &no_record;

ReaderRecord* first_record() noexcept { return records.load(std::memory_order_seq_cst); }

ReaderRecord& take_record() noexcept {
    ReaderRecord* record = reuse_record();
    return record ? *record : *new_record();
}

void give_back(ReaderRecord& record) noexcept {
    record.next_owned = nullptr;
    for (auto& slot : record.slots) slot.store(0, std::memory_order_release);
    // Pairs with the exchange in reuse_record(): the next owner sees the slots free.
    record.taken.store(false, std::memory_order_release);
}

ReaderRecord& record_of_this_thread() noexcept {
    if (!owned_records) {
        thread_local RecordOwner owner;
        owned_records = &take_record();
        if (!readers_are_fenced()) this_threads_record = owned_records;
    }
    return *owned_records;
}

std::atomic<Hazard>& free_slot() noexcept {
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

void heavy_barrier() noexcept {
    if (readers_are_fenced()) return;
    // Registered above, so it can't fail (membarrier(2)); a forked child inherits the registration.
    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

}  // namespace tokenrelay::detail
