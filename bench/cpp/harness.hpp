// Clock, pinning and command line shared by the benchmark programs.
#pragma once

#include <sched.h>
#include <time.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

namespace bench {

inline constexpr std::int64_t nanoseconds_per_second = 1'000'000'000;

/// CLOCK_BOOTTIME, the clock of Token::received_at_ns(), so that stamps of all processes compare.
inline std::int64_t now_ns() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * nanoseconds_per_second + now.tv_nsec;
}

inline void sleep_ns(std::int64_t duration) noexcept {
    timespec left{duration / nanoseconds_per_second, duration % nanoseconds_per_second};
    while (::clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {
    }
}

/// Pins the calling thread; a negative cpu leaves it to the scheduler.
inline void pin_to(int cpu) noexcept {
    if (cpu < 0) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    ::sched_setaffinity(0, sizeof set, &set);
}

[[noreturn]] inline void fail(const std::string& what) {
    std::fprintf(stderr, "%s: %s\n", what.c_str(), std::strerror(errno));
    std::exit(1);
}

/// Tells the conductor, which reads our standard output, that measuring may begin.
inline void say(const char* line) {
    std::puts(line);
    std::fflush(stdout);
}

/// `--key value` pairs.
class Arguments {
public:
    Arguments(int count, char** values) {
        for (int i = 1; i + 1 < count; i += 2) values_[values[i]] = values[i + 1];
    }
    [[nodiscard]] std::string text(const std::string& key,
                                   const std::string& otherwise = "") const {
        const auto found = values_.find(key);
        return found == values_.end() ? otherwise : found->second;
    }
    [[nodiscard]] int number(const std::string& key, int otherwise) const {
        const auto found = values_.find(key);
        return found == values_.end() ? otherwise : std::atoi(found->second.c_str());
    }

private:
    std::map<std::string, std::string> values_;
};

}  // namespace bench
