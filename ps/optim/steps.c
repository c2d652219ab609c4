/* steps.c - per-step scalars, a pure function of a step's number and the schedule.
 *
 * Doubles, powers by squaring, + * / and sqrt, all exact operations of IEEE 754, so that another process on
 * another CPU, which replays the same steps a day later, computes the same bits. libm's pow may differ in its
 * last bit from one CPU to the next.
 *
 * They are kept in an array up to the step where warm-up is over and beta^t has vanished beside 1 (a power of
 * two: 65,536 steps, 768 KB, for beta2 = .999); from there on only the schedule's changes matter, and a run of any length
 * has one pair of scalars. So the cache does not grow with the length of the training.
 */
#include "ps/optim/steps.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"

#define VANISHED 0x1p-54 /* 1 - x == 1 in double */
#define RATE_MIN 1e-20   /* so that an inverse is finite, and what is added up with it */

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

struct scalars steps_scalars(const struct steps *t, uint64_t step)
{
    const double rate = schedule_rate(&t->schedule, t->rate, step);
    switch (t->form) {
    case STEPS_RATE: break;
    case STEPS_INVERSE: return (struct scalars){(float)(1 / fmax(rate, RATE_MIN)), 0, 0};
    case STEPS_ADAM:
        return (struct scalars){(float)(rate / (1 - power(t->beta1, step))),
                                (float)(1 / sqrt(1 - power(t->beta2, step))),
                                (float)(rate * t->decay)};
    }
    return (struct scalars){(float)rate, 0, 0};
}

void steps_schedule(struct steps *t, const struct schedule *s)
{
    t->schedule = *s;
    t->cached = 0; /* the same values come back for old steps: they are pure functions */
    t->constant_from = t->constant_to = 0;
    t->settled = s->warmup;
    double rate_max = t->rate;
    for (uint32_t i = 0; i < s->changes; i++)
        rate_max = fmax(rate_max, t->rate * s->change[i].factor);
    t->a_max = (float)rate_max;
    if (t->form != STEPS_ADAM)
        return;
    const uint64_t later = vanishes(fmax(t->beta1, t->beta2));
    t->settled = later > t->settled ? later : t->settled;
    t->a_max = nextafterf((float)(rate_max / (1 - t->beta1)), INFINITY);
}

void steps_init(struct steps *t, enum steps_form form, double rate, double beta1, double beta2,
                double decay)
{
    *t = (struct steps){.form = form, .rate = rate, .beta1 = beta1, .beta2 = beta2, .decay = decay};
    const struct schedule none = {.changes = 0};
    steps_schedule(t, &none);
}

void steps_release(struct steps *t)
{
    free(t->cache);
    *t = (struct steps){.cache = NULL};
}

static void fill_cache(struct steps *t, uint64_t upto)
{
    uint64_t end = upto + upto / 2 + 64; /* beyond what is asked, so that growth is rare */
    if (end > t->settled)
        end = t->settled;
    mem_grow(&t->cache, &t->cache_cap, (size_t)end + 1, sizeof *t->cache);
    for (uint64_t s = t->cached + 1; s <= end; s++)
        t->cache[s] = steps_scalars(t, s);
    t->cached = end;
}

static void find_constant(struct steps *t, uint64_t s)
{
    t->constant = steps_scalars(t, s);
    t->constant_from = s;
    t->constant_to = UINT64_MAX;
    for (uint32_t i = t->schedule.changes; i-- > 0 && t->schedule.change[i].from_step > s;)
        t->constant_to = t->schedule.change[i].from_step;
}

struct run steps_run(struct steps *t, uint64_t s, uint64_t to)
{
    if (s <= t->settled) {
        const uint64_t end = to < t->settled ? to : t->settled;
        if (end > t->cached)
            fill_cache(t, end);
        return (struct run){&t->cache[s], end - s + 1, 1};
    }
    if (s < t->constant_from || s >= t->constant_to)
        find_constant(t, s);
    const uint64_t end = to < t->constant_to ? to : t->constant_to - 1;
    return (struct run){&t->constant, end - s + 1, 0};
}
