// Connection: one sender's end, from the bytes it sends to the answers it takes. Everything that is
// done for a frame is in serve_lines(): read, check, apply to the store, answer.
//
// The leader's, and so without locks (listener.hpp). No allocation.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "tokenrelay/event_set.hpp"
#include "tokenrelay/fd.hpp"
#include "tokenrelay/frame.hpp"
#include "tokenrelay/message.hpp"
#include "tokenrelay/stats.hpp"
#include "tokenrelay/store.hpp"

namespace tokenrelay {

class Connection {
public:
    // What all connections work with.
    struct Service {
        TokenStore& store;
        Counters& counters;
        EventSet& events;
        bool keep_refresh_token;
        // CLOCK_BOOTTIME ns; what was before is charged to no frame: the callbacks of another one, a
        // wait for the leader's lock.
        std::int64_t charged_from = 0;

        void count(Refusal refusal) const noexcept {
            Counters::add(counters.refused[static_cast<std::size_t>(refusal)]);
        }
    };

    // Once, before all else. False if the kernel had no memory for the frames.
    bool settle(Service& service, std::uint32_t place) noexcept;

    // `fd` blocks. Closes it at once where the kernel cannot report its events.
    void open(UniqueFd fd, std::uint64_t order) noexcept;
    // Where a thread attends it, that one is woken to close it, behind the frames that are there.
    // Idempotent.
    void close() noexcept;
    // In a forked child: only closes the descriptor.
    void abandon() noexcept { fd_.reset(); }

    bool is_open() const noexcept { return static_cast<bool>(fd_); }
    // Of acceptance.
    std::uint64_t order() const noexcept { return order_; }
    // A frame of it was taken.
    bool delivered() const noexcept { return delivered_; }

    // An event (epoll_ctl(2)) of the place's connection number `use`; nothing if that one is closed.
    void serve(std::uint32_t use, std::uint32_t events) noexcept;
    // Reads and serves what is there, up to a few reads; until nothing is left where `to_the_end`.
    // True if bytes or the end came.
    bool read(bool to_the_end) noexcept;

    // Between frames one thread may attend the connection: sleep in its recv(2), not in epoll_wait(2),
    // and so wake with the bytes in hand. Until it leaves nobody else reads, and no event tells of
    // bytes. Not amid a frame, whose deadline others keep; and who never delivered can make room.
    bool can_be_attended() const noexcept { return fd_ && delivered_ && frame_began_ == 0; }
    void attend() noexcept;
    bool is_attended() const noexcept { return attended_; }
    // By the thread that attends, and without the leader's lock: blocks until there are bytes, the end
    // or close(). For serve_attended(), which is the leader's, with the time (CLOCK_BOOTTIME, ns).
    ssize_t wait_for_bytes() noexcept { return receive(input_.space(), 0); }
    // False if the thread has left: it may not stay, or the connection cannot be attended any more.
    bool serve_attended(ssize_t received, std::int64_t read_at, bool may_stay) noexcept;

    // Asks for a newer token than that of `serial`, if it has delivered serials.
    void request_refresh(std::int64_t serial) noexcept;
    // Refuses a frame that is not complete in time.
    void check_deadline(std::int64_t now) noexcept;
    // A frame as long as usual on all of its way but the publication, so that the first token finds
    // code, stack and the dynamic linker as the thousandth does.
    void rehearse() noexcept;

private:
    enum class After : std::uint8_t { keep, close };

    ssize_t receive(std::span<char> space, int flags) const noexcept;
    After serve_bytes(ssize_t received, std::int64_t read_at) noexcept;
    After serve_lines(std::int64_t read_at, bool at_end) noexcept;
    After serve_line(std::span<char> line, std::int64_t read_at) noexcept;
    // False as send_answer().
    bool serve_token(TokenUpdate& update, std::int64_t read_at,
                     TokenSlot* frame = nullptr) noexcept;
    TokenStore::Outcome take(TokenUpdate& update, std::int64_t read_at, TokenSlot* frame,
                             Detail& detail) noexcept;
    After refuse_and_close(Refusal refusal, std::string_view detail) noexcept;
    // False as send_answer().
    bool refuse(Refusal refusal, std::string_view detail,
                std::optional<std::int64_t> serial = {}) noexcept;
    ssize_t transmit(std::string_view bytes) const noexcept;
    bool send_answer(std::string_view answer) noexcept;
    bool flush() noexcept;
    bool watch() noexcept;

    Service* service_ = nullptr;
    UniqueFd fd_;
    TokenSlot slot_;
    LineBuffer input_;  // over the slot's bytes
    TokenUpdate usual_;  // what the frame in hand says; a new one for each would be zeroed for each
    std::uint32_t place_ = 0;
    std::uint32_t use_ = 0;  // counts the connections that had this place
    std::uint64_t order_ = 0;
    std::int64_t frame_began_ = 0;  // CLOCK_BOOTTIME ns; 0: no partial frame
    bool attended_ = false;
    bool delivered_ = false;
    bool sent_serial_ = false;
    std::size_t unsent_ = 0;  // bytes in `output_` that the peer has not taken
    std::array<char, 2048> output_;
};

}  // namespace tokenrelay
