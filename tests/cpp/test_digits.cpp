#include <cstdint>
#include <string>

#include "check.hpp"
#include "tokenrelay/digits.hpp"

using tokenrelay::take_eight_digits;

TEST(eight_digits_are_appended_to_what_is_there) {
    std::uint64_t value = 0;
    CHECK(take_eight_digits("17958760", value));
    CHECK_EQUAL(value, 17'958'760U);
    CHECK(take_eight_digits("00000009", value));
    CHECK_EQUAL(value, 1'795'876'000'000'009U);
}

TEST(every_digit_counts_at_every_place) {
    std::uint64_t weight = 10'000'000;
    for (std::size_t at = 0; at < 8; ++at, weight /= 10) {
        for (char digit = '0'; digit <= '9'; ++digit) {
            std::string text(8, '0');
            text[at] = digit;
            std::uint64_t value = 0;
            CHECK(take_eight_digits(text.data(), value));
            CHECK_EQUAL(value, weight * static_cast<std::uint64_t>(digit - '0'));
        }
    }
}

TEST(a_byte_that_is_no_digit_is_seen_at_every_place) {
    for (int byte = 0; byte < 256; ++byte) {
        if (byte >= '0' && byte <= '9') continue;
        for (std::size_t at = 0; at < 8; ++at) {
            for (const char around : {'0', '9'}) {
                std::string text(8, around);
                text[at] = static_cast<char>(byte);
                std::uint64_t value = 7;
                CHECK(!take_eight_digits(text.data(), value));
                CHECK_EQUAL(value, 7U);
            }
        }
    }
}
