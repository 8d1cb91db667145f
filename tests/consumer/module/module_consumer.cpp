// Listens at the path it is given, prints what it sees of every token and ends after `COUNT` of them.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>

import tokenrelay;

int main(int argc, char** argv) {
    if (argc != 3) return EXIT_FAILURE;
    const auto count = std::strtoull(argv[2], nullptr, 10);
    tokenrelay::TokenReceiver receiver{{.path = argv[1]}};
    const auto subscription = receiver.subscribe([](const tokenrelay::Token&) noexcept {});
    if (const auto error = receiver.start()) {
        std::cerr << error.message() << '\n';
        return EXIT_FAILURE;
    }
    std::cout << "ready" << std::endl;
    for (std::uint64_t seen = 0; seen < count;) {
        const auto token = receiver.wait(std::chrono::seconds(20), seen);
        if (!token) return EXIT_FAILURE;
        seen = token->generation();
        std::cout << seen << ' ' << token->access_token() << ' ' << *token << std::endl;
    }
    return EXIT_SUCCESS;
}
