/* listen_clock.h - the time a loop tells its core: it runs only while the loop could listen.
 *
 * A core takes a peer for dead when it hears nothing for so long. If the loop itself was held up meanwhile
 * (a slow fsync, no CPU, SIGSTOP), what the peers said waits unread in the socket, and real time would
 * condemn them all. So between two looks at this clock at most `leap_us` pass; the rest never happened.
 * The first turn after a hold-up reads the messages, and all is well.
 */
#ifndef PENSTOCK_COMMON_NET_LISTEN_CLOCK_H
#define PENSTOCK_COMMON_NET_LISTEN_CLOCK_H

#include <stdint.h>

struct listen_clock {
    uint64_t leap_us;
    uint64_t last_us;    /* real time of the last look */
    uint64_t skipped_us; /* real time that never happened */
};

/* beat_us: the longest that the loop means to wait. */
void listen_clock_init(struct listen_clock *c, uint64_t beat_us);
uint64_t listen_clock_now(struct listen_clock *c);

#endif
