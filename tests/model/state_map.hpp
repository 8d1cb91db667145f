// From state to the number of executions that start there; open addressing, 16 bytes a state.
//
// A state is known by 95 bits of its hash: among 10^8 states the odds that any two share them are
// about 10^-13.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "memory.hpp"

namespace model {

class StateMap {
public:
    struct Entry {
        std::uint64_t low = 0;  // odd; 0: an empty place
        std::uint32_t high = 0;
        float executions = 0;  // 0: not yet counted
    };

    StateMap() : table_(std::size_t{1} << 12) {}

    std::uint64_t size() const { return size_; }

    // The state's entry, and whether it is new; the pointer is good until the next call.
    std::pair<Entry*, bool> insert(const Hash& hash) {
        if (4 * (size_ + 1) > 3 * table_.size()) grow();
        Entry& entry = find(hash.low | 1, static_cast<std::uint32_t>(hash.high));
        const bool is_new = entry.low == 0;
        entry.low = hash.low | 1;
        entry.high = static_cast<std::uint32_t>(hash.high);
        size_ += is_new;
        return {&entry, is_new};
    }

private:
    Entry& find(std::uint64_t low, std::uint32_t high) {
        std::size_t i = (low >> 1) & (table_.size() - 1);
        while (table_[i].low != 0 && (table_[i].low != low || table_[i].high != high))
            i = (i + 1) & (table_.size() - 1);
        return table_[i];
    }

    void grow() {
        std::vector<Entry> old(table_.size() * 2);
        old.swap(table_);
        for (const Entry& entry : old)
            if (entry.low != 0) find(entry.low, entry.high) = entry;
    }

    std::vector<Entry> table_;
    std::uint64_t size_ = 0;
};

}  // namespace model
