/* tally.c - see tally.h. */
#include "launch/tally.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rng.h"

void tally_init(struct tally *t)
{
    memset(t, 0, sizeof *t);
    auc_init(&t->served);
    auc_init(&t->truth);
}

void tally_release(struct tally *t)
{
    auc_release(&t->served);
    auc_release(&t->truth);
    free(t->rank_us.sample);
    free(t->events_us.sample);
    free(t->ranking_us.sample);
    free(t->item_us.sample);
}

/* ---- clocks ------------------------------------------------------------------------------------- */

void tally_clock_add(struct tally_clock *c, uint64_t us)
{
    uint64_t at = c->n++;
    if (c->sample == NULL)
        c->sample = mem_array(TALLY_SAMPLE, sizeof *c->sample);
    if (at >= TALLY_SAMPLE) {
        at = rng_u64(1, c->n, 0) % c->n;
        if (at >= TALLY_SAMPLE)
            at = UINT64_MAX;
    }
    if (at != UINT64_MAX)
        c->sample[at] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    c->max = us > c->max ? us : c->max;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

uint64_t tally_clock_quantile(const struct tally_clock *c, double q)
{
    size_t n = c->n < TALLY_SAMPLE ? (size_t)c->n : TALLY_SAMPLE;
    if (n == 0)
        return 0;
    qsort(c->sample, n, sizeof *c->sample, by_value); /* order means nothing to a sample */
    size_t at = (size_t)ceil(q * (double)n);
    return c->sample[at > 0 ? at - 1 : 0];
}

/* ---- a ranking ---------------------------------------------------------------------------------- */

static struct tally_variant *variant_of(struct tally *t, const char *name)
{
    for (size_t i = 0; i < t->variants; i++)
        if (strcmp(t->variant[i].name, name) == 0)
            return &t->variant[i];
    if (t->variants == TALLY_VARIANTS)
        return NULL;
    struct tally_variant *v = &t->variant[t->variants++];
    memcpy(v->name, name, strlen(name) + 1);
    return v;
}

void tally_answer(struct tally *t, const struct shop_people *p, const struct visit_form *f,
                  const struct shop_visit *v, const struct visit_answer *a)
{
    double best, mean;
    uint64_t clicks = 0;
    if (t->versions_low == 0 || a->version < t->versions_low)
        t->versions_low = a->version;
    if (a->version > t->versions_high)
        t->versions_high = a->version;
    for (size_t at = 0; at < a->n; at++) {
        struct shop_choice c = shop_people_choose(p, v, a->item[at], at);
        float score = (float)a->score[at], liking = (float)c.liking, label = c.likes;
        auc_add(&t->served, &score, &label, 1);
        auc_add(&t->truth, &liking, &label, 1);
        t->expected += c.liking * shop_world_examined(at);
        clicks += c.click;
        t->carts += c.cart;
        t->buys += c.buy;
    }
    t->clicks += clicks;
    t->shown += a->n;
    shop_people_orders(p, v, f->recommend ? NULL : v->candidate, f->candidates, a->n, &best, &mean);
    t->best += best;
    t->random += mean;
    if (a->variant[0] == '\0')
        return;
    struct tally_variant *w = variant_of(t, a->variant);
    if (w == NULL) {
        t->variants_beyond++;
        return;
    }
    w->answers++;
    w->shown += a->n;
    w->clicks += clicks;
}

/* ---- the sums ----------------------------------------------------------------------------------- */

static double part(double a, double b)
{
    return b > 0 ? a / b : 0;
}

uint64_t tally_wrong(const struct tally *t)
{
    uint64_t sum = t->events_lost + t->events_wrong + t->profiles_lost;
    for (int f = VISIT_SOUND + 1; f < VISIT_FAULTS; f++)
        sum += t->fault[f];
    for (size_t code = 500; code < TALLY_CODES; code++)
        sum += code != 503 ? t->code[code] : 0;
    return sum;
}

static uint64_t requests(const struct tally *t)
{
    uint64_t sum = 0;
    for (size_t code = 0; code < TALLY_CODES; code++)
        sum += t->code[code];
    return sum;
}

/* How far from the random order towards the best one, 1 being the best. */
static double gain(const struct tally *t)
{
    return part(t->expected - t->random, t->best - t->random);
}

static struct json *clock_json(const struct tally_clock *c)
{
    struct json *j = json_object();
    json_set_u64(j, "n", c->n);
    json_set_f64(j, "p50", c->n > 0 ? (double)tally_clock_quantile(c, .5) / 1e3 : NAN);
    json_set_f64(j, "p99", c->n > 0 ? (double)tally_clock_quantile(c, .99) / 1e3 : NAN);
    json_set_f64(j, "max", c->n > 0 ? (double)c->max / 1e3 : NAN);
    return j;
}

static struct json *codes_json(const struct tally *t)
{
    struct json *j = json_object();
    char name[16];
    for (size_t code = 0; code < TALLY_CODES; code++) {
        snprintf(name, sizeof name, "%zu", code);
        if (t->code[code] > 0)
            json_set_u64(j, code > 0 ? name : "none", t->code[code]);
    }
    return j;
}

static struct json *variants_json(const struct tally *t)
{
    struct json *list = json_array();
    for (size_t i = 0; i < t->variants; i++) {
        const struct tally_variant *v = &t->variant[i];
        struct json *j = json_object();
        json_set_str(j, "variant", v->name);
        json_set_u64(j, "answers", v->answers);
        json_set_f64(j, "share", part((double)v->answers, (double)t->fault[VISIT_SOUND]));
        json_set_u64(j, "shown", v->shown);
        json_set_u64(j, "clicks", v->clicks);
        json_set_f64(j, "ctr", part((double)v->clicks, (double)v->shown));
        json_add(list, j);
    }
    return list;
}

static struct json *clicks_json(const struct tally *t)
{
    struct json *j = json_object();
    double shown = (double)t->shown;
    json_set_u64(j, "shown", t->shown);
    json_set_u64(j, "clicks", t->clicks);
    json_set_u64(j, "carts", t->carts);
    json_set_u64(j, "buys", t->buys);
    json_set_f64(j, "ctr", part((double)t->clicks, shown));
    json_set_f64(j, "ctr_expected", part(t->expected, shown));
    json_set_f64(j, "ctr_best", part(t->best, shown));
    json_set_f64(j, "ctr_random", part(t->random, shown));
    json_set_f64(j, "gain", gain(t));
    json_set_f64(j, "auc", auc_value(&t->served).auc);
    json_set_f64(j, "auc_truth", auc_value(&t->truth).auc);
    return j;
}

static struct json *events_json(const struct tally *t)
{
    struct json *j = json_object();
    json_set_u64(j, "sent", t->events_sent);
    json_set_u64(j, "accepted", t->events_accepted);
    json_set_u64(j, "duplicates", t->events_duplicate);
    json_set_u64(j, "lost", t->events_lost);
    return j;
}

static struct json *freshness_json(const struct tally *t)
{
    struct json *j = json_object();
    json_set(j, "event_to_ranking_ms", clock_json(&t->ranking_us));
    json_set_u64(j, "event_without_effect", t->ranking_same);
    json_set_u64(j, "event_unclear", t->ranking_unclear);
    json_set(j, "item_to_served_ms", clock_json(&t->item_us));
    json_set_u64(j, "items_new", t->items_new);
    json_set_u64(j, "items_served", t->items_served);
    return j;
}

struct json *tally_json(const struct tally *t)
{
    struct json *j = json_object(), *visits = json_object(), *wrong = json_object();
    struct json *versions = json_object();
    json_set_u64(visits, "begun", t->visits);
    json_set_u64(visits, "done", t->visits_done);
    json_set_u64(visits, "lost", t->visits_lost);
    json_set_f64(visits, "seconds", (double)t->took_us / 1e6);
    json_set_f64(visits, "rate", part((double)t->visits, (double)t->took_us / 1e6));
    json_set_f64(visits, "slipped_seconds", (double)t->slipped_us / 1e6);
    json_set(j, "visits", visits);
    json_set(j, "requests", codes_json(t));
    json_set_u64(j, "retries", t->retries);
    json_set_u64(j, "backed_off", t->backed_off);
    for (int f = VISIT_SOUND + 1; f < VISIT_FAULTS; f++)
        json_set_u64(wrong, visit_fault_names[f], t->fault[f]);
    json_set_u64(wrong, "events", t->events_wrong);
    json_set_u64(wrong, "all", tally_wrong(t));
    json_set(j, "wrong", wrong);
    json_set_u64(versions, "lowest", t->versions_low);
    json_set_u64(versions, "highest", t->versions_high);
    json_set(j, "versions", versions);
    json_set(j, "rank_ms", clock_json(&t->rank_us));
    json_set(j, "events_ms", clock_json(&t->events_us));
    json_set(j, "events", events_json(t));
    json_set_u64(j, "profiles", t->profiles);
    json_set_u64(j, "profiles_lost", t->profiles_lost);
    json_set(j, "clicks", clicks_json(t));
    json_set(j, "freshness", freshness_json(t));
    json_set(j, "variants", variants_json(t));
    json_set_u64(j, "variants_beyond", t->variants_beyond);
    json_set_str(j, "error", t->error.text);
    return j;
}

/* ---- the table ---------------------------------------------------------------------------------- */

static void put_clock(struct buffer *out, const char *what, const struct tally_clock *c)
{
    if (c->n == 0)
        return;
    buffer_printf(out, "%-22s p50 %.2f ms, p99 %.2f ms, max %.2f ms (%" PRIu64 ")\n", what,
                  (double)tally_clock_quantile(c, .5) / 1e3,
                  (double)tally_clock_quantile(c, .99) / 1e3, (double)c->max / 1e3, c->n);
}

static void put_requests(const struct tally *t, struct buffer *out)
{
    buffer_printf(out, "%-22s %" PRIu64 " (", "requests", requests(t));
    const char *comma = "";
    for (size_t code = 0; code < TALLY_CODES; code++) {
        if (t->code[code] == 0)
            continue;
        if (code == 0)
            buffer_printf(out, "no answer: %" PRIu64, t->code[code]);
        else
            buffer_printf(out, "%s%zu: %" PRIu64, comma, code, t->code[code]);
        comma = ", ";
    }
    buffer_printf(out, "), %" PRIu64 " tried again, %" PRIu64 " backed off\n", t->retries,
                  t->backed_off);
}

static void put_freshness(const struct tally *t, struct buffer *out)
{
    put_clock(out, "event -> ranking", &t->ranking_us);
    if (t->ranking_same + t->ranking_unclear > 0)
        buffer_printf(out,
                      "%-22s %" PRIu64 " without effect, %" PRIu64
                      " unclear (another version, or no answer)\n",
                      "", t->ranking_same, t->ranking_unclear);
    put_clock(out, "new item -> served", &t->item_us);
    if (t->items_new > 0)
        buffer_printf(out, "%-22s %" PRIu64 ", %" PRIu64 " of them on somebody's page\n",
                      "new items", t->items_new, t->items_served);
}

void tally_text(const struct tally *t, struct buffer *out)
{
    double shown = (double)t->shown, seconds = (double)t->took_us / 1e6;
    buffer_printf(out, "%-22s %" PRIu64 " in %.1f s, %.1f/s; %" PRIu64 " lost; put off by %.2f s\n",
                  "visits", t->visits, seconds, part((double)t->visits, seconds), t->visits_lost,
                  (double)t->slipped_us / 1e6);
    put_requests(t, out);
    buffer_printf(out, "%-22s %" PRIu64 " to %" PRIu64 "\n", "versions", t->versions_low,
                  t->versions_high);
    put_clock(out, "rank", &t->rank_us);
    put_clock(out, "events", &t->events_us);
    buffer_printf(
        out, "%-22s %" PRIu64 " sent, %" PRIu64 " accepted, %" PRIu64 " known, %" PRIu64 " lost\n",
        "events", t->events_sent, t->events_accepted, t->events_duplicate, t->events_lost);
    buffer_printf(out,
                  "%-22s %.4f (expected %.4f); random order %.4f, best order %.4f: %.1f %% of the "
                  "way\n",
                  "CTR", part((double)t->clicks, shown), part(t->expected, shown),
                  part(t->random, shown), part(t->best, shown), 100 * gain(t));
    buffer_printf(out,
                  "%-22s %.4f; the truth's %.4f (who would click, looking at what was shown)\n",
                  "AUC", auc_value(&t->served).auc, auc_value(&t->truth).auc);
    put_freshness(t, out);
    for (size_t i = 0; i < t->variants; i++) {
        const struct tally_variant *v = &t->variant[i];
        buffer_printf(out, "%-22s %s: %.2f %% of the answers, CTR %.4f\n", i == 0 ? "variants" : "",
                      v->name, 100 * part((double)v->answers, (double)t->fault[VISIT_SOUND]),
                      part((double)v->clicks, (double)v->shown));
    }
    buffer_printf(out, "%-22s %" PRIu64, "wrong", tally_wrong(t));
    for (int f = VISIT_SOUND + 1; f < VISIT_FAULTS; f++)
        if (t->fault[f] > 0)
            buffer_printf(out, ", %s %" PRIu64, visit_fault_names[f], t->fault[f]);
    buffer_printf(out, "\n");
    if (t->error.text[0] != '\0')
        buffer_printf(out, "%-22s %s\n", "last error", t->error.text);
}
