// Listener: the receiver's thread. Waits for connections and frames (epoll(7)), and for each frame:
// cut, check, apply to the store, answer. Everything it does for a frame is in serve_line().
//
// One thread is enough for native callbacks. With a FollowUp (Python callbacks, which may block)
// there are two, as leader and followers (D. Schmidt et al., "Leader/Followers", PLoP 2000): both
// wait on the same epoll, whichever wakes works on the frame under the leader's lock, lets go of it
// and only then runs the follow-up, while the other goes on receiving. No hand-over is needed:
// epoll wakes the thread that began to wait last, so the busy one is simply not there.
// Descriptors are edge-triggered, so that one event wakes one thread. With busy_poll they take turns
// instead: one spins, the other sleeps until the first has a follow-up to run.
//
// Signals are blocked in these threads, except while a follow-up runs. Limits: limits.hpp.
#pragma once

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tokenrelay/fd.hpp"
#include "tokenrelay/frame.hpp"
#include "tokenrelay/limits.hpp"
#include "tokenrelay/message.hpp"
#include "tokenrelay/socket.hpp"
#include "tokenrelay/stats.hpp"
#include "tokenrelay/store.hpp"

namespace tokenrelay {

// Work after a publication that may block; run by the listener's threads without its lock.
class FollowUp {
public:
    virtual ~FollowUp() = default;
    virtual void run() noexcept = 0;
    // The calling thread ends.
    virtual void leave() noexcept = 0;
};

struct ListenerOptions {
    std::vector<uid_t> allow_uids;
    std::int64_t busy_poll = 0;  // ns to spin after the last frame before sleeping
    int cpu = -1;  // pin the threads there
    bool keep_refresh_token = false;
};

// How other threads reach the listener's, in a place that outlives every listener. Lock-free.
struct Doorbell {
    UniqueFd fd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    std::atomic<std::int64_t> refused_serial{-1};  // of a token that the API refused

    void ring() const noexcept {
        const std::uint64_t one = 1;
        if (fd) static_cast<void>(!::write(fd.get(), &one, sizeof one));
    }
};

class Listener {
public:
    Listener(TokenStore& store, Counters& counters, Doorbell& doorbell, ListenerOptions options);
    ~Listener();
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    // Binds and begins to listen; a second thread runs if `follow_up` is not null.
    Error start(const SocketPlace& place, FollowUp* follow_up);
    // Adds the second thread to a running listener. Any thread; may block.
    Error follow(FollowUp& follow_up);
    // Asks the threads to end. Any thread, also a callback; lock-free.
    void ask_to_stop() noexcept;
    // Joins the threads, up to `timeout_ns` (< 0: as long as it takes), and removes the socket. False
    // if a thread is still in a callback: the listener must then be left alive for ever. Any thread
    // but its own; idempotent.
    bool join(std::int64_t timeout_ns) noexcept;
    // One of this listener's threads is calling.
    bool on_own_thread() const noexcept;

    const std::string& path() const noexcept { return path_; }
    // Around fork(2): keeps the threads from opening or closing a descriptor, since the kernel copies
    // the descriptors before the memory that names them. Waits a moment only: a callback may itself
    // wait for the thread that forks.
    void before_fork() noexcept;
    void after_fork_in_parent() noexcept;
    // In a forked child: closes every descriptor; the threads do not exist there.
    void abandon() noexcept;

private:
    struct Connection {
        UniqueFd fd;
        LineBuffer input;
        std::uint32_t use = 0;  // counts the connections that had this place
        std::uint64_t order = 0;  // of acceptance
        std::int64_t frame_began = 0;  // CLOCK_BOOTTIME ns; 0: no partial frame
        bool delivered = false;
        bool sent_serial = false;
        std::size_t unsent = 0;  // bytes in `output` that the peer has not taken
        std::array<char, 2048> output;
    };
    enum class After : std::uint8_t { keep, close };

    void run() noexcept;
    void prepare_thread() const noexcept;
    void rehearse() noexcept;
    void wait_and_serve(int& timeout) noexcept;
    void take_turn() noexcept;
    bool spin() noexcept;
    bool read_connections() noexcept;
    bool look_around(bool reclaim) noexcept;
    void serve_event(std::uint64_t key, std::uint32_t events) noexcept;
    void serve_doorbell() noexcept;
    void serve_timer() noexcept;
    void serve_directory() noexcept;

    void accept_all() noexcept;
    void admit(UniqueFd fd) noexcept;
    Connection* free_place() noexcept;
    bool read_from(Connection& connection, bool to_the_end) noexcept;
    After serve_lines(Connection& connection, std::int64_t read_at, bool at_end) noexcept;
    After serve_line(Connection& connection, std::span<char> line, std::int64_t read_at) noexcept;
    After refuse_and_close(Connection& connection, Refusal refusal,
                           std::string_view detail) noexcept;
    bool send_answer(Connection& connection, std::string_view answer) noexcept;
    bool flush(Connection& connection) noexcept;
    void close(Connection& connection) noexcept;
    void ask_senders(std::int64_t serial) noexcept;
    void check_frame_deadlines(std::int64_t now) noexcept;
    void bind_again() noexcept;
    void watch_directory() noexcept;
    void arm_timer(std::int64_t at) noexcept;
    void wait_on(int fd, std::uint64_t key, std::uint32_t events) noexcept;
    void count(Refusal refusal) noexcept;
    bool start_thread() noexcept;
    void lead() noexcept;
    void hand_over() noexcept;
    void run_follow_up() noexcept;

    TokenStore& store_;
    Counters& counters_;
    Doorbell& doorbell_;  // rung for a stop, new callbacks, refresh requests
    const ListenerOptions options_;
    std::atomic<FollowUp*> follow_up_{nullptr};
    ListeningSocket socket_;
    std::string path_;
    UniqueFd epoll_;
    UniqueFd timer_;  // timerfd: frame deadlines, retries, late reclaiming
    UniqueFd directory_;  // inotify(7): the socket file was removed or replaced
    std::mutex threads_mutex_;  // guards what follows
    std::vector<std::unique_ptr<std::thread>> threads_;
    std::atomic<int> running_threads_{0};
    WakeCount thread_ended_;
    std::atomic<bool> stopping_{false};
    std::atomic<bool> follow_up_due_{false};
    std::mutex turn_;  // of the thread that spins
    sigset_t program_mask_{};  // of the thread that called start()

    // What follows belongs to the leader.
    std::mutex leader_;
    bool held_for_fork_ = false;
    SecretMemory buffers_;
    std::array<Connection, kMaxConnections> connections_;
    std::uint64_t accept_order_ = 0;
    std::int64_t timer_at_ = 0;  // 0: not armed
    std::int64_t retry_accept_at_ = 0;  // 0: not waiting
    std::int64_t retry_bind_at_ = 0;
};

}  // namespace tokenrelay
