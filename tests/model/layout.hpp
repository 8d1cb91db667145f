// Where the cell's variables live in the modelled memory.
#pragma once

#include "cell.hpp"

namespace model {

inline constexpr Byte kHelp = 15;  // the reader asks the writer for a token

namespace location {
inline constexpr int current = 0;
inline constexpr int head = 1;
inline constexpr int leader = 2;
constexpr int slot(int record, int slot) { return 3 + record * kSlotLimit + slot; }
constexpr int active(int record) { return 3 + kRecordLimit * kSlotLimit + record; }
static_assert(active(kRecordLimit) <= kLocationLimit);
}  // namespace location

namespace object {
constexpr int token(int number) { return number; }
constexpr int record(int number) { return kTokenLimit + number; }
inline constexpr int leader_lists = kTokenLimit + kRecordLimit;
static_assert(leader_lists < kObjectLimit);
}  // namespace object

}  // namespace model
