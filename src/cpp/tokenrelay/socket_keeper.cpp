#include "tokenrelay/socket_keeper.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include "tokenrelay/clock.hpp"

namespace tokenrelay {
namespace {

constexpr std::int64_t kRetry = 500'000'000;  // ns
constexpr std::uint32_t kChanges =
    IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF;

}  // namespace

Error SocketKeeper::open(const SocketPlace& place) {
    if (auto error = socket_.open(place)) return error;
    if (!events_.watch(socket_.fd(), kListenKey, EPOLLIN | EPOLLET)) {
        return EventSet::cannot_watch();
    }
    watch();
    return {};
}

void SocketKeeper::watch() noexcept {
    directory_ = UniqueFd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (inotify_add_watch(directory_.get(), socket_.directory().c_str(), kChanges) < 0) {
        directory_.reset();
        return retry();  // no watch left for this user: look every now and then
    }
    events_.watch(directory_.get(), kDirectoryKey, EPOLLIN | EPOLLET);
    if (!socket_.in_place()) retry();  // it went before the watch began
}

void SocketKeeper::directory_changed() noexcept {
    alignas(inotify_event) char events[4096];
    while (read(directory_.get(), events, sizeof events) > 0) {
    }
    look();
}

void SocketKeeper::look_late(std::int64_t now) noexcept {
    if (!retry_at_) return;
    if (now < retry_at_) return events_.wake_at(retry_at_);
    look();
}

void SocketKeeper::look() noexcept {
    retry_at_ = 0;
    if (!socket_.in_place()) {
        if (socket_.reopen()) return retry();
        Counters::add(counters_.rebinds);
        events_.watch(socket_.fd(), kListenKey, EPOLLIN | EPOLLET);
        return watch();
    }
    if (!directory_) watch();
}

void SocketKeeper::retry() noexcept {
    retry_at_ = clock_ns(CLOCK_BOOTTIME) + kRetry;
    events_.wake_at(retry_at_);
}

void SocketKeeper::close() noexcept { socket_.close(); }

void SocketKeeper::abandon() noexcept {
    socket_.abandon();
    directory_.reset();
}

}  // namespace tokenrelay
