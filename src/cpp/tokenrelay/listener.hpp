// Listener: the receiver's threads: which of them waits, which serves, which runs a follow-up. What
// they serve is in senders.hpp (connections and their frames) and socket_keeper.hpp.
//
// There are two threads, as leader and followers (D. Schmidt et al., "Leader/Followers", PLoP 2000):
// whichever wakes works on what came under the leader's lock.
//
// Without a FollowUp one of them sleeps in the recv(2) of a sender that has delivered, and has the
// next frame when it wakes, while the other waits in epoll for all else. epoll_wait(2) in between is
// a second system call on the frame's way, with cold code after half an hour of sleep. It stays there
// until that sender is gone, or sends a frame in parts; others are served by way of epoll.
//
// With a FollowUp (Python callbacks, which may block) both wait on the same epoll, and a third one if
// the follow-up came after the start, when one might be asleep in recv. Whichever wakes lets go of
// the lock and only then runs the follow-up, while the others go on receiving. No hand-over is
// needed: epoll wakes the thread that began to wait last, so the busy one is simply not there.
// Descriptors are edge-triggered, so that one event wakes one thread.
//
// With busy_poll one thread is enough for native callbacks; two take turns: one spins, the other
// sleeps until the first has a follow-up to run.
//
// Signals are blocked in these threads (thread_group.hpp), except while a follow-up runs. Limits:
// limits.hpp.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "tokenrelay/doorbell.hpp"
#include "tokenrelay/event_set.hpp"
#include "tokenrelay/fair_lock.hpp"
#include "tokenrelay/follow_up.hpp"
#include "tokenrelay/senders.hpp"
#include "tokenrelay/socket_keeper.hpp"
#include "tokenrelay/stats.hpp"
#include "tokenrelay/store.hpp"
#include "tokenrelay/thread_group.hpp"

namespace tokenrelay {

struct ListenerOptions {
    std::vector<uid_t> allow_uids{};
    std::int64_t busy_poll = 0;  // ns to spin after the last event before sleeping
    int cpu = -1;  // pin the threads there
    bool keep_refresh_token = false;
};

class Listener {
public:
    Listener(TokenStore& store, Counters& counters, Doorbell& doorbell, ListenerOptions options);
    ~Listener();
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    // Binds and begins to listen. `follow_up` may be null.
    Error start(const SocketPlace& place, FollowUp* follow_up);
    // Adds a follow-up, and a thread, to a running listener that has none. Any thread; may block.
    Error follow(FollowUp& follow_up);
    // Asks the threads to end. Any thread, also a callback; lock-free.
    void ask_to_stop() noexcept;
    // Joins the threads, up to `timeout_ns` (< 0: as long as it takes), and removes the socket. False
    // if a thread is still in a callback: the listener must then be left alive for ever. Any thread
    // but its own; idempotent.
    bool join(std::int64_t timeout_ns) noexcept;
    // One of this listener's threads is calling.
    bool on_own_thread() const noexcept { return threads_.inside(); }

    const std::string& path() const noexcept { return path_; }
    // Around fork(2): keeps the threads from opening or closing a descriptor, since the kernel copies
    // the descriptors before the memory that names them. Waits a moment only: a callback may itself
    // wait for the thread that forks.
    void before_fork() noexcept;
    void after_fork_in_parent() noexcept;
    // In a forked child: closes every descriptor; the threads do not exist there.
    void abandon() noexcept;

private:
    void run() noexcept;
    void lead() noexcept;
    void hand_over() noexcept;
    void rehearse() noexcept;
    void wait_and_serve() noexcept;
    bool may_attend() const noexcept;
    void attend(Connection& sender) noexcept;
    void pass_on_stop() noexcept;
    void take_turn() noexcept;
    bool spin() noexcept;
    bool read_connections() noexcept;
    bool look_around(std::int64_t now) noexcept;

    void serve_event(std::uint64_t key, std::uint32_t events) noexcept;
    void serve_doorbell() noexcept;
    void serve_timer() noexcept;
    void end_round() noexcept;
    void note_publication() noexcept;
    void reclaim() noexcept;

    TokenStore& store_;
    Doorbell& doorbell_;  // rung for a stop, new callbacks, refresh requests
    const std::int64_t busy_poll_;
    std::atomic<FollowUp*> follow_up_{nullptr};
    std::atomic<bool> follow_up_due_{false};
    std::atomic<bool> stopping_{false};
    std::atomic<bool> fork_waits_{false};  // for the lock of the leader
    std::string path_;
    std::mutex turn_;  // of the thread that spins; guards looked_at_
    std::int64_t looked_at_ = 0;  // CLOCK_BOOTTIME ns; when it last looked around
    std::mutex threads_mutex_;  // guards starting and joining
    ThreadGroup threads_;

    // What follows belongs to the leader.
    FairLock leader_;
    bool held_for_fork_ = false;
    bool abandoned_ = false;  // in a forked child
    EventSet events_;
    Senders senders_;
    SocketKeeper socket_;
    std::uint64_t noted_generation_ = 0;  // of the last publication that is followed up
    bool reclaim_due_ = false;  // the timer will tell
    std::int64_t held_since_ = 0;  // CLOCK_BOOTTIME ns; a replaced token, by a reader; 0: none is
};

}  // namespace tokenrelay
