/* crowd_visit.c - what a visit does next: see crowd.c for the steps. */
#include <inttypes.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "launch/crowd_int.h"

#define TRIES_MAX      8 /* of a profile, of events */
#define TRIES_RANK     3
#define PAUSE_US       50000
#define PAUSE_MAX_US   2000000
#define RETRY_MAX_US   5000000 /* of a Retry-After that is listened to */
#define PROBE_US       1000000
#define PROBE_FIRST_US 1000
#define PROBES_IN_VAIN 20 /* a model that looks at no history is not asked for ever */

static const struct {
    const char *method, *path;
    unsigned tries;
} steps[] = {
    [ITEM] = {"PUT", "/v1/items/", TRIES_MAX},  [USER] = {"PUT", "/v1/users/", TRIES_MAX},
    [RANK] = {"POST", "/v1/rank", TRIES_RANK},  [REPORT] = {"POST", "/v1/events", TRIES_MAX},
    [PROBE] = {"POST", "/v1/rank", TRIES_RANK},
};

static const struct shop_world *world_of(const struct crowd *c)
{
    return shop_people_world(c->people);
}

static void note_error(struct crowd *c, const struct slot *s, const char *text)
{
    (void)errbuf_set(&c->tally->error, ST_BAD_PEER, "%s%s: %s", c->conf->node[s->node],
                     steps[s->step].path, text);
}

/* What an answer that isn't good says, or why there is none. */
static void note_answer(struct crowd *c, const struct slot *s, const struct simulate_answer *a)
{
    struct errbuf why = ERRBUF_INIT;
    visit_error_text(a->status > 0 ? a->body : a->why, a->status > 0 ? a->n : strlen(a->why), &why);
    note_error(c, s, why.text);
}

/* ---- sending ------------------------------------------------------------------------------------ */

void crowd_go(struct slot *s, enum step step, uint64_t due_us)
{
    s->step = step;
    s->tries = 0;
    s->due_us = due_us;
}

static void fill_body(struct crowd *c, struct slot *s)
{
    buffer_reset(&s->body);
    switch (s->step) {
    case ITEM: visit_item(c->people, s->item, &s->body); return;
    case USER: visit_user(c->people, s->visit.user, &s->body); return;
    case RANK: visit_ask(c->people, &c->conf->form, &s->visit, true, &s->body); return;
    case PROBE: visit_ask(c->people, &c->conf->form, &s->visit, false, &s->body); return;
    case REPORT: /* made where it is known that there is something */
    case IDLE: return;
    }
}

void crowd_send(struct crowd *c, size_t i)
{
    struct slot *s = &c->slot[i];
    struct buffer url = BUFFER_INIT;
    const char *path = steps[s->step].path;
    if ((s->step == RANK || s->step == PROBE) && c->conf->form.recommend)
        path = "/v1/recommend";
    buffer_printf(&url, "%s%s", c->conf->node[s->node], path);
    if (s->step == ITEM)
        buffer_printf(&url, "%" PRIu64, shop_world_item_name(world_of(c), s->item));
    if (s->step == USER)
        buffer_printf(&url, "%" PRIu64, shop_world_user_name(world_of(c), s->visit.user));
    if (s->tries == 0 && s->step != REPORT)
        fill_body(c, s);
    c->tally->retries += s->tries > 0 && s->step != PROBE;
    s->tries++;
    s->in_flight = true;
    if (s->step == REPORT && s->tries == 1)
        s->begun_us = clock_now_us();
    simulate_send(c->http, i, steps[s->step].method, buffer_text(&url), buffer_text(&s->body),
                  s->body.used);
    buffer_release(&url);
}

/* Try again after a pause, if there are tries left. */
static bool put_off(struct crowd *c, struct slot *s, const struct simulate_answer *a, uint64_t now)
{
    bool busy = a->status == 429 || a->status == 503;
    uint64_t pause = (uint64_t)PAUSE_US << (s->tries < 6 ? s->tries - 1 : 5);
    pause = pause < PAUSE_MAX_US ? pause : PAUSE_MAX_US;
    pause = (uint64_t)((double)pause * (.5 + rng_unit(s->visit.key + 2, s->tries, s->step) / 2));
    uint64_t least = a->retry_us < RETRY_MAX_US ? a->retry_us : RETRY_MAX_US;
    pause = busy && pause < least ? least : pause;
    if (busy) {
        c->tally->backed_off++;
        if (c->hold_us[s->node] < now + pause)
            c->hold_us[s->node] = now + pause;
    }
    if (s->tries >= steps[s->step].tries)
        return false;
    s->due_us = now + pause;
    return true;
}

/* ---- answers ------------------------------------------------------------------------------------ */

static void end_visit(struct crowd *c, struct slot *s)
{
    c->tally->visits_done++;
    s->step = IDLE;
}

static void item_acked(struct crowd *c, struct slot *s, uint64_t now)
{
    size_t log_items = (size_t)c->conf->shop.items;
    if (s->node + 1 < c->conf->nodes) {
        s->node++;
        crowd_go(s, ITEM, now);
        return;
    }
    c->items_done++;
    if (s->item >= log_items) {
        size_t k = s->item - log_items, had = c->acked_cap;
        mem_grow(&c->item_acked_us, &c->acked_cap, k + 1, sizeof *c->item_acked_us);
        memset(c->item_acked_us + had, 0, (c->acked_cap - had) * sizeof *c->item_acked_us);
        c->item_acked_us[k] = now;
        c->tally->items_new++;
    }
    s->step = IDLE;
}

static void profile_answer(struct crowd *c, struct slot *s, const struct simulate_answer *a,
                           uint64_t now)
{
    bool good = a->status == 200 || a->status == 201 || a->status == 202 || a->status == 204;
    if (!good) {
        note_answer(c, s, a);
        bool again = a->status == 0 || a->status == 429 || a->status >= 500;
        if (again && put_off(c, s, a, now))
            return;
        c->tally->profiles_lost++;
    }
    c->tally->profiles += good;
    if (s->step == ITEM) {
        if (good) {
            item_acked(c, s, now);
        } else {
            c->items_done++;
            s->step = IDLE;
        }
        return;
    }
    if (good)
        c->introduced[s->visit.user] = 1;
    crowd_go(s, RANK, now);
}

/* New items on this page that nobody had on theirs before. */
static void see_new_items(struct crowd *c, const struct visit_answer *a, uint64_t now)
{
    size_t log_items = (size_t)c->conf->shop.items;
    for (size_t i = 0; i < a->n; i++) {
        if (a->item[i] < log_items || a->item[i] - log_items >= c->acked_cap)
            continue;
        uint64_t *acked = &c->item_acked_us[a->item[i] - log_items];
        if (*acked == 0 || *acked == UINT64_MAX)
            continue;
        tally_clock_add(&c->tally->item_us, now - *acked);
        c->tally->items_served++;
        *acked = UINT64_MAX;
    }
}

static bool wants_probe(struct crowd *c, const struct slot *s)
{
    const struct tally *t = c->tally;
    bool in_vain = t->ranking_us.n == 0 && t->ranking_same >= PROBES_IN_VAIN;
    bool clicks = false;
    for (size_t at = 0; !clicks && at < s->answer.n; at++)
        clicks = shop_people_choose(c->people, &s->visit, s->answer.item[at], at).click;
    if (!clicks || in_vain || c->conf->probe_every == 0)
        return false;
    return c->clicked++ % c->conf->probe_every == 0;
}

static void begin_report(struct crowd *c, struct slot *s, uint64_t now)
{
    buffer_reset(&s->body);
    s->events =
        visit_report(c->people, &c->conf->form, &s->visit, &s->answer, clock_wall_us(), &s->body);
    if (s->events == 0) {
        end_visit(c, s);
        return;
    }
    c->tally->events_sent += s->events;
    s->again = wants_probe(c, s);
    crowd_go(s, REPORT, now);
}

static void rank_lost(struct crowd *c, struct slot *s)
{
    c->tally->visits_lost++;
    s->step = IDLE;
}

static void rank_answer(struct crowd *c, struct slot *s, const struct simulate_answer *a,
                        uint64_t now)
{
    struct errbuf why = ERRBUF_INIT;
    if (a->status == 200) {
        tally_clock_add(&c->tally->rank_us, a->took_us);
        enum visit_fault f =
            visit_read(c->people, &c->conf->form, &s->visit, a->body, a->n, &s->answer, &why);
        c->tally->fault[f]++;
        if (f != VISIT_SOUND) {
            note_error(c, s, why.text);
            rank_lost(c, s);
            return;
        }
        tally_answer(c->tally, c->people, &c->conf->form, &s->visit, &s->answer);
        see_new_items(c, &s->answer, now);
        begin_report(c, s, now);
        return;
    }
    note_answer(c, s, a);
    bool again = a->status == 0 || a->status == 429 || a->status == 503;
    if (!again || !put_off(c, s, a, now))
        rank_lost(c, s);
}

static void report_answer(struct crowd *c, struct slot *s, const struct simulate_answer *a,
                          uint64_t now)
{
    struct tally *t = c->tally;
    uint64_t accepted, duplicates;
    if (a->status == 202) {
        tally_clock_add(&t->events_us, a->took_us);
        if (!visit_events_read(a->body, a->n, &accepted, &duplicates) ||
            accepted + duplicates != s->events) {
            t->events_wrong++;
            note_answer(c, s, a);
        } else {
            t->events_accepted += accepted;
            t->events_duplicate += duplicates;
        }
        if (s->again)
            crowd_go(s, PROBE, now);
        else
            end_visit(c, s);
        return;
    }
    note_answer(c, s, a);
    bool again = a->status == 0 || a->status == 429 || a->status >= 500;
    if (again && put_off(c, s, a, now))
        return;
    t->events_lost += s->events;
    end_visit(c, s);
}

/* Another version's scores differ anyway: they say nothing about the event. */
static void probe_answer(struct crowd *c, struct slot *s, const struct simulate_answer *a,
                         uint64_t now)
{
    struct tally *t = c->tally;
    struct visit_answer now_shown;
    enum visit_fault f = VISIT_MALFORMED;
    if (a->status == 200) {
        f = visit_read(c->people, &c->conf->form, &s->visit, a->body, a->n, &now_shown, NULL);
        t->fault[f] += f != VISIT_SOUND;
    }
    bool comparable = f == VISIT_SOUND && now_shown.version == s->answer.version &&
                      strcmp(now_shown.variant, s->answer.variant) == 0;
    if (comparable && !visit_same(&now_shown, &s->answer)) {
        tally_clock_add(&t->ranking_us, now - s->begun_us);
        end_visit(c, s);
    } else if (!comparable) {
        t->ranking_unclear++;
        end_visit(c, s);
    } else if (now - s->begun_us >= PROBE_US) {
        t->ranking_same++;
        end_visit(c, s);
    } else {
        s->due_us = now + ((uint64_t)PROBE_FIRST_US << (s->tries - 1));
    }
}

void crowd_take(struct crowd *c, const struct simulate_answer *a)
{
    struct slot *s = &c->slot[a->slot];
    uint64_t now = clock_now_us();
    s->in_flight = false;
    c->tally->code[a->status > 0 && a->status < (int)TALLY_CODES ? a->status : 0]++;
    switch (s->step) {
    case ITEM:
    case USER: profile_answer(c, s, a, now); return;
    case RANK: rank_answer(c, s, a, now); return;
    case REPORT: report_answer(c, s, a, now); return;
    case PROBE: probe_answer(c, s, a, now); return;
    case IDLE: return;
    }
}
