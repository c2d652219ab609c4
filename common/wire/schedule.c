/* schedule.c - the learning rate as a pure function of the step.
 *
 * Doubles, and only + * / and comparisons: the same bits on every machine, because exact replay computes
 * old rates again, in another process, a day later.
 *
 * The floor is for rates that changes have lowered. It never lifts a rate above what it would be without
 * changes: a base rate below rate_min, or a warm-up's first steps, stay as they are.
 */
#include "common/wire/schedule.h"

double schedule_rate(const struct schedule *s, double base, uint64_t step)
{
    double rate = base;
    if (step < s->warmup)
        rate *= (double)step / (double)s->warmup;
    uint32_t i = s->changes < SCHEDULE_CHANGES_MAX ? s->changes : SCHEDULE_CHANGES_MAX;
    while (i > 0 && s->change[i - 1].from_step > step)
        i--;
    if (i == 0)
        return rate;
    const double changed = rate * s->change[i - 1].factor;
    const double floor = s->rate_min < rate ? s->rate_min : rate;
    return changed < floor ? floor : changed;
}
