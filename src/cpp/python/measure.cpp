// What `tokenrelay bench` needs at native speed: a sender, a bare receiver to compare with, stamps of
// each frame, and reads without the interpreter. No receiver uses any of it.
#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "bindings.hpp"
#include "interpreter.hpp"
#include "py_token.hpp"
#include "tokenrelay/clock.hpp"
#include "tokenrelay/fd.hpp"
#include "tokenrelay/follow_up.hpp"
#include "tokenrelay/spin_pause.hpp"

namespace tokenrelay::python {
namespace {

using Nanoseconds = std::vector<std::int64_t>;

[[noreturn]] void fail(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

std::int64_t stamp() noexcept { return clock_ns(CLOCK_BOOTTIME); }

// Two columns, a row for each frame in the order of arrival: last byte read, callback entered.
class Stamps {
public:
    explicit Stamps(std::size_t capacity) : received_(capacity), entered_(capacity) {}

    void add(std::int64_t received, std::int64_t entered) noexcept {
        const std::size_t at = count_.load(std::memory_order_relaxed);
        if (at == entered_.size()) return;
        received_[at] = received;
        entered_[at] = entered;
        count_.store(at + 1, std::memory_order_release);
    }
    void subscribe(const PyReceiver& receiver) {
        const WithoutInterpreter without;
        subscription_ = receiver.receiver().subscribe([this](const Token& token) noexcept {
            const std::int64_t entered = stamp();
            add(token.received_at_ns(), entered);
        });
    }
    // From a Python callback: its own entry, for it has just begun.
    void take(const PyToken& token) noexcept {
        const std::int64_t entered = stamp();
        add(token.token.received_at_ns(), entered);
    }
    void cancel() {
        const WithoutInterpreter without;
        subscription_.cancel();
    }

    std::size_t count() const noexcept { return count_.load(std::memory_order_acquire); }
    Nanoseconds received() const { return {received_.begin(), received_.begin() + size()}; }
    Nanoseconds entered() const { return {entered_.begin(), entered_.begin() + size()}; }
    std::int64_t entered_last() const noexcept { return entered_[count() - 1]; }

private:
    std::ptrdiff_t size() const noexcept { return static_cast<std::ptrdiff_t>(count()); }

    Nanoseconds received_;
    Nanoseconds entered_;
    std::atomic<std::size_t> count_{0};
    Subscription subscription_;
};

// A follow-up that enters no interpreter: the way of a Python callback up to there. Writes a byte to
// `acknowledge` once it has stamped. Lives as long as the process.
class StampedFollowUp final : public FollowUp {
public:
    StampedFollowUp(const TokenReceiver& receiver, Stamps& stamps, int acknowledge) noexcept
        : receiver_(receiver), stamps_(stamps), acknowledge_(acknowledge) {}

    void run() noexcept override {
        const std::int64_t entered = stamp();
        const auto token = receiver_.current();
        if (!token || token->generation() == generation_) return;
        generation_ = token->generation();
        stamps_.add(token->received_at_ns(), entered);
        static_cast<void>(!write(acknowledge_, ".", 1));
    }
    void leave() noexcept override {}

private:
    const TokenReceiver& receiver_;
    Stamps& stamps_;
    const int acknowledge_;
    std::uint64_t generation_ = 0;
};

void stamp_follow_ups(const PyReceiver& self, Stamps& stamps, int acknowledge) {
    auto follow_up = std::make_unique<StampedFollowUp>(self.receiver(), stamps, acknowledge);
    const WithoutInterpreter without;
    if (const auto error = self.receiver().follow(*follow_up.release())) {
        throw std::runtime_error(error.message());
    }
}

// A frame whose serial, wherever its digits stand in it, goes up by one each time.
class Frame {
public:
    Frame(nb::bytes line, std::int64_t serial) : text_(line.c_str(), line.size()), serial_(serial) {
        const std::string digits = std::to_string(serial);
        for (auto at = text_.find(digits); at != text_.npos; at = text_.find(digits, at + 1)) {
            places_.push_back(at);
        }
        size_ = digits.size();
    }
    const std::string& next() noexcept {
        ++serial_;
        for (const auto at : places_) {
            std::to_chars(&text_[at], &text_[at] + size_, serial_);
        }
        return text_;
    }

private:
    std::string text_;
    std::int64_t serial_;
    std::vector<std::size_t> places_;
    std::size_t size_ = 0;
};

void sleep_for(std::int64_t ns) noexcept {
    timespec left{ns / 1'000'000'000, ns % 1'000'000'000};
    while (ns > 0 && clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {
    }
}

void send_all(int fd, const char* data, std::size_t size) {
    if (send(fd, data, size, MSG_NOSIGNAL) != static_cast<ssize_t>(size)) fail("send");
}

// Sleeps until there is an answer, or spins.
void expect_accepted(int fd, bool spin) {
    char answer[512];
    ssize_t size = 0;
    while ((size = recv(fd, answer, sizeof answer - 1, spin ? MSG_DONTWAIT : 0)) < 0 &&
           errno == EAGAIN) {
        tokenrelay::spin_pause();
    }
    if (size <= 0) fail("no answer");
    answer[size] = '\0';
    if (!std::strstr(answer, "\"ok\":true")) throw std::runtime_error(answer);
}

// Ping-pong: a frame, its answer, a byte on `acknowledged` if that is a descriptor, the gap. When each
// send began.
Nanoseconds send_frames(int fd, nb::bytes line, std::int64_t serial, std::size_t count,
                        std::int64_t gap, int acknowledged, bool spin) {
    Frame frame(line, serial);
    Nanoseconds sent;
    sent.reserve(count);
    const WithoutInterpreter without;
    while (sent.size() < count) {
        const std::string& text = frame.next();
        sleep_for(gap);
        sent.push_back(stamp());
        send_all(fd, text.data(), text.size());
        expect_accepted(fd, spin);
        char byte = 0;
        if (acknowledged >= 0 && read(acknowledged, &byte, 1) != 1) fail("no acknowledgement");
    }
    return sent;
}

// From the last byte read until somebody had the token: this thread, which reads current() without
// pause, or the callback, which runs after publication. This thread alone would charge us with each
// interruption of its own processor.
Nanoseconds publish_frames(const PyReceiver& self, const Stamps& stamps, int fd, nb::bytes line,
                           std::int64_t serial, std::size_t count, std::int64_t gap) {
    Frame frame(line, serial);
    Nanoseconds times;
    times.reserve(count);
    const WithoutInterpreter without;
    std::uint64_t generation = self.receiver().generation();
    while (times.size() < count) {
        const std::string& text = frame.next();
        sleep_for(gap);
        send_all(fd, text.data(), text.size());
        for (;;) {
            const auto token = self.receiver().current();
            if (!token || token->generation() == generation) continue;
            const std::int64_t seen = stamp();
            generation = token->generation();
            times.push_back(seen - token->received_at_ns());
            break;
        }
        expect_accepted(fd, false);
        const auto token = self.receiver().current();
        times.back() = std::min(times.back(), stamps.entered_last() - token->received_at_ns());
    }
    return times;
}

// The floor: what the kernel alone costs. Waits for a line, stamps, answers, stamps the end of that;
// checks nothing. Until the sender hangs up.
void receive_bare(int listener, Stamps& stamps, Stamps& answers, bool spin) {
    constexpr char answer[] = "{\"ok\":true,\"generation\":1}\n";
    const WithoutInterpreter without;
    const UniqueFd fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    const UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{.events = EPOLLIN, .data = {}};
    if (!fd || epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0) fail("accept");
    char line[65536];
    std::size_t used = 0;
    for (;;) {
        if (!spin) epoll_wait(epoll.get(), &event, 1, -1);
        const ssize_t size = recv(fd.get(), line + used, sizeof line - used, MSG_DONTWAIT);
        if (size == 0) return;
        if (size < 0) {
            tokenrelay::spin_pause();
            continue;
        }
        used += static_cast<std::size_t>(size);
        if (line[used - 1] != '\n') continue;
        const std::int64_t now = stamp();
        stamps.add(now, now);
        used = 0;
        send_all(fd.get(), answer, sizeof answer - 1);
        answers.add(now, stamp());
    }
}

// The token is in hand: the compiler must have brought it into a register.
void hold(const Token* token) noexcept { asm volatile("" : : "r"(token)); }

// ns a read, the mean of a batch. Not inlined: each kind has a loop of its own, laid out alike.
template <class Read>
[[gnu::noinline]] double time_batch(std::size_t batch, Read read) {
    const std::int64_t begin = clock_ns(CLOCK_MONOTONIC);
    for (std::size_t i = 0; i < batch; ++i) read();
    return static_cast<double>(clock_ns(CLOCK_MONOTONIC) - begin) / static_cast<double>(batch);
}

// Reads of the token in turns: through one atomic load, current() and a Reader.
nb::object read_tokens(const PyReceiver& self, std::size_t batches, std::size_t batch) {
    std::vector<double> plain, current, reader;
    {
        const WithoutInterpreter without;
        const TokenReceiver& receiver = self.receiver();
        const Token copy = *receiver.current();
        const std::atomic<const Token*> pointer{&copy};
        Reader handle(receiver);
        for (std::size_t i = 0; i < batches; ++i) {
            plain.push_back(time_batch(
                batch, [&]() noexcept { hold(pointer.load(std::memory_order_acquire)); }));
            current.push_back(time_batch(batch, [&]() noexcept {
                if (const auto token = receiver.current()) hold(&*token);
            }));
            reader.push_back(time_batch(batch, [&]() noexcept { hold(handle.current()); }));
        }
    }
    return nb::make_tuple(plain, current, reader);
}

// The cheapest a binding can be.
struct Floor {
    nb::object cached;
};

}  // namespace

void bind_measure(nb::module_& module) {
    nb::class_<Stamps>(module, "_Stamps", "When each frame was read and its callback entered, ns.")
        .def(nb::init<std::size_t>(), nb::arg("capacity"))
        .def("subscribe", &Stamps::subscribe, nb::arg("receiver"))
        .def("take", &Stamps::take, nb::arg("token"))
        .def("cancel", &Stamps::cancel)
        .def_prop_ro("received", &Stamps::received)
        .def_prop_ro("entered", &Stamps::entered);
    nb::class_<Floor>(module, "_Floor", "A property that returns a cached object.")
        .def(
            "__init__", [](Floor* self, nb::object cached) { new (self) Floor{std::move(cached)}; },
            nb::arg("cached"))
        .def_prop_ro("token", [](const Floor& self) { return self.cached; });
    module.def("_send_frames", &send_frames, nb::arg("fd"), nb::arg("frame"), nb::arg("serial"),
               nb::arg("count"), nb::arg("gap_ns"), nb::arg("acknowledged"), nb::arg("spin"));
    module.def("_publish_frames", &publish_frames, nb::arg("receiver"), nb::arg("stamps"),
               nb::arg("fd"), nb::arg("frame"), nb::arg("serial"), nb::arg("count"),
               nb::arg("gap_ns"));
    module.def("_receive_bare", &receive_bare, nb::arg("listener"), nb::arg("stamps"),
               nb::arg("answers"), nb::arg("spin"));
    module.def("_stamp_follow_ups", &stamp_follow_ups, nb::arg("receiver"), nb::arg("stamps"),
               nb::arg("acknowledge"));
    module.def("_read_tokens", &read_tokens, nb::arg("receiver"), nb::arg("batches"),
               nb::arg("batch"),
               nb::sig("def _read_tokens(receiver: Receiver, batches: int, batch: int) -> "
                       "tuple[list[float], list[float], list[float]]"));
}

}  // namespace tokenrelay::python
