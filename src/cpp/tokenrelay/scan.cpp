#include "tokenrelay/scan.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tokenrelay::detail {
namespace {

// A search looks at four blocks for one branch, for a token is long, and then at each of the last
// ones, of which the very last may begin before `at`.
constexpr std::ptrdiff_t kBlocks = 4;

const char* search_bytes(const char* at, const char* end) noexcept {
    while (at < end && !is_special(*at)) ++at;
    return at;
}

}  // namespace

const char* search_by_16(const char* begin, const char* at, const char* end) noexcept {
    constexpr std::ptrdiff_t kBlock = sizeof(SixteenBytes);
    for (; end - at >= kBlocks * kBlock; at += kBlocks * kBlock) {
        SixteenBytes special{};
        for (std::ptrdiff_t i = 0; i < kBlocks; ++i) special |= special_in(at + i * kBlock);
        std::uint64_t words[2];
        std::memcpy(words, &special, sizeof words);
        if ((words[0] | words[1]) != 0) break;
    }
    while (at < end && end - begin >= kBlock) {
        const char* const block = end - at < kBlock ? end - kBlock : at;
        const std::uint32_t places = places_in(special_in(block)) >> (at - block);
        if (places != 0) return at + std::countr_zero(places);
        at = block + kBlock;
    }
    return search_bytes(at, end);
}

#if defined(__x86_64__)
namespace {

// In maxima and minima, what vectors do best. A byte's distance from 0x23 upwards is farthest for what
// is below it; a backslash's distance from a backslash is nearest.
[[gnu::target("avx2")]] const char* search_by_32(const char* begin, const char* at,
                                                 const char* end) noexcept {
    constexpr std::ptrdiff_t kBlock = sizeof(__m256i);
    const __m256i from = _mm256_set1_epi8(0x23);
    const __m256i too_far = _mm256_set1_epi8(0x7E - 0x23 + 1);
    const __m256i backslash = _mm256_set1_epi8('\\');
    for (; end - at >= kBlocks * kBlock; at += kBlocks * kBlock) {
        __m256i farthest = _mm256_setzero_si256();
        __m256i nearest = _mm256_set1_epi8(-1);
        for (std::ptrdiff_t i = 0; i < kBlocks; ++i) {
            const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at) + i);
            farthest = _mm256_max_epu8(farthest, _mm256_sub_epi8(bytes, from));
            nearest = _mm256_min_epu8(nearest, _mm256_xor_si256(bytes, backslash));
        }
        const __m256i special =
            _mm256_or_si256(_mm256_cmpeq_epi8(_mm256_max_epu8(farthest, too_far), farthest),
                            _mm256_cmpeq_epi8(nearest, _mm256_setzero_si256()));
        if (_mm256_movemask_epi8(special) != 0) break;
    }
    while (at < end && end - begin >= kBlock) {
        const char* const block = end - at < kBlock ? end - kBlock : at;
        const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block));
        const __m256i far = _mm256_sub_epi8(bytes, from);
        const __m256i special =
            _mm256_or_si256(_mm256_cmpeq_epi8(_mm256_max_epu8(far, too_far), far),
                            _mm256_cmpeq_epi8(bytes, backslash));
        const auto places =
            static_cast<std::uint32_t>(_mm256_movemask_epi8(special)) >> (at - block);
        if (places != 0) return at + std::countr_zero(places);
        at = block + kBlock;
    }
    return search_bytes(at, end);
}

}  // namespace
#endif

const char* find_special_far(const char* begin, const char* at, const char* end) noexcept {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return search_by_32(begin, at, end);
#endif
    return search_by_16(begin, at, end);
}

}  // namespace tokenrelay::detail
