// The two clocks a token's life is judged by: the wall clock and CLOCK_BOOTTIME, which a clock
// change does not move and a suspend does not stop. Both are read in user space (vdso(7)).
#pragma once

#include <cstdint>
#include <ctime>
#include <limits>

namespace tokenrelay {

struct Now {
    std::int64_t wall;  // ns since the Unix epoch, CLOCK_REALTIME
    std::int64_t boot;  // ns, CLOCK_BOOTTIME
};

inline std::int64_t clock_ns(clockid_t clock) noexcept {
    timespec time{};
    clock_gettime(clock, &time);
    return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

// When `timeout` ns from now are over on CLOCK_MONOTONIC, in ns; never, where it is negative or longer
// than the clock can say.
inline std::int64_t deadline_after(std::int64_t timeout) noexcept {
    constexpr auto never = std::numeric_limits<std::int64_t>::max();
    const std::int64_t now = clock_ns(CLOCK_MONOTONIC);
    return timeout < 0 || timeout > never - now ? never : now + timeout;
}

inline Now now() noexcept { return {clock_ns(CLOCK_REALTIME), clock_ns(CLOCK_BOOTTIME)}; }

}  // namespace tokenrelay
