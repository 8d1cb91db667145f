// States of the cell: the first one, the last one, and their hash.
#include <algorithm>
#include <type_traits>

#include "cell.hpp"
#include "layout.hpp"

namespace model {

static_assert(std::has_unique_object_representations_v<Thread>);
static_assert(std::has_unique_object_representations_v<Message>);
static_assert(sizeof(Thread) * kThreadLimit % 8 == 0);

Hash State::hash() const {
    Hash result;
    memory.add_to(result);
    result.add(threads.data(), sizeof threads);
    result.add(version_in_token.data(), sizeof version_in_token);
    result.add(tokens.data(), sizeof tokens);
    const std::array<Byte, 8> rest{
        following_record[0], following_record[1], following_record[2], records, version, current};
    result.add(rest.data(), rest.size());
    return result;
}

Algorithm asymmetric_form() { return {}; }

Algorithm fenced_form() {
    Algorithm form;
    form.light_barrier = form.light_barrier_after_help = form.heavy_barrier = false;
    form.order.post = form.order.recheck = form.order.help_load = Order::seq_cst;
    form.order.exchange = form.order.scan = Order::seq_cst;
    form.order.list_push = form.order.list_read = Order::seq_cst;
    return form;
}

State initial_state(const Plan& plan) {
    const Scenario& scenario = plan.scenario;
    State state;
    state.memory.start(static_cast<int>(scenario.programs.size()));
    for (int token = 1; token <= scenario.tokens; ++token) state.tokens[token] = TokenState::free;
    if (!scenario.starts_empty) {
        state.current = state.version = state.version_in_token[1] = 1;
        state.tokens[1] = TokenState::current;
        state.memory.initialise(location::current, 1, 1);
    }
    for (std::size_t thread = 0; thread < scenario.programs.size(); ++thread) {
        if (!scenario.programs[thread].has_record) continue;
        const Byte record = state.records++;
        state.threads[thread].record = record;
        state.following_record[record] = record;
        state.memory.initialise(location::active(record), 1);
        state.memory.initialise(location::head, state.records);
        keep_to_own_record(plan, state, static_cast<int>(thread));
    }
    for (std::size_t thread = 0; thread < scenario.programs.size(); ++thread)
        skip_empty_operations(plan, state, static_cast<int>(thread));
    return state;
}

void skip_empty_operations(const Plan& plan, State& state, int thread) {
    while (!finished(plan, state, thread)) {
        Thread& self = state.threads[thread];
        const Operation& next = plan.scenario.programs[thread].operations[self.operation];
        bool empty = next.kind == Kind::release && self.guarded[next.slot] == 0;
        if (next.kind == Kind::lead || next.kind == Kind::hand_over)
            empty = !plan.algorithm.leadership;
        if (next.kind == Kind::reclaim)
            empty = std::ranges::find(state.tokens, TokenState::retired) == state.tokens.end();
        if (!empty) return;
        ++self.operation;
    }
}

void keep_to_own_record(const Plan& plan, State& state, int thread) {
    const int own = state.threads[thread].record;
    state.memory.leave(thread, location::head);
    for (int record = 0; record < kRecordLimit; ++record) {
        if (record == own) continue;
        state.memory.leave(thread, location::active(record));
        for (int slot = 0; slot < plan.scenario.slots_per_record; ++slot)
            state.memory.leave(thread, location::slot(record, slot));
    }
}

bool finished(const Plan& plan, const State& state, int thread) {
    return state.threads[thread].operation == plan.scenario.programs[thread].operations.size();
}

bool enabled(const Plan& plan, const State& state, int thread) {
    if (finished(plan, state, thread)) return false;
    const auto& operation =
        plan.scenario.programs[thread].operations[state.threads[thread].operation];
    return operation.kind != Kind::lead || !plan.algorithm.leadership ||
           state.memory.can_succeed(thread, location::leader, 0);
}

std::string final_violation(const Plan& plan, const State& state) {
    std::array<bool, 8> guarded{};
    for (const Thread& thread : state.threads)
        for (const Byte token : thread.guarded) guarded[token] = true;
    for (int record = 0; record < state.records; ++record)
        for (int slot = 0; slot < plan.scenario.slots_per_record; ++slot) {
            const Byte held = state.memory.newest(location::slot(record, slot));
            if (held == kHelp || (held != 0 && !guarded[held]))
                return "leak: a slot still holds a token that nobody guards";
        }
    for (int token = 1; token <= plan.scenario.tokens; ++token)
        if (state.tokens[token] == TokenState::lost)
            return "leak: token " + std::to_string(token) + " is in no list";
    return {};
}

}  // namespace model
