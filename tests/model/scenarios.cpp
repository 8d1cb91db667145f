#include "scenarios.hpp"

#include <stdexcept>

namespace model {
namespace {

using Operations = std::vector<Operation>;

Operations reads(int count, bool releases_last = true) {
    Operations result;
    for (int i = 0; i < count; ++i) {
        result.push_back({Kind::read});
        if (i + 1 < count || releases_last) result.push_back({Kind::release});
    }
    return result;
}

Operations swaps(int count) {
    Operations result;
    for (int i = 0; i < count; ++i) {
        result.push_back({Kind::publish});
        result.push_back({Kind::reclaim});
    }
    return result;
}

Program reader(int number, Operations operations) {
    return {"reader " + std::to_string(number), std::move(operations), true};
}

Program writer(Operations operations) { return {"writer", std::move(operations), false}; }

// A thread that gets its record, reads and ends.
Program visitor(int number, int count) {
    Operations operations{{Kind::attach}};
    for (const Operation& operation : reads(count)) operations.push_back(operation);
    operations.push_back({Kind::detach});
    return {"reader " + std::to_string(number), operations, false};
}

// A leader reclaims what the one before it left, takes a token, and hands over to run callbacks.
Program leader(int number, int turns, const std::vector<Kind>& turn) {
    Operations operations;
    for (int i = 0; i < turns; ++i)
        for (const Kind kind : turn) operations.push_back({kind});
    return {"leader " + std::to_string(number), operations, false};
}

Scenario fenced(Scenario scenario) {
    scenario.name += ", fenced";
    scenario.fenced = true;
    return scenario;
}

Scenario single(const std::string& name, int read_count, int swap_count) {
    return {.name = name, .programs = {writer(swaps(swap_count)), reader(1, reads(read_count))}};
}

Scenario pair(const std::string& name, int read_count, int swap_count) {
    return {.name = name,
            .programs = {writer(swaps(swap_count)), reader(1, reads(read_count)),
                         reader(2, reads(read_count))},
            .tokens = 4};
}

Scenario two_guards(const std::string& name, int swap_count) {
    return {.name = name,
            .programs = {writer(swaps(swap_count)), reader(1, {{Kind::read, 0},
                                                               {Kind::read, 1},
                                                               {Kind::release, 0},
                                                               {Kind::read, 0},
                                                               {Kind::release, 1},
                                                               {Kind::release, 0}})},
            .slots_per_record = 2,
            .tokens = 4};
}

Scenario stuck_reader(const std::string& name, int swap_count) {
    return {.name = name, .programs = {writer(swaps(swap_count)), reader(1, reads(1, false))}};
}

// Two frames in one read: both are published before anything is reclaimed.
Scenario burst(const std::string& name, int read_count) {
    return {.name = name,
            .programs = {writer({{Kind::publish},
                                 {Kind::publish},
                                 {Kind::reclaim},
                                 {Kind::publish},
                                 {Kind::reclaim}}),
                         reader(1, reads(read_count))},
            .tokens = 4};
}

Scenario first_token(const std::string& name) {
    return {
        .name = name, .programs = {writer(swaps(3)), reader(1, reads(2))}, .starts_empty = true};
}

Scenario threads(const std::string& name, int swap_count) {
    return {.name = name,
            .programs = {writer(swaps(swap_count)), visitor(1, 1), visitor(2, 1)},
            .tokens = 4};
}

Scenario leaders(const std::string& name, int turns, int read_count) {
    const std::vector turn{Kind::lead, Kind::reclaim, Kind::publish, Kind::hand_over};
    return {
        .name = name,
        .programs = {leader(1, turns, turn), leader(2, turns, turn), reader(1, reads(read_count))}};
}

// Both wait without the leadership, so that two publications may follow each other.
Scenario loose_leaders(const std::string& name, int turns, int read_count) {
    const std::vector turn{Kind::lead, Kind::publish, Kind::hand_over,
                           Kind::lead, Kind::reclaim, Kind::hand_over};
    return {
        .name = name,
        .programs = {leader(1, turns, turn), leader(2, turns, turn), reader(1, reads(read_count))},
        .tokens = 4};
}

}  // namespace

std::vector<Scenario> scenarios() {
    return {
        single("1 reader, 2 reads, 2 swaps", 2, 2),
        single("1 reader, 1 read, 4 swaps", 1, 4),
        single("1 reader, 3 reads, 3 swaps", 3, 3),
        pair("2 readers, 1 read, 2 swaps", 1, 2),
        two_guards("2 guards at once, 2 swaps", 2),
        stuck_reader("reader stuck in a guard, 3 swaps", 3),
        burst("2 swaps before one reclaim, 2 reads", 2),
        first_token("first token, 2 reads, 3 publications"),
        threads("threads come and go, 2 swaps", 2),
        leaders("2 leaders, 1 turn, 2 reads", 1, 2),
        leaders("2 leaders, 2 turns, 1 read", 2, 1),
        loose_leaders("2 leaders, reclaim in a turn of its own", 1, 2),
        fenced(single("1 reader, 2 reads, 2 swaps", 2, 2)),
        fenced(single("1 reader, 1 read, 4 swaps", 1, 4)),
        fenced(pair("2 readers, 1 read, 2 swaps", 1, 2)),
        fenced(two_guards("2 guards at once, 2 swaps", 2)),
        fenced(threads("threads come and go, 2 swaps", 2)),
        fenced(leaders("2 leaders, 2 turns, 1 read", 2, 1)),
    };
}

std::vector<Scenario> deep_scenarios() {
    return {
        single("1 reader, 4 reads, 5 swaps", 4, 5),
        pair("2 readers, 2 reads, 2 swaps", 2, 2),
        pair("2 readers, 1 read, 3 swaps", 1, 3),
        two_guards("2 guards at once, 4 swaps", 4),
        threads("threads come and go, 3 swaps", 3),
        leaders("2 leaders, 2 turns, 2 reads", 2, 2),
        fenced(pair("2 readers, 2 reads, 2 swaps", 2, 2)),
        fenced(threads("threads come and go, 3 swaps", 3)),
    };
}

Scenario scenario_named(const std::string& name) {
    for (const Scenario& scenario : scenarios())
        if (scenario.name == name) return scenario;
    throw std::invalid_argument("no scenario is called \"" + name + "\"");
}

}  // namespace model
