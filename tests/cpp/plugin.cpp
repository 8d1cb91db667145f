// A plugin as a trading platform opens it: a library of its own with much thread-local memory, and the
// receiver within.
#include <string>

#include "tokenrelay/tokenrelay.hpp"

namespace {

thread_local char scratch[65'536];

}  // namespace

// 0 if the token that `deliver` sends to a receiver at `path` can be read.
extern "C" [[gnu::visibility("default")]] int run_receiver(const char* path,
                                                           bool (*deliver)(const char* path)) {
    scratch[0] = path[0];
    tokenrelay::TokenReceiver receiver{{.path = path}};
    if (receiver.current()) return 1;
    if (receiver.start() || !deliver(path)) return 2;
    const auto token = receiver.current();
    if (!token || token->access_token() != "t1") return 3;
    return scratch[0] == path[0] ? 0 : 4;
}
