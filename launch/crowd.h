/* crowd.h - the shop's people against serving nodes: arrivals, visits, retries, and what came of them.
 *
 * crowd_run plays until its end and fills a tally. One thread; at most in_flight requests at once, each with a
 * deadline; it ends by itself at visits_max or seconds, and gives up what is left DRAIN seconds later.
 */
#ifndef PENSTOCK_LAUNCH_CROWD_H
#define PENSTOCK_LAUNCH_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/data/shop_people.h"
#include "launch/tally.h"
#include "launch/visit.h"

#define CROWD_NODES_MAX 64u

struct crowd_conf {
    struct shop_config shop;
    struct shop_people_config people;
    struct visit_form form;
    const char *node[CROWD_NODES_MAX]; /* "http://HOST:PORT"; borrowed */
    size_t nodes;                      /* a user is always at the same one */
    const char *token;                 /* borrowed; NULL: none */
    uint64_t visits_max;               /* 0: as many as come in `seconds` */
    double seconds;                    /* 0: until visits_max; then arrivals end */
    size_t in_flight;                  /* 1 .. 1024 */
    uint64_t deadline_us;              /* of a request */
    uint64_t probe_every;              /* each so-manieth visit with a click asks again; 0: none */
    bool known;                        /* the nodes have the log's users and items already */
    bool quiet;                        /* no line of progress */
};

/* tally: of tally_init. stop: polled; at the first signal arrivals end. ST_TIMEOUT, ST_IO: a node never answered. */
MUST_CHECK enum status crowd_run(const struct crowd_conf *conf, const volatile int *stop,
                                 struct tally *tally, struct errbuf *err);

#endif
