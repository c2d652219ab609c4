/* tally.h - what simulated visits have shown of a node: counts, clocks, clicks against the truth. Pure.
 *
 * crowd.c fills it; here it is turned into quantiles, a table and JSON.
 */
#ifndef PENSTOCK_LAUNCH_TALLY_H
#define PENSTOCK_LAUNCH_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/json.h"
#include "common/data/shop_people.h"
#include "common/metrics/auc.h"
#include "launch/visit.h"

#define TALLY_VARIANTS 32u
#define TALLY_CODES    600u
#define TALLY_SAMPLE                                                                               \
    65536u /* of a clock; beyond, each reading has the same chance to be among them */

struct tally_clock {  /* durations in us; quantiles exact up to TALLY_SAMPLE readings */
    uint32_t *sample; /* owned */
    uint64_t n;
    uint64_t max;
};

struct tally_variant {
    char name[64];
    uint64_t answers, shown, clicks;
};

struct tally {
    uint64_t visits, visits_done,
        visits_lost;                      /* lost: given up after the last try of the ranking */
    uint64_t code[TALLY_CODES];           /* answers by HTTP code; [0]: none came */
    uint64_t retries, backed_off;         /* backed_off: after a 429 or 503 */
    uint64_t fault[VISIT_FAULTS];         /* rankings; [VISIT_SOUND]: good ones */
    uint64_t versions_low, versions_high; /* 0: none seen */
    uint64_t events_sent, events_accepted, events_duplicate, events_lost;
    uint64_t events_wrong; /* answers to POST /v1/events whose sum isn't what was sent */
    uint64_t profiles, profiles_lost;
    uint64_t shown, clicks, carts, buys;
    double expected, best, random; /* clicks, of the order served, the best one, the mean of all */
    struct auc served,
        truth; /* of who would click if they looked: by the node's score, by the truth */
    struct tally_clock rank_us, events_us;
    struct tally_clock ranking_us; /* an event handed in -> another ranking */
    uint64_t ranking_same,
        ranking_unclear;        /* none within the deadline; another version came between */
    struct tally_clock item_us; /* a new item acknowledged -> on somebody's page */
    uint64_t items_new, items_served;
    struct tally_variant variant[TALLY_VARIANTS];
    size_t variants;
    uint64_t variants_beyond; /* answers of a variant for which there was no room */
    uint64_t slipped_us;      /* by which arrivals were put off, all together */
    uint64_t took_us;         /* from the first arrival to the last answer */
    struct errbuf error;      /* the last thing that went wrong; "": nothing */
};

void tally_init(struct tally *t);
void tally_release(struct tally *t);
void tally_clock_add(struct tally_clock *c, uint64_t us);
/* The q-th of the readings, 0 < q <= 1; 0 when there is none. Sorts: now and then, not for each request. */
uint64_t tally_clock_quantile(const struct tally_clock *c, double q);
/* A good ranking: its version, its variant, and what the person does with it. */
void tally_answer(struct tally *t, const struct shop_people *p, const struct visit_form *f,
                  const struct shop_visit *v, const struct visit_answer *a);

/* What must never be: wrong rankings, lost profiles, lost or wrongly counted events, 5xx but 503. */
uint64_t tally_wrong(const struct tally *t);
struct json *tally_json(const struct tally *t);
void tally_text(const struct tally *t, struct buffer *out);

#endif
