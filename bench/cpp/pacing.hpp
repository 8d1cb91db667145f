// The sender's side of a block: stamp, send, wait until the receiver is done, keep the gap.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <iostream>
#include <string>

#include "frame.hpp"
#include "ledger.hpp"

namespace bench {

/// The receiver's byte on the acknowledgement pipe (rows whose transport has no way back).
inline void await_acknowledgement(int descriptor) {
    char byte = 0;
    if (::read(descriptor, &byte, 1) != 1) fail("the receiver closed its acknowledgement pipe");
}

/// Obeys "block COUNT GAP_NS" lines from the conductor; `send(frame)` begins the send at once,
/// `finish()` returns when the receiver has the token and is ready for the next.
template <class Send, class Finish>
void serve_blocks(Ledger& ledger, Send send, Finish finish) {
    Frame frame;
    say("ready");
    std::string word;
    std::int64_t count = 0, gap = 0;
    while (std::cin >> word >> count >> gap) {
        for (std::int64_t i = 0; i < count && i < ledger_capacity; ++i) {
            frame.restamp();
            Record& record = ledger.records[i];
            record.received = 0;
            record.entered.store(0, std::memory_order_relaxed);
            record.seen_after.store(0, std::memory_order_relaxed);
            ledger.index.store(i, std::memory_order_release);
            if (gap > 0) sleep_ns(gap);
            record.sent = now_ns();
            send(frame);
            finish();
        }
        say("done");
    }
}

}  // namespace bench
