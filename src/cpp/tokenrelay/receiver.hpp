// TokenReceiver: what a program holds. Owns a store and, between start() and stop(), a listener.
// tokenrelay.hpp says how to use it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tokenrelay/cell.hpp"
#include "tokenrelay/error.hpp"
#include "tokenrelay/export.h"
#include "tokenrelay/stats.hpp"
#include "tokenrelay/token.hpp"

namespace tokenrelay {

class FollowUp;

struct Options {
    std::string account = "default";  // binds RUNTIME/ACCOUNT/PROGRAM-PID-RANDOM.sock, or
    // this path, at most 107 bytes; a socket that systemd listens on there for us is taken over
    std::string path{};
    std::string program{};  // label in the socket's name; default: the process's
    // Spin for this long after the last frame instead of sleeping: a core for microseconds.
    std::chrono::nanoseconds busy_poll{0};
    int cpu = -1;  // the receiver's threads stay on this processor
    std::vector<uid_t> allow_uids{};  // who may deliver besides our own user; root is no exception
    mode_t mode = 0600;  // of the socket
    bool keep_refresh_token = false;  // else a refresh token that arrives is wiped
};

// Keeps a callback registered while it lives.
class TOKENRELAY_API Subscription {
public:
    Subscription() noexcept = default;
    Subscription(Subscription&& other) noexcept
        : receiver_(std::move(other.receiver_)), id_(std::exchange(other.id_, 0)) {}
    Subscription& operator=(Subscription&& other) noexcept {
        if (this != &other) {
            cancel();
            receiver_ = std::move(other.receiver_);
            id_ = std::exchange(other.id_, 0);
        }
        return *this;
    }
    ~Subscription() { cancel(); }

    // Returns when the callback no longer runs, except from inside one. Idempotent; may block.
    void cancel() noexcept;

private:
    friend class TokenReceiver;
    std::weak_ptr<struct ReceiverState> receiver_;
    std::uint64_t id_ = 0;
};

class TOKENRELAY_API TokenReceiver {
public:
    explicit TokenReceiver(Options options);
    ~TokenReceiver();
    TokenReceiver(const TokenReceiver&) = delete;
    TokenReceiver& operator=(const TokenReceiver&) = delete;

    // Binds the socket and starts the threads. Idempotent. May block briefly. After fork() the
    // child starts anew: its receiver is stopped and holds no token.
    Error start();
    // Ends the threads and removes the socket; the current token stays readable. Idempotent; may
    // block while a callback runs. From a callback it only asks, and returns at once.
    void stop() noexcept;
    bool running() const noexcept;
    // This process was forked from the one that called start(), and has not called it itself.
    bool forked() const noexcept;

    // The newest token, or empty. Wait-free after the thread's first call.
    Guard<Token> current() const noexcept { return cell_.value->read(); }

    // The newest valid token of a generation above `after`, or empty at the timeout (negative: it has
    // passed already) and at stop(). Blocks; lock-free for everybody else.
    Guard<Token> wait(std::chrono::nanoseconds timeout, std::uint64_t after = 0) noexcept;
    Guard<Token> wait(std::chrono::nanoseconds timeout, const Token& after) noexcept {
        return wait(timeout, after.generation());
    }

    // `callback` runs on a thread of the receiver's for each new token, before the sender is answered,
    // and soon for the current one. It must not throw and must not block: over 1 ms for a new token
    // is counted. Signals are blocked there, but for faults: unblock them in a process that it
    // starts. May block.
    template <class F>
        requires std::is_nothrow_invocable_v<F&, const Token&>
    [[nodiscard]] Subscription subscribe(F callback) {
        return add_callback(std::function<void(const Token&)>(std::move(callback)));
    }

    // "The API refused this token": asks the senders for a newer one. Does nothing for a token
    // that came without a serial or is no longer the newest. Lock-free; one write(2).
    void request_refresh(const Token& token) noexcept;

    // An eventfd(2) that becomes readable at each publication, for a loop of the program's own:
    // read it, then call current(). The receiver keeps it; -1 if none can be made. May block at
    // the first call; wait-free afterwards.
    int event_fd();

    // Wait-free. What it counts goes on over stop() and start().
    Stats stats() const noexcept;
    // Of the socket; empty before the first start().
    std::string path() const;

    // For bindings whose callbacks may block: see follow_up.hpp.
    Error follow(FollowUp& follow_up);
    // stop() in pieces, for callers that must look at signals: waits at most `timeout` (negative: as
    // long as it takes). False if a callback still runs, or when called from one: ask again.
    bool stop_within(std::chrono::nanoseconds timeout) noexcept;
    // One of its callbacks is calling.
    bool in_callback() const noexcept;
    // Instead of stopping before destruction: asks the threads to end and does not wait. What they
    // need lives until they have ended. Afterwards the receiver may only be destroyed.
    void let_go() noexcept;
    // wait() in pieces, for callers that must look at signals: what ended it.
    enum class Waited : std::uint8_t { token, timed_out, interrupted, stopped };
    // `deadline` in ns of CLOCK_MONOTONIC.
    Waited wait_until(std::int64_t deadline, std::uint64_t after) noexcept;
    // Of the newest token, 0 before the first. Wait-free.
    std::uint64_t generation() const noexcept;

private:
    friend class Reader;
    Subscription add_callback(std::function<void(const Token&)> callback);

    std::shared_ptr<ReceiverState> state_;
    detail::SecondHalf<const Cell<Token>*> cell_;
};

// For a loop that reads without pause: half the cost of TokenReceiver::current(), for keeping the
// token it saw last in memory until it looks again. One thread at a time; the receiver must outlive
// it, and the pointer is valid until the next call of current().
class Reader {
public:
    explicit Reader(const TokenReceiver& receiver) noexcept : reader_(*receiver.cell_.value) {}
    // The newest token, or null. Wait-free.
    const Token* current() noexcept { return reader_.read(); }

private:
    CellReader<Token> reader_;
};

}  // namespace tokenrelay
