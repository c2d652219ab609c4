/* watch.h - look after a running cluster until it ends: progress, signals, deaths. */
#ifndef PENSTOCK_LAUNCH_WATCH_H
#define PENSTOCK_LAUNCH_WATCH_H

#include <signal.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/json.h"
#include "launch/follower.h"
#include "launch/prepare.h"
#include "launch/run.h"

struct watch_end {
    struct json *report; /* the head's last words; owned; NULL if it never spoke */
    int interrupted;     /* the signal that asked for the end, or 0 */
    bool live; /* data.follow: it ended live, as such runs do, with all segments in its last cut */
};

/* Block INT, TERM, HUP and SIGCHLD for good; they are then read by watch_signal. Call before any thread or
 * child is made. */
void watch_block_signals(void);
/* The next pending INT, TERM or HUP within wait_us, or 0. */
int watch_signal(uint64_t wait_us);

/* Who else wants to know: called with each report of the head, and the last one. */
struct watch_listener {
    void (*report)(void *self, const struct json *report, double samples_per_second);
    void *self; /* borrowed */
};

/* Until every child has ended. First INT or TERM: the head is told to stop (it makes a cut); the second:
 * everything is ended now. A child that dies ends the run: ST_INTERNAL with who and why. total: of the job's
 * epochs, for the bar. follower: NULL without data.follow. */
MUST_CHECK enum status watch_run(struct run *r, const struct prepare *dir, const struct job *job,
                                 struct follower *follower, const struct watch_listener *listener,
                                 struct watch_end *out, struct errbuf *err);

#endif
