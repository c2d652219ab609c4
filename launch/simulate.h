/* simulate.h - HTTP requests in flight, a bounded number; the only door to curl.
 *
 * For the simulated people (crowd.h), who must not wait for one another: one thread, `slots` requests at most, each
 * with the same deadline. Connections are kept and used again. It knows nothing of what is asked.
 */
#ifndef PENSTOCK_LAUNCH_SIMULATE_H
#define PENSTOCK_LAUNCH_SIMULATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"

#define SIMULATE_SLOTS_MAX 1024u
#define SIMULATE_BODY_MAX  ((size_t)8 << 20) /* of an answer; a larger one is no answer */

struct simulate; /* opaque */

struct simulate_answer {
    size_t slot;
    int status;        /* HTTP; 0: no whole answer came, `why` says what did */
    uint64_t took_us;  /* from simulate_send to the last byte */
    uint64_t retry_us; /* of a Retry-After; 0: none */
    const char *body;  /* terminated; borrowed until the slot's next send */
    size_t n;
    const char *why; /* borrowed likewise */
};

/* token: goes with each request as a bearer's; NULL: none. slots: 1 .. SIMULATE_SLOTS_MAX. */
MUST_CHECK enum status simulate_open(size_t slots, uint64_t deadline_us, const char *token,
                                     struct simulate **out, struct errbuf *err);
void simulate_close(struct simulate *s); /* drops what is in flight; NULL-safe */

/* The slot must be idle: not sent, or answered since. body NULL: none; all is copied. */
void simulate_send(struct simulate *s, size_t slot, const char *method, const char *url,
                   const char *body, size_t n);
/* One answer; false: none came within wait_us. */
bool simulate_next(struct simulate *s, uint64_t wait_us, struct simulate_answer *out);
size_t simulate_in_flight(const struct simulate *s);

#endif
