#include "step.hpp"

#include <utility>

namespace model {

std::string name_of(Byte value) {
    return value == 0 ? "null" : value == kHelp ? "HELP" : "token " + std::to_string(value);
}

std::string record_name(Byte number_from_one) {
    return number_from_one == 0 ? "null" : "record " + std::to_string(number_from_one - 1);
}

std::string slot_name(int record, int slot) {
    return "slot[" + std::to_string(record) + "][" + std::to_string(slot) + "]";
}

void Step::note(const std::string& text) {
    if (describe_) outcome_.text += (outcome_.text.empty() ? "" : "; ") + text;
}

void Step::fail(const std::string& text) {
    if (outcome_.violation.empty()) outcome_.violation = text;
}

void Step::touch(int object, bool write, const std::string& what) {
    const int rival =
        write ? memory_.plain_write(number_, object) : memory_.plain_read(number_, object);
    if (rival >= 0)
        fail("data race: " + what + " is not ordered after an access by " +
             plan_.scenario.programs[rival].name);
}

Byte Step::load(int location, const std::string& name, Order order) {
    const Byte value = memory_.load(number_, location, order, choices_);
    if (describe_)
        note(name + ".load(" + to_text(order) + ") -> " +
             (location == location::head ? record_name(value) : name_of(value)) +
             (memory_.is_newest(number_, location) ? "" : " (old)"));
    return value;
}

void Step::store(int location, const std::string& name, Byte value, Order order) {
    memory_.store(number_, location, value, order, choices_);
    if (describe_) note(name + ".store(" + name_of(value) + ", " + to_text(order) + ")");
}

void Step::light_barrier() {
    memory_.light_barrier(number_);
    note("light barrier");
}

void Step::heavy_barrier() {
    memory_.heavy_barrier(number_);
    note("heavy barrier (membarrier)");
}

void Step::finish_operation() {
    ++thread_.operation;
    thread_.step = thread_.read_steps = thread_.token = 0;
    thread_.next_record = thread_.next_slot = thread_.protected_tokens = 0;
    skip_empty_operations(plan_, state_, number_);
    if (finished(plan_, state_, number_)) memory_.finish(number_);
}

Outcome Step::run() {
    switch (operation().kind) {
        case Kind::attach:
            attach();
            break;
        case Kind::read:
            read();
            break;
        case Kind::release:
            release();
            break;
        case Kind::detach:
            detach();
            break;
        case Kind::lead:
            lead();
            break;
        case Kind::publish:
            publish();
            break;
        case Kind::reclaim:
            reclaim();
            break;
        case Kind::hand_over:
            hand_over();
            break;
    }
    memory_.trim();
    return std::move(outcome_);
}

Outcome run_step(const Plan& plan, State& state, int thread, Choices& choices, bool describe) {
    return Step{plan, state, thread, choices, describe}.run();
}

}  // namespace model
