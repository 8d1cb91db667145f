#include "explorer.hpp"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "state_map.hpp"

namespace model {
namespace {

int thread_count(const Plan& plan) { return static_cast<int>(plan.scenario.programs.size()); }

// The steps possible in a state, one after another.
class Successors {
public:
    Successors(const Plan& plan, const State& state) : plan_{plan}, state_{state} { to_enabled(); }

    bool done() const { return thread_ == thread_count(plan_); }
    bool any() const { return any_; }
    int thread() const { return thread_; }
    const Choices& choices() const { return choices_; }

    Outcome take(State& next) {
        next = state_;
        choices_.rewind();
        return run_step(plan_, next, thread_, choices_, false);
    }

    void advance() {
        if (choices_.advance()) return;
        ++thread_;
        to_enabled();
    }

private:
    void to_enabled() {
        while (!done() && !enabled(plan_, state_, thread_)) ++thread_;
        any_ = any_ || !done();
        choices_ = {};
    }

    const Plan& plan_;
    State state_;
    Choices choices_;
    int thread_ = 0;
    bool any_ = false;
};

// What is wrong with a state in which nobody can step.
std::string end_violation(const Plan& plan, const State& state) {
    for (int thread = 0; thread < thread_count(plan); ++thread)
        if (!finished(plan, state, thread)) return "deadlock";
    return final_violation(plan, state);
}

struct Choice {
    int thread;
    Choices choices;
};

class DepthFirst {
public:
    explicit DepthFirst(const Plan& plan) : plan_{plan} {}

    Report run(std::uint64_t state_limit) {
        enter(initial_state(plan_));
        while (!path_.empty() && report_.violation.empty() && seen_.size() <= state_limit) {
            if (path_.back().successors.done())
                leave();
            else
                follow();
        }
        report_.states = seen_.size();
        report_.complete = path_.empty() && report_.violation.empty();
        return std::move(report_);
    }

private:
    struct Frame {
        Successors successors;
        Hash hash;
        double executions = 0;
    };

    void follow() {
        const Outcome outcome = path_.back().successors.take(next_);
        path_.back().successors.advance();
        report_.violation = outcome.violation;
        report_.read_steps = std::max(report_.read_steps, outcome.read_steps);
        if (report_.violation.empty()) enter(next_);
    }

    void enter(const State& state) {
        const Hash hash = state.hash();
        const auto [entry, is_new] = seen_.insert(hash);
        if (!is_new) {
            path_.back().executions += entry->executions;
            if (entry->executions == 0) report_.violation = "a loop: the threads can run for ever";
            return;
        }
        path_.push_back({Successors{plan_, state}, hash});
        report_.longest = std::max(report_.longest, static_cast<int>(path_.size()) - 1);
        if (path_.back().successors.any()) return;
        path_.back().executions = 1;
        report_.violation = end_violation(plan_, state);
    }

    void leave() {
        const double executions = path_.back().executions;
        seen_.insert(path_.back().hash).first->executions = static_cast<float>(executions);
        path_.pop_back();
        (path_.empty() ? report_.executions : path_.back().executions) += executions;
    }

    const Plan& plan_;
    StateMap seen_;
    std::deque<Frame> path_;
    State next_;
    Report report_;
};

class BreadthFirst {
public:
    explicit BreadthFirst(const Plan& plan) : plan_{plan}, origins_(1) {}

    Report run(std::uint64_t state_limit) {
        queue_.push_back(0);
        while (!queue_.empty() && report_.violation.empty() && seen_.size() < state_limit) {
            const std::size_t node = queue_.front();
            queue_.pop_front();
            expand(node, state_at(node));
        }
        report_.states = seen_.size();
        report_.complete = queue_.empty() && report_.violation.empty();
        return std::move(report_);
    }

private:
    struct Origin {
        std::size_t parent = 0;
        Choice choice{};
    };

    void expand(std::size_t node, const State& state) {
        Successors successors{plan_, state};
        if (!successors.any()) return stop(node, end_violation(plan_, state));
        for (State next; !successors.done(); successors.advance()) {
            const Outcome outcome = successors.take(next);
            if (outcome.violation.empty() && !seen_.insert(next.hash()).second) continue;
            origins_.push_back({node, {successors.thread(), successors.choices()}});
            if (!outcome.violation.empty()) return stop(origins_.size() - 1, outcome.violation);
            queue_.push_back(origins_.size() - 1);
        }
    }

    void stop(std::size_t node, const std::string& violation) {
        if (violation.empty()) return;
        report_.violation = violation;
        replay(node, true, [&](int thread, const Outcome& outcome) {
            report_.trace.push_back(plan_.scenario.programs[thread].name + ": " + outcome.text);
        });
    }

    // Runs the way to a node again: states are far larger than the choices that lead to them.
    template <class Visit>
    State replay(std::size_t node, bool describe, Visit visit) const {
        std::vector<Choice> path;
        for (; node != 0; node = origins_[node].parent) path.push_back(origins_[node].choice);
        State state = initial_state(plan_);
        for (auto choice = path.rbegin(); choice != path.rend(); ++choice) {
            choice->choices.rewind();
            visit(choice->thread,
                  run_step(plan_, state, choice->thread, choice->choices, describe));
        }
        return state;
    }

    State state_at(std::size_t node) const {
        return replay(node, false, [](int, const Outcome&) {});
    }

    const Plan& plan_;
    std::vector<Origin> origins_;
    std::deque<std::size_t> queue_;
    StateMap seen_;
    Report report_;
};

}  // namespace

Report explore(const Plan& plan, std::uint64_t state_limit) {
    return DepthFirst{plan}.run(state_limit);
}

Report shortest_violation(const Plan& plan, std::uint64_t state_limit) {
    return BreadthFirst{plan}.run(state_limit);
}

}  // namespace model
