// TokenStore: what the newest token is. Decides by serial and expiry (docs/protocol.md), publishes
// through the cell, tells callbacks and waiters. No sockets, no threads of its own.
//
// What is marked as the writer's is for one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "tokenrelay/callbacks.hpp"
#include "tokenrelay/cell.hpp"
#include "tokenrelay/clock.hpp"
#include "tokenrelay/error.hpp"
#include "tokenrelay/message.hpp"
#include "tokenrelay/token.hpp"
#include "tokenrelay/token_slot.hpp"
#include "tokenrelay/wake_count.hpp"

namespace tokenrelay {

class TokenStore {
public:
    struct Outcome {
        Refusal refusal = Refusal::none;
        std::uint64_t generation = 0;        // of the current token
        std::optional<std::int64_t> serial;  // of the current token, with stale and conflict
        bool published = false;
    };

    TokenStore();
    ~TokenStore();
    TokenStore(const TokenStore&) = delete;
    TokenStore& operator=(const TokenStore&) = delete;

    // Writer. Takes no lock, and allocates only where readers hold so many tokens that the next would
    // find no slot. The callbacks have returned when it returns. Copies
    // the update's strings, unless `frame` says in which slot they lie, with nothing else: if the token
    // is published, that slot is then exchanged for a free one.
    Outcome apply(const TokenUpdate& update, Now now, Detail& detail,
                  TokenSlot* frame = nullptr) noexcept;
    // Writer. apply() without a publication: what comes next finds its memory and code warm.
    void rehearse(const TokenUpdate& update, Now now, const TokenSlot& frame) noexcept;
    // Writer. Callbacks added since the last publication hear of the current token.
    void greet_new_callbacks() noexcept;
    // Writer. There are replaced tokens to wipe.
    bool has_retired() const noexcept { return !retired_.empty() || !unheld_.empty(); }
    // Writer. Wipes replaced tokens that no reader holds; one membarrier(2). May allocate a slot.
    void reclaim() noexcept;

    // Any thread. Wait-free.
    Guard<Token> current() const noexcept { return cell_.read(); }
    const Cell<Token>& cell() const noexcept { return cell_; }
    // Of the current token, 0 where there is none. Wait-free.
    std::uint64_t generation() const noexcept {
        return generation_.load(std::memory_order_acquire);
    }

    enum class Waited : std::uint8_t { token, timed_out, interrupted, closed };
    // Any thread; blocks. Until there is a valid token of a generation above `after`, until
    // CLOCK_MONOTONIC reaches `deadline` (ns), a signal handler ran, or close().
    Waited wait(std::uint64_t after, std::int64_t deadline) noexcept;
    // Ends every wait(), now and until open().
    void close() noexcept;
    void open() noexcept { closed_.store(false, std::memory_order_release); }

    Callbacks& callbacks() noexcept { return callbacks_; }
    // Writer. Locks the tokens' memory against swap as far as the limit allows; in a forked child, for
    // which the constructor's locks do not hold, anew.
    void lock_memory() noexcept;
    // The same, after it, for a slot from which tokens will come by apply().
    void lock_memory(TokenSlot& frame) noexcept;
    // All of the tokens' memory was locked, at the last lock_memory() of each.
    bool memory_locked() const noexcept { return memory_locked_.load(std::memory_order_relaxed); }
    // Tokens replaced but still held by a reader, when they were looked for last.
    std::size_t retained() const noexcept { return retained_.load(std::memory_order_relaxed); }

    // In a forked child: no token, no waiters, no writer. Guards held there become empty tokens.
    void after_fork() noexcept;

private:
    struct Slot : TokenSlot {
        bool in_use = false;
    };

    bool add_slot() noexcept;
    void make_ready() noexcept;
    void find_unheld() noexcept;
    void wipe(std::size_t slots) noexcept;
    Refusal judge(const TokenUpdate& update, const Token& current, Outcome& outcome,
                  Detail& detail) const noexcept;
    void publish(const TokenUpdate& update, Now now, TokenSlot* frame, Outcome& outcome) noexcept;

    Cell<Token> cell_;
    std::atomic<std::uint64_t> generation_{0};
    Callbacks callbacks_;
    WakeCount published_;
    std::atomic<bool> closed_{false};
    std::atomic<std::size_t> retained_{0};
    std::atomic<bool> memory_locked_{false};

    // The writer's.
    std::uint64_t last_generation_ = 0;  // goes on in a forked child
    std::vector<std::unique_ptr<Slot>> pool_;
    std::vector<Slot*> free_;
    std::vector<Slot*> retired_;  // a reader may hold it
    std::vector<Slot*> unheld_;  // no reader does; to be wiped
    Slot* current_slot_ = nullptr;
};

}  // namespace tokenrelay
