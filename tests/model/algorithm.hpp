// The publication cell as data: its memory orders, and the switches that weaken it on purpose.
#pragma once

#include <string>
#include <vector>

#include "memory.hpp"

namespace model {

struct Orders {
    Order first_load = Order::relaxed;  // reader: current, only compared with the re-check
    Order post = Order::release;        // reader: token or HELP into the slot
    Order recheck = Order::acquire;     // reader: current, after posting
    Order help_load = Order::acquire;   // reader: current, after posting HELP
    Order help_take = Order::acq_rel;   // reader: HELP -> token; failed:
    Order help_taken = Order::acquire;  // the writer has put a token there
    Order clear = Order::release;       // reader: null into the slot
    Order exchange = Order::acq_rel;    // writer: current
    Order scan = Order::acquire;        // writer: slot
    Order help_give = Order::acq_rel;   // writer: HELP -> its current token
    Order list_push = Order::release;   // reader: new record at the head of the list
    Order list_read = Order::acquire;   // anyone: head of the list
    Order adopt = Order::acquire;       // reader: active false -> true
    Order abandon = Order::release;     // reader: active = false
    Order lead = Order::acquire;        // writer: takes the leadership
    Order hand_over = Order::release;   // writer: gives it up
};

struct Algorithm {
    Orders order;
    bool light_barrier = true;  // reader: compiler barrier after posting
    bool heavy_barrier = true;  // writer: membarrier before the scan

    // Each of these is a mistake.
    bool light_barrier_after_help = true;
    bool recheck = true;
    bool post_before_recheck = true;
    bool heavy_barrier_before_exchange = false;
    bool scan_before_barrier = false;
    bool list_read_before_barrier = false;
    bool scan = true;
    bool clear_after_last_use = true;
    bool fill_before_exchange = true;
    bool take_help_by_exchange = true;  // by CAS; else by a plain store
    bool retry_instead_of_help = false;
    bool give_help = true;
    bool give_help_with_old = false;
    bool keep_slot_taken_meanwhile =
        true;  // a failed CAS of the writer means that the slot holds a token
    bool skip_inactive_records = false;
    bool leadership = true;
    bool keep_protected_tokens_listed = true;
};

Algorithm asymmetric_form();
Algorithm fenced_form();

enum class Kind : Byte { attach, read, release, detach, lead, publish, reclaim, hand_over };

struct Operation {
    Kind kind;
    Byte slot = 0;
};

struct Program {
    std::string name;
    std::vector<Operation> operations;
    bool has_record = false;  // owns a record from the start
};

struct Scenario {
    std::string name;
    std::vector<Program> programs;
    int slots_per_record = 1;
    int tokens = 3;  // size of the pool
    bool starts_empty = false;
    bool fenced = false;
};

// Reader steps from the call to the guard; the most that any interleaving may need.
inline constexpr int kReadStepLimit = 8;

}  // namespace model
