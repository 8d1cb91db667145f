// One step of one thread: the shared part; reader_step.cpp and writer_step.cpp hold the two sides.
#pragma once

#include <string>

#include "cell.hpp"
#include "layout.hpp"

namespace model {

std::string name_of(Byte value);
std::string record_name(Byte number_from_one);
std::string slot_name(int record, int slot);

class Step {
public:
    Step(const Plan& plan, State& state, int thread, Choices& choices, bool describe)
        : plan_{plan},
          algorithm_{plan.algorithm},
          order_{plan.algorithm.order},
          state_{state},
          memory_{state.memory},
          thread_{state.threads[thread]},
          number_{thread},
          choices_{choices},
          describe_{describe} {}

    Outcome run();

private:
    const Operation& operation() const {
        return plan_.scenario.programs[number_].operations[thread_.operation];
    }

    void attach();
    void walk_records();
    void push_record();
    void read();
    void read_with_help();
    void release();
    void detach();
    void lead();
    void hand_over();
    void publish();
    void fill();
    void reclaim();
    void scan_slot();
    void give_help();
    void protect(Byte value);
    void end_scan();
    void free_unprotected();

    void finish_operation();
    void guard(Byte token);
    void check_guarded(int slot);
    void wipe(int token);

    void note(const std::string& text);
    void fail(const std::string& text);
    void touch(int object, bool write, const std::string& what);
    Byte load(int location, const std::string& name, Order order);
    void store(int location, const std::string& name, Byte value, Order order);
    void light_barrier();
    void heavy_barrier();
    bool starts_scan_with_barrier() const;

    const Plan& plan_;
    const Algorithm& algorithm_;
    const Orders& order_;
    State& state_;
    Memory& memory_;
    Thread& thread_;
    int number_;
    Choices& choices_;
    bool describe_;
    Outcome outcome_;
};

}  // namespace model
