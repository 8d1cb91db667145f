#include "tokenrelay/event_set.hpp"

#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>

#include "tokenrelay/direct_calls.hpp"

namespace tokenrelay {

Error EventSet::open(int doorbell) {
    epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
    timer_ = UniqueFd(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!epoll_ || !timer_) return cannot_open();
    if (!watch(timer_.get(), kTimerKey, EPOLLIN | EPOLLET) ||
        !watch(doorbell, kDoorbellKey, EPOLLIN)) {
        return cannot_watch();
    }
    return {};
}

Error EventSet::cannot_open() {
    return system_error(errno, "cannot make the descriptors to wait with",
                        "Raise the limit of open files: ulimit -n");
}

Error EventSet::cannot_watch() {
    return system_error(errno, "cannot wait for events of a descriptor",
                        "Raise your user's limit: sysctl fs.epoll.max_user_watches");
}

bool EventSet::watch(int fd, std::uint64_t key, std::uint32_t events) noexcept {
    epoll_event event{};
    event.events = events;
    event.data.u64 = key;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0) return true;
    return errno == ENOENT && epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void EventSet::wake_at(std::int64_t at) noexcept {
    if (timer_at_ && timer_at_ <= at) return;
    timer_at_ = at;
    itimerspec time{};
    time.it_value = {at / 1'000'000'000, at % 1'000'000'000};
    timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &time, nullptr);
}

void EventSet::timer_rang() noexcept {
    std::uint64_t count = 0;
    static_cast<void>(!read(timer_.get(), &count, sizeof count));
    timer_at_ = 0;
}

int EventSet::wait(std::span<epoll_event> events, int timeout) const noexcept {
    return direct::epoll_wait(epoll_.get(), events, timeout);
}

void EventSet::abandon() noexcept {
    epoll_.reset();
    timer_.reset();
}

}  // namespace tokenrelay
