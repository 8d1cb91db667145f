// Where sockets are (XDG Base Directory Specification). The Python side resolves alike; both are
// tested by tests/vectors/paths.json.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>

#include "tokenrelay/error.hpp"

namespace tokenrelay {

// All that the resolver looks at.
struct Environment {
    std::function<std::string(const char*)> variable;  // "" where unset
    std::function<bool(const std::string&)> directory_exists;
    uid_t uid;

    static Environment current();
};

// Where a receiver named by account binds: its directory for `account` is below.
std::string runtime_directory(const Environment& environment);

// [a-z0-9][a-z0-9_-]{0,31}
bool is_account_name(std::string_view name) noexcept;

// At most 16 of [a-z0-9_-]: how a program's name stands in its socket's.
std::string program_label(std::string_view program);

// `path` as a directory of ours with mode 0700, made with its parents where missing; anything else
// in its place is an error.
Error ensure_private_directory(const std::string& path);

}  // namespace tokenrelay
