// The cell weakened on purpose, each in one place; every one must be caught.
#pragma once

#include <string>
#include <vector>

#include "algorithm.hpp"

namespace model {

struct Variant {
    std::string name;
    std::string scenario;  // the one that shows it
    void (*weaken)(Algorithm&);
};

std::vector<Variant> variants();

}  // namespace model
