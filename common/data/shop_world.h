/* shop_world.h - who lives in the generated shop and what is for sale: people, items, and what they think of each
 * other. The log (shop.c) and the people who visit a serving node (shop_people.c) stand on the same world.
 *
 * All of it is a function of (seed, users, items), each user and each item of its own number besides: number i is
 * the same whether or not i + 1 exists. So users and items who come after the log continue the same series
 * (shop_world_grow_*), and nothing that the log shows changes by them. What is modelled is told in shop.c.
 */
#ifndef PENSTOCK_COMMON_DATA_SHOP_WORLD_H
#define PENSTOCK_COMMON_DATA_SHOP_WORLD_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/rng.h"
#include "common/data/shop.h"

#define SHOP_DIMS     6u
#define SHOP_SEGMENTS 8u
#define SHOP_DEVICES  3u
#define SHOP_PAGE     10u
#define SHOP_BEGIN    1735689600 /* 2025-01-01 */
#define SHOP_DAYS     30
#define SHOP_SPAN     (SHOP_DAYS * 86400.0) /* seconds of the log */
#define SHOP_OLD      0.75                  /* of the users are there on the first day */
#define SHOP_NEW_ITEM 0.15                  /* of the items come during the log */

extern const char *const shop_device_names[SHOP_DEVICES];

struct shop_user {
    float now[SHOP_DIMS], then[SHOP_DIMS]; /* tastes on the first day, and a quarter turn away */
    float bias, thrift, activity;
    uint32_t segment, device;
};

struct shop_item {
    float at[SHOP_DIMS];
    float quality, price_log, price_rel; /* rel: against its category's mean */
    float born;                          /* part of the span */
    uint32_t category, brand;
};

struct shop_category {
    float at[SHOP_DIMS];
    float price_log, season, peak_hour;
    size_t first, end; /* its items, among those of the log */
};

struct shop_world {
    struct shop_config config;
    uint64_t name_key;
    float segment[SHOP_SEGMENTS][SHOP_DIMS];
    struct shop_user *user;
    struct shop_item *item; /* by category, best seller first; behind config.items: newcomers */
    double *popular;        /* (config.items + 1) sums of Zipf weights before item i */
    struct shop_category *category;
    size_t users, users_cap, items, items_cap, categories;
};

/* ST_USAGE when a size is out of bounds. */
MUST_CHECK enum status shop_world_open(const struct shop_config *config, struct shop_world **out,
                                       struct errbuf *err);
void shop_world_close(struct shop_world *w); /* NULL-safe */

/* Users and items up to n, of the same kind: those beyond the log's. No-op when there are as many. */
void shop_world_grow_users(struct shop_world *w, size_t n);
void shop_world_grow_items(struct shop_world *w, size_t n);

/* Names as the log has them, from 1: a permutation of those of the log, newcomers behind in their order. */
uint64_t shop_world_user_name(const struct shop_world *w, size_t u);
uint64_t shop_world_item_name(const struct shop_world *w, size_t i);
double shop_world_price(const struct shop_item *t);

/* The taste of user u at `part` of the log's span; beyond 1 it turns on as before. */
void shop_world_taste(const struct shop_user *u, double part, float out[SHOP_DIMS]);
double shop_world_liking(const float *taste, const float *at);
/* An item of [first, end), within those of the log, by popularity, already born at part. */
size_t shop_world_draw_item(const struct shop_world *w, struct rng *rng, size_t first, size_t end,
                            double part);
/* The best liked of a few categories: a cheap stand-in for a softmax over all. */
uint32_t shop_world_draw_category(const struct shop_world *w, struct rng *rng, const float *taste);

/* P(click | looked at) is the sigmoid of this. */
struct shop_moment {
    const struct shop_user *user;
    const float *taste; /* of that user at that part */
    double part, hour;
    uint32_t device;
};
double shop_world_logit(const struct shop_world *w, const struct shop_moment *m,
                        const struct shop_item *t);
double shop_world_sigmoid(double x);
/* P(looked at), by the position from 0. */
double shop_world_examined(size_t position);
/* P(cart | click) and P(buy | cart). */
double shop_world_cart(const struct shop_item *t, double logit);
double shop_world_buy(const struct shop_item *t, double logit);

#endif
