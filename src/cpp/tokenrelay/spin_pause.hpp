// spin_pause(): what a loop that spins tells the processor, so that the other thread of its core runs.
#pragma once

namespace tokenrelay {

inline void spin_pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace tokenrelay
