#include "newest_token.hpp"

#include <algorithm>
#include <iterator>
#include <new>
#include <utility>

#include "py_token.hpp"

namespace tokenrelay::python {

nb::object NewestToken::get() {
    if (PyObject* const token = cached()) return nb::steal(token);
    const auto newest = receiver_.current();
    if (!newest) return nb::none();
    // May run other Python code, which may be here as well.
    nb::object token = make_py_token(*newest);
    return keep(std::make_unique<Kept>(std::move(token), newest->generation()));
}

// What is kept now: `next`, unless another thread was here with one as new.
nb::object NewestToken::keep(std::unique_ptr<Kept> next) {
    const nb::ft_lock_guard lock(mutex_);
    if (closed_) return nb::none();
    if (!current_ || next->generation > current_->generation) {
        if (current_) replaced_.reserve(replaced_.size() + 1);
        cell_.publish(next.get());
        std::swap(current_, next);
        if (next) replaced_.push_back(std::move(next));
    }
    return current_->token;
}

void NewestToken::drop_replaced() noexcept {
    std::vector<std::unique_ptr<Kept>> unused;  // their references go after the lock
    const nb::ft_lock_guard lock(mutex_);
    if (replaced_.empty()) return;
#if defined(NB_FREE_THREADED)
    for (auto& kept : replaced_) kept->in_use = false;
    const bool asked = cell_.reclaim([this](const Kept* held) {
        for (auto& kept : replaced_) kept->in_use |= kept.get() == held;
    });
    if (!asked) return;
#endif
    const auto first_unused = std::partition(replaced_.begin(), replaced_.end(),
                                             [](const auto& kept) { return kept->in_use; });
    std::move(first_unused, replaced_.end(), std::back_inserter(unused));
    replaced_.erase(first_unused, replaced_.end());
}

void NewestToken::close() noexcept {
    {
        const nb::ft_lock_guard lock(mutex_);
        closed_ = true;
        cell_.publish(nullptr);
        if (current_) replaced_.push_back(std::move(current_));
    }
    drop_replaced();
}

void NewestToken::after_fork() noexcept {
    new (&mutex_) nb::ft_mutex;
    cell_.publish(nullptr);
    // Threads that protected one do not exist here.
    current_.reset();
    replaced_.clear();
}

}  // namespace tokenrelay::python
