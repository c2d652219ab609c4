/* serve_online.c - an experiment's figures by the journal: exact under restarts at any place, with snapshots or without,
 * beside a slow count; windows, late outcomes, doubled ones, shadows, and files that changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "ps/serve/state.h"

#define SECOND 1000000ull
#define WINDOW (10 * SECOND)
#define ITEMS  3u
#define RECS   4000u
static const char *const two =
    "seed: s\nname: t\nwindow: 10s\nvariants:\n"
    "  - {name: a}\n  - {name: b}\n  - {name: c, shadow: true, version: 3}\n"
    "metrics:\n  - {name: ctr, event: click, kind: ratio}\n"
    "  - {name: spent, event: buy, kind: mean, amount: true, cuped: true}\n";

struct node { /* what a node has of it */
    char dir[64];
    struct experiment experiment;
    struct interaction interaction; /* off */
    struct fields fields;
    struct online online;
    struct state *state;
};

static void start(struct node *n, const char *text, uint64_t compact_bytes)
{
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(experiment_parse(text, strlen(text), "t.yaml", &n->experiment, &err), ST_OK);
    online_init(&n->online, &n->experiment, 1u << 20);
    n->interaction.fd = -1;
    n->state = mem_zalloc(sizeof(*n->state));
    const struct state_conf conf = {.dir = n->dir,
                                    .users_max = 1000,
                                    .items_max = 1000,
                                    .history_max = 10,
                                    .seen_max = 100,
                                    .exposures_max = 1u << 20,
                                    .compact_bytes = compact_bytes,
                                    .fields = &n->fields,
                                    .interaction = &n->interaction,
                                    .online = &n->online};
    state_open(n->state, &conf);
    if (state_replay(n->state, &err) != ST_OK)
        fail_msg("%s", err.text);
}

/* Nothing is written at an end but what was durable before: to the folder it is a kill. */
static void stop(struct node *n)
{
    state_close(n->state);
    free(n->state);
    online_release(&n->online);
    experiment_release(&n->experiment);
}

static struct node *node_new(const char *text, uint64_t compact_bytes)
{
    struct node *n = mem_zalloc(sizeof(*n));
    snprintf(n->dir, sizeof(n->dir), "/tmp/penstock-online.XXXXXX");
    assert_non_null(mkdtemp(n->dir));
    start(n, text, compact_bytes);
    return n;
}

static void node_free(struct node *n)
{
    char command[128];
    stop(n);
    snprintf(command, sizeof(command), "rm -rf %s", n->dir);
    assert_int_equal(system(command), 0);
    fields_release(&n->fields);
    free(n);
}

static void rec_of(unsigned at, char out[EXPOSURE_REC + 1])
{
    snprintf(out, EXPOSURE_REC + 1, "%026u", at);
}

static void commit(struct node *n)
{
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(state_end(n->state, &err), ST_OK);
    assert_int_equal(state_commit(n->state, &err), ST_OK);
}

/* Items 0 .. ITEMS-1 with logits 0, 1, 2 are shown to a unit; before: its covariate, if it is new. */
static void show(struct node *n, unsigned rec, size_t variant, uint64_t unit, uint64_t now,
                 const double *before)
{
    char name[EXPOSURE_REC + 1];
    struct served_item item[ITEMS];
    struct served_put p = {.tag = n->online.tag[variant],
                           .time = now,
                           .unit = unit,
                           .item = item,
                           .items = ITEMS,
                           .before = before,
                           .befores = 2};
    rec_of(rec, name);
    memcpy(p.rec, name, EXPOSURE_REC);
    for (unsigned i = 0; i < ITEMS; i++)
        item[i] = (struct served_item){.item = i + 1, .logit = (float)i};
    state_begin(n->state);
    online_put_served(&p, &n->state->frame);
    commit(n);
}

static void happen(struct node *n, unsigned rec, unsigned item, const char *type, double value)
{
    char name[EXPOSURE_REC + 1];
    rec_of(rec, name);
    state_begin(n->state);
    online_put_joined(&n->online, name, item + 1, type, strlen(type), true, value,
                      &n->state->frame);
    commit(n);
}

static char *text_of(const struct node *n)
{
    struct json *j = online_json(&n->online);
    char *text = json_text(j, 0);
    json_free(j);
    return text;
}

/* ---- a slow count ------------------------------------------------------------------------------- */

struct slow {
    struct {
        bool shown, closed, clicked[ITEMS], positive[ITEMS], late[ITEMS];
        size_t variant;
        uint64_t time;
    } rec[RECS];
    double clicks[2], spent[2], exposures[2], before[2];
};

static void slow_close(struct slow *s, uint64_t now)
{
    for (unsigned r = 0; r < RECS; r++)
        s->rec[r].closed |= s->rec[r].shown && s->rec[r].time + WINDOW <= now;
}

static void compare(const struct node *n, const struct slow *s)
{
    for (size_t v = 0; v < 2; v++) {
        const struct ab_online *a = &n->online.variant[v];
        uint64_t examples = 0, positives = 0, corrected = 0;
        for (unsigned r = 0; r < RECS; r++)
            for (unsigned i = 0; i < ITEMS && s->rec[r].shown; i++) {
                if (s->rec[r].variant != v)
                    continue;
                examples += s->rec[r].closed || s->rec[r].positive[i];
                positives += s->rec[r].positive[i];
                corrected += s->rec[r].late[i];
            }
        assert_int_equal(a->loss.count, examples);
        assert_int_equal(a->loss.positives, positives);
        assert_int_equal(a->corrected, corrected);
        assert_int_equal(a->refused + a->users.refused, 0);
        assert_true(a->users.sums[0].d_sum == s->exposures[v]);
        assert_true(a->users.sums[0].sum == s->clicks[v]);
        assert_true(a->users.sums[1].sum == s->spent[v]);
        assert_true(a->users.sums[1].x_sum == s->before[v]);
    }
}

static void slow_happen(struct slow *s, unsigned rec, unsigned item, bool buy, double value)
{
    const size_t v = s->rec[rec].variant;
    if (buy)
        s->spent[v] += value;
    else if (!s->rec[rec].clicked[item])
        s->clicks[v]++;
    s->rec[rec].clicked[item] |= !buy;
    s->rec[rec].late[item] |= !s->rec[rec].positive[item] && s->rec[rec].closed;
    s->rec[rec].positive[item] = true;
}

/* What may come next, many times; restarts in between must change nothing. */
static void walk(uint64_t seed, uint64_t compact_bytes)
{
    struct node *n = node_new(two, compact_bytes);
    struct slow *s = mem_zalloc(sizeof(*s));
    struct rng rng = {seed, 0};
    uint64_t now = 1000 * SECOND;
    unsigned recs = 0;
    for (unsigned step = 0; step < 1500; step++) {
        const uint64_t what = rng_below(&rng, 100);
        const unsigned item = (unsigned)rng_below(&rng, ITEMS);
        now += rng_below(&rng, SECOND / 2);
        if (what < 30 && recs < RECS) {
            const uint64_t unit = 1 + rng_below(&rng, 40);
            const double before[2] = {0, (double)(unit % 5)};
            const size_t v = unit & 1;
            const bool new = !online_has_unit(&n->online, v, unit);
            show(n, recs, v, unit, now, new ? before : NULL);
            s->before[v] += new ? before[1] : 0;
            s->rec[recs].shown = true;
            s->rec[recs].variant = v;
            s->rec[recs++].time = now;
            s->exposures[v] += ITEMS;
        } else if (what < 80 && recs > 0) {
            const unsigned back = (unsigned)rng_below(&rng, recs < 60 ? recs : 60);
            const bool buy = rng_below(&rng, 4) == 0;
            happen(n, recs - 1 - back, item, buy ? "buy" : "click", (double)item + 1);
            slow_happen(s, recs - 1 - back, item, buy, (double)item + 1);
        } else if (what < 97) {
            state_tick(n->state, now, WINDOW);
            slow_close(s, now);
        } else {
            char *was = text_of(n);
            stop(n);
            start(n, two, compact_bytes);
            char *is = text_of(n);
            assert_string_equal(was, is);
            free(was);
            free(is);
        }
        if (step % 100 == 0)
            compare(n, s);
    }
    compare(n, s);
    assert_int_equal(n->online.unmatched, 0);
    assert_true(compact_bytes > 1u << 20 || n->state->journal.base > 2);
    free(s);
    node_free(n);
}

static void test_exact(void **state)
{
    (void)state;
    walk(1, 1u << 30);
}

static void test_exact_with_snapshots(void **state)
{
    (void)state;
    walk(2, 8192);
}

/* ---- cases -------------------------------------------------------------------------------------- */

static void test_late_and_unmatched(void **state)
{
    (void)state;
    struct node *n = node_new(two, 1u << 30);
    const struct ab_online *a = &n->online.variant[0];
    show(n, 1, 0, 5, 100 * SECOND, NULL);
    happen(n, 1, 2, "click", 1);
    happen(n, 1, 2, "click", 1); /* said twice: once */
    assert_int_equal(a->loss.count, 1);
    assert_true(a->users.sums[0].sum == 1 && a->users.sums[0].d_sum == ITEMS);
    state_tick(n->state, 100 * SECOND + WINDOW - 1, WINDOW);
    assert_int_equal(a->loss.count, 1); /* the window is not over */
    state_tick(n->state, 100 * SECOND + WINDOW, WINDOW);
    assert_int_equal(a->loss.count, ITEMS);
    assert_int_equal(a->loss.positives, 1);
    happen(n, 1, 0, "click", 1);
    assert_int_equal(a->loss.count, ITEMS); /* corrected, not added */
    assert_int_equal(a->loss.positives, 2);
    assert_int_equal(a->corrected, 1);
    assert_true(a->users.sums[0].sum == 2);
    happen(n, 1, 7, "click", 1); /* not shown */
    happen(n, 2, 0, "click", 1); /* no such recommendation */
    assert_int_equal(n->online.unmatched, 2);
    state_tick(n->state, 100 * SECOND + WINDOW + 25 * 3600 * SECOND, WINDOW);
    assert_int_equal(n->online.used, 0);
    happen(n, 1, 1, "click", 1); /* forgotten by now, and said so */
    assert_int_equal(n->online.unmatched, 3);
    assert_int_equal(a->loss.positives, 2);
    node_free(n);
}

static void test_shadow(void **state)
{
    (void)state;
    struct node *n = node_new(two, 1u << 30);
    const struct ab_online *a = &n->online.variant[0], *c = &n->online.variant[2];
    show(n, 1, 0, 5, 100 * SECOND, NULL);
    show(n, 1, 2, 5, 100 * SECOND, NULL);
    happen(n, 1, 2, "click", 1);
    state_tick(n->state, 100 * SECOND + WINDOW, WINDOW);
    assert_int_equal(a->loss.count, ITEMS);
    assert_int_equal(c->loss.count, ITEMS);
    assert_int_equal(c->loss.positives, 1);
    assert_int_equal(a->users.users, 1);
    assert_int_equal(c->users.users, 0); /* nobody was shown it */
    node_free(n);
}

/* Another seed deals users again: what the old one counted is nobody's. */
static void test_changed_file(void **state)
{
    (void)state;
    struct node *n = node_new(two, 1u << 30);
    show(n, 1, 0, 5, 100 * SECOND, NULL);
    stop(n);
    char *other = mem_strdup(two);
    other[6] = 'z'; /* seed: z */
    start(n, other, 1u << 30);
    assert_int_equal(n->online.variant[0].users.users, 0);
    assert_int_equal(n->online.used, 0);
    stop(n);
    start(n, two, 1u << 30);
    assert_int_equal(n->online.variant[0].users.users, 1);
    free(other);
    node_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_exact_with_snapshots),
        cmocka_unit_test(test_late_and_unmatched),
        cmocka_unit_test(test_shadow),
        cmocka_unit_test(test_changed_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
