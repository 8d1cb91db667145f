// cell_model: explores the publication cell; see README.md beside it.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>

#include "explorer.hpp"
#include "litmus.hpp"
#include "scenarios.hpp"
#include "variants.hpp"

namespace {

using namespace model;

constexpr std::uint64_t kStateLimit = 400'000'000;

struct Options {
    bool deep = false;
    bool trace = false;
    std::string variant;  // empty: every one
};

class Stopwatch {
public:
    double seconds() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

Plan plan_of(const Scenario& scenario) {
    return {scenario, scenario.fenced ? fenced_form() : asymmetric_form()};
}

void print_trace(const Plan& plan) {
    const Report report = shortest_violation(plan, kStateLimit);
    for (std::size_t i = 0; i < report.trace.size(); ++i)
        std::printf("    %3zu  %s\n", i + 1, report.trace[i].c_str());
    std::printf("         => %s\n\n", report.violation.c_str());
}

bool check_memory() {
    int wrong = 0;
    const auto results = run_litmus_tests();
    for (const LitmusResult& result : results) {
        if (result.happens == result.may_happen) continue;
        ++wrong;
        std::printf("the modelled memory %s \"%s\"\n", result.happens ? "allows" : "forbids",
                    result.name.c_str());
    }
    std::printf("Memory: %zu litmus tests, %d wrong\n\n", results.size(), wrong);
    return wrong == 0;
}

bool check_scenario(const Scenario& scenario) {
    const Stopwatch watch;
    const Plan plan = plan_of(scenario);
    const Report report = explore(plan, kStateLimit);
    std::printf("%-44s %10llu %11.2g %7d %5d %7.1f  %s\n", scenario.name.c_str(),
                static_cast<unsigned long long>(report.states), report.executions, report.longest,
                report.read_steps, watch.seconds(),
                report.complete            ? "holds"
                : report.violation.empty() ? "NOT FINISHED"
                                           : "BROKEN");
    std::fflush(stdout);
    if (!report.violation.empty()) print_trace(plan);
    return report.complete;
}

bool check_scenarios(bool deep) {
    bool hold = true;
    std::printf("%-44s %10s %11s %7s %5s %7s\n", "Scenario", "states", "executions", "longest",
                "read", "s");
    for (const Scenario& scenario : scenarios()) hold = check_scenario(scenario) && hold;
    if (deep)
        for (const Scenario& scenario : deep_scenarios()) hold = check_scenario(scenario) && hold;
    std::printf("\n");
    return hold;
}

bool check_variant(const Variant& variant, bool trace) {
    Plan plan = plan_of(scenario_named(variant.scenario));
    variant.weaken(plan.algorithm);
    const Report report = explore(plan, kStateLimit);
    const bool caught = !report.violation.empty();
    std::printf("%-50s %8llu  %s\n", variant.name.c_str(),
                static_cast<unsigned long long>(report.states),
                caught ? report.violation.c_str() : "NOT CAUGHT");
    if (trace && caught) print_trace(plan);
    return caught;
}

bool check_variants(const Options& options) {
    int caught = 0;
    int run = 0;
    std::printf("%-50s %8s  %s\n", "Weakened variant", "states", "caught by");
    for (const Variant& variant : variants()) {
        if (!options.variant.empty() && options.variant != variant.name) continue;
        ++run;
        caught += check_variant(variant, options.trace);
    }
    std::printf("\n%d of %d variants caught\n", caught, run);
    return run > 0 && caught == run;
}

int usage() {
    std::fprintf(stderr,
                 "usage: cell_model [--deep] | --trace [VARIANT]\n"
                 "  --deep   larger bounds as well (minutes, gigabytes)\n"
                 "  --trace  the shortest counterexample of each weakened variant, or of one\n");
    return 2;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        if (!std::strcmp(argv[i], "--deep"))
            options.deep = true;
        else if (!std::strcmp(argv[i], "--trace"))
            options.trace = true;
        else if (options.trace && options.variant.empty())
            options.variant = argv[i];
        else
            return usage();
    }
    if (options.trace) return check_variants(options) ? 0 : 1;
    const bool memory = check_memory();
    const bool scenarios = check_scenarios(options.deep);
    const bool variants = check_variants(options);
    return memory && scenarios && variants ? 0 : 1;
}
