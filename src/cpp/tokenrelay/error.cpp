#include "tokenrelay/error.hpp"

#include <array>
#include <cstring>

namespace tokenrelay {

std::string_view code(Refusal refusal) noexcept {
    static constexpr std::array<std::string_view, kRefusals> kCodes{
        "",        "too_large", "malformed", "unsupported", "invalid_token",
        "expired", "stale",     "conflict",  "timeout",     "busy"};
    return kCodes[static_cast<std::size_t>(refusal)];
}

Error system_error(int number, std::string_view what, std::string_view cure) {
    std::string message(what);
    message += ": ";
    message += strerrordesc_np(number) ? strerrordesc_np(number) : "unknown error";
    if (!cure.empty()) message.append(". ").append(cure);
    return {number, std::move(message)};
}

}  // namespace tokenrelay
