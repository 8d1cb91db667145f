// Socket activation: a listening socket that the service manager made before it started this
// process, sd_listen_fds(3). So a program can be started by its first token.
#pragma once

#include <string>

#include "tokenrelay/fd.hpp"

namespace tokenrelay {

// A duplicate, with the flags of our own sockets, of the inherited Unix stream socket that listens
// at `path`; empty where there is none. Variables and descriptors are left as they are, so that a
// receiver can start again, and other code finds what is its own. A forked child inherits nothing:
// $LISTEN_PID names its parent. Lock-free; a few system calls.
UniqueFd inherited_socket(const std::string& path) noexcept;

}  // namespace tokenrelay
