#include "tokenrelay/listener.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "tokenrelay/exceptions.hpp"
#include "tokenrelay/spin_pause.hpp"

namespace tokenrelay {
namespace {

// Keys of the events; below them the connections' places, with their use in the upper half.
constexpr std::uint64_t kListenKey = ~0ULL;
constexpr std::uint64_t kDoorbellKey = ~1ULL;
constexpr std::uint64_t kTimerKey = ~2ULL;
constexpr std::uint64_t kDirectoryKey = ~3ULL;

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kAcceptRetry = 100 * kMillisecond;  // after running out of descriptors
constexpr std::int64_t kBindRetry = 500 * kMillisecond;
constexpr std::int64_t kReclaimAfter = kMillisecond;  // of spinning
constexpr unsigned kRoundsPerLook = 64;
constexpr std::int64_t kLateReclaim = 10 * kMillisecond;  // while a follow-up runs
constexpr std::int64_t kOverrun = kMillisecond;
constexpr int kForkPatienceMs = 20;
constexpr std::size_t kUsualFrame = 4096;
constexpr int kReadsPerEvent = 8;  // then the other connections have their turn
constexpr int kRecvFlags = MSG_DONTWAIT;
constexpr int kSendFlags = MSG_DONTWAIT | MSG_NOSIGNAL;
constexpr std::uint32_t kConnectionEvents = EPOLLIN | EPOLLRDHUP | EPOLLET;

constinit thread_local const Listener* this_threads_listener = nullptr;
constinit thread_local bool this_thread_leads = false;

std::uint64_t key_of(std::size_t place, std::uint32_t use) noexcept {
    return static_cast<std::uint64_t>(use) << 32 | place;
}

}  // namespace

Listener::Listener(TokenStore& store, Counters& counters, Doorbell& doorbell,
                   ListenerOptions options)
    : store_(store),
      counters_(counters),
      doorbell_(doorbell),
      options_(std::move(options)),
      buffers_(kMaxConnections * LineBuffer::kStorage) {
    for (std::size_t i = 0; i < connections_.size(); ++i) {
        connections_[i].input = LineBuffer(buffers_.data() + i * LineBuffer::kStorage);
        buffers_.prefault(i * LineBuffer::kStorage, kUsualFrame);
    }
}

Listener::~Listener() {
    ask_to_stop();
    join(-1);
}

// --- start and stop ---------------------------------------------------------------------------

Error Listener::start(const SocketPlace& place, FollowUp* follow_up) {
    if (!buffers_.data()) return system_error(ENOMEM, "cannot allocate frame buffers");
    epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
    timer_ = UniqueFd(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!epoll_ || !doorbell_.fd || !timer_) {
        return system_error(errno, "cannot make the descriptors to wait with",
                            "Raise the limit of open files: ulimit -n");
    }
    if (auto error = socket_.open(place)) return error;
    path_ = socket_.path();
    // Level-triggered: a stop must reach every thread.
    wait_on(doorbell_.fd.get(), kDoorbellKey, EPOLLIN);
    wait_on(timer_.get(), kTimerKey, EPOLLIN | EPOLLET);
    wait_on(socket_.fd(), kListenKey, EPOLLIN | EPOLLET);
    watch_directory();
    follow_up_ = follow_up;
    pthread_sigmask(SIG_SETMASK, nullptr, &program_mask_);
    if (!start_thread() || (follow_up && !start_thread())) {
        return system_error(EAGAIN, "cannot start the receiver's thread");
    }
    return {};
}

Error Listener::follow(FollowUp& follow_up) {
    const std::scoped_lock lock(threads_mutex_);
    if (stopping_.load(std::memory_order_acquire) || follow_up_.exchange(&follow_up)) return {};
    if (!start_thread()) return system_error(EAGAIN, "cannot start the receiver's second thread");
    doorbell_.ring();
    return {};
}

bool Listener::start_thread() noexcept {
    // The thread inherits the mask: no signal handler of the program ever runs in it.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    running_threads_.fetch_add(1, std::memory_order_relaxed);
    const auto add_one = [this] {
        threads_.push_back(std::make_unique<std::thread>([this] { run(); }));
        return true;
    };
    const bool started = caught(add_one, false);
    if (!started) running_threads_.fetch_sub(1, std::memory_order_relaxed);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
}

void Listener::ask_to_stop() noexcept {
    stopping_.store(true, std::memory_order_release);
    doorbell_.ring();
}

bool Listener::on_own_thread() const noexcept { return this_threads_listener == this; }

bool Listener::join(std::int64_t timeout_ns) noexcept {
    const std::int64_t deadline =
        timeout_ns < 0 ? LLONG_MAX : clock_ns(CLOCK_MONOTONIC) + timeout_ns;
    for (;;) {
        const std::uint32_t seen = thread_ended_.value();
        if (running_threads_.load(std::memory_order_acquire) == 0) break;
        if (thread_ended_.wait(seen, deadline) == WakeCount::Woken::timed_out) return false;
    }
    const std::scoped_lock lock(threads_mutex_);
    if (threads_.empty()) return true;
    for (auto& thread : threads_) thread->join();
    threads_.clear();
    for (auto& connection : connections_) {
        if (connection.fd) close(connection);
    }
    socket_.close();
    store_.reclaim();
    return true;
}

void Listener::before_fork() noexcept {
    if (on_own_thread() && this_thread_leads) return;  // forks from a native callback
    for (int i = 0; i < kForkPatienceMs && !(held_for_fork_ = leader_.try_lock()); ++i) {
        poll(nullptr, 0, 1);
    }
}

void Listener::after_fork_in_parent() noexcept {
    if (std::exchange(held_for_fork_, false)) leader_.unlock();
}

void Listener::abandon() noexcept {
    // The thread that forked, if it is one of these, ends when it comes back from its callback.
    stopping_.store(true, std::memory_order_relaxed);
    for (auto& thread : threads_) static_cast<void>(thread.release());
    threads_.clear();
    running_threads_.store(0, std::memory_order_relaxed);
    for (auto& connection : connections_) connection.fd.reset();
    socket_.abandon();
    epoll_.reset();
    timer_.reset();
    directory_.reset();
}

// --- the loop ---------------------------------------------------------------------------------

void Listener::prepare_thread() const noexcept {
    pthread_setname_np(pthread_self(), "tokenrelay");
    if (options_.cpu < 0 || options_.cpu >= CPU_SETSIZE) return;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<std::size_t>(options_.cpu), &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
}

// A frame as long as usual on all of its way but the publication, so that the first token finds
// code, stack and the dynamic linker as the thousandth does.
void Listener::rehearse() noexcept {
    lead();
    LineBuffer& input = connections_.front().input;
    if (!connections_.front().fd) {
        const auto space = input.space();
        std::memset(space.data(), 'k', kUsualFrame);
        const auto put = [space](std::size_t at, std::string_view text) {
            std::memcpy(space.data() + at, text.data(), text.size());
        };
        constexpr std::string_view end = "\",\"token_type\":\"Bearer\",\"serial\":1700000000000}\n";
        put(0, "{\"access_token\":\"");
        put(kUsualFrame - end.size(), end);
        input.received(kUsualFrame);
        Message message;
        Detail detail;
        const auto line = input.next_line();
        if (line && parse_message(*line, message, detail) == Refusal::none) {
            store_.rehearse(message.update,
                            {clock_ns(CLOCK_REALTIME_COARSE), clock_ns(CLOCK_BOOTTIME)});
        }
        Answer answer;
        answer_accepted(answer, 0);
        input.wipe_taken();
    }
    hand_over();
}

void Listener::run() noexcept {
    prepare_thread();
    this_threads_listener = this;
    rehearse();
    int timeout = -1;
    while (!stopping_.load(std::memory_order_acquire)) {
        if (options_.busy_poll == 0) {
            wait_and_serve(timeout);
        } else {
            take_turn();
        }
        if (follow_up_due_.exchange(false, std::memory_order_acq_rel)) run_follow_up();
    }
    if (FollowUp* follow_up = follow_up_.load()) follow_up->leave();
    running_threads_.fetch_sub(1, std::memory_order_release);
    thread_ended_.advance();
}

// Waits for events, at most `timeout` ms, and sets that of the next wait.
void Listener::wait_and_serve(int& timeout) noexcept {
    std::array<epoll_event, 8> events;
    const int ready = epoll_wait(epoll_.get(), events.data(), events.size(), timeout);
    lead();
    for (int i = 0; i < ready; ++i) {
        const auto& event = events[static_cast<std::size_t>(i)];
        serve_event(event.data.u64, event.events);
    }
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

// With the program's own signal mask, which the processes that it may start inherit.
void Listener::run_follow_up() noexcept {
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, &program_mask_, &blocked);
    follow_up_.load()->run();
    pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
}

void Listener::lead() noexcept {
    leader_.lock();
    this_thread_leads = true;
}

void Listener::hand_over() noexcept {
    this_thread_leads = false;
    leader_.unlock();
}

// Looks at the sockets themselves, without a system call to wait, until a frame was served. False
// when there was none for so long that sleeping is due.
bool Listener::spin() noexcept {
    std::int64_t idle_since = clock_ns(CLOCK_BOOTTIME);
    for (unsigned round = 1; !read_connections(); ++round) {
        if (stopping_.load(std::memory_order_relaxed)) return true;
        spin_pause();
        if (round % kRoundsPerLook != 0) continue;
        const std::int64_t idle = clock_ns(CLOCK_BOOTTIME) - idle_since;
        if (idle > options_.busy_poll) return false;
        if (look_around(idle > kReclaimAfter)) return true;
    }
    return true;
}

bool Listener::read_connections() noexcept {
    bool worked = false;
    lead();
    for (auto& connection : connections_) {
        if (connection.fd) worked |= read_from(connection, false);
    }
    if (store_.short_of_slots()) store_.reclaim();
    hand_over();
    return worked;
}

// What a spinning thread looks at now and then: the other descriptors. True if one had an event.
bool Listener::look_around(bool reclaim) noexcept {
    epoll_event event;
    const bool ready = epoll_wait(epoll_.get(), &event, 1, 0) == 1;
    if (!ready && !reclaim) return false;
    lead();
    if (ready) serve_event(event.data.u64, event.events);
    if (reclaim) store_.reclaim();
    hand_over();
    return ready;
}

void Listener::serve_event(std::uint64_t key, std::uint32_t events) noexcept {
    switch (key) {
        case kListenKey:
            return accept_all();
        case kDoorbellKey:
            return serve_doorbell();
        case kTimerKey:
            return serve_timer();
        case kDirectoryKey:
            return serve_directory();
        default:
            break;
    }
    Connection& connection = connections_[key & 0xffffffff];
    // The event of a connection that was closed in the same round.
    if (!connection.fd || connection.use != key >> 32) return;
    if ((events & EPOLLOUT) && !flush(connection)) return close(connection);
    if (events & ~static_cast<std::uint32_t>(EPOLLOUT)) {
        read_from(connection, (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
    }
}

void Listener::serve_doorbell() noexcept {
    std::uint64_t count = 0;
    if (stopping_.load(std::memory_order_acquire)) return;  // left readable for the other thread
    static_cast<void>(!read(doorbell_.fd.get(), &count, sizeof count));
    store_.greet_new_callbacks();
    const std::int64_t serial = doorbell_.refused_serial.exchange(-1, std::memory_order_acq_rel);
    if (serial >= 0) ask_senders(serial);
    if (follow_up_) follow_up_due_.store(true, std::memory_order_release);
}

void Listener::serve_timer() noexcept {
    std::uint64_t count = 0;
    static_cast<void>(!read(timer_.get(), &count, sizeof count));
    timer_at_ = 0;
    const std::int64_t now = clock_ns(CLOCK_BOOTTIME);
    if (retry_accept_at_ && now >= retry_accept_at_) {
        retry_accept_at_ = 0;
        accept_all();
    }
    if (retry_bind_at_ && now >= retry_bind_at_) bind_again();
    store_.reclaim();
    check_frame_deadlines(now);
    for (const std::int64_t at : {retry_accept_at_, retry_bind_at_}) {
        if (at) arm_timer(at);
    }
}

void Listener::arm_timer(std::int64_t at) noexcept {
    if (timer_at_ && timer_at_ <= at) return;
    timer_at_ = at;
    itimerspec time{};
    time.it_value = {at / 1'000'000'000, at % 1'000'000'000};
    timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &time, nullptr);
}

void Listener::wait_on(int fd, std::uint64_t key, std::uint32_t events) noexcept {
    epoll_event event{};
    event.events = events;
    event.data.u64 = key;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0 && errno == EEXIST) {
        epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
    }
}

// --- connections ------------------------------------------------------------------------------

void Listener::accept_all() noexcept {
    for (;;) {
        UniqueFd fd(accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (fd) {
            admit(std::move(fd));
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno == EAGAIN) return;
        // No descriptor left, say: edge-triggered, so nothing spins; look again later.
        Counters::add(counters_.accept_failures);
        retry_accept_at_ = clock_ns(CLOCK_BOOTTIME) + kAcceptRetry;
        return arm_timer(retry_accept_at_);
    }
}

void Listener::admit(UniqueFd fd) noexcept {
    if (!peer_is_allowed(fd.get(), options_.allow_uids)) return Counters::add(counters_.foreign);
    Counters::add(counters_.accepted);
    Connection* place = free_place();
    if (!place) {
        count(Refusal::busy);
        Answer answer;
        answer_refused(answer, Refusal::busy, "16 senders are connected", {});
        static_cast<void>(!send(fd.get(), answer.view().data(), answer.view().size(), kSendFlags));
        return;
    }
    Counters::add(counters_.connections);
    place->fd = std::move(fd);
    place->order = ++accept_order_;
    place->frame_began = 0;
    place->delivered = place->sent_serial = false;
    place->unsent = 0;
    wait_on(place->fd.get(),
            key_of(static_cast<std::size_t>(place - connections_.data()), ++place->use),
            kConnectionEvents);
}

// A place without a connection; else the oldest connection that never delivered makes room.
Listener::Connection* Listener::free_place() noexcept {
    Connection* idle = nullptr;
    for (auto& connection : connections_) {
        if (!connection.fd) return &connection;
        if (!connection.delivered && (!idle || connection.order < idle->order)) idle = &connection;
    }
    if (idle) close(*idle);
    return idle;
}

void Listener::close(Connection& connection) noexcept {
    connection.fd.reset();
    connection.input.reset();
    Counters::add(counters_.connections, -1ULL);
}

// True if bytes came. Stops at a short read: the next byte makes a new event (epoll(7)).
bool Listener::read_from(Connection& connection, bool to_the_end) noexcept {
    for (int reads = 0; reads < kReadsPerEvent; ++reads) {
        const auto space = connection.input.space();
        const ssize_t size = recv(connection.fd.get(), space.data(), space.size(), kRecvFlags);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && errno == EAGAIN) return reads > 0;
        if (size > 0) connection.input.received(static_cast<std::size_t>(size));
        const std::int64_t read_at = clock_ns(CLOCK_BOOTTIME);
        if (serve_lines(connection, read_at, size == 0) == After::close || size <= 0) {
            close(connection);
            return true;
        }
        if (!to_the_end && static_cast<std::size_t>(size) < space.size()) return true;
    }
    // More may wait: have it reported again, behind the others.
    wait_on(connection.fd.get(),
            key_of(static_cast<std::size_t>(&connection - connections_.data()), connection.use),
            connection.unsent == 0 ? kConnectionEvents : kConnectionEvents | EPOLLOUT);
    return true;
}

Listener::After Listener::serve_lines(Connection& connection, std::int64_t read_at,
                                      bool at_end) noexcept {
    bool served = false;
    while (const auto line = connection.input.next_line()) {
        served = true;
        if (serve_line(connection, *line, read_at) == After::close) return After::close;
    }
    connection.input.wipe_taken();
    if (connection.input.too_large()) {
        return refuse_and_close(connection, Refusal::too_large, "more than 65536 bytes in a line");
    }
    if (at_end) {
        const auto line = connection.input.last_line();
        return line ? serve_line(connection, *line, read_at) : After::keep;
    }
    if (!connection.input.partial()) {
        connection.frame_began = 0;
    } else if (served || connection.frame_began == 0) {
        connection.frame_began = read_at;
        arm_timer(read_at + kFrameDeadline);
    }
    return After::keep;
}

void Listener::check_frame_deadlines(std::int64_t now) noexcept {
    for (auto& connection : connections_) {
        if (!connection.fd || connection.frame_began == 0) continue;
        if (now < connection.frame_began + kFrameDeadline) {
            arm_timer(connection.frame_began + kFrameDeadline);
            continue;
        }
        refuse_and_close(connection, Refusal::timeout, "the frame was not complete after 2 s");
        close(connection);
    }
}

// --- a frame ----------------------------------------------------------------------------------

Listener::After Listener::serve_line(Connection& connection, std::span<char> line,
                                     std::int64_t read_at) noexcept {
    if (line.empty()) return After::keep;
    Message message;
    Detail detail;
    TokenStore::Outcome outcome;
    outcome.refusal = parse_message(line, message, detail);
    if (outcome.refusal == Refusal::none && message.kind == MessageKind::refresh_refused) {
        Counters::add(counters_.refresh_refusals);
        return After::keep;
    }
    if (outcome.refusal == Refusal::none) {
        if (!options_.keep_refresh_token) message.update.refresh_token = {};
        // Coarse: a few milliseconds are nothing to a time in whole seconds.
        outcome = store_.apply(message.update, {clock_ns(CLOCK_REALTIME_COARSE), read_at}, detail);
    }
    if (outcome.published) {
        const std::int64_t took = clock_ns(CLOCK_BOOTTIME) - read_at;
        Counters::add(counters_.published);
        counters_.record_callbacks(took);
        if (took > kOverrun) Counters::add(counters_.callback_overruns);
        if (follow_up_) {
            follow_up_due_.store(true, std::memory_order_release);
            // Should the follow-up take long, the replaced token is still wiped soon.
            if (store_.has_retired()) arm_timer(read_at + kLateReclaim);
        }
    }
    Answer answer;
    if (outcome.refusal == Refusal::none) {
        connection.delivered = true;
        connection.sent_serial |= message.update.serial.has_value();
        if (!outcome.published) Counters::add(counters_.repeated);
        answer_accepted(answer, outcome.generation);
    } else {
        count(outcome.refusal);
        answer_refused(answer, outcome.refusal, detail.view(), outcome.serial);
    }
    if (!send_answer(connection, answer.view())) return After::close;
    const bool end = message.bare || outcome.refusal == Refusal::too_large;
    return end ? After::close : After::keep;
}

Listener::After Listener::refuse_and_close(Connection& connection, Refusal refusal,
                                           std::string_view detail) noexcept {
    count(refusal);
    Answer answer;
    answer_refused(answer, refusal, detail, {});
    send_answer(connection, answer.view());
    return After::close;
}

void Listener::count(Refusal refusal) noexcept {
    Counters::add(counters_.refused[static_cast<std::size_t>(refusal)]);
}

// False if the peer is gone, or has not read its answers for so long that they don't fit any more.
bool Listener::send_answer(Connection& connection, std::string_view answer) noexcept {
    if (connection.unsent == 0) {
        const ssize_t sent = send(connection.fd.get(), answer.data(), answer.size(), kSendFlags);
        if (sent == static_cast<ssize_t>(answer.size())) return true;
        if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
        if (sent > 0) answer.remove_prefix(static_cast<std::size_t>(sent));
        wait_on(connection.fd.get(),
                key_of(static_cast<std::size_t>(&connection - connections_.data()), connection.use),
                kConnectionEvents | EPOLLOUT);
    }
    if (answer.size() > connection.output.size() - connection.unsent) return false;
    std::memcpy(connection.output.data() + connection.unsent, answer.data(), answer.size());
    connection.unsent += answer.size();
    return true;
}

bool Listener::flush(Connection& connection) noexcept {
    if (connection.unsent == 0) return true;
    char* const output = connection.output.data();
    const ssize_t sent = send(connection.fd.get(), output, connection.unsent, kSendFlags);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    connection.unsent -= static_cast<std::size_t>(sent);
    std::memmove(output, output + sent, connection.unsent);
    return true;
}

// --- refresh requests -------------------------------------------------------------------------

void Listener::ask_senders(std::int64_t serial) noexcept {
    const auto current = store_.current();
    if (!current || current->serial() != serial) return;  // a newer one is there
    Answer request;
    ask_refresh(request, serial);
    Counters::add(counters_.refresh_requests);
    for (auto& connection : connections_) {
        if (!connection.fd || !connection.sent_serial) continue;
        if (!send_answer(connection, request.view())) close(connection);
    }
}

// --- the socket's place -----------------------------------------------------------------------

void Listener::watch_directory() noexcept {
    directory_ = UniqueFd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    const int watch = inotify_add_watch(
        directory_.get(), socket_.directory().c_str(),
        IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF);
    if (watch < 0) {
        directory_.reset();
        // No watch left for this user: look every now and then.
        retry_bind_at_ = clock_ns(CLOCK_BOOTTIME) + kBindRetry;
        return arm_timer(retry_bind_at_);
    }
    wait_on(directory_.get(), kDirectoryKey, EPOLLIN | EPOLLET);
}

void Listener::serve_directory() noexcept {
    alignas(inotify_event) char events[4096];
    while (read(directory_.get(), events, sizeof events) > 0) {
    }
    bind_again();
}

void Listener::bind_again() noexcept {
    retry_bind_at_ = 0;
    if (!socket_.in_place()) {
        if (socket_.reopen()) {
            retry_bind_at_ = clock_ns(CLOCK_BOOTTIME) + kBindRetry;
            return arm_timer(retry_bind_at_);
        }
        Counters::add(counters_.rebinds);
        wait_on(socket_.fd(), kListenKey, EPOLLIN | EPOLLET);
        watch_directory();
        return;
    }
    if (!directory_) watch_directory();
}

}  // namespace tokenrelay
