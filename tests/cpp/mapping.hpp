// What the kernel says of a piece of memory, /proc/self/smaps (proc_pid_smaps(5)).
#pragma once

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

namespace check {

// There is a mapping with this flag, "lo", say, for locked, for whose bytes `test` is true.
template <class Test>
bool any_mapping(const std::string& flag, Test test) {
    std::ifstream maps("/proc/self/smaps");
    std::string_view mapping;
    for (std::string line; std::getline(maps, line);) {
        std::istringstream words(line);
        std::uintptr_t begin = 0;
        std::uintptr_t end = 0;
        char dash = 0;
        if (words >> std::hex >> begin >> dash >> end && dash == '-') {
            mapping = {reinterpret_cast<const char*>(begin), end - begin};
        } else if (line.starts_with("VmFlags:") &&
                   (line + ' ').find(' ' + flag + ' ') != line.npos && test(mapping)) {
            return true;
        }
    }
    return false;
}

// The mapping that holds `address` has this flag.
inline bool has_flag(const void* address, const std::string& flag) {
    const auto* const wanted = static_cast<const char*>(address);
    return any_mapping(flag, [wanted](std::string_view mapping) {
        return mapping.data() <= wanted && wanted < mapping.data() + mapping.size();
    });
}

// This text is somewhere in the memory that a forked child finds empty: the receivers' tokens and frames.
inline bool secret_memory_holds(std::string_view text) {
    return any_mapping(
        "wf", [text](std::string_view mapping) { return mapping.find(text) != mapping.npos; });
}

}  // namespace check
