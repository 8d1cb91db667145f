// Where a string stops being plain: the search that keys, values and long tokens are read with, block
// by block. Pure; any thread.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace tokenrelay {

constexpr bool is_printable(char byte) noexcept {
    return static_cast<unsigned char>(byte - 0x21) <= 0x7E - 0x21;
}

// A byte that ends a JSON string or needs a closer look. The exclamation mark is one for its place
// only, beside the quote: so one comparison finds all but the backslash.
constexpr bool is_special(char byte) noexcept {
    return static_cast<unsigned char>(byte - 0x23) > 0x7E - 0x23 || byte == '\\';
}

namespace detail {

using SixteenBytes [[gnu::vector_size(16)]] = unsigned char;

// A bit for each of the bytes that is not zero; those are 0xFF.
[[gnu::always_inline]] inline std::uint32_t places_in(SixteenBytes bytes) noexcept {
#if defined(__SSE2__)
    return static_cast<std::uint32_t>(_mm_movemask_epi8(reinterpret_cast<__m128i>(bytes)));
#else
    std::uint32_t places = 0;
    for (unsigned i = 0; i < sizeof bytes; ++i) places |= (bytes[i] & 1U) << i;
    return places;
#endif
}

// Which of the sixteen bytes there are special: 0xFF each, the others 0.
[[gnu::always_inline]] inline SixteenBytes special_in(const char* at) noexcept {
    SixteenBytes bytes;
    std::memcpy(&bytes, at, sizeof bytes);
    return reinterpret_cast<SixteenBytes>((bytes - 0x23 > 0x7E - 0x23) | (bytes == '\\'));
}

// Where the processor has nothing wider; any has it.
[[gnu::pure]] const char* search_by_16(const char* begin, const char* at, const char* end) noexcept;

// For what is longer than a key: as wide as the processor can.
[[gnu::pure]] const char* find_special_far(const char* begin, const char* at,
                                           const char* end) noexcept;

}  // namespace detail

// The first of the bytes from `at` on that is_special(), or `end`. What is between `begin` and `at` may
// be read too.
inline const char* find_special(const char* begin, const char* at, const char* end) noexcept {
    // Keys and most values are short: theirs is within 16 bytes.
    constexpr std::ptrdiff_t kBlock = sizeof(detail::SixteenBytes);
    if (end - begin >= kBlock) [[likely]] {
        const char* const block = end - at < kBlock ? end - kBlock : at;
        const std::uint32_t places = detail::places_in(detail::special_in(block)) >> (at - block);
        if (places != 0) [[likely]]
            return at + std::countr_zero(places);
        at = block + kBlock;
    }
    return at == end ? end : detail::find_special_far(begin, at, end);
}

}  // namespace tokenrelay
