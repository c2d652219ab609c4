/* shop.c - see shop.h. The model, all of it seeded:
 *
 *   users    a segment, a taste (the segment's direction and a part of their own) that turns by DRIFT over
 *            the log, a liking for cheap or dear, a device, an activity. A quarter of them come during it.
 *   items    a category, a brand, a log-normal price, a quality, a place in feature space near their
 *            category's. Popularity within a category is Zipf's. Every seventh item comes during the log.
 *   sessions arrive by day and night; a user looks at one to three pages of SHOP_PAGE items. Half the items are
 *            the shop's best sellers, half lie in a category of the user's taste.
 *   click    P = examined(position) * sigmoid(quality + taste * place + price + season + hour + device):
 *            most of it can be learned from ids, some (drift, newcomers) can't.
 *   cart     given a click, buy given a cart: more likely the better the match, less the dearer.
 *
 * Position bias is a factor and not a term: what is not looked at is not clicked, however good. Nothing that
 * the log does not show (an intent of the session, say) changes a probability: the truth is what a model that
 * knew everybody's taste would predict, so its AUC is the best reachable one.
 *
 * Pages of several sessions overlap in time; a heap of pages to come keeps the log in order. Memory is that of
 * users and items, whatever the number of events. libm's last bit can differ between hosts: it decides a
 * click once in 1e15 draws.
 */
#include "common/data/shop.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/data/shop_world.h"

#define PI         3.14159265358979323846
#define PAGES_MEAN 1.75

enum { KEY_EVENTS = 5 }; /* shop_world.c has the others */

struct page { /* still to be shown */
    int64_t time;
    uint64_t seq, session;
    size_t user;
    uint32_t device, left, taste;
};

struct shop {
    struct shop_world *world;
    struct rng rng;
    struct page *heap;
    size_t heap_used, heap_cap;
    uint64_t sessions, seq;
    double clock;                       /* seconds since SHOP_BEGIN of the last session's arrival */
    struct shop_event shown[SHOP_PAGE]; /* the page being given out */
    size_t shown_at;
};

enum status shop_open(const struct shop_config *config, struct shop **out, struct errbuf *err)
{
    struct shop_world *world = NULL;
    enum status st = shop_world_open(config, &world, err);
    if (st != ST_OK)
        return st;
    struct shop *s = mem_zalloc(sizeof *s);
    s->world = world;
    s->rng.key = rng_mix(config->seed, KEY_EVENTS);
    s->shown_at = SHOP_PAGE;
    *out = s;
    return ST_OK;
}

void shop_close(struct shop *s)
{
    if (s == NULL)
        return;
    shop_world_close(s->world);
    free(s->heap);
    free(s);
}

/* ---- sessions and their pages, in the order of time --------------------------------------------- */

static bool earlier(const struct page *a, const struct page *b)
{
    return a->time != b->time ? a->time < b->time : a->seq < b->seq;
}

static void heap_push(struct shop *s, struct page p)
{
    p.seq = s->seq++;
    mem_grow(&s->heap, &s->heap_cap, s->heap_used + 1, sizeof *s->heap);
    size_t i = s->heap_used++;
    for (; i > 0 && earlier(&p, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = p;
}

static struct page heap_pop(struct shop *s)
{
    struct page top = s->heap[0], last = s->heap[--s->heap_used];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->heap_used)
            break;
        if (child + 1 < s->heap_used && earlier(&s->heap[child + 1], &s->heap[child]))
            child++;
        if (!earlier(&s->heap[child], &last))
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return top;
}

static double part_of_span(double seconds)
{
    return seconds >= SHOP_SPAN ? 1 : seconds / SHOP_SPAN;
}

static size_t draw_user(struct shop *s, double part)
{
    double there = SHOP_OLD + (1 - SHOP_OLD) * part;
    uint64_t n = (uint64_t)((double)s->world->config.users * there);
    for (;;) {
        size_t u = (size_t)rng_below(&s->rng, n > 0 ? n : 1);
        if (rng_next_unit(&s->rng) < s->world->user[u].activity)
            return u;
    }
}

static void next_session(struct shop *s)
{
    double day = fmod(s->clock, 86400) / 86400;
    double busy = 1 - .8 * cos(2 * PI * (day - .1)); /* quiet at 2:24, busy at 14:24 */
    double gap = SHOP_SPAN * SHOP_PAGE * PAGES_MEAN / (double)s->world->config.events;
    s->clock -= gap / busy * log(1 - rng_next_unit(&s->rng));
    double part = part_of_span(s->clock);
    struct page p = {.time = SHOP_BEGIN + (int64_t)s->clock, .session = ++s->sessions};
    p.user = draw_user(s, part);
    const struct shop_user *w = &s->world->user[p.user];
    p.device = rng_next_unit(&s->rng) < .8 ? w->device : (uint32_t)rng_below(&s->rng, SHOP_DEVICES);
    double more = rng_next_unit(&s->rng);
    p.left = more < .5 ? 1 : more < .75 ? 2 : 3;
    float taste[SHOP_DIMS];
    shop_world_taste(w, part, taste);
    p.taste = shop_world_draw_category(s->world, &s->rng, taste);
    heap_push(s, p);
}

/* ---- a page ------------------------------------------------------------------------------------- */

static void show_item(struct shop *s, const struct page *p, size_t i, size_t at, const float *taste)
{
    const struct shop_user *w = &s->world->user[p->user];
    const struct shop_item *t = &s->world->item[i];
    struct shop_event *e = &s->shown[at];
    double seconds = (double)(p->time - SHOP_BEGIN), part = part_of_span(seconds);
    double hour = floor(fmod(seconds, 86400) / 3600);
    const struct shop_moment m = {w, taste, part, hour, p->device};
    double logit = shop_world_logit(s->world, &m, t);
    *e = (struct shop_event){
        .time = p->time,
        .user = shop_world_user_name(s->world, p->user),
        .item = shop_world_item_name(s->world, i),
        .session = p->session,
        .category = t->category + 1,
        .brand = t->brand + 1,
        .hour = (uint32_t)hour,
        .position = (uint32_t)at + 1,
        .device = p->device,
        .segment = w->segment + 1,
        .price = shop_world_price(t),
    };
    const double carted = shop_world_cart(t, logit);
    const double bought = shop_world_buy(t, logit);
    e->truth[SHOP_CLICK] = shop_world_examined(at) * shop_world_sigmoid(logit);
    e->truth[SHOP_CART] = e->truth[SHOP_CLICK] * carted;
    e->truth[SHOP_BUY] = e->truth[SHOP_CART] * bought;
    double u[3] = {rng_next_unit(&s->rng), rng_next_unit(&s->rng), rng_next_unit(&s->rng)};
    e->click = u[0] < e->truth[SHOP_CLICK];
    e->cart = e->click && u[1] < carted;
    e->buy = e->cart && u[2] < bought;
}

static void show_page(struct shop *s)
{
    /* The next page is known only when no session can still come before it. */
    while (s->heap_used == 0 || (double)(s->heap[0].time - SHOP_BEGIN) >= floor(s->clock))
        next_session(s);
    struct page p = heap_pop(s);
    const struct shop_world *w = s->world;
    const struct shop_category *k = &w->category[p.taste];
    size_t item[SHOP_PAGE];
    float taste[SHOP_DIMS];
    double part = part_of_span((double)(p.time - SHOP_BEGIN));
    shop_world_taste(&w->user[p.user], part, taste);
    for (size_t at = 0; at < SHOP_PAGE; at++) {
        bool liked = rng_next_unit(&s->rng) < .5;
        bool twice = true;
        for (int tries = 0; twice && tries < 8; tries++) {
            item[at] = shop_world_draw_item(w, &s->rng, liked ? k->first : 0,
                                            liked ? k->end : (size_t)w->config.items, part);
            twice = false;
            for (size_t j = 0; j < at; j++)
                twice |= item[j] == item[at];
            liked &= tries < 4; /* a small category may have no other item to show */
        }
        show_item(s, &p, item[at], at, taste);
    }
    s->shown_at = 0;
    if (--p.left > 0) {
        p.time += 20 + (int64_t)rng_below(&s->rng, 100);
        heap_push(s, p);
    }
}

void shop_next(struct shop *s, struct shop_event *out)
{
    if (s->shown_at == SHOP_PAGE)
        show_page(s);
    *out = s->shown[s->shown_at++];
}
