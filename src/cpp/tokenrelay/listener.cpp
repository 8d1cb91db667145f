#include "tokenrelay/listener.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "tokenrelay/clock.hpp"

namespace tokenrelay {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kSecond = 1000 * kMillisecond;
constexpr unsigned kRoundsPerLook = 64;
constexpr std::int64_t kBusyLook = kMillisecond;  // between looks while frames leave no pause
constexpr std::int64_t kReclaimAfter = 10 * kMillisecond;  // of the first publication of a burst
// Between looks whether a guard on a replaced token is gone.
constexpr std::int64_t kShortestHeldLook = kSecond;
constexpr std::int64_t kLongestHeldLook = 60 * kSecond;
constexpr int kForkPatienceMs = 20;
constexpr const char* kMoreThreads =
    "Raise the limits of threads and of memory: ulimit -u, ulimit -v";

constinit thread_local bool this_thread_leads = false;

}  // namespace

Listener::Listener(TokenStore& store, Counters& counters, Doorbell& doorbell,
                   ListenerOptions options)
    : store_(store),
      doorbell_(doorbell),
      busy_poll_(options.busy_poll),
      threads_([this] { run(); }, options.cpu),
      senders_({store, counters, events_, options.keep_refresh_token},
               std::move(options.allow_uids)),
      socket_(events_, counters) {}

Listener::~Listener() {
    ask_to_stop();
    join(-1);
}

// --- start and stop ---------------------------------------------------------------------------

Error Listener::start(const SocketPlace& place, FollowUp* follow_up) {
    if (!senders_.has_memory()) return system_error(ENOMEM, "cannot allocate frame buffers");
    if (!doorbell_.open()) return EventSet::cannot_open();
    if (auto error = events_.open(doorbell_.fd())) return error;
    if (auto error = socket_.open(place)) return error;
    path_ = socket_.path();
    follow_up_ = follow_up;
    noted_generation_ = store_.generation();
    reclaim();  // what a listener before this one has left, or a parent; no thread leads yet
    const bool two = busy_poll_ == 0 || follow_up;
    // No thread serves before all are there. Nobody leads yet, so the lock is free; a callback may take
    // the caller's locks behind it, so it is not waited for.
    const std::unique_lock lock(leader_, std::try_to_lock);
    if (threads_.start() && (!two || threads_.start())) return {};
    stopping_.store(true, std::memory_order_release);
    return system_error(EAGAIN, "cannot start the receiver's thread", kMoreThreads);
}

Error Listener::follow(FollowUp& follow_up) {
    const std::scoped_lock lock(threads_mutex_);
    if (stopping_.load(std::memory_order_acquire) || follow_up_.load()) return {};
    // First the thread: one may sleep at a sender, one be kept by the follow-up.
    if (!threads_.start()) {
        return system_error(EAGAIN, "cannot start the receiver's thread for callbacks",
                            kMoreThreads);
    }
    follow_up_.store(&follow_up);
    doorbell_.ring();
    return {};
}

void Listener::ask_to_stop() noexcept {
    stopping_.store(true, std::memory_order_release);
    doorbell_.ring();
}

bool Listener::join(std::int64_t timeout_ns) noexcept {
    if (!threads_.wait_for_end(deadline_after(timeout_ns))) return false;
    // No thread is left to lead; its lock keeps fork(2) out, as while a descriptor is opened.
    const std::scoped_lock lock(threads_mutex_, leader_);
    if (threads_.empty()) return true;
    threads_.join();
    senders_.close_all();
    socket_.close();
    store_.reclaim();
    return true;
}

void Listener::before_fork() noexcept {
    if (on_own_thread() && this_thread_leads) return;  // forks from a native callback
    fork_waits_.store(true, std::memory_order_relaxed);
    for (int i = 0; i < kForkPatienceMs && !(held_for_fork_ = leader_.try_lock()); ++i) {
        poll(nullptr, 0, 1);
    }
    fork_waits_.store(false, std::memory_order_relaxed);
    fork_waits_.notify_all();
}

void Listener::after_fork_in_parent() noexcept {
    if (std::exchange(held_for_fork_, false)) leader_.unlock();
}

void Listener::abandon() noexcept {
    // The thread that forked, if it is one of these, ends when it comes back from its callback.
    stopping_.store(true, std::memory_order_relaxed);
    abandoned_ = true;
    threads_.abandon();
    senders_.abandon();
    socket_.abandon();
    events_.abandon();
}

// --- the loop ---------------------------------------------------------------------------------

void Listener::run() noexcept {
    rehearse();
    while (!stopping_.load(std::memory_order_acquire)) {
        if (busy_poll_ == 0) {
            wait_and_serve();
        } else {
            take_turn();
        }
        if (follow_up_due_.exchange(false, std::memory_order_acq_rel) && !abandoned_) {
            threads_.with_program_mask([this] { follow_up_.load()->run(); });
        }
    }
    if (!abandoned_) pass_on_stop();
    if (FollowUp* follow_up = follow_up_.load()) follow_up->leave();
}

// fork(2) waits a moment only, and so has no place in the line.
void Listener::lead() noexcept {
    while (fork_waits_.load(std::memory_order_relaxed)) fork_waits_.wait(true);
    if (!leader_.try_lock()) {
        leader_.lock();
        senders_.waited_until(clock_ns(CLOCK_BOOTTIME));
    }
    this_thread_leads = true;
}

void Listener::hand_over() noexcept {
    this_thread_leads = false;
    leader_.unlock();
}

void Listener::rehearse() noexcept {
    lead();
    senders_.rehearse();
    hand_over();
}

void Listener::wait_and_serve() noexcept {
    std::array<epoll_event, 8> events;
    const int ready = events_.wait(events, -1);
    lead();
    for (int i = 0; i < ready && !abandoned_; ++i) {
        const auto& event = events[static_cast<std::size_t>(i)];
        serve_event(event.data.u64, event.events);
    }
    Connection* const sender = may_attend() ? senders_.attend() : nullptr;
    end_round();
    if (sender) attend(*sender);
}

// While the other thread waits for all else: not where a follow-up may keep that one.
bool Listener::may_attend() const noexcept {
    return busy_poll_ == 0 && !follow_up_.load() && !stopping_.load(std::memory_order_relaxed);
}

// Sleeps at the sender, frame by frame, until it is left to epoll or gone.
void Listener::attend(Connection& sender) noexcept {
    for (bool stays = true; stays;) {
        const ssize_t received = sender.wait_for_bytes();
        const std::int64_t read_at = clock_ns(CLOCK_BOOTTIME);
        lead();
        // Known under the lock: once it is left, another thread may attend it.
        stays = sender.serve_attended(received, read_at, may_attend());
        end_round();
    }
}

// One thread attends a sender; another may not have heard, since a third had answered the bell for it.
void Listener::pass_on_stop() noexcept {
    doorbell_.ring();
    lead();
    senders_.end_attended();
    hand_over();
}

// One thread alone spins. It gives the turn to the other one before it runs a follow-up.
void Listener::take_turn() noexcept {
    const std::scoped_lock turn(turn_);
    while (!stopping_.load(std::memory_order_acquire) &&
           !follow_up_due_.load(std::memory_order_acquire)) {
        if (!spin()) wait_and_serve();
    }
}

// Looks at the sockets themselves, without a system call to wait, until something was served. False
// when there was nothing for so long that sleeping is due.
bool Listener::spin() noexcept {
    const std::int64_t idle_since = clock_ns(CLOCK_BOOTTIME);
    // A sender without a pause would keep all others waiting.
    if (idle_since - looked_at_ > kBusyLook && look_around(idle_since)) return true;
    while (!read_connections() && !stopping_.load(std::memory_order_relaxed)) {
        const std::int64_t now = clock_ns(CLOCK_BOOTTIME);
        if (look_around(now)) return true;
        if (now - idle_since > busy_poll_) return false;
    }
    return true;
}

// True if a frame was served, false after some rounds without one: about 20 µs with a sender, with 16
// ten times that, in which the lock is kept, since a round has better things to do than to take it.
bool Listener::read_connections() noexcept {
    lead();
    bool worked = senders_.read_all();
    for (unsigned round = 1; !worked && round < kRoundsPerLook; ++round) {
        worked = senders_.read_all();
    }
    end_round();
    return worked;
}

// What a spinning thread looks at now and then: the other descriptors. True if one had an event.
bool Listener::look_around(std::int64_t now) noexcept {
    looked_at_ = now;
    epoll_event event;
    if (events_.wait({&event, 1}, 0) != 1) return false;
    lead();
    serve_event(event.data.u64, event.events);
    end_round();
    return true;
}

// --- events -----------------------------------------------------------------------------------

void Listener::serve_event(std::uint64_t key, std::uint32_t events) noexcept {
    switch (key) {
        case kListenKey:
            return senders_.accept(socket_.fd());
        case kDoorbellKey:
            return serve_doorbell();
        case kTimerKey:
            return serve_timer();
        case kDirectoryKey:
            return socket_.directory_changed();
        default:
            return senders_.serve(key, events);
    }
}

void Listener::serve_doorbell() noexcept {
    if (stopping_.load(std::memory_order_acquire)) return;  // left readable for the other thread
    doorbell_.answer();
    store_.greet_new_callbacks();
    const std::uint64_t refused = doorbell_.take_refused();
    if (refused != 0) senders_.request_refresh(refused);
    if (follow_up_) follow_up_due_.store(true, std::memory_order_release);
}

void Listener::serve_timer() noexcept {
    events_.timer_rang();
    const std::int64_t now = clock_ns(CLOCK_BOOTTIME);
    senders_.accept_late(socket_.fd(), now);
    socket_.look_late(now);
    reclaim();
    senders_.check_deadlines(now);
}

void Listener::end_round() noexcept {
    // In a child that a callback has forked, the store may be another listener's already.
    if (!abandoned_) note_publication();
    hand_over();
}

// A publication by this round is to be followed up, and the token it replaced to be wiped: soon, not
// now. Looking for readers interrupts the whole process, and takes so much of a processor that a
// sender on the same one is let run later; of a burst, one timer serves all that the store has not
// wiped to have slots.
void Listener::note_publication() noexcept {
    const std::uint64_t generation = store_.generation();
    if (std::exchange(noted_generation_, generation) == generation) return;
    if (follow_up_) follow_up_due_.store(true, std::memory_order_release);
    held_since_ = 0;  // for the token just replaced, looks are frequent again
    if (store_.has_retired() && !std::exchange(reclaim_due_, true)) {
        events_.wake_at(clock_ns(CLOCK_BOOTTIME) + kReclaimAfter);
    }
}

// Wipes the replaced tokens that no reader holds, and has those that one holds looked at again: no
// event tells of a guard's end. What has been held for long may be for as long again, so that a guard
// that never ends costs a look a minute.
void Listener::reclaim() noexcept {
    reclaim_due_ = false;
    store_.reclaim();
    if (!store_.has_retired()) {
        held_since_ = 0;
        return;
    }
    const std::int64_t now = clock_ns(CLOCK_BOOTTIME);
    if (held_since_ == 0) held_since_ = now;
    events_.wake_at(now + std::clamp(now - held_since_, kShortestHeldLook, kLongestHeldLook));
}

}  // namespace tokenrelay
