// Where a string stops being plain: the search that a long token is read with, block by block.
// Pure; any thread.
#pragma once

namespace tokenrelay {

constexpr bool is_printable(char byte) noexcept {
    return static_cast<unsigned char>(byte - 0x21) <= 0x7E - 0x21;
}

// A byte that ends a JSON string or needs a closer look.
constexpr bool is_special(char byte) noexcept {
    return byte == '"' || byte == '\\' || !is_printable(byte);
}

// The first of the bytes that is_special(), or `end`.
const char* find_special(const char* at, const char* end) noexcept;

}  // namespace tokenrelay
