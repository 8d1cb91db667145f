#include <algorithm>
#include <memory>
#include <string>

#include "check.hpp"
#include "tokenrelay/scan.hpp"

using tokenrelay::find_special;
using tokenrelay::is_special;

TEST(backslashes_and_what_is_not_printable_ascii_behind_the_quote_are_special) {
    for (int byte = 0; byte < 256; ++byte) {
        const bool plain = byte > '"' && byte <= 0x7E && byte != '\\';
        CHECK_EQUAL(is_special(static_cast<char>(byte)), !plain);
    }
}

namespace {

using Search = const char* (*)(const char* begin, const char* at, const char* end);

// Strides, blocks and single bytes, or a last block that begins before: each length and place, with
// something before it or not, is another way through them.
void check_every_place(Search search) {
    for (const std::size_t before : {0, 3, 16}) {
        for (std::size_t size = 1; size < 320; ++size) {
            // To the byte, so that AddressSanitizer sees a read beyond it.
            const auto all = std::make_unique<char[]>(before + size);
            std::fill_n(all.get(), before, '"');
            char* const bytes = all.get() + before;
            std::fill_n(bytes, size, 'k');
            const char* const end = bytes + size;
            const auto found = [&] { return search(all.get(), bytes, end); };
            CHECK(found() == end);
            for (std::size_t at = 0; at < size; ++at) {
                bytes[size - 1] = '"';  // one behind it changes nothing
                for (const char byte : {'"', '\\', ' ', '!', '\x7f', '\0', '\xff'}) {
                    bytes[at] = byte;
                    CHECK(found() == bytes + at);
                }
                const char* const quote = at == size - 1 ? end : end - 1;
                for (const char byte : {'#', '[', ']', '~'}) {
                    bytes[at] = byte;
                    CHECK(found() == quote);
                }
                bytes[at] = 'k';
            }
        }
    }
}

}  // namespace

TEST(the_first_special_byte_of_any_value_is_found_at_every_place) {
    check_every_place(find_special);
    const char nothing = 0;
    CHECK(find_special(&nothing, &nothing, &nothing) == &nothing);
}

TEST(the_widest_search_finds_it_too) { check_every_place(tokenrelay::detail::find_special_far); }

TEST(the_search_of_processors_without_more_finds_it_too) {
    check_every_place(tokenrelay::detail::search_by_16);
}
