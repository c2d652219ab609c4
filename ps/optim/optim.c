/* optim.c - which kernel a table uses, and the per-step scalars that all its rows share.
 *
 * A step's scalars are a pure function of its number and the schedule (optim_scalars): doubles, powers by
 * squaring, + * / and sqrt, all exact operations of IEEE 754, so that another process on another CPU, which
 * replays the same steps a day later, computes the same bits. libm's pow may differ in its last bit from
 * one CPU to the next.
 *
 * They are kept in an array up to the step where warm-up is over and beta^t has vanished beside 1 (37,400
 * steps for beta2 = .999: 300 KB); from there on only the schedule's changes matter, and a run of any length
 * has one pair of scalars. So the cache does not grow with the length of the training.
 */
#include "ps/optim/optim.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/optim/kernels.h"

#define VANISHED 0x1p-54 /* 1 - x == 1 in double */

static const optim_kernel plain[OPTIM_KINDS] = {
    optim_sgd_plain, optim_adagrad_plain, optim_rowwise_plain, optim_adam_plain, optim_stat_plain};
static enum optim_path path_max = OPTIM_AVX512;

static enum optim_path path_now(void)
{
#if defined(__x86_64__)
    if (path_max >= OPTIM_AVX512 && __builtin_cpu_supports("avx512f"))
        return OPTIM_AVX512;
    if (path_max >= OPTIM_AVX2 && __builtin_cpu_supports("avx2"))
        return OPTIM_AVX2;
#endif
    return OPTIM_PLAIN;
}

enum optim_path optim_force(enum optim_path wanted)
{
    path_max = wanted;
    return path_now();
}

static optim_kernel choose(enum optim_kind kind)
{
    switch (path_now()) {
#if defined(__x86_64__)
    case OPTIM_AVX512: return optim_avx512[kind];
    case OPTIM_AVX2: return optim_avx2[kind];
#endif
    default: return plain[kind];
    }
}

static enum optim_kind kind_of(const struct plan_table *table)
{
    if (table->kind == PLAN_STAT)
        return OPTIM_STAT;
    switch ((enum job_optimizer)table->optim.kind) {
    case JOB_SGD: return OPTIM_SGD;
    case JOB_ADAGRAD: return OPTIM_ADAGRAD;
    case JOB_ROWWISE_ADAGRAD: return OPTIM_ROWWISE;
    case JOB_ADAM: return OPTIM_ADAM;
    }
    assert(!"an optimizer the option table does not know");
    return OPTIM_SGD;
}

uint32_t optim_state_floats(const struct plan_table *table)
{
    switch (kind_of(table)) {
    case OPTIM_ADAGRAD: return table->dim;
    case OPTIM_ROWWISE: return 1;
    case OPTIM_ADAM: return 2 * table->dim;
    case OPTIM_SGD:
    case OPTIM_STAT: break;
    }
    return 0;
}

/* x^n by squaring: the same operations everywhere. */
static double power(double x, uint64_t n)
{
    double r = 1;
    for (; n != 0; n >>= 1, x *= x)
        if ((n & 1) != 0)
            r *= x;
    return r;
}

/* A step from which on beta^t has vanished beside 1. */
static uint64_t vanishes(double beta)
{
    uint64_t n = 1;
    while (power(beta, n) >= VANISHED && n < (uint64_t)1 << 40)
        n *= 2;
    return n;
}

struct optim *optim_new(const struct plan_table *table)
{
    struct optim *o = mem_zalloc(sizeof *o);
    o->kind = kind_of(table);
    o->dim = table->dim;
    if (o->kind != OPTIM_STAT) {
        const struct job_optim *j = &table->optim;
        o->l2 = (float)j->l2;
        o->rate = j->rate;
        o->beta1 = j->beta1;
        o->beta2 = j->beta2;
        o->b1 = (float)j->beta1;
        o->c1 = (float)(1 - j->beta1);
        o->b2 = (float)j->beta2;
        o->c2 = (float)(1 - j->beta2);
        o->eps = (float)j->eps;
        o->replays = j->l2_mode == JOB_L2_EXACT && (o->l2 != 0 || o->kind == OPTIM_ADAM);
    }
    o->kernel = choose(o->kind);
    const struct schedule none = {.changes = 0};
    optim_schedule(o, &none);
    return o;
}

void optim_free(struct optim *o)
{
    if (o == NULL)
        return;
    free(o->cache);
    free(o);
}

struct scalars optim_scalars(const struct optim *o, uint64_t step)
{
    const double rate = schedule_rate(&o->schedule, o->rate, step);
    if (o->kind != OPTIM_ADAM)
        return (struct scalars){(float)rate, 0};
    return (struct scalars){(float)(rate / (1 - power(o->beta1, step))),
                            (float)(1 / sqrt(1 - power(o->beta2, step)))};
}

void optim_schedule(struct optim *o, const struct schedule *s)
{
    o->schedule = *s;
    o->cached = 0; /* the same values come back for old steps: they are pure functions */
    o->constant_from = o->constant_to = 0;
    o->settled = s->warmup;
    double rate_max = o->rate;
    for (uint32_t i = 0; i < s->changes; i++)
        rate_max = fmax(rate_max, o->rate * s->change[i].factor);
    o->a_max = (float)rate_max;
    if (o->kind != OPTIM_ADAM)
        return;
    const uint64_t later = vanishes(fmax(o->beta1, o->beta2));
    o->settled = later > o->settled ? later : o->settled;
    o->a_max = nextafterf((float)(rate_max / (1 - o->beta1)), INFINITY);
}

static void fill_cache(struct optim *o, uint64_t upto)
{
    uint64_t end = upto + upto / 2 + 64; /* beyond what is asked, so that growth is rare */
    if (end > o->settled)
        end = o->settled;
    mem_grow(&o->cache, &o->cache_cap, (size_t)end + 1, sizeof *o->cache);
    for (uint64_t s = o->cached + 1; s <= end; s++)
        o->cache[s] = optim_scalars(o, s);
    o->cached = end;
}

static void find_constant(struct optim *o, uint64_t s)
{
    o->constant = optim_scalars(o, s);
    o->constant_from = s;
    o->constant_to = UINT64_MAX;
    for (uint32_t i = o->schedule.changes; i-- > 0 && o->schedule.change[i].from_step > s;)
        o->constant_to = o->schedule.change[i].from_step;
}

struct run optim_run(struct optim *o, uint64_t s, uint64_t to)
{
    if (s <= o->settled) {
        const uint64_t end = to < o->settled ? to : o->settled;
        if (end > o->cached)
            fill_cache(o, end);
        return (struct run){&o->cache[s], end - s + 1, 1};
    }
    if (s < o->constant_from || s >= o->constant_to)
        find_constant(o, s);
    const uint64_t end = to < o->constant_to ? to : o->constant_to - 1;
    return (struct run){&o->constant, end - s + 1, 0};
}

void optim_replay(struct optim *o, float *w, float *state, uint64_t from, uint64_t to)
{
    if (o->replays && from < to)
        o->kernel(o, w, state, NULL, from, to);
}

void optim_apply(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                 uint64_t step)
{
    assert(last < step);
    o->kernel(o, w, state, g, last, step);
}

bool optim_replays(const struct optim *o)
{
    return o->replays;
}

void optim_apply_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                       uint64_t step)
{
    plain[o->kind](o, w, state, g, last, step);
}
