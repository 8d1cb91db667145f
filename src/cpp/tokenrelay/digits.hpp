// Decimal digits, eight at a time: each byte of a word is a digit, and three multiplications join them.
// Pure; any thread.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace tokenrelay {

constexpr bool is_digit(char byte) noexcept { return byte >= '0' && byte <= '9'; }

namespace detail {

constexpr bool are_digits(std::uint64_t bytes) noexcept {
    constexpr std::uint64_t kHighHalves = 0xF0F0F0F0F0F0F0F0;
    const std::uint64_t carried = bytes + 0x0606060606060606;  // beyond '9' into the high half
    return ((bytes & kHighHalves) | (carried & kHighHalves) >> 4) == 0x3333333333333333;
}

// The first digit is the lowest byte. Neighbours are joined, then pairs, then fours.
constexpr std::uint64_t number_of(std::uint64_t digits) noexcept {
    digits &= 0x0F0F0F0F0F0F0F0F;
    digits = (digits * (10 << 8 | 1) >> 8) & 0x00FF00FF00FF00FF;
    digits = (digits * (100 << 16 | 1) >> 16) & 0x0000FFFF0000FFFF;
    return digits * (10'000ULL << 32 | 1) >> 32;
}

}  // namespace detail

// Appends the eight digits at `at` to `value`, modulo 2^64. False, and nothing done, where they are
// not eight digits.
inline bool take_eight_digits(const char* at, std::uint64_t& value) noexcept {
    if constexpr (std::endian::native != std::endian::little) return false;
    std::uint64_t bytes;
    std::memcpy(&bytes, at, sizeof bytes);
    if (!detail::are_digits(bytes)) return false;
    value = value * 100'000'000 + detail::number_of(bytes);
    return true;
}

}  // namespace tokenrelay
