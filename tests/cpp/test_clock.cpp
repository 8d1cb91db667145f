#include <limits>

#include "check.hpp"
#include "tokenrelay/clock.hpp"

using namespace tokenrelay;

TEST(a_deadline_is_the_timeout_away) {
    const std::int64_t before = clock_ns(CLOCK_MONOTONIC);
    const std::int64_t deadline = deadline_after(1'000);
    CHECK(deadline >= before + 1'000);
    CHECK(deadline <= clock_ns(CLOCK_MONOTONIC) + 1'000);
}

TEST(a_timeout_that_is_negative_or_beyond_the_clock_never_ends) {
    constexpr auto never = std::numeric_limits<std::int64_t>::max();
    CHECK_EQUAL(deadline_after(-1), never);
    CHECK_EQUAL(deadline_after(never), never);
    CHECK_EQUAL(deadline_after(std::numeric_limits<std::int64_t>::min()), never);
}
