// Cell<T>: one immutable object, published by one writer, read by any number of threads.
//
//   Cell<Token> cell;
//   cell.publish(&next);                      // writer: a single store
//   if (auto guard = cell.read()) use(*guard);  // reader: no lock, no copy, no shared write
//   cell.reclaim(...);                        // writer, later: which old ones may be reused
//
// What for: an object that is read millions of times a second and replaced every few minutes.
// Not for: objects replaced as often as they are read, where the writer's barrier would dominate.
// Cost: a read is two loads and a store to the thread's own cache line, about 0.5 ns; reclaim is
// one membarrier(2), about 11 µs, which is why it is apart from publish.
// Progress: read() is wait-free. Its first try fails only if the writer published between two
// loads; then it asks for help, and either its own compare-and-swap or the writer's puts a
// protected pointer into its slot (helping: M. Herlihy, "Wait-Free Synchronization", ACM TOPLAS 1991).
// publish() and reclaim() are wait-free too: neither waits for a reader. A reader that stops for
// ever inside a guard costs the one object it holds.
// Guards stay on the thread that made them, any number at once (the seventh and so on may allocate).
// Fork: the child's guards stay valid as long as the memory they point to does.
//
// tests/model explores every interleaving of this algorithm for small bounds.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "tokenrelay/hazard.hpp"

namespace tokenrelay {

// A protected pointer, valid while the guard lives; empty where nothing was published.
template <class T>
class Guard {
public:
    Guard() noexcept = default;
    Guard(const T* object, std::atomic<detail::Hazard>& slot) noexcept
        : object_(object), slot_(&slot) {}
    Guard(Guard&& other) noexcept
        : object_(std::exchange(other.object_, nullptr)),
          slot_(std::exchange(other.slot_, nullptr)) {}
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    Guard& operator=(Guard&& other) noexcept {
        if (this != &other) {
            release();
            object_ = std::exchange(other.object_, nullptr);
            slot_ = std::exchange(other.slot_, nullptr);
        }
        return *this;
    }
    ~Guard() { release(); }

    explicit operator bool() const noexcept { return object_ != nullptr; }
    const T& operator*() const noexcept { return *object_; }
    const T* operator->() const noexcept { return object_; }

private:
    void release() noexcept {
        // Release: the reads made through the guard come before; pairs with the acquire in reclaim().
        if (slot_) slot_->store(0, std::memory_order_release);
    }

    const T* object_ = nullptr;
    std::atomic<detail::Hazard>* slot_ = nullptr;
};

template <class T>
class Cell {
    static_assert(std::atomic<T*>::is_always_lock_free);

public:
    // Any thread. Wait-free.
    Guard<T> read() const noexcept {
        detail::ReaderRecord* record = detail::this_threads_record;
        if (!record) [[unlikely]] record = &detail::take_record();
        return read(*record);
    }

    // With the calling thread's record at hand.
    Guard<T> read(detail::ReaderRecord& record) const noexcept {
        std::atomic<detail::Hazard>& first = record.slots[0];
        if (first.load(std::memory_order_relaxed) != 0) [[unlikely]] {
            return read_into(detail::free_slot(record), record.fenced);
        }
        return read_into(first, record.fenced);
    }

    // Writer. Makes `next` (may be null) the current object and returns the one before, which stays
    // protected until reclaim() says otherwise.
    T* publish(T* next) noexcept {
        // Release: readers see what `next` points to, whole. Sequentially consistent for the fenced
        // form: ordered against the reader's posting.
        return current_.exchange(next, std::memory_order_seq_cst);
    }

    // Writer. The current object, without protection: it is the writer who retires objects.
    T* peek() const noexcept { return current_.load(std::memory_order_relaxed); }

    // Writer. Calls in_use(object) for each hazard posted anywhere; an object published before,
    // replaced since and not named may be destroyed or reused.
    template <class F>
    void reclaim(F&& in_use) noexcept {
        detail::heavy_barrier();
        for (auto* record = detail::first_record(); record; record = record->next) {
            for (auto& slot : record->slots) {
                if (const detail::Hazard hazard = settle(slot)) {
                    in_use(reinterpret_cast<const T*>(hazard));
                }
            }
        }
    }

private:
    detail::Hazard call_for_help() const noexcept {
        return reinterpret_cast<detail::Hazard>(this) | 1;
    }

    Guard<T> read_into(std::atomic<detail::Hazard>& slot, bool fenced) const noexcept {
        const T* object = current_.load(std::memory_order_acquire);
        if (!object) return {};
        post(slot, reinterpret_cast<detail::Hazard>(object), fenced);
        // Acquire: if the address was reused meanwhile, its new contents are seen. Sequentially
        // consistent where fenced: not before the posting.
        if (validate() == object) [[likely]] return {object, slot};
        return ask_for_help(slot, fenced);
    }

    [[gnu::noinline]] Guard<T> ask_for_help(std::atomic<detail::Hazard>& slot,
                                            bool fenced) const noexcept {
        detail::Hazard expected = call_for_help();
        post(slot, expected, fenced);
        const auto object = reinterpret_cast<detail::Hazard>(validate());
        // Succeeds unless the writer answered first, with an object that it protects for us.
        if (slot.compare_exchange_strong(expected, object, std::memory_order_seq_cst)) {
            expected = object;
        }
        if (!expected) return {};
        return {reinterpret_cast<const T*>(expected), slot};
    }

    static void post(std::atomic<detail::Hazard>& slot, detail::Hazard hazard,
                     bool fenced) noexcept {
        if (fenced) [[unlikely]] {
            slot.store(hazard, std::memory_order_seq_cst);
            return;
        }
        slot.store(hazard, std::memory_order_relaxed);
        // The compiler's half of the barrier; heavy_barrier() is the processor's.
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }

    const T* validate() const noexcept { return current_.load(std::memory_order_seq_cst); }

    // The object a slot protects, after answering a call for help.
    detail::Hazard settle(std::atomic<detail::Hazard>& slot) noexcept {
        // Acquire: pairs with release() of the guard.
        detail::Hazard hazard = slot.load(std::memory_order_seq_cst);
        if (hazard != call_for_help()) return hazard & 1 ? 0 : hazard;
        const auto current = reinterpret_cast<detail::Hazard>(peek());
        if (slot.compare_exchange_strong(hazard, current, std::memory_order_seq_cst)) {
            return current;
        }
        return hazard & 1 ? 0 : hazard;
    }

    alignas(64) std::atomic<T*> current_{nullptr};
};

}  // namespace tokenrelay
