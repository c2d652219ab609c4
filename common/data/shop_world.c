/* shop_world.c - see shop_world.h; the model itself is told in shop.c. */
#include "common/data/shop_world.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"

#define PI    3.14159265358979323846
#define DRIFT 0.35 /* radians a taste turns from the first day to the last */
#define ZIPF  0.8

/* Part of what the seed means: numbers are never given a new meaning. 5 is shop.c's. */
enum { KEY_USER = 1, KEY_ITEM, KEY_CATEGORY, KEY_SEGMENT, KEY_NAMES = 6 };

const char *const shop_device_names[SHOP_DEVICES] = {"desktop", "mobile", "app"};

double shop_world_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

double shop_world_liking(const float *taste, const float *at)
{
    double sum = 0;
    for (size_t i = 0; i < SHOP_DIMS; i++)
        sum += (double)taste[i] * at[i];
    return sum;
}

/* to = a * x + b * noise, with noise of N(0, 1) under (key, n) */
static void mix(float *to, double a, const float *x, double b, uint64_t key, uint64_t n)
{
    float noise[SHOP_DIMS];
    rng_normal_fill(key, n, noise, SHOP_DIMS);
    for (size_t i = 0; i < SHOP_DIMS; i++)
        to[i] = (float)(a * (x != NULL ? x[i] : 0) + b * noise[i]);
}

static void make_categories(struct shop_world *w)
{
    uint64_t key = rng_mix(w->config.seed, KEY_CATEGORY);
    double n = sqrt((double)w->config.items) / 2;
    w->categories = (size_t)(n < 6 ? 6 : n > 500 ? 500 : n);
    w->category = mem_array(w->categories, sizeof *w->category);
    for (size_t c = 0; c < w->categories; c++) {
        struct shop_category *k = &w->category[c];
        float x[4];
        mix(k->at, 0, NULL, 1, key, 2 * c);
        rng_normal_fill(key, 2 * c + 1, x, 4);
        k->price_log = 3 + .8f * x[0];
        k->season = x[1];
        k->peak_hour = 15 + 5 * x[2];
        /* Equal shares to a rounding: small categories would be popularity under another name. */
        k->first = (size_t)(w->config.items * c / w->categories);
        k->end = (size_t)(w->config.items * (c + 1) / w->categories);
    }
}

static void make_item(const struct shop_world *w, size_t i, size_t category, struct shop_item *t)
{
    uint64_t key = rng_mix(w->config.seed, KEY_ITEM);
    uint64_t brands = w->config.items / 20 + 4;
    float x[4];
    mix(t->at, .9, w->category[category].at, .3, key, 2 * i);
    rng_normal_fill(key, 2 * i + 1, x, 4);
    t->quality = x[0];
    t->price_rel = .5f * x[1];
    t->price_log = w->category[category].price_log + t->price_rel;
    t->category = (uint32_t)category;
    t->brand = (uint32_t)(rng_u64(key, i, 1) % brands);
    double born = rng_unit(key, i, 2);
    t->born = born < SHOP_NEW_ITEM ? (float)(born / SHOP_NEW_ITEM) : 0;
}

static void make_items(struct shop_world *w)
{
    w->items = w->items_cap = (size_t)w->config.items;
    w->item = mem_array(w->items, sizeof *w->item);
    w->popular = mem_array(w->items + 1, sizeof *w->popular);
    for (size_t c = 0; c < w->categories; c++)
        for (size_t i = w->category[c].first; i < w->category[c].end; i++) {
            double rank = (double)(i - w->category[c].first) + 3;
            make_item(w, i, c, &w->item[i]);
            w->popular[i + 1] = w->popular[i] + pow(rank, -ZIPF);
        }
}

void shop_world_grow_items(struct shop_world *w, size_t n)
{
    uint64_t key = rng_mix(w->config.seed, KEY_ITEM);
    if (n <= w->items)
        return;
    mem_grow(&w->item, &w->items_cap, n, sizeof *w->item);
    for (; w->items < n; w->items++)
        make_item(w, w->items, (size_t)(rng_u64(key, w->items, 3) % w->categories),
                  &w->item[w->items]);
}

static void make_user(const struct shop_world *w, size_t u, struct shop_user *p)
{
    uint64_t key = rng_mix(w->config.seed, KEY_USER);
    float x[4];
    p->segment = (uint32_t)(rng_u64(key, u, 1) % SHOP_SEGMENTS);
    p->device = (uint32_t)(rng_u64(key, u, 2) % SHOP_DEVICES);
    mix(p->now, .9, w->segment[p->segment], .3, key, 3 * u);
    mix(p->then, 0, NULL, 1, key, 3 * u + 1);
    rng_normal_fill(key, 3 * u + 2, x, 4);
    p->bias = x[0];
    p->thrift = x[1];
    double activity = exp(.8 * x[2]) / 4;
    p->activity = (float)(activity < .05 ? .05 : activity > 1 ? 1 : activity);
}

void shop_world_grow_users(struct shop_world *w, size_t n)
{
    if (n <= w->users)
        return;
    mem_grow(&w->user, &w->users_cap, n, sizeof *w->user);
    for (; w->users < n; w->users++)
        make_user(w, w->users, &w->user[w->users]);
}

enum status shop_world_open(const struct shop_config *config, struct shop_world **out,
                            struct errbuf *err)
{
    if (config->users < 10 || config->users > 100000000)
        return errbuf_set(err, ST_USAGE, "--users must be from 10 to 1e8");
    if (config->items < 50 || config->items > 100000000)
        return errbuf_set(err, ST_USAGE, "--items must be from 50 to 1e8");
    if (config->events < 1000 || config->events > 1000000000000)
        return errbuf_set(err, ST_USAGE, "--events must be from 1000 to 1e12");
    struct shop_world *w = mem_zalloc(sizeof *w);
    w->config = *config;
    w->name_key = rng_mix(config->seed, KEY_NAMES);
    for (size_t g = 0; g < SHOP_SEGMENTS; g++)
        mix(w->segment[g], 0, NULL, 1, rng_mix(config->seed, KEY_SEGMENT), g);
    make_categories(w);
    make_items(w);
    w->users_cap = (size_t)config->users;
    w->user = mem_array(w->users_cap, sizeof *w->user);
    shop_world_grow_users(w, w->users_cap);
    *out = w;
    return ST_OK;
}

void shop_world_close(struct shop_world *w)
{
    if (w == NULL)
        return;
    free(w->user);
    free(w->item);
    free(w->popular);
    free(w->category);
    free(w);
}

uint64_t shop_world_user_name(const struct shop_world *w, size_t u)
{
    return (u < w->config.users ? rng_permute(w->name_key, w->config.users, u) : u) + 1;
}

uint64_t shop_world_item_name(const struct shop_world *w, size_t i)
{
    return (i < w->config.items ? rng_permute(w->name_key + 1, w->config.items, i) : i) + 1;
}

double shop_world_price(const struct shop_item *t)
{
    return floor(exp((double)t->price_log) * 100 + .5) / 100;
}

void shop_world_taste(const struct shop_user *u, double part, float out[SHOP_DIMS])
{
    double c = cos(DRIFT * part), d = sin(DRIFT * part);
    for (size_t i = 0; i < SHOP_DIMS; i++)
        out[i] = (float)(c * u->now[i] + d * u->then[i]);
}

uint32_t shop_world_draw_category(const struct shop_world *w, struct rng *rng, const float *taste)
{
    uint32_t best = 0;
    double high = -INFINITY;
    for (int i = 0; i < 4; i++) {
        uint32_t c = (uint32_t)rng_below(rng, w->categories);
        double liking = shop_world_liking(taste, w->category[c].at);
        if (liking > high) {
            high = liking;
            best = c;
        }
    }
    return best;
}

size_t shop_world_draw_item(const struct shop_world *w, struct rng *rng, size_t first, size_t end,
                            double part)
{
    size_t i = first;
    for (int tries = 0; tries < 20; tries++) {
        double at = w->popular[first] + rng_next_unit(rng) * (w->popular[end] - w->popular[first]);
        size_t low = first, high = end;
        while (high - low > 1) {
            size_t mid = low + (high - low) / 2;
            if (w->popular[mid] <= at)
                low = mid;
            else
                high = mid;
        }
        i = low;
        if (w->item[i].born <= part)
            break;
    }
    return i;
}

double shop_world_logit(const struct shop_world *w, const struct shop_moment *m,
                        const struct shop_item *t)
{
    static const double device[SHOP_DEVICES] = {-.15, 0, .15};
    const struct shop_category *k = &w->category[t->category];
    double match = shop_world_liking(m->taste, t->at) / sqrt((double)SHOP_DIMS);
    return -1.4 + 1.5 * t->quality + .3 * m->user->bias + 2.1 * match -
           .3 * m->user->thrift * t->price_rel + .3 * k->season * sin(2 * PI * m->part) +
           .2 * cos(2 * PI * (m->hour - k->peak_hour) / 24) + device[m->device];
}

double shop_world_examined(size_t position)
{
    return pow((double)position + 1, -.4);
}

double shop_world_cart(const struct shop_item *t, double logit)
{
    return shop_world_sigmoid(-1 + .5 * logit - .3 * t->price_rel);
}

double shop_world_buy(const struct shop_item *t, double logit)
{
    return shop_world_sigmoid(-.3 + .3 * logit - .5 * t->price_rel);
}
