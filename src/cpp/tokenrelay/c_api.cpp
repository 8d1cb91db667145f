// The C API: conversions only. Texts go from the token's own memory straight into the caller's.
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "tokenrelay/clock.hpp"
#include "tokenrelay/exceptions.hpp"
#include "tokenrelay/limits.hpp"
#include "tokenrelay/tokenrelay.h"
#include "tokenrelay/tokenrelay.hpp"

struct tokenrelay_receiver {
    explicit tokenrelay_receiver(tokenrelay::Options options) : receiver(std::move(options)) {}
    tokenrelay::TokenReceiver receiver;
};

struct tokenrelay_subscription {
    tokenrelay::Subscription subscription;
};

namespace {

using tokenrelay::caught;
using tokenrelay::Token;

static_assert(TOKENRELAY_TEXT_SIZE >= tokenrelay::kMaxFrame + sizeof "Bearer");

// Of the first version; a later one accepts these and its own.
constexpr std::size_t kOptionsSize = sizeof(tokenrelay_options);
constexpr std::size_t kInfoSize = sizeof(tokenrelay_info);

tokenrelay::Options options_from(const tokenrelay_options& given) {
    tokenrelay::Options options;
    if (given.account) options.account = given.account;
    if (given.path) options.path = given.path;
    if (given.program) options.program = given.program;
    options.busy_poll = std::chrono::nanoseconds(given.busy_poll_ns);
    if (given.pin_cpu) options.cpu = given.cpu;
    options.allow_uids.assign(given.allow_uids, given.allow_uids + given.allow_uids_count);
    if (given.mode) options.mode = given.mode;
    return options;
}

std::optional<std::string_view> find(const Token& token, tokenrelay_text text) noexcept {
    switch (text) {
        case TOKENRELAY_AUTHORIZATION:
            return token.authorization();
        case TOKENRELAY_ACCESS_TOKEN:
            return token.access_token();
        case TOKENRELAY_SCOPE:
            return token.scope();
    }
    return std::nullopt;
}

tokenrelay_info describe(const Token& token, std::string_view text) noexcept {
    return {.size = kInfoSize,
            .length = text.size(),
            .generation = token.generation(),
            .expires_at = token.expires_at(),
            .expires_in_ns = token.expires_in().count(),
            .serial = token.serial().value_or(-1),
            .issued_at = token.issued_at().value_or(-1),
            .grant_expires_at = token.grant_expires_at().value_or(-1)};
}

void copy_message(std::string_view text, char* message, std::size_t size) noexcept {
    if (!message || size == 0) return;
    message[text.copy(message, size - 1)] = '\0';
}

}  // namespace

tokenrelay_receiver* tokenrelay_create(const tokenrelay_options* options) {
    if (options && options->size != kOptionsSize) return nullptr;
    const auto make = [options] {
        return new tokenrelay_receiver(options ? options_from(*options) : tokenrelay::Options{});
    };
    return caught(make, nullptr);
}

void tokenrelay_destroy(tokenrelay_receiver* receiver) { delete receiver; }

int tokenrelay_start(tokenrelay_receiver* receiver, char* message, size_t message_size) {
    const auto start = [=] {
        const auto error = receiver->receiver.start();
        copy_message(error.message(), message, message_size);
        if (!error) return 0;
        return error.number() != 0 ? error.number() : EINVAL;
    };
    copy_message("out of memory", message, message_size);
    return caught(start, ENOMEM);
}

void tokenrelay_stop(tokenrelay_receiver* receiver) { receiver->receiver.stop(); }

int tokenrelay_copy(tokenrelay_receiver* receiver, tokenrelay_text text, char* buffer, size_t size,
                    tokenrelay_info* info) {
    if (info && info->size != kInfoSize) return EINVAL;
    const auto token = receiver->receiver.current();
    if (!token) return ENODATA;
    const auto found = find(*token, text);
    if (!found) return EINVAL;
    if (info) *info = describe(*token, *found);
    if (size <= found->size()) return ENOSPC;
    buffer[found->copy(buffer, found->size())] = '\0';
    return 0;
}

uint64_t tokenrelay_generation(const tokenrelay_receiver* receiver) {
    return receiver->receiver.generation();
}

int tokenrelay_wait(tokenrelay_receiver* receiver, int64_t timeout_ns, uint64_t after) {
    using Waited = tokenrelay::TokenReceiver::Waited;
    const std::int64_t deadline = tokenrelay::deadline_after(timeout_ns);
    for (;;) {
        switch (receiver->receiver.wait_until(deadline, after)) {
            case Waited::token:
                return 0;
            case Waited::timed_out:
                return ETIMEDOUT;
            case Waited::stopped:
                return ECANCELED;
            case Waited::interrupted:
                break;
        }
    }
}

tokenrelay_subscription* tokenrelay_subscribe(tokenrelay_receiver* receiver,
                                              tokenrelay_callback callback, void* user) {
    const auto subscribe = [=] {
        auto subscription = std::make_unique<tokenrelay_subscription>();
        subscription->subscription =
            receiver->receiver.subscribe([callback, user](const Token& token) noexcept {
                const auto info = describe(token, token.authorization());
                callback(user, &info);
            });
        return subscription.release();
    };
    return caught(subscribe, nullptr);
}

void tokenrelay_cancel(tokenrelay_subscription* subscription) { delete subscription; }

void tokenrelay_request_refresh(tokenrelay_receiver* receiver, uint64_t generation) {
    const auto token = receiver->receiver.current();
    if (token && token->generation() == generation) receiver->receiver.request_refresh(*token);
}

int tokenrelay_event_fd(tokenrelay_receiver* receiver) {
    return caught([receiver] { return receiver->receiver.event_fd(); }, -1);
}
