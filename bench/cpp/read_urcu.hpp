// liburcu, memb flavour, inlined (_LGPL_SOURCE), as a program that cares for speed would use it.
#pragma once

#define _LGPL_SOURCE
#include <urcu/urcu-memb.h>

#include <atomic>
#include <string>
#include <string_view>

namespace bench {

class UrcuMemb {
public:
    static constexpr const char* name = "liburcu memb";
    struct ThreadState {
        explicit ThreadState(const UrcuMemb&) { urcu_memb_register_thread(); }
        ~ThreadState() { urcu_memb_unregister_thread(); }
        ThreadState(const ThreadState&) = delete;
        ThreadState& operator=(const ThreadState&) = delete;
    };

    void write(std::string_view token) {
        const auto* old = current_.exchange(new std::string(token), std::memory_order_acq_rel);
        urcu_memb_synchronize_rcu();
        delete old;
    }
    char read(ThreadState&) const noexcept {
        urcu_memb_read_lock();
        const char first = (*current_.load(std::memory_order_acquire))[0];
        urcu_memb_read_unlock();
        return first;
    }

private:
    std::atomic<const std::string*> current_{nullptr};
};

}  // namespace bench
