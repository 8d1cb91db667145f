// tokenrelay: a running program always holds a valid OAuth access token, without a restart, without
// a lock and without ever seeing the refresh token.
//
//   #include <tokenrelay/tokenrelay.hpp>
//
//   tokenrelay::TokenReceiver receiver{{.account = "schwab"}};
//   auto subscription = receiver.subscribe([](const tokenrelay::Token& token) noexcept { … });
//   if (auto error = receiver.start()) { /* error.message() names the cause and the cure */ }
//   if (auto token = receiver.wait(std::chrono::seconds(10))) { … }      // the first one
//   if (auto token = receiver.current()) send(token->authorization());   // for each request
//
// A sender process (the command `tokenrelay run`) refreshes the token and pushes it over a Unix
// socket; a thread of the receiver checks it, publishes it and calls back.
//
// What it costs. current() is wait-free, about half a nanosecond, and never slower while a token is
// replaced. A guard keeps its token's memory in use: hold it for the length of a request, and let go of
// it before its receiver ends; copy the Token to keep it longer or to hand it to another thread. A
// callback runs on a thread of the receiver's before the sender is answered, one at a time, so it
// should take microseconds.
// When not. For a token on another host; for a secret that must not be in this process at all.
// Threads. Every member function may be called from any thread; guards stay on theirs.
// Fork. The child has no token and none of the parent's descriptors; start() makes it a receiver of
// its own. Exec closes everything.
// Memory. Frames and tokens are kept out of core dumps, locked where RLIMIT_MEMLOCK allows, and
// wiped when replaced, or soon after the last guard goes. Copies of Token wipe themselves.
#pragma once

#if __cplusplus < 202002L
#error "tokenrelay needs C++20 or newer: compile with -std=c++20"
#endif

#include "tokenrelay/error.hpp"
#include "tokenrelay/receiver.hpp"
#include "tokenrelay/stats.hpp"
#include "tokenrelay/token.hpp"
