/* shop_people.c - see shop_people.h.
 *
 * Retrieval is the log's: half the candidates are the shop's best sellers, half lie in a category that the user
 * likes; and one in NEW_SHARE is a novelty, of the last NEW_SHELF that came, or nobody would ever see it.
 */
#include "common/data/shop_people.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/mem.h"

#define NEW_SHARE 20
#define NEW_SHELF 20

enum { KEY_VISITS = 101, KEY_BORN };                    /* apart from the keys of shop_world.c */
enum { DRAW_LOOK = 1, DRAW_LIKE, DRAW_CART, DRAW_BUY }; /* counters of a choice */

struct shop_people {
    struct shop_people_config config;
    struct shop_world *world;
    uint32_t *by_name; /* (config.items) the log's item with name i + 1 */
    uint64_t visits;
    double clock; /* our seconds up to the last arrival */
    bool *taken;  /* (items of the log) scratch of draw_candidates */
};

enum status shop_people_read(const char *dir, struct shop_config *out, struct errbuf *err)
{
    char *path = file_join(dir, "truth.json");
    struct json *j = NULL;
    struct shop_config c = {0};
    enum status st = json_read(path, 1 << 20, &j, err);
    if (st == ST_OK)
        st = json_need_u64(j, "users", &c.users, err);
    if (st == ST_OK)
        st = json_need_u64(j, "items", &c.items, err);
    if (st == ST_OK)
        st = json_need_u64(j, "events", &c.events, err);
    if (st == ST_OK)
        st = json_need_u64(j, "seed", &c.seed, err);
    if (st != ST_OK)
        st =
            errbuf_wrap(err, ST_BAD_DATA,
                        "%s: not the folder of a shop that `penstock data synth shop` made: ", dir);
    else
        *out = c;
    json_free(j);
    free(path);
    return st;
}

enum status shop_people_open(const struct shop_config *shop,
                             const struct shop_people_config *config, struct shop_people **out,
                             struct errbuf *err)
{
    struct shop_world *world = NULL;
    if (!(config->rate > 0) || !(config->speed > 0))
        return errbuf_set(err, ST_USAGE, "rate and speed must be above 0");
    if (config->candidates < SHOP_PAGE || config->candidates > SHOP_CANDIDATES_MAX ||
        config->candidates > shop->items / 2)
        return errbuf_set(err, ST_USAGE,
                          "--candidates %zu: allowed are %u to %u, and at most half of the shop's "
                          "%llu items",
                          config->candidates, SHOP_PAGE, SHOP_CANDIDATES_MAX,
                          (unsigned long long)shop->items);
    enum status st = shop_world_open(shop, &world, err);
    if (st != ST_OK)
        return st;
    struct shop_people *p = mem_zalloc(sizeof *p);
    p->config = *config;
    p->world = world;
    p->by_name = mem_array(world->items, sizeof *p->by_name);
    p->taken = mem_array(world->items, sizeof *p->taken);
    for (size_t i = 0; i < world->items; i++)
        p->by_name[shop_world_item_name(world, i) - 1] = (uint32_t)i;
    *out = p;
    return ST_OK;
}

void shop_people_close(struct shop_people *p)
{
    if (p == NULL)
        return;
    shop_world_close(p->world);
    free(p->by_name);
    free(p->taken);
    free(p);
}

const struct shop_world *shop_people_world(const struct shop_people *p)
{
    return p->world;
}

bool shop_people_find(const struct shop_people *p, uint64_t name, size_t *out_item)
{
    if (name == 0 || name > p->world->items)
        return false;
    *out_item = name <= p->world->config.items ? p->by_name[name - 1] : (size_t)(name - 1);
    return true;
}

/* ---- a visit ------------------------------------------------------------------------------------ */

/* When newcomer j came: one in each stretch of a length that goes on the log's pace. */
static double born_at(const struct shop_world *w, size_t j)
{
    double stretch = 1 / (SHOP_NEW_ITEM * (double)w->config.items);
    return 1 + ((double)j + rng_unit(rng_mix(w->config.seed, KEY_BORN), j, 0)) * stretch;
}

static void let_items_come(struct shop_world *w, double part)
{
    for (;;) {
        double born = born_at(w, w->items - (size_t)w->config.items);
        if (born > part)
            return;
        shop_world_grow_items(w, w->items + 1);
        w->item[w->items - 1].born = (float)born;
    }
}

static size_t draw_user(struct shop_world *w, struct rng *rng, double part)
{
    size_t n = (size_t)((double)w->config.users * (SHOP_OLD + (1 - SHOP_OLD) * part));
    shop_world_grow_users(w, n);
    for (;;) {
        size_t u = (size_t)rng_below(rng, n);
        if (rng_next_unit(rng) < w->user[u].activity)
            return u;
    }
}

static bool among(const size_t *item, size_t n, size_t i)
{
    for (size_t k = 0; k < n; k++)
        if (item[k] == i)
            return true;
    return false;
}

/* An item of the log that isn't taken: by popularity, and when luck fails, the next one in the row. */
static size_t draw_free(struct shop_people *p, struct rng *rng, const struct shop_category *liked)
{
    const struct shop_world *w = p->world;
    size_t all = (size_t)w->config.items, i = 0;
    for (int tries = 0; tries < 16; tries++) {
        bool near = liked != NULL && tries < 8;
        i = shop_world_draw_item(w, rng, near ? liked->first : 0, near ? liked->end : all, 1);
        if (!p->taken[i])
            return i;
    }
    while (p->taken[i])
        i = (i + 1) % all;
    return i;
}

static void draw_candidates(struct shop_people *p, struct rng *rng, struct shop_visit *v)
{
    const struct shop_world *w = p->world;
    size_t all = (size_t)w->config.items, new_items = w->items - all;
    size_t shelf = new_items < NEW_SHELF ? new_items : NEW_SHELF;
    const struct shop_category *k = &w->category[shop_world_draw_category(w, rng, v->taste)];
    for (size_t n = 0; n < p->config.candidates; n++) {
        bool novel = rng_below(rng, NEW_SHARE) == 0, liked = rng_next_unit(rng) < .5;
        size_t i = shelf > 0 ? w->items - 1 - (size_t)rng_below(rng, shelf) : 0;
        if (!novel || shelf == 0 || among(v->candidate, n, i)) {
            i = draw_free(p, rng, liked ? k : NULL);
            p->taken[i] = true;
        }
        v->candidate[n] = i;
    }
    for (size_t n = 0; n < p->config.candidates; n++)
        if (v->candidate[n] < all)
            p->taken[v->candidate[n]] = false;
}

void shop_people_next(struct shop_people *p, struct shop_visit *v)
{
    struct shop_world *w = p->world;
    v->number = p->visits++;
    v->key = rng_mix(rng_mix(p->config.seed, KEY_VISITS), v->number);
    struct rng rng = {.key = v->key};
    p->clock -= log(1 - rng_next_unit(&rng)) / p->config.rate;
    v->at = p->clock;
    double seconds = SHOP_SPAN + p->clock * p->config.speed;
    v->time = SHOP_BEGIN + (int64_t)seconds;
    v->part = seconds / SHOP_SPAN;
    v->hour = (uint32_t)(fmod(seconds, 86400) / 3600);
    let_items_come(w, v->part);
    v->user = draw_user(w, &rng, v->part);
    const struct shop_user *u = &w->user[v->user];
    v->device = rng_next_unit(&rng) < .8 ? u->device : (uint32_t)rng_below(&rng, SHOP_DEVICES);
    shop_world_taste(u, v->part, v->taste);
    draw_candidates(p, &rng, v);
}

/* ---- what a person does ------------------------------------------------------------------------- */

static double logit_of(const struct shop_world *w, const struct shop_visit *v, size_t item)
{
    const struct shop_moment m = {&w->user[v->user], v->taste, v->part, v->hour, v->device};
    return shop_world_logit(w, &m, &w->item[item]);
}

struct shop_choice shop_people_choose(const struct shop_people *p, const struct shop_visit *v,
                                      size_t item, size_t position)
{
    const struct shop_item *t = &p->world->item[item];
    double logit = logit_of(p->world, v, item);
    struct shop_choice c = {.liking = shop_world_sigmoid(logit)};
    c.likes = rng_unit(v->key + 1, item, DRAW_LIKE) < c.liking;
    /* Two draws, so that liking can be judged without the position; their product is the log's probability. */
    c.click = c.likes && rng_unit(v->key + 1, item, DRAW_LOOK) < shop_world_examined(position);
    c.cart = c.click && rng_unit(v->key + 1, item, DRAW_CART) < shop_world_cart(t, logit);
    c.buy = c.cart && rng_unit(v->key + 1, item, DRAW_BUY) < shop_world_buy(t, logit);
    return c;
}

/* Keeps the `max` largest of what is put in, in falling order. */
static void keep_best(double *best, size_t *n, size_t max, double x)
{
    size_t at = *n < max ? *n : max;
    if (at == max && x <= best[max - 1])
        return;
    if (*n < max)
        ++*n;
    else
        at = max - 1;
    for (; at > 0 && best[at - 1] < x; at--)
        best[at] = best[at - 1];
    best[at] = x;
}

void shop_people_orders(const struct shop_people *p, const struct shop_visit *v, const size_t *item,
                        size_t n, size_t shown, double *out_best, double *out_random)
{
    double best[SHOP_PAGE], sum = 0, looks = 0;
    size_t kept = 0, of = item != NULL ? n : p->world->items;
    shown = shown < SHOP_PAGE ? shown : SHOP_PAGE;
    shown = shown < of ? shown : of;
    *out_best = *out_random = 0;
    if (shown == 0)
        return;
    for (size_t k = 0; k < of; k++) {
        double liking = shop_world_sigmoid(logit_of(p->world, v, item != NULL ? item[k] : k));
        sum += liking;
        keep_best(best, &kept, shown, liking);
    }
    for (size_t at = 0; at < shown; at++) {
        *out_best += shop_world_examined(at) * best[at];
        looks += shop_world_examined(at);
    }
    *out_random = looks * sum / (double)of;
}
