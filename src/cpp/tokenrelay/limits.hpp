// The limits of the wire, version 1 (docs/protocol.md), in one place.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tokenrelay {

inline constexpr std::size_t kMaxFrame = 65'536;             // bytes, without the line ending
inline constexpr std::size_t kMaxToken = 16'384;             // bytes of one token
inline constexpr std::size_t kMaxUnknownKeys = 64;           // of one frame
inline constexpr int kMaxConnections = 16;                   // at one receiver
inline constexpr std::int64_t kMaxUnixTime = 99'999'999'999;  // 11 digits: milliseconds are refused
inline constexpr std::int64_t kMaxSerial = 9'007'199'254'740'991;  // 2^53 - 1 (RFC 8259 §6)
inline constexpr std::int64_t kDefaultLifetime = 30 * 60;  // s, for a token without expires_at
inline constexpr std::int64_t kFrameDeadline = 2'000'000'000;  // ns from a frame's first byte

}  // namespace tokenrelay
