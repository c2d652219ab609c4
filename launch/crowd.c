/* crowd.c - see crowd.h.
 *
 * A visit takes a slot and keeps it to its end; what it does next depends on the answer to what it did last:
 *
 *     IDLE ──arrival──► USER ──► RANK ──► REPORT ──► PROBE ⟲ ──► IDLE
 *       └──new item──► ITEM (every node in turn) ──► IDLE
 *
 * USER only on a user's first visit, REPORT only when there is something to tell, PROBE on some of those with a
 * click: the same question again and again, at growing distances, until the ranking is another one.
 *
 * A slot has one request in flight at most, so there are never more than there are slots. A try that failed (no
 * answer, 429, 503, and for what must not be lost any 5xx) is made again after a pause that doubles, never shorter
 * than Retry-After; after a 429 or 503 the node is left alone as long, by new visitors, too.
 *
 * THE RATE. Arrivals have their times from the seed. When one is late (no slot is free, a node wants to be left
 * alone), all that come after it are put off by as much, but for ARREARS_US, which absorbs the grain of the clock:
 * after a stall visits go on at the old pace, and no crowd comes at once. What was put off is counted.
 */
#include "launch/crowd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/progress.h"
#include "common/base/rng.h"
#include "launch/crowd_int.h"

#define ARREARS_US 20000
#define DRAIN_US   10000000
#define READY_US   3000000 /* that a node may take to answer at all */

static const struct shop_world *world_of(const struct crowd *c)
{
    return shop_people_world(c->people);
}

/* ---- arrivals ----------------------------------------------------------------------------------- */

/* What the items come to: those of the log unless they are known, then one as each appears. */
static bool begin_item(struct crowd *c, struct slot *s, uint64_t now)
{
    if (c->items_begun >= world_of(c)->items)
        return false;
    s->item = c->items_begun++;
    s->node = 0;
    s->visit.key = s->item;
    crowd_go(s, ITEM, now);
    return true;
}

static void draw_next(struct crowd *c)
{
    const struct crowd_conf *conf = c->conf;
    if (c->have_next || c->ended)
        return;
    c->ended = conf->visits_max > 0 && c->tally->visits >= conf->visits_max;
    if (c->ended)
        return;
    shop_people_next(c->people, &c->next);
    c->have_next = true;
}

static size_t node_of(const struct crowd *c, size_t user)
{
    return (size_t)(rng_u64(1, user, 0) % c->conf->nodes);
}

static bool is_known(struct crowd *c, size_t user)
{
    size_t had = c->introduced_cap;
    mem_grow(&c->introduced, &c->introduced_cap, user + 1, sizeof *c->introduced);
    memset(c->introduced + had, 0, c->introduced_cap - had);
    return c->introduced[user] != 0 || (c->conf->known && user < c->conf->shop.users);
}

static uint64_t next_due(const struct crowd *c)
{
    return c->began_us + c->late_us + (uint64_t)(c->next.at * 1e6);
}

static bool begin_visit(struct crowd *c, struct slot *s, uint64_t now)
{
    if (!c->have_next || c->ended || now < next_due(c))
        return false;
    size_t node = node_of(c, c->next.user);
    if (now < c->hold_us[node])
        return false;
    uint64_t late = now - next_due(c);
    if (late > ARREARS_US)
        c->late_us += late - ARREARS_US;
    size_t *mine = s->visit.candidate;
    memcpy(mine, c->next.candidate, c->conf->people.candidates * sizeof *mine);
    s->visit = c->next;
    s->visit.candidate = mine;
    s->node = node;
    s->again = false;
    c->have_next = false;
    c->tally->visits++;
    crowd_go(s, is_known(c, s->visit.user) ? RANK : USER, now);
    return true;
}

/* New items first: they came before the visit that is due. Visits only when the whole catalogue is there. */
static void fill_slots(struct crowd *c, uint64_t now)
{
    bool opened = c->began_us > 0;
    for (size_t i = 0; i < c->conf->in_flight; i++) {
        struct slot *s = &c->slot[i];
        if (s->step != IDLE)
            continue;
        if (opened)
            draw_next(c);
        if (begin_item(c, s, now))
            continue;
        if (!opened || !begin_visit(c, s, now))
            return;
    }
}

/* Sends what is due; when the next thing is. */
static uint64_t send_due(struct crowd *c, uint64_t now)
{
    uint64_t wake = now + 100000;
    bool free_slot = false;
    for (size_t i = 0; i < c->conf->in_flight; i++) {
        struct slot *s = &c->slot[i];
        free_slot |= s->step == IDLE;
        if (s->step == IDLE || s->in_flight)
            continue;
        if (s->due_us <= now)
            crowd_send(c, i);
        else if (s->due_us < wake)
            wake = s->due_us;
    }
    if (c->have_next && free_slot) {
        uint64_t due = next_due(c), hold = c->hold_us[node_of(c, c->next.user)];
        due = due > hold ? due : hold;
        wake = due < wake ? due : wake;
    }
    return wake > now ? wake - now : 0;
}

static bool all_idle(const struct crowd *c)
{
    for (size_t i = 0; i < c->conf->in_flight; i++)
        if (c->slot[i].step != IDLE)
            return false;
    return true;
}

/* ---- a run -------------------------------------------------------------------------------------- */

static void show(struct crowd *c, struct progress *p, uint64_t now)
{
    const struct tally *t = c->tally;
    if (c->conf->quiet)
        return;
    if (c->began_us == 0) {
        progress_show(p, now, "introducing the shop: %zu of %" PRIu64 " items", c->items_done,
                      c->conf->shop.items);
        return;
    }
    if (now - c->progress_us < 1000000) /* quantiles are sorted for it */
        return;
    c->progress_us = now;
    double seconds = (double)(now - c->began_us) / 1e6, shown = (double)t->shown;
    progress_show(p, now,
                  "%.0fs: %" PRIu64 " visits, %.1f/s, %zu in flight; version %" PRIu64
                  "; rank p50 %.2f p99 %.2f ms; CTR %.4f (best %.4f, random %.4f); wrong %" PRIu64,
                  seconds, t->visits, (double)t->visits / (seconds > 0 ? seconds : 1),
                  simulate_in_flight(c->http), t->versions_high,
                  (double)tally_clock_quantile(&t->rank_us, .5) / 1e3,
                  (double)tally_clock_quantile(&t->rank_us, .99) / 1e3,
                  (double)t->clicks / (shown > 0 ? shown : 1), t->best / (shown > 0 ? shown : 1),
                  t->random / (shown > 0 ? shown : 1), tally_wrong(t));
}

/* Each node answers /healthz within READY_US, in whatever words: somebody is there. */
static enum status wait_ready(struct crowd *c, const volatile int *stop, struct errbuf *err)
{
    for (size_t node = 0; node < c->conf->nodes; node++) {
        struct buffer url = BUFFER_INIT;
        struct simulate_answer a = {.why = "no answer"};
        uint64_t until = clock_now_us() + READY_US;
        buffer_printf(&url, "%s/healthz", c->conf->node[node]);
        bool ask = true;
        while (ask && clock_now_us() < until && *stop == 0) {
            simulate_send(c->http, 0, "GET", buffer_text(&url), NULL, 0);
            while (!simulate_next(c->http, 100000, &a))
                continue; /* bounded by the request's own deadline */
            ask = a.status != 200 && a.status != 401 && a.status != 403;
            if (ask)
                clock_sleep_us(100000);
        }
        buffer_release(&url);
        if (a.status == 401 || a.status == 403)
            return errbuf_set(err, ST_USAGE, "%s: it wants a token: --token-file FILE",
                              c->conf->node[node]);
        if (a.status == 0)
            return errbuf_set(err, ST_IO, "%s: %s; is a serving node there?", c->conf->node[node],
                              a.why);
        if (a.status != 200)
            return errbuf_set(err, ST_REFUSED,
                              "%s/healthz answers %d for %d s: the node isn't ready",
                              c->conf->node[node], a.status, (int)(READY_US / 1000000));
    }
    return ST_OK;
}

static bool done(struct crowd *c, const volatile int *stop, uint64_t now, uint64_t *end_us)
{
    const struct crowd_conf *conf = c->conf;
    bool out_of_time =
        conf->seconds > 0 && c->began_us > 0 && (double)(now - c->began_us) >= conf->seconds * 1e6;
    if (*stop != 0 || out_of_time) {
        c->ended = true;
        c->items_begun = SIZE_MAX; /* nothing new comes */
    }
    if (!c->ended)
        return false;
    if (*end_us == 0)
        *end_us = now;
    return all_idle(c) || now - *end_us > DRAIN_US;
}

static void play(struct crowd *c, const volatile int *stop)
{
    struct progress progress;
    uint64_t end_us = 0;
    progress_init(&progress, stderr);
    progress.plain_every_us = 5000000;
    for (uint64_t now = clock_now_us(); !done(c, stop, now, &end_us); now = clock_now_us()) {
        if (c->began_us == 0 && c->items_done >= (c->conf->known ? 0 : c->conf->shop.items))
            c->began_us = now;
        fill_slots(c, now);
        struct simulate_answer a;
        for (uint64_t wait = send_due(c, now); simulate_next(c->http, wait, &a); wait = 0)
            crowd_take(c, &a);
        show(c, &progress, now);
    }
    /* Given up: an unanswered ranking is a lost visit, unanswered events may or may not have arrived. */
    for (size_t i = 0; i < c->conf->in_flight; i++) {
        const struct slot *s = &c->slot[i];
        c->tally->visits_lost += s->step == RANK || s->step == USER;
        c->tally->events_lost += s->step == REPORT ? s->events : 0;
    }
    c->tally->slipped_us = c->late_us;
    c->tally->took_us = c->began_us > 0 ? clock_now_us() - c->began_us : 0;
    if (!c->conf->quiet)
        progress_done(&progress, "simulate: done");
}

enum status crowd_run(const struct crowd_conf *conf, const volatile int *stop, struct tally *tally,
                      struct errbuf *err)
{
    struct crowd c = {.conf = conf, .tally = tally};
    enum status st = shop_people_open(&conf->shop, &conf->people, &c.people, err);
    if (st != ST_OK)
        return st;
    st = simulate_open(conf->in_flight, conf->deadline_us, conf->token, &c.http, err);
    size_t n = conf->people.candidates;
    c.slot = mem_array(conf->in_flight, sizeof *c.slot);
    c.next.candidate = mem_array(n, sizeof *c.next.candidate);
    for (size_t i = 0; i < conf->in_flight; i++)
        c.slot[i].visit.candidate = mem_array(n, sizeof *c.next.candidate);
    c.items_begun = c.items_done = conf->known ? (size_t)conf->shop.items : 0;
    if (st == ST_OK)
        st = wait_ready(&c, stop, err);
    if (st == ST_OK)
        play(&c, stop);
    for (size_t i = 0; i < conf->in_flight; i++) {
        free(c.slot[i].visit.candidate);
        buffer_release(&c.slot[i].body);
    }
    free(c.slot);
    free(c.next.candidate);
    free(c.introduced);
    free(c.item_acked_us);
    simulate_close(c.http);
    shop_people_close(c.people);
    return st;
}
