#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "check.hpp"
#include "tokenrelay/clock.hpp"
#include "tokenrelay/event_set.hpp"
#include "tokenrelay/fd.hpp"

using namespace tokenrelay;

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr int kPatience = 30'000;  // ms

struct Fixture {
    Fixture() { CHECK(!events.open(doorbell.get())); }
    // The key of the next event; 0 where none comes within `timeout` ms.
    std::uint64_t next(int timeout) const {
        epoll_event event;
        return events.wait({&event, 1}, timeout) == 1 ? event.data.u64 : 0;
    }

    UniqueFd doorbell{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    EventSet events;
};

void ring(const UniqueFd& fd) { CHECK_EQUAL(eventfd_write(fd.get(), 1), 0); }

}  // namespace

TEST(a_descriptor_is_reported_under_its_latest_key_and_once) {
    const UniqueFd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    Fixture fixture;
    fixture.events.watch(fd.get(), 7, EPOLLIN | EPOLLET);
    CHECK_EQUAL(fixture.next(0), 0U);
    ring(fd);
    CHECK_EQUAL(fixture.next(kPatience), 7U);
    CHECK_EQUAL(fixture.next(0), 0U);
    fixture.events.watch(fd.get(), 8, EPOLLIN | EPOLLET);  // what waits is reported again
    CHECK_EQUAL(fixture.next(kPatience), 8U);
}

TEST(the_doorbell_is_reported_until_it_is_answered) {
    Fixture fixture;
    ring(fixture.doorbell);
    CHECK_EQUAL(fixture.next(kPatience), kDoorbellKey);
    CHECK_EQUAL(fixture.next(kPatience), kDoorbellKey);
    eventfd_t count = 0;
    CHECK_EQUAL(eventfd_read(fixture.doorbell.get(), &count), 0);
    CHECK_EQUAL(fixture.next(0), 0U);
}

TEST(the_earliest_moment_counts) {
    Fixture fixture;
    const std::int64_t began = clock_ns(CLOCK_BOOTTIME);
    fixture.events.wake_at(began + 3'600'000 * kMillisecond);
    fixture.events.wake_at(began + 5 * kMillisecond);
    fixture.events.wake_at(began + 3'600'000 * kMillisecond);
    CHECK_EQUAL(fixture.next(kPatience), kTimerKey);
    CHECK(clock_ns(CLOCK_BOOTTIME) >= began + 5 * kMillisecond);
    fixture.events.timer_rang();
    CHECK_EQUAL(fixture.next(0), 0U);
    fixture.events.wake_at(began);  // one that has passed
    CHECK_EQUAL(fixture.next(kPatience), kTimerKey);
}

// A stand-in for a user who has no watch left: the kernel cannot report events of this file at all.
TEST(a_descriptor_that_cannot_be_watched_is_an_error) {
    const UniqueFd deaf(open("/dev/null", O_RDONLY | O_CLOEXEC));
    Fixture fixture;
    CHECK(!fixture.events.watch(deaf.get(), 7, EPOLLIN));
    EventSet other;
    const auto error = other.open(deaf.get());
    CHECK_EQUAL(error.number(), EPERM);
    CHECK(error.message().find("fs.epoll.max_user_watches") != std::string::npos);
}
