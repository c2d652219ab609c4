/* clock.c - time, in microseconds.
 *
 * Three clocks, because they answer three questions: how long since (monotonic, never jumps), what date
 * (wall, for logs and reports only), how much work (CPU of this thread, for the benchmark's honesty on
 * shared machines). Deadlines are always made of the monotonic one.
 */
#include "common/base/clock.h"

#include <errno.h>
#include <time.h>

static uint64_t now_us(clockid_t which)
{
    struct timespec t;
    if (clock_gettime(which, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t clock_now_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

uint64_t clock_wall_us(void)
{
    return now_us(CLOCK_REALTIME);
}

uint64_t clock_cpu_us(void)
{
    return now_us(CLOCK_THREAD_CPUTIME_ID);
}

void clock_sleep_us(uint64_t us)
{
    struct timespec until;
    if (clock_gettime(CLOCK_MONOTONIC, &until) != 0)
        return;
    until.tv_sec += (time_t)(us / 1000000u);
    until.tv_nsec += (long)(us % 1000000u) * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    /* An absolute end: a storm of signals may interrupt the sleep, not lengthen it. */
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
}
