#include "tokenrelay/scan.hpp"

#include "tokenrelay/sanitizer.hpp"

namespace tokenrelay::detail {
namespace {

// Vectors by the extension of GCC and Clang.
using Bytes [[gnu::vector_size(32)]] = unsigned char;

constexpr std::ptrdiff_t kBlock = sizeof(Bytes);
constexpr std::ptrdiff_t kStride = 4 * kBlock;  // a token is long: one branch for four blocks

// The worst of some blocks of bytes, place by place: in minima and maxima, what vector instructions
// do best. Without a constructor: Clang does not emit one that only the clones below would call.
struct Worst {
    Bytes farthest;  // from 0x23 upwards, so that what is below it is farthest of all
    Bytes nearest;  // to a backslash

    [[gnu::always_inline]] void add(const char* at) noexcept {
        Bytes bytes;
        std::memcpy(&bytes, at, sizeof bytes);
        const Bytes above = bytes - 0x23;
        const Bytes backslash = bytes ^ '\\';
        farthest = above > farthest ? above : farthest;
        nearest = backslash < nearest ? backslash : nearest;
    }
    [[gnu::always_inline]] bool any() const noexcept {
        const Halves far = halves(farthest);
        const Halves near = halves(nearest);
        const SixteenBytes found =
            special(far.a > far.b ? far.a : far.b, near.a < near.b ? near.a : near.b);
        std::uint64_t words[2];
        std::memcpy(words, &found, sizeof words);
        return (words[0] | words[1]) != 0;
    }
    // A bit for each place where a byte was special.
    [[gnu::always_inline]] std::uint32_t places() const noexcept {
        const Halves far = halves(farthest);
        const Halves near = halves(nearest);
        return places_in(special(far.a, near.a)) | places_in(special(far.b, near.b))
                                                       << sizeof(SixteenBytes);
    }

private:
    // Without AVX2 a compiler compares wider vectors byte by byte.
    struct Halves {
        SixteenBytes a;
        SixteenBytes b;
    };
    [[gnu::always_inline]] static Halves halves(const Bytes& bytes) noexcept {
        Halves halves;
        std::memcpy(&halves, &bytes, sizeof halves);
        return halves;
    }
    [[gnu::always_inline]] static SixteenBytes special(SixteenBytes far,
                                                       SixteenBytes near) noexcept {
        return (far > 0x7E - 0x23) | (near == 0);
    }
};

// Built twice where the loader can choose by processor (ELF indirect functions): before
// ThreadSanitizer is ready for that choice.
#if defined(__x86_64__) && defined(__GLIBC__) && !TOKENRELAY_SANITIZE_THREAD
#define TOKENRELAY_FOR_AVX2_TOO [[gnu::target_clones("avx2", "default")]]
#else
#define TOKENRELAY_FOR_AVX2_TOO
#endif

// Not find_special_far() itself, which the header has used by now: Clang wants to know of a function's
// versions before.
TOKENRELAY_FOR_AVX2_TOO const char* search(const char* begin, const char* at,
                                           const char* end) noexcept {
    for (; end - at >= kStride; at += kStride) {
        Worst worst{{}, ~Bytes{}};
        for (std::ptrdiff_t i = 0; i < kStride; i += kBlock) worst.add(at + i);
        if (worst.any()) break;
    }
    while (at < end && end - begin >= kBlock) {
        const char* const block = end - at < kBlock ? end - kBlock : at;
        Worst worst{{}, ~Bytes{}};
        worst.add(block);
        const std::uint32_t places = worst.places() >> (at - block);
        if (places != 0) return at + std::countr_zero(places);
        at = block + kBlock;
    }
    while (at < end && !is_special(*at)) ++at;
    return at;
}

}  // namespace

const char* find_special_far(const char* begin, const char* at, const char* end) noexcept {
    return search(begin, at, end);
}

}  // namespace tokenrelay::detail
