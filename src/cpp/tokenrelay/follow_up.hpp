// FollowUp: work after a publication that may block, such as calls into Python.
#pragma once

namespace tokenrelay {

// Run by the listener's threads without its lock.
class FollowUp {
public:
    virtual ~FollowUp() = default;
    virtual void run() noexcept = 0;
    // The calling thread ends.
    virtual void leave() noexcept = 0;
};

}  // namespace tokenrelay
