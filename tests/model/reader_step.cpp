// The reader: fast path, helped path, release; its thread's record.
#include <algorithm>

#include "step.hpp"

namespace model {

void Step::guard(Byte token) {
    if (token == 0) {
        if (thread_.known_version != 0) fail("an empty guard although a token was published");
        return finish_operation();
    }
    const Byte version = state_.version_in_token[token];
    note("guards token " + std::to_string(token) + ", version " + std::to_string(version));
    touch(object::token(token), false, "the read of token " + std::to_string(token));
    if (version == 0) fail("token " + std::to_string(token) + " is wiped or not yet filled");
    if (version < thread_.known_version)
        fail("the reader gets version " + std::to_string(version) + " but knew of version " +
             std::to_string(thread_.known_version));
    thread_.known_version = version;
    thread_.guarded[operation().slot] = token;
    thread_.guarded_version[operation().slot] = version;
    outcome_.read_steps = thread_.read_steps;
    finish_operation();
}

void Step::check_guarded(int slot) {
    const Byte token = thread_.guarded[slot];
    touch(object::token(token), false, "the last read of token " + std::to_string(token));
    if (state_.version_in_token[token] != thread_.guarded_version[slot])
        fail("token " + std::to_string(token) + " changed while guarded");
}

void Step::read() {
    const int slot = location::slot(thread_.record, operation().slot);
    const std::string name = describe_ ? slot_name(thread_.record, operation().slot) : "";
    if (++thread_.read_steps > kReadStepLimit) {
        fail("not wait-free: a read took more than " + std::to_string(kReadStepLimit) + " steps");
        return;
    }
    switch (thread_.step) {
        case 0:
            thread_.known_version =
                std::max(thread_.known_version, memory_.oldest_label(number_, location::current));
            thread_.token = load(location::current, "current", order_.first_load);
            thread_.step = algorithm_.post_before_recheck ? 1 : 3;
            return;
        case 1:
            store(slot, name, thread_.token, order_.post);
            if (!algorithm_.recheck || !algorithm_.post_before_recheck) return guard(thread_.token);
            thread_.step = algorithm_.light_barrier ? 2 : 3;
            return;
        case 2:
            light_barrier();
            thread_.step = 3;
            return;
        case 3: {
            const bool same = load(location::current, "current", order_.recheck) == thread_.token;
            if (same && algorithm_.post_before_recheck) return guard(thread_.token);
            thread_.step = same ? 1 : algorithm_.retry_instead_of_help ? 0 : 4;
            return;
        }
        default:
            read_with_help();
    }
}

void Step::read_with_help() {
    const int slot = location::slot(thread_.record, operation().slot);
    const std::string name = describe_ ? slot_name(thread_.record, operation().slot) : "";
    switch (thread_.step) {
        case 4:
            store(slot, name, kHelp, order_.post);
            thread_.step = algorithm_.light_barrier && algorithm_.light_barrier_after_help ? 5 : 6;
            return;
        case 5:
            light_barrier();
            thread_.step = 6;
            return;
        case 6:
            thread_.token = load(location::current, "current", order_.help_load);
            thread_.step = 7;
            return;
        default:
            if (!algorithm_.take_help_by_exchange) {
                store(slot, name, thread_.token, order_.post);
                return guard(thread_.token);
            }
            Byte found = kHelp;
            const bool taken = memory_.compare_exchange(
                number_, slot, found, thread_.token, order_.help_take, order_.help_taken, choices_);
            if (describe_)
                note(name + ".CAS(HELP -> " + name_of(thread_.token) + ") " +
                     (taken ? "succeeds" : "finds " + name_of(found)));
            guard(taken ? thread_.token : found);
    }
}

void Step::release() {
    const int slot = operation().slot;
    const int where = location::slot(thread_.record, slot);
    const std::string name = describe_ ? slot_name(thread_.record, slot) : "";
    if (algorithm_.clear_after_last_use) check_guarded(slot);
    store(where, name, 0, order_.clear);
    if (!algorithm_.clear_after_last_use) check_guarded(slot);
    thread_.guarded[slot] = thread_.guarded_version[slot] = 0;
    finish_operation();
}

void Step::attach() {
    switch (thread_.step) {
        case 0:
            thread_.next_record = load(location::head, "head", order_.list_read);
            thread_.step = thread_.next_record == 0 ? 2 : 1;
            return;
        case 1:
            return walk_records();
        default:
            push_record();
    }
}

void Step::walk_records() {
    const Byte record = thread_.next_record - 1;
    touch(object::record(record), false, "the walk over record " + std::to_string(record));
    Byte active = 0;
    const bool adopted = memory_.compare_exchange(number_, location::active(record), active, 1,
                                                  order_.adopt, Order::relaxed, choices_);
    if (describe_)
        note("active[" + std::to_string(record) + "].CAS(false -> true) " +
             (adopted ? "succeeds" : "fails"));
    if (adopted) {
        thread_.record = record;
        keep_to_own_record(plan_, state_, number_);
        return finish_operation();
    }
    thread_.next_record = state_.following_record[record];
    thread_.step = thread_.next_record == 0 ? 2 : 1;
}

// A push that loses against another one tries again with the head it found.
void Step::push_record() {
    if (thread_.step == 2) {
        thread_.record = state_.records++;
        memory_.store(number_, location::active(thread_.record), 1, Order::relaxed, choices_);
        touch(object::record(thread_.record), true, "the set-up of a record");
        thread_.token = load(location::head, "head", Order::relaxed);
        thread_.step = 3;
        return;
    }
    Byte head = thread_.token;
    state_.following_record[thread_.record] = head;
    touch(object::record(thread_.record), true, "the set-up of a record");
    const bool pushed = memory_.compare_exchange(number_, location::head, head,
                                                 static_cast<Byte>(thread_.record + 1),
                                                 order_.list_push, Order::relaxed, choices_);
    note("head.CAS(-> record " + std::to_string(thread_.record) + ") " +
         (pushed ? "succeeds" : "fails"));
    thread_.token = pushed ? 0 : head;
    if (!pushed) return;
    keep_to_own_record(plan_, state_, number_);
    finish_operation();
}

void Step::detach() {
    store(location::active(thread_.record), "active[" + std::to_string(thread_.record) + "]", 0,
          order_.abandon);
    finish_operation();
}

}  // namespace model
