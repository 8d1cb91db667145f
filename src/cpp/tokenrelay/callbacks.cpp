#include "tokenrelay/callbacks.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace tokenrelay {

Callbacks::~Callbacks() { delete list_.load(std::memory_order_relaxed); }

bool Callbacks::inside() const noexcept {
    return notifier_.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

std::uint64_t Callbacks::add(Function function) {
    std::uint64_t id = 0;
    {
        const std::scoped_lock lock(mutex_);
        const List* current = list_.load(std::memory_order_relaxed);
        auto next = std::make_unique<List>(current ? *current : List{});
        next->push_back(std::make_shared<Entry>(Entry{id = ++ids_, std::move(function)}));
        replace(std::move(next));
    }
    wait_until_unused();
    return id;
}

void Callbacks::remove(std::uint64_t id) noexcept {
    {
        const std::scoped_lock lock(mutex_);
        const List* current = list_.load(std::memory_order_relaxed);
        if (!current) return;
        auto next = std::make_unique<List>(*current);
        std::erase_if(*next, [this, id](const auto& entry) {
            if (entry->id != id) return false;
            if (inside()) entry->removed = true;  // the round goes on over the list before
            return true;
        });
        if (next->size() != current->size()) replace(std::move(next));
    }
    wait_until_unused();
}

void Callbacks::replace(std::unique_ptr<List> list) noexcept {
    // Sequentially consistent, as are notify()'s increment and load: either notify() reads the new
    // list, or wait_until_unused() sees it running.
    retired_.emplace_back(list_.exchange(list.release(), std::memory_order_seq_cst));
}

// Without the mutex: the callback that runs may itself add or remove one.
void Callbacks::wait_until_unused() noexcept {
    if (inside()) return;
    std::vector<std::unique_ptr<List>> unused;
    {
        const std::scoped_lock lock(mutex_);
        unused.swap(retired_);
    }
    const std::uint32_t round = rounds_.load(std::memory_order_seq_cst);
    if (round % 2 == 1) rounds_.wait(round);
}

void Callbacks::notify(const Token& token) noexcept {
    if (!list_.load(std::memory_order_relaxed)) return;
    notifier_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    rounds_.fetch_add(1, std::memory_order_seq_cst);
    const List& list = *list_.load(std::memory_order_seq_cst);
    const std::uint64_t generation = token.generation();
    for (const auto& entry : list) {
        if (entry->removed || std::exchange(entry->heard, generation) == generation) continue;
        entry->function(token);
        // The callback forked, and this is the child: the token is empty, and the rounds are those of
        // the thread that notifies here, if there is one already.
        if (token.generation() != generation) return;
    }
    notifier_.store(std::thread::id(), std::memory_order_relaxed);
    rounds_.fetch_add(1, std::memory_order_release);
    rounds_.notify_all();
}

void Callbacks::after_fork() noexcept {
    new (&mutex_) std::mutex;
    if (inside()) {
        // The callback that forked runs on, whoever removes it here: its lists stay for ever.
        retired_.push_back(std::make_unique<List>(*list_.load(std::memory_order_relaxed)));
        static_cast<void>(new auto(std::exchange(retired_, {})));
    }
    rounds_.store(0, std::memory_order_relaxed);
    notifier_.store(std::thread::id(), std::memory_order_relaxed);
}

}  // namespace tokenrelay
