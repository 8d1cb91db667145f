// Visits every reachable state of a plan.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cell.hpp"

namespace model {

struct Report {
    std::uint64_t states = 0;
    double executions = 0;           // ways through them, first state to last
    int longest = 0;                 // steps of the longest execution
    int read_steps = 0;              // the most a read took
    bool complete = false;           // false: a violation or the limit ended the search
    std::string violation;           // empty: none
    std::vector<std::string> trace;  // the steps that lead to it
};

// Depth first: little memory; stops at the first violation or after `state_limit` states.
Report explore(const Plan& plan, std::uint64_t state_limit);

// Breadth first: the shortest way to a violation, with its trace.
Report shortest_violation(const Plan& plan, std::uint64_t state_limit);

}  // namespace model
