// What the kernel says of a piece of memory, /proc/self/smaps (proc_pid_smaps(5)).
#pragma once

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

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

// This text is somewhere in the memory that a forked child finds empty: the receivers' tokens and frames.
inline bool secret_memory_holds(std::string_view text) {
    std::ifstream maps("/proc/self/smaps");
    std::string_view mapping;
    for (std::string line; std::getline(maps, line);) {
        std::istringstream words(line);
        std::uintptr_t begin = 0;
        std::uintptr_t end = 0;
        char dash = 0;
        if (words >> std::hex >> begin >> dash >> end && dash == '-') {
            mapping = {reinterpret_cast<const char*>(begin), end - begin};
        } else if (line.starts_with("VmFlags:") && (line + ' ').find(" wf ") != line.npos &&
                   mapping.find(text) != mapping.npos) {
            return true;
        }
    }
    return false;
}

}  // namespace check
