/* listen_clock.c - see listen_clock.h. */
#include "common/net/listen_clock.h"

#include "common/base/clock.h"

enum { SLACK_US = 300000 }; /* what a loaded host takes away every now and then */

void listen_clock_init(struct listen_clock *c, uint64_t beat_us)
{
    *c = (struct listen_clock){.leap_us = beat_us + SLACK_US, .last_us = clock_now_us()};
}

uint64_t listen_clock_now(struct listen_clock *c)
{
    uint64_t now_us = clock_now_us(), gap_us = now_us - c->last_us;
    if (gap_us > c->leap_us)
        c->skipped_us += gap_us - c->leap_us;
    c->last_us = now_us;
    return now_us - c->skipped_us;
}
