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
    const std::scoped_lock lock(mutex_);
    const List* current = list_.load(std::memory_order_relaxed);
    auto next = std::make_unique<List>(current ? *current : List{});
    next->push_back(std::make_shared<Entry>(++ids_, std::move(function)));
    replace(std::move(next));
    return ids_;
}

void Callbacks::remove(std::uint64_t id) noexcept {
    const std::scoped_lock lock(mutex_);
    const List* current = list_.load(std::memory_order_relaxed);
    if (!current) return;
    auto next = std::make_unique<List>(*current);
    std::erase_if(*next, [id](const auto& entry) { return entry->id == id; });
    if (next->size() != current->size()) replace(std::move(next));
}

void Callbacks::replace(std::unique_ptr<List> list) noexcept {
    // Sequentially consistent, as are notify()'s exchange and load: either notify() reads the new
    // list, or it is seen running here and waited for.
    retired_.emplace_back(list_.exchange(list.release(), std::memory_order_seq_cst));
    if (inside()) return;
    while (running_.load(std::memory_order_seq_cst)) running_.wait(true);
    retired_.clear();
}

void Callbacks::notify(const Token& token) noexcept {
    if (!list_.load(std::memory_order_relaxed)) return;
    notifier_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    running_.exchange(true, std::memory_order_seq_cst);
    const List& list = *list_.load(std::memory_order_seq_cst);
    for (const auto& entry : list) {
        if (std::exchange(entry->heard, token.generation()) == token.generation()) continue;
        entry->function(token);
    }
    notifier_.store(std::thread::id(), std::memory_order_relaxed);
    running_.store(false, std::memory_order_release);
    running_.notify_all();
}

void Callbacks::after_fork() noexcept {
    new (&mutex_) std::mutex;
    running_.store(false, std::memory_order_relaxed);
    notifier_.store(std::thread::id(), std::memory_order_relaxed);
}

}  // namespace tokenrelay
