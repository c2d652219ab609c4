/* ab_trials.c - see ab_trials.h. */
#include "launch/ab_trials.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/metrics/ab_assign.h"
#include "common/metrics/ab_sequence.h"
#include "common/metrics/ab_srm.h"

#define SRM_EVERY                                                                                  \
    100u /* users: lgamma is the dearest of the looks, and this one is never in a hurry */

struct trial {
    const struct ab_trials_config *config;
    double rho, z_least; /* z_least: no t-test is below alpha with a smaller |t| */
    struct ab_sums sums[2];
    struct ab_srm srm;
    double new_users[2]; /* since the last look at the split */
    bool sequence, peeked, once;
    uint64_t found_at;
};

static double act(const struct ab_trials_config *c, struct rng *rng, int arm)
{
    const double times = arm == 1 ? 1 + c->lift : 1;
    if (c->kind == AB_PROPORTION)
        return rng_next_unit(rng) < c->rate * times ? 1 : 0;
    return times * exp(rng_next_normal(rng));
}

static void look(struct trial *t, uint64_t users)
{
    const struct ab_trials_config *c = t->config;
    struct ab_arm a, b;
    struct ab_effect e;
    if (!ab_arm_from(&t->sums[0], c->kind, &a) || !ab_arm_from(&t->sums[1], c->kind, &b) ||
        !ab_effect_between(&a, &b, c->effect, &e))
        return;
    const struct ab_interval i = ab_sequence_with(&e, AB_TWO_SIDED, c->alpha, t->rho);
    if (!t->sequence && (i.from > 0 || i.to < 0)) {
        t->sequence = true;
        t->found_at = users;
    }
    const bool last = users == c->users;
    if ((t->peeked && !last) || fabs(e.lift) < t->z_least * e.se)
        return;
    const bool below = ab_effect_fixed(&e, AB_TWO_SIDED, c->alpha).p < c->alpha;
    t->peeked = t->peeked || below;
    t->once = last && below;
}

static void run_one(struct trial *t, uint64_t number)
{
    static const struct ab_range even[] = {{0, .5}, {.5, 1}};
    const struct ab_trials_config *c = t->config;
    struct rng rng = {.key = rng_mix(c->seed, number)};
    char seed[48], user[24];
    snprintf(seed, sizeof seed, "trial-%llu-%llu", (unsigned long long)c->seed,
             (unsigned long long)number);
    for (uint64_t u = 1; u <= c->users; u++) {
        snprintf(user, sizeof user, "%llu", (unsigned long long)u);
        const int arm = ab_choose(ab_number(AB_HASH_V2, seed, user), even, 2);
        const double y = act(c, &rng, arm);
        struct ab_sums *s = &t->sums[arm];
        s->n += 1;
        s->sum += y;
        s->square_sum += y * y;
        t->new_users[arm] += 1;
        look(t, u);
        if (u % SRM_EVERY == 0 || u == c->users) {
            (void)ab_srm_look(&t->srm, t->new_users);
            t->new_users[0] = t->new_users[1] = 0;
        }
    }
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

struct ab_trials ab_trials_run(const struct ab_trials_config *config)
{
    const double even[] = {.5, .5};
    struct ab_trials r = {.tests = config->tests};
    uint64_t *found = mem_array(config->tests + 1, sizeof *found);
    struct trial first = {.config = config};
    first.rho = ab_sequence_rho(config->alpha, config->n_star, AB_TWO_SIDED);
    /* The normal's quantile: Student's is never smaller. */
    const struct ab_effect unit = {.lift = 0, .se = 1, .n = 1e15, .degrees = 1e15};
    first.z_least = ab_effect_fixed(&unit, AB_TWO_SIDED, config->alpha).half * (1 - 1e-9);
    (void)ab_srm_init(&first.srm, even, 2);
    for (uint64_t i = 0; i < config->tests; i++) {
        struct trial t = first;
        run_one(&t, i);
        if (t.sequence)
            found[r.sequence++] = t.found_at;
        r.peeked += t.peeked;
        r.once += t.once;
        r.srm += t.srm.p < config->alpha;
    }
    qsort(found, r.sequence, sizeof *found, compare);
    r.users_median = r.sequence > 0 ? found[r.sequence / 2] : 0;
    free(found);
    return r;
}
