// A weak memory: the C++20 orders without load buffering, and an asymmetric process-wide barrier.
//
// Each location keeps its writes in modification order. A thread's view says, for each location,
// the oldest write it may still read; a load picks any write from there on, a store any place after
// it. A release write carries its thread's view, an acquire read takes it over. So a store that
// lingers in a store buffer, two stores seen in the wrong order and a load done early are all the
// same thing here: someone reads an old write.
#pragma once

#include <array>
#include <cstdint>

#include "choices.hpp"

namespace model {

using Byte = std::uint8_t;

inline constexpr int kLocationLimit = 12;
inline constexpr int kMessageLimit = 16;
inline constexpr int kThreadLimit = 4;
inline constexpr int kObjectLimit = 12;

enum class Order : Byte { relaxed, acquire, release, acq_rel, seq_cst };

bool acquires(Order order);
bool releases(Order order);
const char* to_text(Order order);

struct View {
    std::array<Byte, 16> seen{};
    std::uint64_t known =
        0;  // plain accesses that happen before this view, see Memory::plain_write

    void join(const View& other);
};

struct Message {
    View view;
    Byte value = 0;
    Byte read_modify_write = 0;  // nothing may come between it and the write it replaced
    Byte label = 0;  // for properties only
    std::array<Byte, 5> unused{};
};

struct Hash {
    std::uint64_t low = 0;
    std::uint64_t high = 0;

    bool operator==(const Hash&) const = default;
    void add(const void* data, std::size_t size);  // size is a multiple of 8
};

class Memory {
public:
    void start(int threads);
    void finish(int thread);
    void leave(int thread, int location);  // promises that the thread will not touch it again
    void initialise(int location, Byte value, Byte label = 0);

    Byte load(int thread, int location, Order order, Choices& choices);
    void store(int thread, int location, Byte value, Order order, Choices& choices);
    Byte exchange(int thread, int location, Byte value, Order order, Choices& choices);
    bool compare_exchange(int thread, int location, Byte& expected, Byte desired, Order success,
                          Order failure, Choices& choices);

    // A compare_exchange repeated until it succeeds; only where it can.
    bool can_succeed(int thread, int location, Byte expected) const;
    void wait_and_replace(int thread, int location, Byte expected, Byte desired, Order order,
                          Choices& choices);

    // The two sides of the asymmetric barrier: of any heavy and any light one, the first to run
    // hands what its thread knew to the second. Two light ones order nothing.
    void light_barrier(int thread);
    void heavy_barrier(int thread);

    // Accesses to plain (non-atomic) data. -1, or the thread whose access is not ordered before
    // this one.
    int plain_read(int thread, int object);
    int plain_write(int thread, int object);

    Byte newest(int location) const { return messages_[location][count_[location] - 1].value; }
    bool is_newest(int thread, int location) const;

    // A label on the write that the thread last read or made, and that of the oldest one it may
    // still read.
    void label(int thread, int location, Byte label);
    Byte oldest_label(int thread, int location) const;

    // Forgets what nobody can observe any more, so that equal futures are equal states.
    void trim();
    void add_to(Hash& hash) const;

private:
    template <class Visit>
    void for_each_stored_view(Visit visit);
    template <class Visit>
    void for_each_view(Visit visit);
    int floor(int thread, int location, Order order) const;
    bool has_room_after(int location, int index) const;
    void read(int thread, int location, int index, Order order);
    void insert(int thread, int location, int index, const Message& message, Order order);
    Byte replace(int thread, int location, int index, Byte value, Order order);
    void forget_older_than(int location, int oldest);
    int oldest_in_use(int location) const;

    std::array<std::array<Message, kMessageLimit>, kLocationLimit> messages_{};
    std::array<View, kThreadLimit> current_{};
    std::array<View, kThreadLimit> at_light_barrier_{};
    View at_heavy_barriers_{};
    std::array<Byte, 16> count_{};
    std::array<Byte, 16> sequential_{};  // newest write that a seq_cst access wrote or read
    std::array<Byte, kObjectLimit> last_writer_{};
    std::array<Byte, kLocationLimit> users_{};  // threads, one bit each
    std::array<Byte, kThreadLimit> running_{};
};

}  // namespace model
