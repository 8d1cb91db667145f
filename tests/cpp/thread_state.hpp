// What a thread of this process is at: proc_pid_stat(5).
#pragma once

#include <sys/types.h>

#include <fstream>
#include <string>

namespace check {

// Its state's letter; '-' if it is gone.
inline char thread_state(pid_t thread) {
    std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
    std::string line;
    std::getline(file, line);
    const auto name_end = line.rfind(") ");
    return name_end == line.npos ? '-' : line[name_end + 2];
}

// It sleeps in the kernel until something wakes it: at a lock, say, that another thread holds.
inline bool is_asleep(pid_t thread) { return thread_state(thread) == 'S'; }

// It has ended; a process's first thread is listed on as long as there are others.
inline bool is_over(pid_t thread) {
    const char state = thread_state(thread);
    return state == '-' || state == 'Z';
}

}  // namespace check
