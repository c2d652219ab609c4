/* launch_node.h - a serving node for tests: the few routes that simulated people ask, a made-up model, and faults on
 * demand. It follows ps/serve/service.h in words and codes, is no model of its speed, and checks what it is asked.
 *
 * A thread takes connections, one more serves each. Assertions are the test's: what is wrong in a request is left in
 * node_problem.
 */
#ifndef TESTS_SUPPORT_LAUNCH_NODE_H
#define TESTS_SUPPORT_LAUNCH_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node_ways {          /* "every n": each n-th request of its kind; 0: never */
    unsigned busy_every;    /* rank, events: 429, Retry-After: 0 */
    unsigned down_every;    /* rank, events: 503 */
    unsigned cut_every;     /* rank: the connection ends within the answer */
    unsigned mute_every;    /* events: taken in, then the connection ends without an answer */
    unsigned torn_every;    /* rank: half of the JSON, as if it were whole */
    unsigned none_every;    /* rank: no snapshot_version */
    unsigned two_every;     /* rank: an item of another version */
    unsigned foreign_every; /* rank: an item that was not asked for */
    unsigned new_every;     /* rank: from now on the next version */
    unsigned stall_at;      /* this rank, from 1, keeps all waiting for stall_ms */
    unsigned stall_ms;
    bool refuses;      /* rank: 400 with a text */
    bool listens;      /* an event changes its user's ranking */
    unsigned variants; /* so many, by user */
    const char *token; /* asked for; NULL: none */
    /* Score of an item; NULL: a hash. Names as on the wire. */
    double (*score)(void *arg, uint64_t user, uint64_t item, uint64_t hour, const char *device);
    void *arg;
};

struct node_counts {
    uint64_t ranks;                           /* asked, faults included */
    uint64_t sound, torn, none, two, foreign; /* answered so */
    uint64_t unlogged;                        /* rankings that nobody looks at */
    uint64_t items, users;                    /* distinct profiles */
    uint64_t events, doubles;                 /* distinct ids; ids that were there */
    uint64_t in_flight_max;
    uint64_t asked; /* a hash of the rankings asked for, in their order */
};

struct node; /* opaque */

struct node *node_start(const struct node_ways *ways);
void node_stop(struct node *n);
const char *node_url(const struct node *n);
struct node_counts node_counts(struct node *n);
/* Times (us, from the first) of the rankings, at most max; their number. */
size_t node_times(struct node *n, uint64_t *out, size_t max);
bool node_has_user(struct node *n, uint64_t name);
/* The first thing that was wrong in a request; "": nothing. Valid until node_stop. */
const char *node_problem(struct node *n);

#endif
