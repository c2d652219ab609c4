/* shop.c - see shop.h. The model, all of it seeded:
 *
 *   users    a segment, a taste (the segment's direction and a part of their own) that turns by DRIFT over
 *            the log, a liking for cheap or dear, a device, an activity. A quarter of them come during it.
 *   items    a category, a brand, a log-normal price, a quality, a place in feature space near their
 *            category's. Popularity within a category is Zipf's. Every seventh item comes during the log.
 *   sessions arrive by day and night; a user looks at one to three pages of PAGE items. Half the items are
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
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rng.h"

#define DIMS       6u
#define SEGMENTS   8u
#define DEVICES    3u
#define PAGE       10u
#define BEGIN      1735689600 /* 2025-01-01 */
#define SPAN       (30.0 * 86400)
#define PI         3.14159265358979323846
#define DRIFT      0.35 /* radians a taste turns from the first day to the last */
#define OLD_USERS  0.75 /* there on the first day */
#define NEW_ITEM   0.15 /* come later */
#define ZIPF       0.8
#define PAGES_MEAN 1.75

enum { KEY_USER = 1, KEY_ITEM, KEY_CATEGORY, KEY_SEGMENT, KEY_EVENTS, KEY_NAMES };

struct user {
    float now[DIMS], then[DIMS]; /* tastes on the first day, and a quarter turn away */
    float bias, thrift, activity;
    uint32_t segment, device;
};

struct item {
    float at[DIMS];
    float quality, price_log, price_rel; /* rel: against its category's mean */
    float born;                          /* part of the span */
    uint32_t category, brand;
};

struct category {
    float at[DIMS];
    float price_log, season, peak_hour;
    size_t first, end; /* its items */
};

struct page { /* still to be shown */
    int64_t time;
    uint64_t seq, session;
    size_t user;
    uint32_t device, left, taste;
};

struct shop {
    struct shop_config config;
    uint64_t name_key;
    struct rng rng;
    struct user *user;
    struct item *item; /* by category, best seller first */
    double *popular;   /* (items + 1) sums of Zipf weights before item i */
    struct category *category;
    size_t categories;
    struct page *heap;
    size_t heap_used, heap_cap;
    uint64_t sessions, seq;
    double clock;                  /* seconds since BEGIN of the last session's arrival */
    struct shop_event shown[PAGE]; /* the page being given out */
    size_t shown_at;
};

/* ---- making the world --------------------------------------------------------------------------- */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double dot(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < DIMS; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

/* to = a * x + b * noise, with noise of N(0, 1) under (key, n) */
static void mix(float *to, double a, const float *x, double b, uint64_t key, uint64_t n)
{
    float noise[DIMS];
    rng_normal_fill(key, n, noise, DIMS);
    for (size_t i = 0; i < DIMS; i++)
        to[i] = (float)(a * (x != NULL ? x[i] : 0) + b * noise[i]);
}

static void make_categories(struct shop *s)
{
    uint64_t key = rng_mix(s->config.seed, KEY_CATEGORY);
    double n = sqrt((double)s->config.items) / 2;
    s->categories = (size_t)(n < 6 ? 6 : n > 500 ? 500 : n);
    s->category = mem_array(s->categories, sizeof *s->category);
    for (size_t c = 0; c < s->categories; c++) {
        struct category *k = &s->category[c];
        float x[4];
        mix(k->at, 0, NULL, 1, key, 2 * c);
        rng_normal_fill(key, 2 * c + 1, x, 4);
        k->price_log = 3 + .8f * x[0];
        k->season = x[1];
        k->peak_hour = 15 + 5 * x[2];
        /* Equal shares to a rounding: small categories would be popularity under another name. */
        k->first = (size_t)(s->config.items * c / s->categories);
        k->end = (size_t)(s->config.items * (c + 1) / s->categories);
    }
}

static void make_items(struct shop *s)
{
    uint64_t key = rng_mix(s->config.seed, KEY_ITEM);
    size_t n = (size_t)s->config.items;
    s->item = mem_array(n, sizeof *s->item);
    s->popular = mem_array(n + 1, sizeof *s->popular);
    uint64_t brands = n / 20 + 4;
    for (size_t c = 0; c < s->categories; c++)
        for (size_t i = s->category[c].first; i < s->category[c].end; i++) {
            struct item *t = &s->item[i];
            float x[4];
            double rank = (double)(i - s->category[c].first) + 3;
            mix(t->at, .9, s->category[c].at, .3, key, 2 * i);
            rng_normal_fill(key, 2 * i + 1, x, 4);
            t->quality = x[0];
            t->price_rel = .5f * x[1];
            t->price_log = s->category[c].price_log + t->price_rel;
            t->category = (uint32_t)c;
            t->brand = (uint32_t)(rng_u64(key, i, 1) % brands);
            double born = rng_unit(key, i, 2);
            t->born = born < NEW_ITEM ? (float)(born / NEW_ITEM) : 0;
            s->popular[i + 1] = s->popular[i] + pow(rank, -ZIPF);
        }
}

static void make_users(struct shop *s)
{
    uint64_t key = rng_mix(s->config.seed, KEY_USER);
    float segment[SEGMENTS][DIMS];
    for (size_t g = 0; g < SEGMENTS; g++)
        mix(segment[g], 0, NULL, 1, rng_mix(s->config.seed, KEY_SEGMENT), g);
    s->user = mem_array((size_t)s->config.users, sizeof *s->user);
    for (size_t u = 0; u < s->config.users; u++) {
        struct user *w = &s->user[u];
        float x[4];
        w->segment = (uint32_t)(rng_u64(key, u, 1) % SEGMENTS);
        w->device = (uint32_t)(rng_u64(key, u, 2) % DEVICES);
        mix(w->now, .9, segment[w->segment], .3, key, 3 * u);
        mix(w->then, 0, NULL, 1, key, 3 * u + 1);
        rng_normal_fill(key, 3 * u + 2, x, 4);
        w->bias = x[0];
        w->thrift = x[1];
        double activity = exp(.8 * x[2]) / 4;
        w->activity = (float)(activity < .05 ? .05 : activity > 1 ? 1 : activity);
    }
}

enum status shop_open(const struct shop_config *config, struct shop **out, struct errbuf *err)
{
    if (config->users < 10 || config->users > 100000000)
        return errbuf_set(err, ST_USAGE, "--users must be from 10 to 1e8");
    if (config->items < 50 || config->items > 100000000)
        return errbuf_set(err, ST_USAGE, "--items must be from 50 to 1e8");
    if (config->events < 1000 || config->events > 1000000000000)
        return errbuf_set(err, ST_USAGE, "--events must be from 1000 to 1e12");
    struct shop *s = mem_zalloc(sizeof *s);
    s->config = *config;
    s->name_key = rng_mix(config->seed, KEY_NAMES);
    s->rng.key = rng_mix(config->seed, KEY_EVENTS);
    s->shown_at = PAGE;
    make_categories(s);
    make_items(s);
    make_users(s);
    *out = s;
    return ST_OK;
}

void shop_close(struct shop *s)
{
    if (s == NULL)
        return;
    free(s->user);
    free(s->item);
    free(s->popular);
    free(s->category);
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
    return seconds >= SPAN ? 1 : seconds / SPAN;
}

static void taste_at(const struct user *w, double part, float *out)
{
    double c = cos(DRIFT * part), d = sin(DRIFT * part);
    for (size_t i = 0; i < DIMS; i++)
        out[i] = (float)(c * w->now[i] + d * w->then[i]);
}

static size_t draw_user(struct shop *s, double part)
{
    double there = OLD_USERS + (1 - OLD_USERS) * part;
    uint64_t n = (uint64_t)((double)s->config.users * there);
    for (;;) {
        size_t u = (size_t)rng_below(&s->rng, n > 0 ? n : 1);
        if (rng_next_unit(&s->rng) < s->user[u].activity)
            return u;
    }
}

/* The best liked of a few categories: a cheap stand-in for a softmax over all. */
static uint32_t draw_taste(struct shop *s, size_t u, double part)
{
    float taste[DIMS];
    uint32_t best = 0;
    double high = -INFINITY;
    taste_at(&s->user[u], part, taste);
    for (int i = 0; i < 4; i++) {
        uint32_t c = (uint32_t)rng_below(&s->rng, s->categories);
        double liking = dot(taste, s->category[c].at);
        if (liking > high) {
            high = liking;
            best = c;
        }
    }
    return best;
}

static void next_session(struct shop *s)
{
    double day = fmod(s->clock, 86400) / 86400;
    double busy = 1 - .8 * cos(2 * PI * (day - .1)); /* quiet at 2:24, busy at 14:24 */
    double gap = SPAN * PAGE * PAGES_MEAN / (double)s->config.events;
    s->clock -= gap / busy * log(1 - rng_next_unit(&s->rng));
    double part = part_of_span(s->clock);
    struct page p = {.time = BEGIN + (int64_t)s->clock, .session = ++s->sessions};
    p.user = draw_user(s, part);
    p.device = rng_next_unit(&s->rng) < .8 ? s->user[p.user].device
                                           : (uint32_t)rng_below(&s->rng, DEVICES);
    double more = rng_next_unit(&s->rng);
    p.left = more < .5 ? 1 : more < .75 ? 2 : 3;
    p.taste = draw_taste(s, p.user, part);
    heap_push(s, p);
}

/* ---- a page ------------------------------------------------------------------------------------- */

/* An item of [first, end) by popularity, already born. */
static size_t draw_item(struct shop *s, size_t first, size_t end, double part)
{
    size_t i = first;
    for (int tries = 0; tries < 20; tries++) {
        double at =
            s->popular[first] + rng_next_unit(&s->rng) * (s->popular[end] - s->popular[first]);
        size_t low = first, high = end;
        while (high - low > 1) {
            size_t mid = low + (high - low) / 2;
            if (s->popular[mid] <= at)
                low = mid;
            else
                high = mid;
        }
        i = low;
        if (s->item[i].born <= part)
            break;
    }
    return i;
}

static double click_logit(const struct shop *s, const struct user *w, const struct item *t,
                          const float *taste, double part, double hour, uint32_t on)
{
    static const double device[DEVICES] = {-.15, 0, .15};
    const struct category *k = &s->category[t->category];
    double match = dot(taste, t->at) / sqrt((double)DIMS);
    return -1.4 + 1.5 * t->quality + .3 * w->bias + 2.1 * match - .3 * w->thrift * t->price_rel +
           .3 * k->season * sin(2 * PI * part) + .2 * cos(2 * PI * (hour - k->peak_hour) / 24) +
           device[on];
}

static void show_item(struct shop *s, const struct page *p, size_t i, size_t at, const float *taste)
{
    const struct user *w = &s->user[p->user];
    const struct item *t = &s->item[i];
    struct shop_event *e = &s->shown[at];
    double seconds = (double)(p->time - BEGIN), part = part_of_span(seconds);
    double hour = floor(fmod(seconds, 86400) / 3600);
    double logit = click_logit(s, w, t, taste, part, hour, p->device);
    double examined = pow((double)at + 1, -.4);
    *e = (struct shop_event){
        .time = p->time,
        .user = rng_permute(s->name_key, s->config.users, p->user) + 1,
        .item = rng_permute(s->name_key + 1, s->config.items, i) + 1,
        .session = p->session,
        .category = t->category + 1,
        .brand = t->brand + 1,
        .hour = (uint32_t)hour,
        .position = (uint32_t)at + 1,
        .device = p->device,
        .segment = w->segment + 1,
        .price = floor(exp((double)t->price_log) * 100 + .5) / 100,
    };
    const double carted = sigmoid(-1 + .5 * logit - .3 * t->price_rel);
    const double bought = sigmoid(-.3 + .3 * logit - .5 * t->price_rel);
    e->truth[SHOP_CLICK] = examined * sigmoid(logit);
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
    while (s->heap_used == 0 || (double)(s->heap[0].time - BEGIN) >= floor(s->clock))
        next_session(s);
    struct page p = heap_pop(s);
    size_t item[PAGE];
    float taste[DIMS];
    double part = part_of_span((double)(p.time - BEGIN));
    taste_at(&s->user[p.user], part, taste);
    for (size_t at = 0; at < PAGE; at++) {
        const struct category *k = &s->category[p.taste];
        bool liked = rng_next_unit(&s->rng) < .5;
        bool twice = true;
        for (int tries = 0; twice && tries < 8; tries++) {
            item[at] = liked ? draw_item(s, k->first, k->end, part)
                             : draw_item(s, 0, (size_t)s->config.items, part);
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
    if (s->shown_at == PAGE)
        show_page(s);
    *out = s->shown[s->shown_at++];
}
