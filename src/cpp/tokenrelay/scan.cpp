#include "tokenrelay/scan.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tokenrelay/sanitizer.hpp"

namespace tokenrelay {
namespace {

// Vectors by the extension of GCC and Clang.
using Bytes16 [[gnu::vector_size(16)]] = unsigned char;
using Words16 [[gnu::vector_size(16)]] = std::uint64_t;
using Bytes32 [[gnu::vector_size(32)]] = unsigned char;
using Words32 [[gnu::vector_size(32)]] = std::uint64_t;

// The worst of some blocks of bytes, place by place: in minima and maxima, what vector instructions
// do best. Without a constructor: Clang does not emit one that only the clones below would call.
template <class Bytes, class Words>
struct Worst {
    Bytes farthest;  // from 0x21 upwards, so that what is below it is farthest of all
    Bytes nearest;  // to a quote or a backslash

    [[gnu::always_inline]] void add(const char* at) noexcept {
        Bytes bytes;
        std::memcpy(&bytes, at, sizeof bytes);
        const Bytes above = bytes - 0x21;
        const Bytes quote = bytes ^ '"';
        const Bytes backslash = bytes ^ '\\';
        farthest = above > farthest ? above : farthest;
        nearest = quote < nearest ? quote : nearest;
        nearest = backslash < nearest ? backslash : nearest;
    }
    // The first place where a byte was special, or -1.
    [[gnu::always_inline]] std::ptrdiff_t first_special() const noexcept {
        constexpr std::ptrdiff_t kWords = sizeof(Words) / sizeof(std::uint64_t);
        const Words special = reinterpret_cast<Words>((farthest > 0x7E - 0x21) | (nearest == 0));
        std::uint64_t any = 0;
        for (std::ptrdiff_t i = 0; i < kWords; ++i) any |= special[i];
        if (any == 0) return -1;
        std::ptrdiff_t word = 0;
        while (special[word] == 0) ++word;
        const bool little = std::endian::native == std::endian::little;
        const auto first = special[word];
        return word * 8 + (little ? std::countr_zero(first) : std::countl_zero(first)) / 8;
    }
};

// Built twice where the loader can choose by processor (ELF indirect functions): before
// ThreadSanitizer is ready for that choice.
#if defined(__x86_64__) && defined(__GLIBC__) && !TOKENRELAY_SANITIZE_THREAD
#define TOKENRELAY_FOR_AVX2_TOO [[gnu::target_clones("avx2", "default")]]
#else
#define TOKENRELAY_FOR_AVX2_TOO
#endif

TOKENRELAY_FOR_AVX2_TOO const char* find_special_far(const char* at, const char* end) noexcept {
    constexpr std::ptrdiff_t kBlock = sizeof(Bytes32);
    constexpr std::ptrdiff_t kStride = 4 * kBlock;  // a token is long: one branch for four blocks
    for (; end - at >= kStride; at += kStride) {
        Worst<Bytes32, Words32> worst{{}, ~Bytes32{}};
        for (std::ptrdiff_t i = 0; i < kStride; i += kBlock) worst.add(at + i);
        if (worst.first_special() >= 0) break;
    }
    for (; end - at >= kBlock; at += kBlock) {
        Worst<Bytes32, Words32> worst{{}, ~Bytes32{}};
        worst.add(at);
        if (const auto special = worst.first_special(); special >= 0) return at + special;
    }
    while (at < end && !is_special(*at)) ++at;
    return at;
}

}  // namespace

// Keys and most values are short: theirs is within the first 16 bytes.
const char* find_special(const char* at, const char* end) noexcept {
    if (end - at < static_cast<std::ptrdiff_t>(sizeof(Bytes16))) return find_special_far(at, end);
    Worst<Bytes16, Words16> worst{{}, ~Bytes16{}};
    worst.add(at);
    const auto special = worst.first_special();
    return special >= 0 ? at + special : find_special_far(at + sizeof(Bytes16), end);
}

}  // namespace tokenrelay
