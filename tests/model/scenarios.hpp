// The bounded programs that are explored.
#pragma once

#include <string>
#include <vector>

#include "algorithm.hpp"

namespace model {

std::vector<Scenario> scenarios();       // explored in every run
std::vector<Scenario> deep_scenarios();  // larger bounds, --deep

Scenario scenario_named(const std::string& name);

}  // namespace model
