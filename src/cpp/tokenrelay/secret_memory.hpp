// SecretMemory: whole pages for tokens and frames. Left out of core dumps and locked against swap
// where the kernel and the limit allow, empty in a forked child, wiped when released.
// Allocation may block; afterwards it is plain memory.
#pragma once

#include <cstddef>
#include <utility>

namespace tokenrelay {

class SecretMemory {
public:
    SecretMemory() noexcept = default;
    // data() is null if the kernel has no memory left.
    explicit SecretMemory(std::size_t size) noexcept;
    SecretMemory(SecretMemory&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    SecretMemory& operator=(SecretMemory&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~SecretMemory();

    char* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    // Locks the pages, as the constructor has tried to: a forked child's are not (mlock(2)). True if
    // they are locked now. Idempotent.
    bool lock() noexcept;
    // Touches `bytes` from `begin` on, so that the first token meets no page fault. The memory must be
    // fresh.
    void prefault(std::size_t begin, std::size_t bytes) noexcept;

private:
    char* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace tokenrelay
