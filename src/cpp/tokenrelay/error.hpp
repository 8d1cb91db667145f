// Errors of the library. Nothing here throws: start() and its helpers return an Error, a refused
// frame carries a Refusal. All functions may be called from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "tokenrelay/export.h"

namespace tokenrelay {

// Why a frame was refused; the names are those of the wire (docs/protocol.md).
enum class Refusal : std::uint8_t {
    none,
    too_large,
    malformed,
    unsupported,
    invalid_token,
    expired,
    stale,
    conflict,
    timeout,
    busy,
};
inline constexpr int kRefusals = 10;

// The code as it stands in an answer, "" for none. Wait-free.
TOKENRELAY_API std::string_view code(Refusal refusal) noexcept;

// What start() could not do: tests true when there is an error. number() is an errno value or 0;
// message() names the cause and the cure.
class [[nodiscard]] Error {
public:
    Error() = default;
    Error(int number, std::string message) : number_(number), message_(std::move(message)) {}

    explicit operator bool() const noexcept { return !message_.empty(); }
    int number() const noexcept { return number_; }
    const std::string& message() const noexcept { return message_; }

private:
    int number_ = 0;
    std::string message_;
};

// "WHAT: strerror(number). CURE"
Error system_error(int number, std::string_view what, std::string_view cure = {});

}  // namespace tokenrelay
