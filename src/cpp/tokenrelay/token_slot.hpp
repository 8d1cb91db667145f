// TokenSlot: secret memory for the longest frame, and at its start for the token that is made of it.
// Slots change places: a usual frame is read into one, which then is the token's, and the next frame
// into a free one. So a token is in memory once, and nothing copies it on its way.
#pragma once

#include <cstddef>
#include <new>
#include <utility>

#include "tokenrelay/limits.hpp"
#include "tokenrelay/secret_memory.hpp"
#include "tokenrelay/token.hpp"

namespace tokenrelay {

class TokenSlot {
    // Whole cache lines, so that a frame begins at one.
    static constexpr std::size_t kTokenBytes = (sizeof(Token) + 63) / 64 * 64;

public:
    // Of bytes(): every string of the largest frame, and the scheme.
    static constexpr std::size_t kBytes = kMaxFrame + 16;
    // The first so many of them meet no page fault: one page, with the token.
    static constexpr std::size_t kUsualFrame = 4096 - kTokenBytes;

    TokenSlot() noexcept : memory_(kTokenBytes + kBytes) {
        if (!has_memory()) return;
        memory_.prefault(0, kTokenBytes + kUsualFrame);
        renew();
    }
    TokenSlot(const TokenSlot&) = delete;
    TokenSlot& operator=(const TokenSlot&) = delete;

    void exchange(TokenSlot& other) noexcept { std::swap(memory_, other.memory_); }

    // False if the kernel had none left.
    bool has_memory() const noexcept { return memory_.data() != nullptr; }
    // True if it is locked now; as SecretMemory::lock().
    bool lock() noexcept { return memory_.lock(); }

    Token& token() const noexcept {
        return *std::launder(reinterpret_cast<Token*>(memory_.data()));
    }
    char* bytes() const noexcept { return memory_.data() + kTokenBytes; }
    // Once the memory is zeros: in a forked child (MADV_WIPEONFORK).
    void renew() noexcept { new (memory_.data()) Token; }

private:
    SecretMemory memory_;
};

}  // namespace tokenrelay
