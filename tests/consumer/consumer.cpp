// A trading engine in small: no Python anywhere in it. Listens at the path it is given, prints what
// it sees of every token and ends after `COUNT` of them.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <tokenrelay/tokenrelay.hpp>

namespace {

using namespace std::chrono_literals;

int fail(const char* what) {
    std::cerr << "consumer: " << what << '\n';
    return EXIT_FAILURE;
}

// What every reader of the hot path does: take a guard, look, let go.
bool sees(tokenrelay::TokenReceiver& receiver, std::uint64_t generation) {
    auto token = receiver.current();
    return token && token->generation() >= generation && !token->expired();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return fail("usage: consumer PATH COUNT");
    const auto count = std::strtoull(argv[2], nullptr, 10);

    tokenrelay::TokenReceiver receiver{{.path = argv[1]}};
    if (receiver.current()) return fail("a token before the first one");

    std::atomic<std::uint64_t> called{0};
    auto subscription = receiver.subscribe(
        [&called](const tokenrelay::Token& token) noexcept { called = token.generation(); });

    if (auto error = receiver.start()) return fail(error.message().c_str());
    std::cout << "ready" << std::endl;

    tokenrelay::Token kept;
    for (std::uint64_t generation = 1; generation <= count; ++generation) {
        auto token = receiver.wait(20s, kept);
        if (!token) return fail("no token within 20 s");
        kept = *token;
        if (!sees(receiver, generation)) return fail("current() is behind wait()");
        if (called < generation) return fail("the callback came after publication");
        std::cout << kept.generation() << ' ' << kept.access_token() << ' ' << kept.expires_at()
                  << ' ' << kept << std::endl;
    }

    receiver.stop();
    receiver.stop();
    return EXIT_SUCCESS;
}
