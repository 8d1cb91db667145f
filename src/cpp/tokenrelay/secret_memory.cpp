#include "tokenrelay/secret_memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace tokenrelay {
namespace {

constexpr std::size_t kPage = 4096;  // or a part of one

void touch(volatile char* byte) noexcept { *byte = 0; }

}  // namespace

SecretMemory::SecretMemory(std::size_t size) noexcept {
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    size_ = (size + page - 1) / page * page;
    void* memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        size_ = 0;
        return;
    }
    data_ = static_cast<char*>(memory);
    madvise(memory, size_, MADV_DONTDUMP);
    madvise(memory, size_, MADV_WIPEONFORK);
    lock();
}

SecretMemory::~SecretMemory() {
    if (!data_) return;
    explicit_bzero(data_, size_);
    munmap(data_, size_);
}

bool SecretMemory::lock() noexcept {
    // On fault: the largest frame is rare, its pages need not be resident from the start.
    return mlock2(data_, size_, MLOCK_ONFAULT) == 0;
}

void SecretMemory::prefault(std::size_t begin, std::size_t bytes) noexcept {
    const std::size_t end = std::min(begin + bytes, size_);
    for (std::size_t at = begin; at < end; at += kPage) touch(data_ + at);
    if (begin < end) touch(data_ + end - 1);
}

}  // namespace tokenrelay
