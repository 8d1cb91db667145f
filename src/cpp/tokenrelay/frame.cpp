#include "tokenrelay/frame.hpp"

#include <cstring>

namespace tokenrelay {

std::span<char> LineBuffer::space() noexcept {
    if (begin_ > 0 && kStorage - end_ < kStorage / 2) {
        const std::size_t left = end_ - begin_;
        std::memmove(storage_, storage_ + begin_, left);
        explicit_bzero(storage_ + left, end_ - left);
        scanned_ -= begin_;
        begin_ = wiped_ = 0;
        end_ = left;
    }
    return {storage_ + end_, kStorage - end_};
}

std::span<char> LineBuffer::take(std::size_t size, std::size_t ending) noexcept {
    std::span<char> line{storage_ + begin_, size};
    if (!line.empty() && line.back() == '\r') line = line.first(size - 1);
    begin_ = scanned_ = begin_ + size + ending;
    return line;
}

std::optional<std::span<char>> LineBuffer::next_line() noexcept {
    const void* newline = std::memchr(storage_ + scanned_, '\n', end_ - scanned_);
    if (!newline) {
        scanned_ = end_;
        return std::nullopt;
    }
    const auto at = static_cast<std::size_t>(static_cast<const char*>(newline) - storage_);
    return take(at - begin_, 1);
}

std::optional<std::span<char>> LineBuffer::last_line() noexcept {
    if (!partial()) return std::nullopt;
    return take(end_ - begin_, 0);
}

bool LineBuffer::too_large() const noexcept {
    const std::size_t size = end_ - begin_;
    // One byte over is allowed while it may be the \r of an ending.
    return size > kMaxFrame + 1 || (size == kMaxFrame + 1 && storage_[end_ - 1] != '\r');
}

void LineBuffer::wipe_taken() noexcept {
    if (begin_ > wiped_) explicit_bzero(storage_ + wiped_, begin_ - wiped_);
    wiped_ = begin_;
    if (begin_ == end_) wiped_ = begin_ = scanned_ = end_ = 0;
}

void LineBuffer::reset() noexcept {
    explicit_bzero(storage_ + wiped_, end_ - wiped_);
    wiped_ = begin_ = scanned_ = end_ = 0;
}

}  // namespace tokenrelay
