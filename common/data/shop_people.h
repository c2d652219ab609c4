/* shop_people.h - the shop's people after its log has ended: who comes when, is offered what, and clicks.
 *
 * The log (shop.h) is history; this is the day after. Time goes on where the log stopped: tastes turn on, a new
 * user is one of `users` / 4 more a month, a new item one of 15 % more. A visit is a function of (shop, seed,
 * rate, speed, candidates, its number): two runs ask the same in the same order, whatever was answered. What a
 * person clicks is a function of the visit, the item and the position at which it was shown.
 *
 * Probabilities are those of the log, so its truth is theirs. Pure: no clock, no files but truth.json.
 */
#ifndef PENSTOCK_COMMON_DATA_SHOP_PEOPLE_H
#define PENSTOCK_COMMON_DATA_SHOP_PEOPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/data/shop.h"
#include "common/data/shop_world.h"

#define SHOP_CANDIDATES_MAX 1000u

struct shop_people_config {
    uint64_t seed;
    double rate;       /* visits a second, > 0; arrivals are Poisson's */
    double speed;      /* seconds in the shop for one of ours, > 0 */
    size_t candidates; /* 10 .. 1000, at most half of the shop's items */
};

struct shop_visit {
    uint64_t number; /* from 0 */
    uint64_t key;    /* of its draws */
    double at;       /* our seconds from the first moment to this arrival */
    int64_t time;    /* the shop's, since 1970 */
    double part;     /* of the log's span; > 1 */
    size_t user;
    uint32_t device, hour;
    float taste[SHOP_DIMS];
    size_t *candidate; /* (candidates) items, no two the same; the caller's memory */
};

struct shop_choice { /* of a person before an item at a position */
    double liking;   /* P(click | looked at) */
    bool likes;      /* would click, if looked at */
    bool click, cart, buy;
};

struct shop_people; /* opaque */

/* The sizes and the seed of the shop in dir, from its truth.json. ST_BAD_DATA: no shop there. */
MUST_CHECK enum status shop_people_read(const char *dir, struct shop_config *out,
                                        struct errbuf *err);
/* ST_USAGE: sizes, rate or candidates out of bounds. */
MUST_CHECK enum status shop_people_open(const struct shop_config *shop,
                                        const struct shop_people_config *config,
                                        struct shop_people **out, struct errbuf *err);
void shop_people_close(struct shop_people *p); /* NULL-safe */

/* The next arrival. The world grows by who and what has come until then. */
void shop_people_next(struct shop_people *p, struct shop_visit *v);
/* People and things of now; borrowed, until shop_people_close; its arrays move in shop_people_next. */
const struct shop_world *shop_people_world(const struct shop_people *p);
/* The item that is called so; false: there is none yet. */
bool shop_people_find(const struct shop_people *p, uint64_t name, size_t *out_item);

struct shop_choice shop_people_choose(const struct shop_people *p, const struct shop_visit *v,
                                      size_t item, size_t position);
/* Expected clicks on the first `shown` positions when n items (NULL: all there are) stand in the best order, and
 * in a random one. */
void shop_people_orders(const struct shop_people *p, const struct shop_visit *v, const size_t *item,
                        size_t n, size_t shown, double *out_best, double *out_random);

#endif
