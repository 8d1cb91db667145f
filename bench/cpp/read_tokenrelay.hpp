// tokenrelay's current(), fed the way it is fed in life: over its socket.
#pragma once

#include <atomic>
#include <string>
#include <string_view>
#include <tokenrelay/tokenrelay.hpp>

#include "frame.hpp"
#include "harness.hpp"
#include "read_cells.hpp"
#include "unix_socket.hpp"

namespace bench {

class Receiver {
public:
    static constexpr const char* name = "tokenrelay current()";
    using ThreadState = NoThreadState;

    explicit Receiver(const std::string& path) : receiver_{options_for(path)} {
        if (auto error = receiver_.start()) fail(error.message());
        connection_ = connect_to(path);
    }
    void write(std::string_view) {
        frame_.restamp();
        send_all(connection_, frame_.line());
        expect_accepted(connection_);
    }
    char read(NoThreadState&) const noexcept { return receiver_.current()->access_token()[0]; }
    tokenrelay::Token copy() const { return *receiver_.current(); }

private:
    static tokenrelay::Options options_for(const std::string& path) {
        tokenrelay::Options options;
        options.path = path;
        options.cpu = 0;  // beside the writer, away from the first reader
        return options;
    }

    friend class ReceiverWithReader;
    tokenrelay::TokenReceiver receiver_;
    Frame frame_;
    int connection_ = -1;
};

/// The same receiver through the handle for loops that read without pause.
class ReceiverWithReader : public Receiver {
public:
    static constexpr const char* name = "tokenrelay Reader";
    struct ThreadState : tokenrelay::Reader {
        explicit ThreadState(const ReceiverWithReader& from) noexcept : Reader(from.receiver_) {}
    };

    using Receiver::Receiver;
    char read(ThreadState& state) const noexcept { return state.current()->access_token()[0]; }
};

/// A bare pointer to the same kind of object: what is left of current() without its protection.
class PlainToken {
public:
    static constexpr const char* name = "plain atomic load of a Token";
    using ThreadState = NoThreadState;

    explicit PlainToken(Receiver& from)
        : tokens_{(from.write({}), from.copy()), (from.write({}), from.copy())} {}
    void write(std::string_view) {
        current_.store(&tokens_[++turn_ % 2], std::memory_order_release);
    }
    char read(NoThreadState&) const noexcept {
        return current_.load(std::memory_order_acquire)->access_token()[0];
    }

private:
    const tokenrelay::Token tokens_[2];
    unsigned turn_ = 0;
    std::atomic<const tokenrelay::Token*> current_{nullptr};
};

}  // namespace bench
