#include "tokenrelay/connection.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "tokenrelay/direct_calls.hpp"
#include "tokenrelay/limits.hpp"
#include "tokenrelay/usual_frame.hpp"

namespace tokenrelay {
namespace {

constexpr std::int64_t kOverrun = 1'000'000;  // ns
constexpr int kReadsPerEvent = 8;  // then the other connections have their turn
constexpr int kSendFlags = MSG_DONTWAIT | MSG_NOSIGNAL;

static_assert(TokenSlot::kBytes >= LineBuffer::kStorage);

}  // namespace

bool Connection::settle(Service& service, std::uint32_t place) noexcept {
    service_ = &service;
    place_ = place;
    if (!slot_.has_memory()) return false;
    input_ = LineBuffer(slot_.bytes());
    service_->store.lock_memory(slot_);
    return true;
}

void Connection::open(UniqueFd fd, std::uint64_t order) noexcept {
    fd_ = std::move(fd);
    order_ = order;
    frame_began_ = 0;
    delivered_ = sent_serial_ = false;
    unsent_ = 0;
    ++use_;
    Counters::add(service_->counters.connections);
    if (watch()) return;
    Counters::add(service_->counters.accept_failures);
    close();
}

void Connection::close() noexcept {
    if (!fd_) return;
    // For the peer, close(2) alone may come to nothing for as long as a thread sleeps in epoll that has
    // just looked at the file (Linux 6.18); and a thread that attends is woken.
    shutdown(fd_.get(), SHUT_RDWR);
    if (attended_) return;
    fd_.reset();
    input_.reset();
    Counters::add(service_->counters.connections, -1ULL);
}

bool Connection::watch() noexcept {
    std::uint32_t events = EPOLLET;
    if (!attended_) events |= EPOLLIN | EPOLLRDHUP;
    if (unsent_ != 0) events |= EPOLLOUT;
    return service_->events.watch(fd_.get(), static_cast<std::uint64_t>(use_) << 32 | place_,
                                  events);
}

void Connection::attend() noexcept {
    attended_ = true;
    watch();
}

// --- from the sender --------------------------------------------------------------------------

void Connection::serve(std::uint32_t use, std::uint32_t events) noexcept {
    if (!fd_ || use != use_) return;
    if (events & EPOLLOUT) {
        if (!flush()) return close();
        if (unsent_ == 0) watch();
    }
    if (!attended_ && (events & ~static_cast<std::uint32_t>(EPOLLOUT))) {
        read((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
    }
}

// Stops at a short read: the next byte makes a new event (epoll(7)).
bool Connection::read(bool to_the_end) noexcept {
    for (int reads = 0; reads < kReadsPerEvent; ++reads) {
        const auto space = input_.space();
        const ssize_t size = receive(space, MSG_DONTWAIT);
        if (size == -EAGAIN) return reads > 0;
        if (serve_bytes(size, clock_ns(CLOCK_BOOTTIME)) == After::close) {
            close();
            return true;
        }
        if (!to_the_end && static_cast<std::size_t>(size) < space.size()) return true;
    }
    // More may wait: have it reported again, behind the others.
    watch();
    return true;
}

bool Connection::serve_attended(ssize_t received, std::int64_t read_at, bool may_stay) noexcept {
    const After after = serve_bytes(received, read_at);
    attended_ = may_stay && after == After::keep && can_be_attended();
    if (after == After::close) {
        close();
    } else if (!attended_) {
        watch();  // reports what has come meanwhile
    }
    return attended_;
}

// The size, 0 at the end; negative: an error number.
ssize_t Connection::receive(std::span<char> space, int flags) const noexcept {
    for (;;) {
        const ssize_t size = direct::recv(fd_.get(), space, flags);
        if (size >= 0) return size;
        if (errno != EINTR) return -errno;
    }
}

Connection::After Connection::serve_bytes(ssize_t received, std::int64_t read_at) noexcept {
    if (received > 0) input_.received(static_cast<std::size_t>(received));
    // ECONNRESET: the peer has closed without reading all its answers, which are its own concern.
    const bool at_end = received == 0 || received == -ECONNRESET;
    const After after = serve_lines(read_at, at_end);
    return received > 0 ? after : After::close;
}

Connection::After Connection::serve_lines(std::int64_t read_at, bool at_end) noexcept {
    bool served = false;
    for (; !input_.searched(); served = true) {
        if (take_usual_frame(input_, usual_)) {
            TokenSlot* const frame = input_.skipped_all() ? &slot_ : nullptr;
            if (!serve_token(usual_, read_at, frame)) return After::close;
            continue;
        }
        const auto line = input_.next_line();
        if (!line) break;
        if (serve_line(*line, read_at) == After::close) return After::close;
    }
    input_.wipe_taken();
    if (input_.too_large()) {
        return refuse_and_close(Refusal::too_large, kTooLarge);
    }
    if (at_end) {
        const auto line = input_.last_line();
        return line ? serve_line(*line, read_at) : After::keep;
    }
    if (!input_.partial()) {
        frame_began_ = 0;
    } else if (served || frame_began_ == 0) {
        frame_began_ = std::max(read_at, service_->charged_from);
        service_->events.wake_at(frame_began_ + kFrameDeadline);
    }
    return After::keep;
}

void Connection::check_deadline(std::int64_t now) noexcept {
    if (!fd_ || frame_began_ == 0) return;
    if (now < frame_began_ + kFrameDeadline) {
        return service_->events.wake_at(frame_began_ + kFrameDeadline);
    }
    refuse_and_close(Refusal::timeout, "the frame was not complete after 2 s");
    close();
}

// --- a frame ----------------------------------------------------------------------------------

Connection::After Connection::serve_line(std::span<char> line, std::int64_t read_at) noexcept {
    if (line.empty()) return After::keep;
    Message message;
    Detail detail;
    const Refusal refusal = parse_message(line, message, detail);
    if (refusal != Refusal::none) {
        const bool end = message.bare || refusal == Refusal::too_large;
        return refuse(refusal, detail.view()) && !end ? After::keep : After::close;
    }
    if (message.kind == MessageKind::refresh_refused) {
        Counters::add(service_->counters.refresh_refusals);
        return After::keep;
    }
    return serve_token(message.update, read_at) && !message.bare ? After::keep : After::close;
}

bool Connection::serve_token(TokenUpdate& update, std::int64_t read_at, TokenSlot* frame) noexcept {
    Detail detail;
    const auto outcome = take(update, read_at, frame, detail);
    if (outcome.refusal != Refusal::none) {
        return refuse(outcome.refusal, detail.view(), outcome.serial);
    }
    Answer answer;
    answer_accepted(answer, outcome.generation);
    return send_answer(answer.view());
}

TokenStore::Outcome Connection::take(TokenUpdate& update, std::int64_t read_at, TokenSlot* frame,
                                     Detail& detail) noexcept {
    Counters& counters = service_->counters;
    if (!service_->keep_refresh_token && !update.refresh_token.empty()) {
        update.refresh_token = {};
        frame = nullptr;  // it must not stay where it is
    }
    // Coarse: a few milliseconds are nothing to a time in whole seconds.
    const auto outcome =
        service_->store.apply(update, {clock_ns(CLOCK_REALTIME_COARSE), read_at}, detail, frame);
    if (frame && outcome.published) input_ = LineBuffer(slot_.bytes());
    if (outcome.refusal != Refusal::none) return outcome;
    delivered_ = true;
    sent_serial_ |= update.serial.has_value();
    if (outcome.published) {
        const std::int64_t now = clock_ns(CLOCK_BOOTTIME);
        Counters::add(counters.published);
        counters.record_callbacks(now - read_at);
        // Without those of the frames before it, in the same read or of another sender.
        const std::int64_t took = now - std::max(read_at, service_->charged_from);
        if (took > kOverrun) Counters::add(counters.callback_overruns);
        service_->charged_from = now;
    } else {
        Counters::add(counters.repeated);
    }
    return outcome;
}

void Connection::rehearse() noexcept {
    if (fd_) return;
    const auto space = input_.space();
    constexpr std::size_t size = TokenSlot::kUsualFrame;
    std::memset(space.data(), 'k', size);
    const auto put = [space](std::size_t at, std::string_view text) {
        std::memcpy(space.data() + at, text.data(), text.size());
    };
    constexpr std::string_view end = "\",\"token_type\":\"Bearer\",\"serial\":1700000000000}\n";
    put(0, "{\"access_token\":\"");
    put(size - end.size(), end);
    input_.received(size);
    if (take_usual_frame(input_, usual_)) {
        service_->store.rehearse(
            usual_, {clock_ns(CLOCK_REALTIME_COARSE), clock_ns(CLOCK_BOOTTIME)}, slot_);
    }
    Answer answer;
    answer_accepted(answer, 0);
    input_.wipe_taken();
}

// --- to the sender ----------------------------------------------------------------------------

Connection::After Connection::refuse_and_close(Refusal refusal, std::string_view detail) noexcept {
    static_cast<void>(refuse(refusal, detail));
    return After::close;
}

bool Connection::refuse(Refusal refusal, std::string_view detail,
                        std::optional<std::int64_t> serial) noexcept {
    service_->count(refusal);
    Answer answer;
    answer_refused(answer, refusal, detail, serial);
    return send_answer(answer.view());
}

void Connection::request_refresh(std::int64_t serial) noexcept {
    if (!fd_ || !sent_serial_) return;
    Answer request;
    ask_refresh(request, serial);
    if (!send_answer(request.view())) close();
}

// How many of the bytes the peer took. All where it is gone: what it sent before is still served.
// Negative if they can't be sent.
ssize_t Connection::transmit(std::string_view bytes) const noexcept {
    const ssize_t sent = direct::send(fd_.get(), bytes, kSendFlags);
    if (sent >= 0) return sent;
    if (errno == EPIPE || errno == ECONNRESET) return static_cast<ssize_t>(bytes.size());
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

// False if the peer has not read its answers for so long that they don't fit any more.
bool Connection::send_answer(std::string_view answer) noexcept {
    if (!flush()) return false;
    if (unsent_ == 0) {
        const ssize_t sent = transmit(answer);
        if (sent == static_cast<ssize_t>(answer.size())) return true;
        if (sent < 0) return false;
        answer.remove_prefix(static_cast<std::size_t>(sent));
    }
    if (answer.size() > output_.size() - unsent_) return false;
    std::memcpy(output_.data() + unsent_, answer.data(), answer.size());
    const bool first = unsent_ == 0;
    unsent_ += answer.size();
    if (first) watch();
    return true;
}

bool Connection::flush() noexcept {
    if (unsent_ == 0) return true;
    const ssize_t sent = transmit({output_.data(), unsent_});
    if (sent < 0) return false;
    unsent_ -= static_cast<std::size_t>(sent);
    std::memmove(output_.data(), output_.data() + sent, unsent_);
    return true;
}

}  // namespace tokenrelay
