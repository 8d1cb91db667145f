// LineBuffer: cuts a byte stream into frames, one a line. Pure: no I/O, no allocation; one thread.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "tokenrelay/limits.hpp"

namespace tokenrelay {

class LineBuffer {
public:
    // Bytes that the storage must have: the longest line with its ending.
    static constexpr std::size_t kStorage = kMaxFrame + 2;

    LineBuffer() noexcept = default;
    explicit LineBuffer(char* storage) noexcept : storage_(storage) {}

    // Where the next bytes of the stream go; empty only when too_large().
    std::span<char> space() noexcept;
    void received(std::size_t bytes) noexcept { end_ += bytes; }

    // The next whole line without its ending (\n or \r\n), valid until the next call of space(). It
    // may be written to.
    std::optional<std::span<char>> next_line() noexcept;
    // What is left at the end of the stream: the last line needs no ending.
    std::optional<std::span<char>> last_line() noexcept;

    // Every byte received so far was: no line is left.
    bool searched() const noexcept { return scanned_ == end_; }
    // The bytes from a frame's begin on, if none of them was searched for a line's end yet; else empty.
    // skip() takes the bytes of whole lines off them, endings included.
    std::span<const char> unsearched() const noexcept {
        if (scanned_ != begin_) return {};
        return {storage_ + begin_, end_ - begin_};
    }
    void skip(std::size_t bytes) noexcept {
        alone_ = begin_ == 0 && bytes == end_;
        begin_ = scanned_ = begin_ + bytes;
    }
    // What the last skip() took is all that the storage holds.
    bool skipped_all() const noexcept { return alone_; }

    // The frame being received can't fit any more.
    bool too_large() const noexcept;
    // A frame has begun and is not complete.
    bool partial() const noexcept { return begin_ != end_; }

    // Wipes the bytes of the lines taken so far. Views of them end here.
    void wipe_taken() noexcept;
    // Wipes everything and starts afresh.
    void reset() noexcept;

private:
    std::span<char> take(std::size_t size, std::size_t ending) noexcept;

    char* storage_ = nullptr;
    std::size_t wiped_ = 0;    // bytes before it are zero
    std::size_t begin_ = 0;    // of the current line
    std::size_t scanned_ = 0;  // no \n in [begin_, scanned_)
    std::size_t end_ = 0;      // of the received bytes
    bool alone_ = false;       // what was skipped last
};

}  // namespace tokenrelay
