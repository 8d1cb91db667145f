// What a token may cost on its way: no allocation from the read to the callback, the answer and the
// next wait; and one membarrier(2) for a few tokens, some time later. Every allocation and every such barrier of the process
// passes through here and is counted.
#include <dlfcn.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <sys/syscall.h>

#include <atomic>
#include <chrono>
#include <cstdarg>
#include <cstdlib>
#include <optional>
#include <string>

#include "check.hpp"
#include "peer.hpp"
#include "tokenrelay/tokenrelay.hpp"

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
}

namespace {
constinit thread_local unsigned long allocations = 0;
}

// operator new calls malloc (and aligned new aligned_alloc), so these see all of C++ too.
extern "C" void* malloc(std::size_t size) {
    ++allocations;
    return __libc_malloc(size);
}
extern "C" void* calloc(std::size_t count, std::size_t size) {
    ++allocations;
    return __libc_calloc(count, size);
}
extern "C" void* realloc(void* memory, std::size_t size) {
    ++allocations;
    return __libc_realloc(memory, size);
}
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) {
    ++allocations;
    return __libc_memalign(alignment, size);
}

namespace {
std::atomic<int> barriers{0};
}  // namespace

extern "C" long syscall(long number, ...) noexcept {
    using Call = long (*)(long, ...);
    static const auto call = reinterpret_cast<Call>(dlsym(RTLD_NEXT, "syscall"));
    std::va_list list;
    va_start(list, number);
    long given[6];
    for (long& argument : given) argument = va_arg(list, long);
    va_end(list);
    if (number == SYS_membarrier && given[0] == MEMBARRIER_CMD_PRIVATE_EXPEDITED) ++barriers;
    return call(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}

namespace {

std::string frame(int serial, std::size_t token_bytes) {
    return R"({"access_token":")" + std::string(token_bytes, 'k') +
           R"(","expires_at":4102444800,"serial":)" + std::to_string(serial) +
           R"(,"scope":"a b"})" + "\n";
}

struct Counted {
    unsigned long before = 0;  // allocations of the receiver's thread when the callback last ran
    unsigned long between = 0;
    int callbacks = 0;
};

}  // namespace

TEST(an_allocation_is_counted) {
    const unsigned long before = allocations;
    int* volatile memory = new int(1);  // volatile: or the compiler leaves both out
    delete memory;
    CHECK_EQUAL(allocations, before + 1);
}

TEST(tokens_of_every_size_and_refused_frames_allocate_nothing) {
    const check::TemporaryDirectory directory;
    tokenrelay::TokenReceiver receiver{{.path = directory / "socket"}};
    Counted counted;
    const auto subscription = receiver.subscribe([&](const tokenrelay::Token&) noexcept {
        if (counted.callbacks++ > 0) counted.between += allocations - counted.before;
        counted.before = allocations;
    });
    CHECK(!receiver.start());
    check::Peer sender(directory / "socket");
    int serial = 0;
    for (int round = 0; round < 50; ++round) {
        for (const std::size_t size : {1, 100, 1270, 16'384}) {
            CHECK(sender.ask(frame(++serial, size)).find("\"ok\":true") != std::string::npos);
        }
        // Between two callbacks too: stale, malformed and repeated frames, and what only a parser reads.
        CHECK(sender.ask(frame(1, 9)).find("stale") != std::string::npos);
        CHECK(sender.ask("{\"access_token\":[]}\n").find("malformed") != std::string::npos);
        CHECK(sender.ask(" " + frame(1, 9)).find("stale") != std::string::npos);
        CHECK(sender.ask(frame(serial, 16'384)).find("\"ok\":true") != std::string::npos);
    }
    receiver.stop();
    CHECK_EQUAL(counted.callbacks, 200);
    CHECK_EQUAL(counted.between, 0UL);
}

TEST(a_read_allocates_nothing_after_the_first_of_its_thread) {
    const check::TemporaryDirectory directory;
    tokenrelay::TokenReceiver receiver{{.path = directory / "socket"}};
    CHECK(!receiver.start());
    check::Peer sender(directory / "socket");
    sender.ask(frame(1, 1270));
    static_cast<void>(receiver.current());
    const unsigned long before = allocations;
    for (int i = 0; i < 1000; ++i) CHECK(receiver.current());
    CHECK_EQUAL(allocations, before);
}

namespace {

// A spinning receiver that has replaced a token; the guard holds the replaced one.
struct Spinning {
    explicit Spinning(std::chrono::nanoseconds busy_poll)
        : receiver{{.path = directory / "socket", .busy_poll = busy_poll}} {
        CHECK(!receiver.start());
        sender.emplace(directory / "socket");
        sender->ask(frame(1, 9));
        old = receiver.current();
        barriers = 0;
        sender->ask(frame(2, 10));
    }
    const check::TemporaryDirectory directory;
    tokenrelay::TokenReceiver receiver;
    tokenrelay::Guard<tokenrelay::Token> old;
    std::optional<check::Peer> sender;  // stays: its leaving would be an event, after which to look
};

}  // namespace

TEST(a_replaced_token_is_wiped_though_the_spin_was_short) {
    const Spinning spinning(std::chrono::microseconds(200));
    CHECK(check::eventually([] { return barriers > 0; }));
}

TEST(a_spinning_receiver_does_not_interrupt_the_process_again_and_again) {
    const auto began = std::chrono::steady_clock::now();
    const Spinning spinning(std::chrono::minutes(1));
    CHECK(check::eventually([] { return barriers > 0; }));
    poll(nullptr, 0, 50);  // of spinning, with a token that can't be wiped yet
    const int seen = barriers.load();
    // One for the pause, and one a second for the token that is held.
    const auto seconds = std::chrono::steady_clock::now() - began;
    CHECK(seen <= 1 + std::chrono::floor<std::chrono::seconds>(seconds).count());
}
