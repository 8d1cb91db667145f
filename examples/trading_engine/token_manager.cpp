#include "token_manager.hpp"

#include <chrono>
#include <cstdio>
#include <utility>

namespace {

using namespace std::chrono_literals;

double seconds(std::chrono::nanoseconds time) {
    return std::chrono::duration<double>(time).count();
}

}  // namespace

TokenManager::TokenManager(std::string path) : receiver_({.path = std::move(path)}) {}

bool TokenManager::start() {
    subscription_ = receiver_.subscribe(
        [this](const tokenrelay::Token& token) noexcept { update_tokens(token); });
    if (const auto error = receiver_.start()) {
        std::fprintf(stderr, "tokens: %s\n", error.message().c_str());
        return false;
    }
    std::printf("tokens: listening at %s\n", receiver_.path().c_str());
    std::fflush(stdout);
    if (receiver_.wait(30s)) return true;
    std::fprintf(stderr, "tokens: none came within 30 s. Is `tokenrelay run` running?\n");
    return false;
}

void TokenManager::stop() { receiver_.stop(); }

void TokenManager::update_tokens(const tokenrelay::Token& token) noexcept {
    update_access_token(token);
    if (const auto end = token.grant_expires_at()) {
        std::printf("tokens: the login itself ends at Unix time %lld\n",
                    static_cast<long long>(*end));
    }
}

// A real engine hands such a line to its asynchronous log: a callback should take microseconds.
void TokenManager::update_access_token(const tokenrelay::Token& token) noexcept {
    std::printf("tokens: number %llu, valid for %.3f s\n",
                static_cast<unsigned long long>(token.generation()), seconds(token.expires_in()));
}
