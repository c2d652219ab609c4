/* shop.h - a shop that never was: a log of impressions whose true probabilities (click, cart, buy) are known.
 *
 * A pure generator: shop_next gives one impression after the other in the order of time, a function of
 * (seed, users, items, events) alone. What it models is told in shop.c; README.md has the figures. shop_write
 * puts it into files as a user would have them:
 *
 *   DIR/train.csv valid.csv test.csv         80 / 10 / 10 % of the events, cut by global time
 *   DIR/truth.train.csv truth.valid.csv ...  line i: P(click), P(cart), P(buy) of line i
 */
#ifndef PENSTOCK_COMMON_DATA_SHOP_H
#define PENSTOCK_COMMON_DATA_SHOP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/data/dataset.h"

struct shop_config {
    uint64_t users;  /* 10 .. 1e8 */
    uint64_t items;  /* 50 .. 1e8 */
    uint64_t events; /* 1000 .. 1e12: impressions, lines of the log */
    uint64_t seed;
};

enum { SHOP_CLICK, SHOP_CART, SHOP_BUY, SHOP_KINDS };

struct shop_event {
    int64_t time;                 /* seconds since 1970 */
    uint64_t user, item, session; /* user and item as the log names them */
    uint32_t category, brand, hour, position, device, segment;
    double price;
    bool click, cart, buy;
    double truth
        [SHOP_KINDS]; /* P(click), P(cart), P(buy): what follows happens only after what is before */
};

struct shop; /* opaque */

/* ST_USAGE when a size is out of bounds. */
MUST_CHECK enum status shop_open(const struct shop_config *config, struct shop **out,
                                 struct errbuf *err);
void shop_close(struct shop *s);
void shop_next(struct shop *s, struct shop_event *out);

/* seen (or NULL): told of each event in order, so that the caller can judge the truth (data knows no
 * metrics). stop: polled. All files appear, or none changes: temporary names, fsync, rename. */
struct shop_written {
    uint64_t lines[PARTS], kinds[PARTS][SHOP_KINDS];
};
MUST_CHECK enum status
shop_write(const struct shop_config *config, const char *dir,
           void (*seen)(void *arg, enum part part, const struct shop_event *e), void *arg,
           const volatile int *stop, struct shop_written *out, struct errbuf *err);

#endif
