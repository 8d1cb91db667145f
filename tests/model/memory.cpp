#include "memory.hpp"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace model {
namespace {

constexpr int kBitsPerObject = 1 + kThreadLimit;

std::uint64_t write_bit(int object) { return std::uint64_t{1} << (object * kBitsPerObject); }

std::uint64_t read_bit(int object, int thread) {
    return std::uint64_t{1} << (object * kBitsPerObject + 1 + thread);
}

std::uint64_t mix(std::uint64_t left, std::uint64_t right) {
    __extension__ using Wide = unsigned __int128;
    const Wide product = Wide{left} * right;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace

bool acquires(Order order) {
    return order == Order::acquire || order == Order::acq_rel || order == Order::seq_cst;
}

bool releases(Order order) {
    return order == Order::release || order == Order::acq_rel || order == Order::seq_cst;
}

const char* to_text(Order order) {
    constexpr std::array names{"relaxed", "acquire", "release", "acq_rel", "seq_cst"};
    return names[static_cast<std::size_t>(order)];
}

void View::join(const View& other) {
    for (std::size_t i = 0; i < seen.size(); ++i) seen[i] = std::max(seen[i], other.seen[i]);
    known |= other.known;
}

void Hash::add(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const Byte*>(data);
    for (std::size_t i = 0; i < size; i += 8) {
        std::uint64_t word;
        std::memcpy(&word, bytes + i, 8);
        low = mix(low ^ word ^ 0x9e3779b97f4a7c15u, 0xd1342543de82ef95u);
        high = std::rotl((high ^ word) * 0xb564ef22ec7aece5u, 29);  // its own way, to run beside it
    }
}

void Memory::start(int threads) {
    count_.fill(1);
    for (int thread = 0; thread < threads; ++thread) {
        running_[thread] = 1;
        current_[thread].known = ~std::uint64_t{0};
    }
    users_.fill(static_cast<Byte>((1 << threads) - 1));
}

void Memory::initialise(int location, Byte value, Byte label) {
    messages_[location][0].value = value;
    messages_[location][0].label = label;
}

void Memory::finish(int thread) {
    running_[thread] = 0;
    current_[thread] = View{};
    for (int location = 0; location < kLocationLimit; ++location) leave(thread, location);
}

void Memory::leave(int thread, int location) {
    users_[location] &= static_cast<Byte>(~(1 << thread));
}

void Memory::label(int thread, int location, Byte label) {
    messages_[location][current_[thread].seen[location]].label = label;
}

Byte Memory::oldest_label(int thread, int location) const {
    return messages_[location][current_[thread].seen[location]].label;
}

template <class Visit>
void Memory::for_each_stored_view(Visit visit) {
    for (int location = 0; location < kLocationLimit; ++location)
        for (int i = 0; i < count_[location]; ++i) visit(messages_[location][i].view);
    for (View& view : at_light_barrier_) visit(view);
    visit(at_heavy_barriers_);
}

template <class Visit>
void Memory::for_each_view(Visit visit) {
    for_each_stored_view(visit);
    for (View& view : current_) visit(view);
}

// The oldest write the thread may read. A seq_cst access also respects the total order of these
// accesses.
int Memory::floor(int thread, int location, Order order) const {
    const int own = current_[thread].seen[location];
    return order == Order::seq_cst ? std::max<int>(own, sequential_[location]) : own;
}

bool Memory::has_room_after(int location, int index) const {
    return index + 1 == count_[location] || !messages_[location][index + 1].read_modify_write;
}

bool Memory::is_newest(int thread, int location) const {
    return current_[thread].seen[location] + 1 == count_[location];
}

void Memory::read(int thread, int location, int index, Order order) {
    View& view = current_[thread];
    view.seen[location] = std::max(view.seen[location], static_cast<Byte>(index));
    if (acquires(order)) view.join(messages_[location][index].view);
    if (order == Order::seq_cst)
        sequential_[location] = std::max(sequential_[location], static_cast<Byte>(index));
}

void Memory::insert(int thread, int location, int index, const Message& message, Order order) {
    if (count_[location] == kMessageLimit) {
        std::fprintf(stderr, "cell_model: raise kMessageLimit\n");
        std::abort();
    }
    auto& list = messages_[location];
    std::copy_backward(list.begin() + index, list.begin() + count_[location],
                       list.begin() + count_[location] + 1);
    ++count_[location];
    for_each_view([&](View& view) { view.seen[location] += view.seen[location] >= index; });
    sequential_[location] += sequential_[location] >= index;
    list[index] = message;
    current_[thread].seen[location] = static_cast<Byte>(index);
    if (releases(order)) list[index].view.join(current_[thread]);
    if (order == Order::seq_cst) sequential_[location] = static_cast<Byte>(index);
}

Byte Memory::load(int thread, int location, Order order, Choices& choices) {
    const int oldest = floor(thread, location, order);
    const int index = count_[location] - 1 - choices.pick(count_[location] - oldest);
    read(thread, location, index, order);
    return messages_[location][index].value;
}

void Memory::store(int thread, int location, Byte value, Order order, Choices& choices) {
    std::array<int, kMessageLimit> places{};
    int found = 0;
    for (int i = count_[location] - 1; i >= floor(thread, location, order); --i)
        if (has_room_after(location, i)) places[found++] = i + 1;
    Message message;
    message.value = value;
    insert(thread, location, places[choices.pick(found)], message, order);
}

// A read-modify-write continues the release sequence of the write it replaces.
Byte Memory::replace(int thread, int location, int index, Byte value, Order order) {
    const Byte previous = messages_[location][index].value;
    read(thread, location, index, order);
    Message message;
    message.view = messages_[location][index].view;
    message.value = value;
    message.read_modify_write = 1;
    insert(thread, location, index + 1, message, order);
    return previous;
}

Byte Memory::exchange(int thread, int location, Byte value, Order order, Choices& choices) {
    std::array<int, kMessageLimit> places{};
    int found = 0;
    for (int i = count_[location] - 1; i >= floor(thread, location, order); --i)
        if (has_room_after(location, i)) places[found++] = i;
    return replace(thread, location, places[choices.pick(found)], value, order);
}

bool Memory::compare_exchange(int thread, int location, Byte& expected, Byte desired, Order success,
                              Order failure, Choices& choices) {
    std::array<int, kMessageLimit> places{};
    int found = 0;
    for (int i = count_[location] - 1; i >= 0; --i) {
        const bool equal = messages_[location][i].value == expected;
        if (i >= floor(thread, location, equal ? success : failure) &&
            (!equal || has_room_after(location, i)))
            places[found++] = i;
    }
    const int index = places[choices.pick(found)];
    if (messages_[location][index].value == expected) {
        replace(thread, location, index, desired, success);
        return true;
    }
    read(thread, location, index, failure);
    expected = messages_[location][index].value;
    return false;
}

bool Memory::can_succeed(int thread, int location, Byte expected) const {
    for (int i = current_[thread].seen[location]; i < count_[location]; ++i)
        if (messages_[location][i].value == expected && has_room_after(location, i)) return true;
    return false;
}

void Memory::wait_and_replace(int thread, int location, Byte expected, Byte desired, Order order,
                              Choices& choices) {
    std::array<int, kMessageLimit> places{};
    int found = 0;
    for (int i = count_[location] - 1; i >= floor(thread, location, order); --i)
        if (messages_[location][i].value == expected && has_room_after(location, i))
            places[found++] = i;
    replace(thread, location, places[choices.pick(found)], desired, order);
}

void Memory::light_barrier(int thread) {
    current_[thread].join(at_heavy_barriers_);
    at_light_barrier_[thread] = current_[thread];
}

void Memory::heavy_barrier(int thread) {
    for (const View& view : at_light_barrier_) current_[thread].join(view);
    current_[thread].join(at_heavy_barriers_);
    at_heavy_barriers_ = current_[thread];
}

// A view knows an object's last write, and each thread's last read since, by one bit each. A new
// access clears its bit in every view but its own thread's; whoever meets a cleared bit races with
// that access.
int Memory::plain_read(int thread, int object) {
    if (!(current_[thread].known & write_bit(object))) return last_writer_[object];
    for_each_view([&](View& view) { view.known &= ~read_bit(object, thread); });
    current_[thread].known |= read_bit(object, thread);
    return -1;
}

int Memory::plain_write(int thread, int object) {
    std::uint64_t all_reads = 0;
    if (!(current_[thread].known & write_bit(object))) return last_writer_[object];
    for (int other = 0; other < kThreadLimit; ++other) {
        if (!(current_[thread].known & read_bit(object, other))) return other;
        all_reads |= read_bit(object, other);
    }
    for_each_view([&](View& view) { view.known = (view.known | all_reads) & ~write_bit(object); });
    current_[thread].known |= write_bit(object);
    last_writer_[object] = static_cast<Byte>(thread);
    return -1;
}

void Memory::forget_older_than(int location, int oldest) {
    auto& list = messages_[location];
    std::copy(list.begin() + oldest, list.begin() + count_[location], list.begin());
    count_[location] = static_cast<Byte>(count_[location] - oldest);
    list[0].read_modify_write = 0;
    const auto lower = [oldest](Byte& index) {
        index = static_cast<Byte>(std::max(index - oldest, 0));
    };
    for_each_view([&](View& view) { lower(view.seen[location]); });
    lower(sequential_[location]);
}

int Memory::oldest_in_use(int location) const {
    int oldest = count_[location] - 1;
    for (int thread = 0; thread < kThreadLimit; ++thread)
        if (users_[location] & (1 << thread))
            oldest = std::min<int>(oldest, current_[thread].seen[location]);
    return oldest;
}

void Memory::trim() {
    std::uint64_t known_to_all = ~std::uint64_t{0};
    for (int thread = 0; thread < kThreadLimit; ++thread) {
        if (running_[thread])
            known_to_all &= current_[thread].known;
        else
            current_[thread] = View{};
    }
    for (int location = 0; location < kLocationLimit; ++location)
        if (const int oldest = oldest_in_use(location); oldest > 0)
            forget_older_than(location, oldest);
    for_each_stored_view([&](View& view) { view.known &= ~known_to_all; });
}

void Memory::add_to(Hash& hash) const {
    hash.add(&count_, sizeof count_);
    hash.add(sequential_.data(), sequential_.size());
    hash.add(current_.data(), sizeof current_);
    hash.add(at_light_barrier_.data(), sizeof at_light_barrier_);
    hash.add(&at_heavy_barriers_, sizeof at_heavy_barriers_);
    for (int location = 0; location < kLocationLimit; ++location)
        hash.add(messages_[location].data(), count_[location] * sizeof(Message));
}

}  // namespace model
