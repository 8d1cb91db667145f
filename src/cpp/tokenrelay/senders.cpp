#include "tokenrelay/senders.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "tokenrelay/clock.hpp"
#include "tokenrelay/socket.hpp"
#include "tokenrelay/spin_pause.hpp"

namespace tokenrelay {
namespace {

constexpr std::int64_t kAcceptRetry = 100'000'000;  // ns after running out of descriptors

}  // namespace

Senders::Senders(const Connection::Service& service, std::vector<uid_t> allow_uids)
    : service_(service), allow_uids_(std::move(allow_uids)) {
    for (std::size_t i = 0; i < connections_.size(); ++i) {
        has_memory_ &= connections_[i].settle(service_, static_cast<std::uint32_t>(i));
    }
}

// --- coming and going -------------------------------------------------------------------------

void Senders::accept(int listening) noexcept {
    for (int tries = 0; tries < kMaxConnections; ++tries) {
        UniqueFd fd(accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
        if (fd) {
            admit(std::move(fd));
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno == EAGAIN) return;
        // No descriptor left, say: edge-triggered, so nothing spins; look again later.
        Counters::add(service_.counters.accept_failures);
        retry_at_ = clock_ns(CLOCK_BOOTTIME) + kAcceptRetry;
        return service_.events.wake_at(retry_at_);
    }
    // More may wait: have it reported again, behind the connections.
    service_.events.watch(listening, kListenKey, EPOLLIN | EPOLLET);
}

void Senders::accept_late(int listening, std::int64_t now) noexcept {
    if (!retry_at_) return;
    if (now < retry_at_) return service_.events.wake_at(retry_at_);
    retry_at_ = 0;
    accept(listening);
}

void Senders::admit(UniqueFd fd) noexcept {
    if (!peer_is_allowed(fd.get(), allow_uids_)) return Counters::add(service_.counters.foreign);
    Counters::add(service_.counters.accepted);
    if (Connection* place = free_place()) return place->open(std::move(fd), ++order_);
    service_.count(Refusal::busy);
    Answer answer;
    answer_refused(answer, Refusal::busy, "16 senders are connected", {});
    const auto text = answer.view();
    static_cast<void>(!send(fd.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
}

// A place without a connection; else the oldest connection that never delivered makes room.
Connection* Senders::free_place() noexcept {
    Connection* idle = nullptr;
    for (std::size_t i = 0; i < connections_.size(); ++i) {
        Connection& connection = connections_[i];
        places_used_ = std::max(places_used_, i + 1);
        if (!connection.is_open()) return &connection;
        if (connection.delivered()) continue;
        if (!idle || connection.order() < idle->order()) idle = &connection;
    }
    if (idle) idle->close();
    return idle;
}

void Senders::close_all() noexcept {
    for (auto& connection : connections_) connection.close();
}

void Senders::abandon() noexcept {
    for (auto& connection : connections_) connection.abandon();
}

// --- meanwhile --------------------------------------------------------------------------------

void Senders::serve(std::uint64_t key, std::uint32_t events) noexcept {
    connections_[key & 0xffffffff].serve(static_cast<std::uint32_t>(key >> 32), events);
}

bool Senders::read_all() noexcept {
    bool worked = false;
    bool looked = false;
    for (std::size_t i = 0; i < places_used_; ++i) {
        if (!connections_[i].is_open()) continue;
        looked = true;
        worked |= connections_[i].read(false);
    }
    if (!looked) spin_pause();  // else the system calls are pause enough
    return worked;
}

void Senders::check_deadlines(std::int64_t now) noexcept {
    for (auto& connection : connections_) connection.check_deadline(now);
}

Connection* Senders::attend() noexcept {
    Connection* newest = nullptr;
    for (auto& connection : connections_) {
        if (connection.is_attended()) return nullptr;
        if (!connection.can_be_attended()) continue;
        if (!newest || connection.order() > newest->order()) newest = &connection;
    }
    if (newest) newest->attend();
    return newest;
}

void Senders::end_attended() noexcept {
    for (auto& connection : connections_) {
        if (connection.is_attended()) connection.close();
    }
}

void Senders::request_refresh(std::uint64_t generation) noexcept {
    const auto current = service_.store.current();
    // A newer one is there, or there is nothing to name it by.
    if (!current || current->generation() != generation || !current->serial()) return;
    Counters::add(service_.counters.refresh_requests);
    for (auto& connection : connections_) connection.request_refresh(*current->serial());
}

}  // namespace tokenrelay
