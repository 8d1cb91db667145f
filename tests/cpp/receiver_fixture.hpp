// What the tests of TokenReceiver share: one that runs at a path of its own, frames and answers.
#pragma once

#include <sys/wait.h>

#include <filesystem>
#include <future>
#include <string>
#include <string_view>
#include <utility>

#include "check.hpp"
#include "peer.hpp"
#include "tokenrelay/tokenrelay.hpp"

namespace check {

inline constexpr uid_t kStranger = 54321;

inline std::string frame(int serial) {
    const std::string number = std::to_string(serial);
    return R"({"access_token":"t)" + number + R"(","expires_at":4102444800,"serial":)" + number +
           "}\n";
}

inline std::string accepted(int generation) {
    return "{\"ok\":true,\"generation\":" + std::to_string(generation) + "}";
}

inline bool refused_as(const std::string& answer, std::string_view code) {
    return answer.starts_with("{\"ok\":false,\"error\":\"" + std::string(code) + "\",");
}

inline bool exists(const std::string& path) { return std::filesystem::exists(path); }

struct Fixture {
    explicit Fixture(tokenrelay::Options options = {}) : receiver(with_path(std::move(options))) {
        if (const auto error = receiver.start()) fail(__FILE__, __LINE__, error.message());
    }
    tokenrelay::Options with_path(tokenrelay::Options options) const {
        options.path = directory / "s";
        return options;
    }
    std::string path() const { return directory / "s"; }

    TemporaryDirectory directory;
    tokenrelay::TokenReceiver receiver;
};

// Keeps the receiver's thread in the callback of the first token until the test lets go.
class HeldAtFirstToken {
public:
    explicit HeldAtFirstToken(tokenrelay::TokenReceiver& receiver)
        : subscription_(receiver.subscribe([this](const tokenrelay::Token& token) noexcept {
              if (token.generation() != 1) return;
              here_.set_value();
              let_go_.get_future().wait();
          })) {}
    void wait_until_here() { here_.get_future().wait(); }
    void let_go() { let_go_.set_value(); }

private:
    std::promise<void> here_;
    std::promise<void> let_go_;
    tokenrelay::Subscription subscription_;
};

inline int exit_code_of(pid_t child) {
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace check
