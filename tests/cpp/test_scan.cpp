#include <algorithm>
#include <memory>
#include <string>

#include "check.hpp"
#include "tokenrelay/scan.hpp"

using tokenrelay::find_special;
using tokenrelay::is_special;

TEST(quotes_backslashes_and_what_is_not_printable_ascii_are_special) {
    for (int byte = 0; byte < 256; ++byte) {
        const bool plain = byte >= 0x21 && byte <= 0x7E && byte != '"' && byte != '\\';
        CHECK_EQUAL(is_special(static_cast<char>(byte)), !plain);
    }
}

// Blocks of 128, 32 and 16 bytes and single ones: each length and place is another way through them.
TEST(the_first_special_byte_of_any_value_is_found_at_every_place) {
    for (std::size_t size = 0; size < 320; ++size) {
        // To the byte, so that AddressSanitizer sees a read beyond it.
        const auto bytes = std::make_unique<char[]>(size);
        std::fill_n(bytes.get(), size, 'k');
        const char* const end = bytes.get() + size;
        CHECK(find_special(bytes.get(), end) == end);
        for (std::size_t at = 0; at < size; ++at) {
            bytes[size - 1] = '"';  // one behind it changes nothing
            for (const char byte : {'"', '\\', ' ', '\x7f', '\0', '\xff'}) {
                bytes[at] = byte;
                CHECK(find_special(bytes.get(), end) == bytes.get() + at);
            }
            bytes[at] = 'k';
        }
    }
}
