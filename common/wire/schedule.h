/* schedule.h - the learning rate as a pure function of the step.
 *
 * factor(step) = warm-up ramp * the factor of the last change at or before the step. A table's rate is
 * max(conf.rate * factor, rate_min) once a change applies; the ramp is (step / warmup) for
 * step < warmup. The head sends it with RUN; the manifest keeps it: exact replay needs old rates.
 */
#ifndef PENSTOCK_COMMON_WIRE_SCHEDULE_H
#define PENSTOCK_COMMON_WIRE_SCHEDULE_H

#include <stdint.h>

#define SCHEDULE_CHANGES_MAX 64

struct schedule {
    uint64_t warmup;  /* steps; 0 = none */
    double rate_min;  /* floor for rates lowered by changes */
    uint32_t changes; /* number of entries below */
    struct {
        uint64_t from_step; /* first step with this factor; rising */
        double factor;
    } change[SCHEDULE_CHANGES_MAX];
};

/* Rate of a table with base rate `base` at step (from 1). */
double schedule_rate(const struct schedule *s, double base, uint64_t step);

#endif
