// What a program may keep its token in: each cell has write(), called by one thread, and
// read(state), called by any, which returns a byte of the token so that it is really reached.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>

namespace bench {

/// A cell's ThreadState is made of the cell in each reading thread before its first read.
struct NoThreadState {
    template <class Cell>
    explicit NoThreadState(const Cell&) noexcept {}
};

/// The floor: nothing is ever freed, so nothing protects a reader.
class PlainLoad {
public:
    static constexpr const char* name = "plain atomic load";
    using ThreadState = NoThreadState;

    void write(std::string_view) {
        current_.store(&tokens_[++turn_ % 2], std::memory_order_release);
    }
    char read(NoThreadState&) const noexcept {
        return (*current_.load(std::memory_order_acquire))[0];
    }

private:
    const std::string tokens_[2] = {std::string(1270, 'a'), std::string(1270, 'b')};
    unsigned turn_ = 0;
    std::atomic<const std::string*> current_{nullptr};
};

class MutexCopy {
public:
    static constexpr const char* name = "mutex + copy";
    using ThreadState = NoThreadState;

    void write(std::string_view token) {
        const std::lock_guard lock(mutex_);
        token_ = token;
    }
    char read(NoThreadState&) {
        const std::string copy = [this] {
            const std::lock_guard lock(mutex_);
            return token_;
        }();
        return copy[0];
    }

private:
    std::mutex mutex_;
    std::string token_;
};

/// Reads in place: the cheapest use of a shared_mutex there is.
class SharedMutex {
public:
    static constexpr const char* name = "shared_mutex, in place";
    using ThreadState = NoThreadState;

    void write(std::string_view token) {
        const std::lock_guard lock(mutex_);
        token_ = token;
    }
    char read(NoThreadState&) {
        const std::shared_lock lock(mutex_);
        return token_[0];
    }

private:
    std::shared_mutex mutex_;
    std::string token_;
};

class AtomicSharedPointer {
public:
    static constexpr const char* name = "atomic<shared_ptr>";
    using ThreadState = NoThreadState;

    void write(std::string_view token) {
        current_.store(std::make_shared<const std::string>(token), std::memory_order_release);
    }
    char read(NoThreadState&) const { return (*current_.load(std::memory_order_acquire))[0]; }

private:
    std::atomic<std::shared_ptr<const std::string>> current_;
};

}  // namespace bench
