// The open decisions of one step, enumerated like the digits of an odometer.
#pragma once

#include <cstdint>
#include <vector>

namespace model {

class Choices {
public:
    // One of `alternatives` (0 and up); the same answer on every replay of the same digits.
    int pick(int alternatives) {
        if (position_ == digits_.size())
            digits_.push_back({0, static_cast<std::uint8_t>(alternatives)});
        return digits_[position_++].value;
    }

    void rewind() { position_ = 0; }

    // Moves on to the next combination; false once all were seen.
    bool advance() {
        rewind();
        while (!digits_.empty()) {
            if (++digits_.back().value < digits_.back().alternatives) return true;
            digits_.pop_back();
        }
        return false;
    }

private:
    struct Digit {
        std::uint8_t value;
        std::uint8_t alternatives;
    };
    std::vector<Digit> digits_;
    std::size_t position_ = 0;
};

}  // namespace model
