// The writer: leadership, publish, reclaim.
#include "step.hpp"

namespace model {

void Step::lead() {
    memory_.wait_and_replace(number_, location::leader, 0, 1, order_.lead, choices_);
    note("takes the leadership");
    touch(object::leader_lists, true, "the leader's lists");
    finish_operation();
}

void Step::hand_over() {
    memory_.store(number_, location::leader, 0, order_.hand_over, choices_);
    note("hands over the leadership");
    finish_operation();
}

void Step::fill() {
    note("fills token " + std::to_string(thread_.filled) + " with version " +
         std::to_string(state_.version));
    touch(object::token(thread_.filled), true,
          "the filling of token " + std::to_string(thread_.filled));
    state_.version_in_token[thread_.filled] = state_.version;
    thread_.filled = 0;
}

void Step::publish() {
    if (thread_.step == 0 && algorithm_.heavy_barrier_before_exchange) {
        heavy_barrier();
        thread_.step = 1;
        return;
    }
    if (thread_.step == 2) {
        fill();
        return finish_operation();
    }
    std::array<Byte, 8> free{};
    int count = 0;
    for (int token = 1; token <= plan_.scenario.tokens; ++token)
        if (state_.tokens[token] == TokenState::free) free[count++] = static_cast<Byte>(token);
    if (count == 0) return fail("retention bound broken: no free token to publish");
    touch(object::leader_lists, true, "the leader's lists");
    const Byte next = thread_.filled = free[choices_.pick(count)];
    ++state_.version;
    if (algorithm_.fill_before_exchange) fill();
    const Byte old = memory_.exchange(number_, location::current, next, order_.exchange, choices_);
    memory_.label(number_, location::current, state_.version);
    note("current.exchange(token " + std::to_string(next) + ", " + to_text(order_.exchange) +
         ") -> " + name_of(old));
    if (old != 0) state_.tokens[old] = TokenState::retired;
    state_.tokens[next] = TokenState::current;
    state_.current = next;
    if (!algorithm_.fill_before_exchange) {
        thread_.step = 2;
        return;
    }
    finish_operation();
}

bool Step::starts_scan_with_barrier() const {
    return algorithm_.heavy_barrier && !algorithm_.scan_before_barrier &&
           !algorithm_.heavy_barrier_before_exchange;
}

// Steps: 0 barrier, 1 head of the list, 2 a slot, 3 help, 4 barrier too late, 5 is the record in
// use?
void Step::reclaim() {
    if (thread_.step == 0) {
        thread_.step = algorithm_.scan ? 1 : 4;
        if (starts_scan_with_barrier() && !algorithm_.list_read_before_barrier)
            return heavy_barrier();
    }
    switch (thread_.step) {
        case 1:
            thread_.next_record = load(location::head, "head", order_.list_read);
            thread_.step = algorithm_.skip_inactive_records ? 5 : 2;
            if (algorithm_.list_read_before_barrier)
                thread_.step = 6;
            else if (thread_.next_record == 0)
                end_scan();
            return;
        case 2:
            return scan_slot();
        case 3:
            return give_help();
        case 4:
            heavy_barrier();
            return free_unprotected();
        case 5:
            if (load(location::active(thread_.next_record - 1), "active", Order::relaxed) == 0) {
                thread_.next_record = state_.following_record[thread_.next_record - 1];
                if (thread_.next_record == 0) end_scan();
                return;
            }
            thread_.step = 2;
            return;
        default:
            heavy_barrier();
            thread_.step = 2;
            if (thread_.next_record == 0) end_scan();
    }
}

void Step::scan_slot() {
    const Byte record = thread_.next_record - 1;
    touch(object::record(record), false, "the walk over record " + std::to_string(record));
    const Byte value = load(location::slot(record, thread_.next_slot),
                            describe_ ? slot_name(record, thread_.next_slot) : "", order_.scan);
    if (value == kHelp && algorithm_.give_help) {
        thread_.step = 3;
        return;
    }
    protect(value);
}

void Step::give_help() {
    Byte gift = state_.current;
    if (algorithm_.give_help_with_old)
        for (int token = 1; token <= plan_.scenario.tokens; ++token)
            if (state_.tokens[token] == TokenState::retired) gift = static_cast<Byte>(token);
    const Byte record = thread_.next_record - 1;
    Byte found = kHelp;
    const bool given =
        memory_.compare_exchange(number_, location::slot(record, thread_.next_slot), found, gift,
                                 order_.help_give, Order::acquire, choices_);
    if (describe_)
        note(slot_name(record, thread_.next_slot) + ".CAS(HELP -> " + name_of(gift) + ") " +
             (given ? "succeeds" : "finds " + name_of(found)));
    protect(given || !algorithm_.keep_slot_taken_meanwhile ? Byte{0}
                                                           : found);  // the gift is not retired
}

void Step::protect(Byte value) {
    if (value != 0 && value != kHelp) thread_.protected_tokens |= static_cast<Byte>(1 << value);
    thread_.step = 2;
    if (++thread_.next_slot < plan_.scenario.slots_per_record) return;
    thread_.next_slot = 0;
    thread_.next_record = state_.following_record[thread_.next_record - 1];
    if (algorithm_.skip_inactive_records) thread_.step = 5;
    if (thread_.next_record == 0) end_scan();
}

void Step::end_scan() {
    if (algorithm_.scan_before_barrier) {
        thread_.step = 4;
        return;
    }
    free_unprotected();
}

void Step::free_unprotected() {
    int retained = 0;
    touch(object::leader_lists, true, "the leader's lists");
    for (int token = 1; token <= plan_.scenario.tokens; ++token) {
        if (state_.tokens[token] != TokenState::retired) continue;
        if (thread_.protected_tokens & (1 << token)) {
            ++retained;
            if (!algorithm_.keep_protected_tokens_listed) state_.tokens[token] = TokenState::lost;
            continue;
        }
        wipe(token);
    }
    if (retained > state_.records * plan_.scenario.slots_per_record)
        fail("retention bound broken: more tokens retained than slots");
    finish_operation();
}

void Step::wipe(int token) {
    note("wipes token " + std::to_string(token));
    for (std::size_t other = 0; other < plan_.scenario.programs.size(); ++other)
        for (const Byte guarded : state_.threads[other].guarded)
            if (guarded == token)
                fail("token " + std::to_string(token) + " is wiped while " +
                     plan_.scenario.programs[other].name + " guards it");
    touch(object::token(token), true, "the wiping of token " + std::to_string(token));
    state_.version_in_token[token] = 0;
    state_.tokens[token] = TokenState::free;
}

}  // namespace model
