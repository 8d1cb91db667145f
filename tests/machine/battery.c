/* The battery clock of the machine: eight hours pass between any two looks at it.
 *
 * Preloaded into user-mode-linux, which reads CLOCK_REALTIME of its host as its battery clock when
 * it boots, before it suspends and when it wakes, and at no other time. */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { eight_hours = 8 * 3600 };

int clock_gettime(clockid_t clock, struct timespec* now) {
    static long looks;
    const long result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) now->tv_sec += eight_hours * looks++;
    return (int)result;
}
