// A receiver without sockets and threads: LineBuffer, take_usual_frame, parse_message and TokenStore,
// put together as Connection::serve_lines does, with the clock in the test's hand.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "tokenrelay/frame.hpp"
#include "tokenrelay/message.hpp"
#include "tokenrelay/store.hpp"
#include "tokenrelay/usual_frame.hpp"

namespace check {

// Whether frames written as usual are read in haste, or all alike.
enum class Haste { usual, none };

class WireReceiver {
public:
    WireReceiver(bool keep_refresh_token, Haste haste)
        : keep_refresh_token_(keep_refresh_token), haste_(haste) {}

    // A new connection, if the receiver closed the one before.
    void open() {
        if (closed_) input_.reset();
        closed_ = false;
    }
    bool closed() const { return closed_; }

    // The answers to bytes that arrive together at the Unix time `wall`.
    std::string feed(std::string_view bytes, std::int64_t wall) {
        std::string answers;
        while (!bytes.empty() && !closed_) {
            const auto space = input_.space();
            const std::size_t size = std::min(space.size(), bytes.size());
            std::memcpy(space.data(), bytes.data(), size);
            input_.received(size);
            bytes.remove_prefix(size);
            answers += serve_lines(wall);
        }
        return answers;
    }

    // The answer to the last line, at the end of the stream; closes.
    std::string finish(std::int64_t wall) {
        std::string answers;
        if (const auto line = closed_ ? std::nullopt : input_.last_line()) {
            answers = serve(*line, wall);
        }
        closed_ = true;
        return answers;
    }

    // No token any more and a new connection, as in a forked child; the generations go on.
    void forget() {
        store_.after_fork();
        closed_ = true;
        open();
    }

    tokenrelay::Guard<tokenrelay::Token> token() const { return store_.current(); }

private:
    std::string serve_lines(std::int64_t wall) {
        std::string answers;
        while (!closed_ && !input_.searched()) {
            if (tokenrelay::TokenUpdate update;
                haste_ == Haste::usual && tokenrelay::take_usual_frame(input_, update)) {
                answers += apply(update, wall, input_.skipped_all() ? &slot_ : nullptr);
                continue;
            }
            const auto line = input_.next_line();
            if (!line) break;
            answers += serve(*line, wall);
        }
        input_.wipe_taken();
        if (!closed_ && input_.too_large()) answers += refuse_too_large();
        return answers;
    }

    std::string refuse_too_large() {
        closed_ = true;
        tokenrelay::Answer answer;
        tokenrelay::answer_refused(answer, tokenrelay::Refusal::too_large, tokenrelay::kTooLarge,
                                   {});
        return std::string(answer.view());
    }

    std::string serve(std::span<char> line, std::int64_t wall) {
        if (line.empty()) return "";
        tokenrelay::Message message;
        tokenrelay::Detail detail;
        const auto refusal = tokenrelay::parse_message(line, message, detail);
        if (refusal == tokenrelay::Refusal::none) {
            const bool token = message.kind == tokenrelay::MessageKind::token;
            closed_ = message.bare;
            return token ? apply(message.update, wall) : "";
        }
        closed_ = message.bare || refusal == tokenrelay::Refusal::too_large;
        tokenrelay::Answer answer;
        tokenrelay::answer_refused(answer, refusal, detail.view(), {});
        return std::string(answer.view());
    }

    std::string apply(tokenrelay::TokenUpdate& update, std::int64_t wall,
                      tokenrelay::TokenSlot* frame = nullptr) {
        if (!keep_refresh_token_ && !update.refresh_token.empty()) {
            update.refresh_token = {};
            frame = nullptr;
        }
        const std::int64_t now = wall * 1'000'000'000;
        tokenrelay::Detail detail;
        const auto outcome = store_.apply(update, {now, now}, detail, frame);
        if (frame && outcome.published) input_ = tokenrelay::LineBuffer(slot_.bytes());
        tokenrelay::Answer answer;
        if (outcome.refusal == tokenrelay::Refusal::none) {
            tokenrelay::answer_accepted(answer, outcome.generation);
        } else {
            tokenrelay::answer_refused(answer, outcome.refusal, detail.view(), outcome.serial);
        }
        store_.reclaim();
        return std::string(answer.view());
    }

    tokenrelay::TokenSlot slot_;
    tokenrelay::LineBuffer input_{slot_.bytes()};
    tokenrelay::TokenStore store_;
    const bool keep_refresh_token_;
    const Haste haste_;
    bool closed_ = false;
};

}  // namespace check
