// A market-data thread that asks for quotes as fast as it can, each request with the newest token.
// The request is simulated: what is timed is what the token costs on its way.
#pragma once

#include <atomic>
#include <cstdint>
#include <tokenrelay/tokenrelay.hpp>

// What one loop has done.
struct Tally {
    std::uint64_t reads = 0;
    std::uint64_t tokens = 0;  // changes of the token seen
    std::uint64_t stale = 0;   // reads with a token past its expiry
    double seconds = 0;
};

// Until `stop`, reads through a Reader: what the engine does.
Tally request_quotes(const tokenrelay::TokenReceiver& receiver, const std::atomic<bool>& stop);

// The same loop with guards of TokenReceiver::current().
Tally request_quotes_with_guards(const tokenrelay::TokenReceiver& receiver,
                                 const std::atomic<bool>& stop);

// The same loop around a plain atomic pointer to a token that never changes: the floor.
Tally request_quotes_with_one_token(const tokenrelay::Token& token, const std::atomic<bool>& stop);
