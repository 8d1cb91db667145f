#include "tokenrelay/listener.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <utility>

#include "tokenrelay/clock.hpp"
#include "tokenrelay/spin_pause.hpp"

namespace tokenrelay {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kReclaimAfter = kMillisecond;  // of spinning
constexpr unsigned kRoundsPerLook = 64;
constexpr std::int64_t kLateReclaim = 10 * kMillisecond;  // while a follow-up runs
constexpr int kForkPatienceMs = 20;

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
    if (auto error = events_.open(doorbell_.fd.get())) return error;
    if (auto error = socket_.open(place)) return error;
    path_ = socket_.path();
    follow_up_ = follow_up;
    noted_generation_ = store_.generation();
    if (!threads_.start() || (follow_up && !threads_.start())) {
        return system_error(EAGAIN, "cannot start the receiver's thread");
    }
    return {};
}

Error Listener::follow(FollowUp& follow_up) {
    const std::scoped_lock lock(threads_mutex_);
    if (stopping_.load(std::memory_order_acquire) || follow_up_.exchange(&follow_up)) return {};
    if (!threads_.start()) {
        return system_error(EAGAIN, "cannot start the receiver's second thread");
    }
    doorbell_.ring();
    return {};
}

void Listener::ask_to_stop() noexcept {
    stopping_.store(true, std::memory_order_release);
    doorbell_.ring();
}

bool Listener::join(std::int64_t timeout_ns) noexcept {
    const std::int64_t deadline =
        timeout_ns < 0 ? LLONG_MAX : clock_ns(CLOCK_MONOTONIC) + timeout_ns;
    if (!threads_.wait_for_end(deadline)) return false;
    const std::scoped_lock lock(threads_mutex_);
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
    threads_.abandon();
    senders_.abandon();
    socket_.abandon();
    events_.abandon();
}

// --- the loop ---------------------------------------------------------------------------------

void Listener::run() noexcept {
    rehearse();
    int timeout = -1;
    while (!stopping_.load(std::memory_order_acquire)) {
        if (busy_poll_ == 0) {
            wait_and_serve(timeout);
        } else {
            take_turn();
        }
        if (follow_up_due_.exchange(false, std::memory_order_acq_rel)) {
            threads_.with_program_mask([this] { follow_up_.load()->run(); });
        }
    }
    if (FollowUp* follow_up = follow_up_.load()) follow_up->leave();
}

// A thread that spins would take the lock again before anybody else has woken.
void Listener::lead() noexcept {
    while (fork_waits_.load(std::memory_order_relaxed)) fork_waits_.wait(true);
    leader_.lock();
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

// Waits for events, at most `timeout` ms, and sets that of the next wait.
void Listener::wait_and_serve(int& timeout) noexcept {
    std::array<epoll_event, 8> events;
    const int ready = events_.wait(events, timeout);
    lead();
    for (int i = 0; i < ready; ++i) {
        const auto& event = events[static_cast<std::size_t>(i)];
        serve_event(event.data.u64, event.events);
    }
    note_publication();
    // Replaced tokens are wiped when there is nothing else to do: a frame that is there already does
    // not wait for it. Not a wait with a time-out: arming the timer costs more, on a virtual machine
    // several microseconds.
    const bool reclaim_now = ready == 0 || store_.short_of_slots();
    if (reclaim_now) store_.reclaim();
    timeout = !reclaim_now && store_.has_retired() ? 0 : -1;
    hand_over();
}

// One thread alone spins. It gives the turn to the other one before it runs a follow-up.
void Listener::take_turn() noexcept {
    const std::scoped_lock turn(turn_);
    while (!stopping_.load(std::memory_order_acquire) &&
           !follow_up_due_.load(std::memory_order_acquire)) {
        if (spin()) continue;
        int timeout = -1;
        wait_and_serve(timeout);
    }
}

// Looks at the sockets themselves, without a system call to wait, until a frame was served. False
// when there was none for so long that sleeping is due. Replaced tokens are wiped once, when no frame
// has come for a while: one that a reader holds on to waits for the next frame, since each look for
// readers interrupts the whole process.
bool Listener::spin() noexcept {
    const std::int64_t idle_since = clock_ns(CLOCK_BOOTTIME);
    const std::int64_t reclaim_after = std::min(kReclaimAfter, busy_poll_);
    bool reclaimed = false;
    for (unsigned round = 1; !read_connections(); ++round) {
        if (stopping_.load(std::memory_order_relaxed)) return true;
        spin_pause();
        if (round % kRoundsPerLook != 0) continue;
        const std::int64_t idle = clock_ns(CLOCK_BOOTTIME) - idle_since;
        const bool reclaim = !reclaimed && idle > reclaim_after;
        if (look_around(reclaim)) return true;
        reclaimed |= reclaim;
        if (idle > busy_poll_) return false;
    }
    return true;
}

bool Listener::read_connections() noexcept {
    lead();
    const bool worked = senders_.read_all();
    if (worked) note_publication();
    if (store_.short_of_slots()) store_.reclaim();
    hand_over();
    return worked;
}

// What a spinning thread looks at now and then: the other descriptors. True if one had an event.
bool Listener::look_around(bool reclaim) noexcept {
    epoll_event event;
    const bool ready = events_.wait({&event, 1}, 0) == 1;
    if (!ready && !reclaim) return false;
    lead();
    if (ready) serve_event(event.data.u64, event.events);
    note_publication();
    if (reclaim) store_.reclaim();
    hand_over();
    return ready;
}

// --- events -----------------------------------------------------------------------------------

void Listener::serve_event(std::uint64_t key, std::uint32_t events) noexcept {
    switch (key) {
        case kListenKey:
            return senders_.accept_all(socket_.fd());
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
    const std::int64_t serial = doorbell_.refused_serial.exchange(-1, std::memory_order_acq_rel);
    if (serial >= 0) senders_.request_refresh(serial);
    if (follow_up_) follow_up_due_.store(true, std::memory_order_release);
}

void Listener::serve_timer() noexcept {
    events_.timer_rang();
    const std::int64_t now = clock_ns(CLOCK_BOOTTIME);
    senders_.accept_late(socket_.fd(), now);
    socket_.look_late(now);
    store_.reclaim();
    senders_.check_deadlines(now);
}

// A publication by this round is to be followed up.
void Listener::note_publication() noexcept {
    const std::uint64_t generation = store_.generation();
    if (std::exchange(noted_generation_, generation) == generation || !follow_up_) return;
    follow_up_due_.store(true, std::memory_order_release);
    // Should the follow-up take long, the replaced token is still wiped soon.
    if (store_.has_retired()) events_.wake_at(clock_ns(CLOCK_BOOTTIME) + kLateReclaim);
}

}  // namespace tokenrelay
