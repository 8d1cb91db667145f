// What the kernel says of a piece of memory, /proc/self/smaps (proc_pid_smaps(5)).
#pragma once

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

namespace check {

// The mapping that holds `address` has this flag: "lo", say, for locked.
inline bool has_flag(const void* address, const std::string& flag) {
    const auto wanted = reinterpret_cast<std::uintptr_t>(address);
    std::ifstream maps("/proc/self/smaps");
    bool found = false;
    for (std::string line; std::getline(maps, line);) {
        std::istringstream text(line);
        std::uintptr_t begin = 0;
        std::uintptr_t end = 0;
        char dash = 0;
        if (text >> std::hex >> begin >> dash >> end && dash == '-') {
            found = begin <= wanted && wanted < end;
        } else if (found && line.starts_with("VmFlags:")) {
            return (line + ' ').find(' ' + flag + ' ') != line.npos;
        }
    }
    return false;
}

}  // namespace check
