// TokenManager: the engine's one place for tokens. A receiver hands each new one over; the rest of
// the engine need not know how.
#pragma once

#include <cstdint>
#include <string>
#include <tokenrelay/tokenrelay.hpp>

class TokenManager {
public:
    explicit TokenManager(std::string path);

    // Part of the engine's life: false, with the reason on stderr, where it can't listen or no
    // valid token comes in time. Blocks.
    bool start();
    void stop();

    // For each request: the newest token. Wait-free; the guard stays on its thread.
    tokenrelay::Guard<tokenrelay::Token> access_token() const { return receiver_.current(); }
    // For a thread that reads without pause: a Reader of its own is cheaper still.
    const tokenrelay::TokenReceiver& receiver() const { return receiver_; }
    // Tokens taken so far.
    std::uint64_t updates() const { return receiver_.generation(); }

private:
    // Both run on the receiver's thread, before the sender is answered.
    void update_tokens(const tokenrelay::Token& token) noexcept;
    void update_access_token(const tokenrelay::Token& token) noexcept;

    tokenrelay::TokenReceiver receiver_;
    tokenrelay::Subscription subscription_;  // cancelled before the receiver goes
};
