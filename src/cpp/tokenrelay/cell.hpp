// Cell<T>: one immutable object, published by one writer, read by any number of threads.
//
//   Cell<Token> cell;
//   cell.publish(&next);                      // writer: a single store
//   if (auto guard = cell.read()) use(*guard);  // reader: no lock, no copy, no shared write
//   cell.reclaim(...);                        // writer, later: which old ones may be reused
//
// What for: an object that is read millions of times a second and replaced every few minutes.
// Not for: objects replaced as often as they are read, where the writer's barrier would dominate.
// Cost: a read and its release are five loads and two stores, these to the thread's own cache line,
// about half a nanosecond, with a CellReader half of that (docs/performance.md); reclaim is one
// membarrier(2), about 11 µs, which is why it is apart from publish.
// Progress: read() is wait-free after the thread's first, which may allocate. Its first try fails
// only if the writer published between two loads; then it asks for help, and either its own
// compare-and-swap or the writer's puts a protected pointer into its slot (helping: M. Herlihy,
// "Wait-Free Synchronization", ACM TOPLAS 1991).
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

namespace detail {

// An object and the slot that protects it. Not a guard: it is returned in registers, and so the
// guard made of it stays in them.
template <class T>
struct Protected {
    const T* object;
    std::atomic<Hazard>* slot;
};

}  // namespace detail

// A protected pointer, valid while the guard lives; empty where nothing was published.
template <class T>
class Guard {
public:
    Guard() noexcept = default;
    explicit Guard(detail::Protected<T> found) noexcept
        : object_(found.object), slot_(found.slot) {}
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
        if (object_) slot_->store(0, std::memory_order_release);
    }

    const T* object_ = nullptr;
    std::atomic<detail::Hazard>* slot_ = nullptr;
};

template <class T>
class CellReader;

template <class T>
class Cell {
    static_assert(std::atomic<T*>::is_always_lock_free);

public:
    // Any thread. Wait-free after the thread's first.
    Guard<T> read() const noexcept {
        auto& slot = detail::this_threads_record.value->slots[0];
        if (slot.load(std::memory_order_relaxed) != 0) [[unlikely]] {
            return Guard<T>(read_elsewhere());
        }
        return Guard<T>({protect(slot, false), &slot});
    }

    // Writer. Makes `next` (may be null) the current object and returns the one before, which stays
    // protected until reclaim() says otherwise.
    T* publish(T* next) noexcept {
        // Release: readers see what `next` points to, whole. Sequentially consistent for the fenced
        // form: ordered against the reader's posting.
        return current_.value.exchange(next, std::memory_order_seq_cst);
    }

    // Writer. The current object, without protection: it is the writer who retires objects.
    T* peek() const noexcept { return current_.value.load(std::memory_order_relaxed); }

    // Writer. Calls in_use(object) for each hazard posted anywhere; an object published before,
    // replaced since and not named may be destroyed or reused. False, and nobody is asked, if no
    // barrier is to be had: then all may be in use.
    template <class F>
    [[nodiscard]] bool reclaim(F&& in_use) noexcept {
        if (!detail::heavy_barrier()) return false;
        for (auto* record = detail::first_record(); record; record = record->next) {
            for (auto& slot : record->slots) {
                if (const detail::Hazard hazard = settle(slot)) {
                    in_use(reinterpret_cast<const T*>(hazard));
                }
            }
        }
        return true;
    }

private:
    friend class CellReader<T>;

    detail::Hazard call_for_help() const noexcept {
        return reinterpret_cast<detail::Hazard>(this) | 1;
    }

    // The first read of a thread, fenced reads, and those beside another guard.
    [[gnu::noinline]] detail::Protected<T> read_elsewhere() const noexcept {
        auto& slot = detail::free_slot();
        return {protect(slot, detail::readers_are_fenced()), &slot};
    }

    // The current object, named in `slot`. Where there is none, null, which leaves the slot free.
    const T* protect(std::atomic<detail::Hazard>& slot, bool fenced) const noexcept {
        const T* object = current_.value.load(std::memory_order_acquire);
        post(slot, reinterpret_cast<detail::Hazard>(object), fenced);
        // Acquire: if the address was reused meanwhile, its new contents are seen. Sequentially
        // consistent where fenced: not before the posting.
        if (validate() != object) [[unlikely]]
            return ask_for_help(slot, fenced);
        return object;
    }

    [[gnu::noinline]] const T* ask_for_help(std::atomic<detail::Hazard>& slot,
                                            bool fenced) const noexcept {
        detail::Hazard expected = call_for_help();
        post(slot, expected, fenced);
        const auto object = reinterpret_cast<detail::Hazard>(validate());
        // Succeeds unless the writer answered first, with an object that it protects for us.
        if (slot.compare_exchange_strong(expected, object, std::memory_order_seq_cst)) {
            expected = object;
        }
        return reinterpret_cast<const T*>(expected);
    }

    static void post(std::atomic<detail::Hazard>& slot, detail::Hazard hazard,
                     bool fenced) noexcept {
        if (fenced) [[unlikely]] {
            slot.store(hazard, std::memory_order_seq_cst);
            return;
        }
        // Release: whoever sees this posting instead of the release of the guard before sees that
        // guard's reads done (C++20 has no release sequence through a later plain store).
        slot.store(hazard, std::memory_order_release);
        // The compiler's half of the barrier; heavy_barrier() is the processor's.
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }

    const T* validate() const noexcept { return current_.value.load(std::memory_order_seq_cst); }

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

    alignas(64) detail::SecondHalf<std::atomic<T*>> current_{};
};

// CellReader<T>: for a loop that wants the last nanosecond. Remembers the object it saw last and
// keeps it protected until it looks again, so that a read of an unchanged cell is a load and a
// compare, without a store. Cost: that object stays in memory, unwiped, until then. One thread at a
// time; the reference is valid until the next read(). The cell must outlive it. read() is wait-free.
template <class T>
class CellReader {
public:
    explicit CellReader(const Cell<T>& cell) noexcept
        : cell_(&cell), slot_(&detail::take_record()), fenced_(detail::readers_are_fenced()) {}
    ~CellReader() {
        slot_->slots[0].store(0, std::memory_order_release);
        detail::give_back(*slot_);
    }
    CellReader(const CellReader&) = delete;
    CellReader& operator=(const CellReader&) = delete;

    // Null where nothing was published.
    const T* read() noexcept {
        // Nothing was published since, or the same address again: then it is protected by the very
        // slot that kept it from being reused.
        if (cell_->current_.value.load(std::memory_order_acquire) != seen_) [[unlikely]]
            look();
        return seen_;
    }

private:
    [[gnu::noinline]] void look() noexcept {
        auto& slot = slot_->slots[0];
        slot.store(0, std::memory_order_release);
        seen_ = cell_->protect(slot, fenced_);
    }

    const Cell<T>* cell_;
    const T* seen_ = nullptr;
    detail::ReaderRecord* slot_;
    bool fenced_;
};

}  // namespace tokenrelay
