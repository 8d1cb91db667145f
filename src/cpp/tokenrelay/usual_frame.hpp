// The frame as a sender of this project writes it: docs/protocol.md's members in their order, without
// blanks and escapes. Read in one pass over its bytes, before the line's end is known; what is
// expected is compared, not searched, so that the processor foresees it and waits for nothing. Any
// other frame, and every bad one, is left to LineBuffer and parse_message(), which say the same of this
// one, in three times the time (tests/fuzz/fuzz_frame.cpp; docs/performance.md).
// Pure: no I/O, no clock, no allocation. One thread.
#pragma once

#include "tokenrelay/frame.hpp"
#include "tokenrelay/token.hpp"

namespace tokenrelay {

// Takes the next frame out of `input` if it is such a one; each member of `update` is then what it
// says, checked, or empty, in views into the buffer. False where it is not, or not yet whole: nothing is
// taken, and what `update` is has no meaning.
bool take_usual_frame(LineBuffer& input, TokenUpdate& update) noexcept;

}  // namespace tokenrelay
