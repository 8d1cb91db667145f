#include "tokenrelay/error.hpp"

#include <locale.h>

#include <array>
#include <cstring>

namespace tokenrelay {
namespace {

// Messages do not follow the program's language, and strerror(3) need not be thread-safe.
locale_t english() noexcept {
    static const locale_t locale = newlocale(LC_ALL_MASK, "C", nullptr);
    return locale;
}

}  // namespace

std::string_view code(Refusal refusal) noexcept {
    static constexpr std::array<std::string_view, kRefusals> kCodes{
        "",        "too_large", "malformed", "unsupported", "invalid_token",
        "expired", "stale",     "conflict",  "timeout",     "busy"};
    return kCodes[static_cast<std::size_t>(refusal)];
}

Error system_error(int number, std::string_view what, std::string_view cure) {
    std::string message(what);
    message += ": ";
    message += strerror_l(number, english());
    if (!cure.empty()) message.append(". ").append(cure);
    return {number, std::move(message)};
}

}  // namespace tokenrelay
