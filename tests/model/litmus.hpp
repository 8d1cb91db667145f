// Small programs with known answers: what the modelled memory must allow and must forbid.
#pragma once

#include <string>
#include <vector>

namespace model {

struct LitmusResult {
    std::string name;
    bool may_happen;  // by the C++20 standard (and the membarrier man page)
    bool happens;     // in the model
};

std::vector<LitmusResult> run_litmus_tests();

}  // namespace model
