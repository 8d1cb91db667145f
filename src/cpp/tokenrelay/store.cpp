#include "tokenrelay/store.hpp"

#include <algorithm>
#include <new>

#include "tokenrelay/exceptions.hpp"
#include "tokenrelay/limits.hpp"

namespace tokenrelay {
namespace {

// The current token and a handful of replaced ones, so that a burst is not held up by wiping them.
constexpr std::size_t kSlots = 16;
constexpr std::size_t kWipes = 2;  // by each publication, which replaces one

bool same_token(const TokenUpdate& update, const Token& current) noexcept {
    return update.expires_at && *update.expires_at == current.expires_at() &&
           update.access_token == current.access_token();
}

}  // namespace

TokenStore::TokenStore() {
    detail::readers_are_fenced();  // registers for membarrier(2) before there is anything to read
    for (std::size_t i = 0; i < kSlots; ++i) {
        if (!add_slot()) out_of_memory();
    }
    lock_memory();
}

TokenStore::~TokenStore() { cell_.publish(nullptr); }

void TokenStore::lock_memory() noexcept {
    bool locked = true;
    for (const auto& slot : pool_) locked &= slot->lock();
    memory_locked_.store(locked, std::memory_order_relaxed);
}

void TokenStore::lock_memory(TokenSlot& frame) noexcept {
    if (!frame.lock()) memory_locked_.store(false, std::memory_order_relaxed);
}

bool TokenStore::add_slot() noexcept {
    std::unique_ptr<Slot> slot(new (std::nothrow) Slot);
    if (!slot || !slot->has_memory()) return false;
    lock_memory(*slot);
    free_.push_back(slot.get());
    pool_.push_back(std::move(slot));
    retired_.reserve(pool_.size());
    unheld_.reserve(pool_.size());
    free_.reserve(pool_.size());
    return true;
}

TokenStore::Outcome TokenStore::apply(const TokenUpdate& update, Now now, Detail& detail,
                                      TokenSlot* frame) noexcept {
    Outcome outcome;
    outcome.generation = generation_.load(std::memory_order_relaxed);
    if (update.expires_at && *update.expires_at <= now.wall / 1'000'000'000) {
        detail << "expires_at is in the past";
        outcome.refusal = Refusal::expired;
        return outcome;
    }
    const Token* current = cell_.peek();
    if (current && current->expires_in(now).count() > 0) {
        if (same_token(update, *current)) return outcome;
        outcome.refusal = judge(update, *current, outcome, detail);
        if (outcome.refusal != Refusal::none) return outcome;
    }
    if (free_.empty()) make_ready();
    if (free_.empty()) {
        detail << "out of memory";
        outcome.refusal = Refusal::busy;
        return outcome;
    }
    publish(update, now, frame, outcome);
    return outcome;
}

Refusal TokenStore::judge(const TokenUpdate& update, const Token& current, Outcome& outcome,
                          Detail& detail) const noexcept {
    if (!update.serial || !current.serial() || *update.serial > *current.serial()) {
        return Refusal::none;
    }
    if (*update.serial == *current.serial() && update.access_token == current.access_token()) {
        return Refusal::none;
    }
    outcome.serial = current.serial();
    if (*update.serial < *current.serial()) {
        detail << "the current token has a higher serial";
        return Refusal::stale;
    }
    detail << "the current token has this serial and other bytes";
    return Refusal::conflict;
}

void TokenStore::publish(const TokenUpdate& update, Now now, TokenSlot* frame,
                         Outcome& outcome) noexcept {
    Slot* const next = free_.back();
    free_.pop_back();
    outcome.generation = ++last_generation_;
    outcome.published = true;
    Token* token = nullptr;
    if (frame) {
        next->exchange(*frame);
        token = &next->token();
        token->fill_in_place(update, next->bytes(), outcome.generation, now);
    } else {
        token = &next->token();
        token->fill(update, next->bytes(), outcome.generation, now);
    }
    cell_.publish(token);
    // Release: who sees the generation finds the token.
    generation_.store(outcome.generation, std::memory_order_release);
    if (current_slot_) retired_.push_back(current_slot_);
    current_slot_ = next;
    callbacks_.notify(*token);
    published_.advance();
    // Not in a child that a callback has forked: the store may be another listener's there already.
    if (token->generation() == outcome.generation) make_ready();
}

void TokenStore::rehearse(const TokenUpdate& update, Now now, const TokenSlot& frame) noexcept {
    for (const Slot* slot : free_) {
        slot->token().fill(update, slot->bytes(), 0, now);
        slot->token().clear();
    }
    frame.token().fill_in_place(update, frame.bytes(), 0, now);
    frame.token().clear();
}

void TokenStore::greet_new_callbacks() noexcept {
    if (current_slot_) callbacks_.notify(current_slot_->token());
}

void TokenStore::reclaim() noexcept {
    find_unheld();
    wipe(unheld_.size());
    // The next publication must find a slot without asking the kernel.
    if (free_.empty()) add_slot();
}

// Has a slot for the next publication: reclaim() where it must be, and as little of it as will do. By
// the publication, not behind the answer: what a receiver still does while its sender has woken makes
// the scheduler move one of them to another processor.
void TokenStore::make_ready() noexcept {
    if (free_.empty() && unheld_.empty()) find_unheld();
    wipe(kWipes);
    if (free_.empty()) add_slot();
}

void TokenStore::find_unheld() noexcept {
    if (retired_.empty()) return;
    for (Slot* slot : retired_) slot->in_use = false;
    const bool asked = cell_.reclaim([this](const Token* held) {
        for (Slot* slot : retired_) slot->in_use |= &slot->token() == held;
    });
    std::erase_if(retired_, [this, asked](Slot* slot) {
        const bool unheld = asked && !slot->in_use;
        if (unheld) unheld_.push_back(slot);
        return unheld;
    });
    retained_.store(retired_.size(), std::memory_order_relaxed);
}

// Up to so many.
void TokenStore::wipe(std::size_t slots) noexcept {
    for (; slots > 0 && !unheld_.empty(); --slots) {
        unheld_.back()->token().clear();
        free_.push_back(unheld_.back());
        unheld_.pop_back();
    }
}

TokenStore::Waited TokenStore::wait(std::uint64_t after, std::int64_t deadline) noexcept {
    for (;;) {
        const std::uint32_t seen = published_.value();
        if (closed_.load(std::memory_order_acquire)) return Waited::closed;
        if (const auto token = current();
            token && token->generation() > after && !token->expired()) {
            return Waited::token;
        }
        switch (published_.wait(seen, deadline)) {
            case WakeCount::Woken::advanced:
                continue;
            case WakeCount::Woken::timed_out:
                return Waited::timed_out;
            case WakeCount::Woken::interrupted:
                return Waited::interrupted;
        }
    }
}

void TokenStore::close() noexcept {
    closed_.store(true, std::memory_order_release);
    published_.advance();
}

void TokenStore::after_fork() noexcept {
    cell_.publish(nullptr);
    generation_.store(0, std::memory_order_relaxed);
    new (&published_) WakeCount;
    callbacks_.after_fork();
    memory_locked_.store(false, std::memory_order_relaxed);
    current_slot_ = nullptr;
    retired_.clear();
    unheld_.clear();
    free_.clear();
    for (auto& slot : pool_) {
        if (!slot->has_memory()) continue;  // the fork met the exchange of two slots
        // The kernel has emptied these pages (MADV_WIPEONFORK), the tokens' fields with them.
        slot->renew();
        retired_.push_back(slot.get());  // a guard of the forking thread may be on it
    }
}

}  // namespace tokenrelay
