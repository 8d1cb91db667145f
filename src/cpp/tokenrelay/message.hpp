// What a frame says: the checks of docs/protocol.md, and the answers. Pure: no I/O, no clock, no
// allocation. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "tokenrelay/error.hpp"
#include "tokenrelay/token.hpp"

namespace tokenrelay {

// Text of bounded size, without allocation: what is appended beyond the end is cut off.
template <std::size_t N>
class FixedText {
public:
    std::string_view view() const noexcept { return {text_, size_}; }
    void clear() noexcept { size_ = 0; }
    FixedText& operator<<(std::string_view text) noexcept {
        const std::size_t size = text.size() < N - size_ ? text.size() : N - size_;
        if (size > 0) std::memcpy(text_ + size_, text.data(), size);
        size_ += size;
        return *this;
    }
    FixedText& operator<<(std::uint64_t number) noexcept {
        char digits[20];
        std::size_t at = sizeof digits;
        do digits[--at] = static_cast<char>('0' + number % 10);
        while ((number /= 10) != 0);
        return *this << std::string_view(digits + at, sizeof digits - at);
    }

private:
    char text_[N];
    std::size_t size_ = 0;
};

using Detail = FixedText<160>;  // why a frame was refused; never a byte of a token
inline constexpr std::string_view kTooLarge = "more than 65536 bytes in a line";
using Answer = FixedText<320>;  // one line to the sender

enum class MessageKind : std::uint8_t { token, refresh_refused };

struct Message {
    MessageKind kind = MessageKind::token;
    bool bare = false;  // a token alone on its line: answered, then the connection is closed
    TokenUpdate update;  // views into the line
};

// Checks a line and leaves what it says in `message`, which must be fresh. Unescapes strings in the
// line itself. A refusal leaves its reason in `detail`; a line that is not refused leaves it alone.
Refusal parse_message(std::span<char> line, Message& message, Detail& detail) noexcept;

// {"ok":true,"generation":N}
void answer_accepted(Answer& answer, std::uint64_t generation) noexcept;
// {"ok":false,"error":"CODE","detail":"…"}, with "serial" where the sender must know it.
void answer_refused(Answer& answer, Refusal refusal, std::string_view detail,
                    std::optional<std::int64_t> serial) noexcept;
// {"request":"refresh","serial":S}
void ask_refresh(Answer& answer, std::int64_t serial) noexcept;

}  // namespace tokenrelay
