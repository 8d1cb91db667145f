// The interface of tokenrelay.hpp as a C++20 module, for `import tokenrelay;`. A program compiles it
// itself, since a compiled module suits one compiler and its flags alone: docs/cpp.md says how.
module;
#include "tokenrelay/tokenrelay.hpp"
export module tokenrelay;

export namespace tokenrelay {
using tokenrelay::code;
using tokenrelay::Error;
using tokenrelay::Guard;
using tokenrelay::operator<<;
using tokenrelay::Options;
using tokenrelay::Reader;
using tokenrelay::Refusal;
using tokenrelay::Stats;
using tokenrelay::Subscription;
using tokenrelay::Token;
using tokenrelay::TokenReceiver;
}  // namespace tokenrelay
