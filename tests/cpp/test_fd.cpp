#include <fcntl.h>

#include "check.hpp"
#include "tokenrelay/fd.hpp"

using tokenrelay::UniqueFd;

namespace {

bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }
int open_one() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

}  // namespace

TEST(the_owner_closes_at_its_end) {
    const int fd = open_one();
    {
        const UniqueFd owner(fd);
        CHECK(static_cast<bool>(owner));
        CHECK_EQUAL(owner.get(), fd);
    }
    CHECK(!is_open(fd));
}

TEST(a_move_hands_over_and_closes_what_was_there) {
    const int first = open_one();
    const int second = open_one();
    UniqueFd a(first);
    UniqueFd b(second);
    a = std::move(b);
    CHECK(!is_open(first));
    CHECK_EQUAL(a.get(), second);
    CHECK_EQUAL(b.get(), -1);
    const UniqueFd c(std::move(a));
    CHECK_EQUAL(c.get(), second);
    CHECK(is_open(second));
}

TEST(reset_closes_and_an_empty_owner_closes_nothing) {
    const int fd = open_one();
    UniqueFd owner(fd);
    owner.reset();
    CHECK(!is_open(fd));
    CHECK(!owner);
    owner.reset();
}
