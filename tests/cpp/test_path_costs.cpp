// What a token may cost on its way: no allocation from the read to the callback, the answer and the
// next wait. Every allocation of the process passes through here and is counted by its thread.
#include <cstdlib>
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

std::string frame(int serial, std::size_t token_bytes) {
    return R"({"access_token":")" + std::string(token_bytes, 'k') +
           R"(","expires_at":4102444800,"scope":"a b","serial":)" + std::to_string(serial) + "}\n";
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
        // Between two callbacks too: stale, malformed and repeated frames.
        CHECK(sender.ask(frame(1, 9)).find("stale") != std::string::npos);
        CHECK(sender.ask("{\"access_token\":[]}\n").find("malformed") != std::string::npos);
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
