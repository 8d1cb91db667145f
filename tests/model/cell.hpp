// The cell as a state machine: one step is one atomic operation or one barrier of one thread.
//
// Plain accesses ride on the step before or after them: races between them are found from what
// happens before what, not from the moment at which they run.
#pragma once

#include <array>
#include <string>

#include "algorithm.hpp"
#include "choices.hpp"
#include "memory.hpp"

namespace model {

inline constexpr int kTokenLimit = 6;  // number 0 is null
inline constexpr int kRecordLimit = 3;
inline constexpr int kSlotLimit = 2;

struct Thread {
    Byte operation = 0;
    Byte step = 0;
    Byte record = 0;
    Byte read_steps = 0;
    Byte known_version = 0;  // a read must not return an older one
    Byte token = 0;          // reader: what it loaded; pusher of a record: the head it found
    Byte next_record = 0;    // walker of the list: record number + 1
    Byte next_slot = 0;
    Byte protected_tokens = 0;
    Byte filled = 0;  // writer: token that it is about to fill
    std::array<Byte, kSlotLimit> guarded{};
    std::array<Byte, kSlotLimit> guarded_version{};
    std::array<Byte, 2> unused{};
};

enum class TokenState : Byte { none, free, current, retired, lost };

struct State {
    Memory memory;
    std::array<Thread, kThreadLimit> threads{};
    std::array<Byte, 8> version_in_token{};             // payload; 0: wiped
    std::array<TokenState, 8> tokens{};                 // the leader's lists
    std::array<Byte, kRecordLimit> following_record{};  // record number + 1
    Byte records = 0;
    Byte version = 0;
    Byte current = 0;  // the leader's own copy

    Hash hash() const;
};

struct Plan {
    Scenario scenario;
    Algorithm algorithm;
};

State initial_state(const Plan& plan);
bool finished(const Plan& plan, const State& state, int thread);
bool enabled(const Plan& plan, const State& state, int thread);

// Passes over what is no step: nothing to release or to reclaim, no leadership in this variant.
void skip_empty_operations(const Plan& plan, State& state, int thread);

// Tells the memory what a thread with a record of its own will not touch again.
void keep_to_own_record(const Plan& plan, State& state, int thread);

struct Outcome {
    std::string violation;  // empty: none
    std::string text;       // filled if asked for
    int read_steps = 0;
};

// Runs one step of one thread on `state`.
Outcome run_step(const Plan& plan, State& state, int thread, Choices& choices, bool describe);

// What must hold once every program has ended; empty if it does.
std::string final_violation(const Plan& plan, const State& state);

}  // namespace model
