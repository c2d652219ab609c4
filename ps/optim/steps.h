/* steps.h - the scalars of each step, which all rows of a table share. Private to ps/optim.
 *
 * Below the kernels, so that optim.c may call them and they this, and nothing calls back.
 */
#ifndef PENSTOCK_PS_OPTIM_STEPS_H
#define PENSTOCK_PS_OPTIM_STEPS_H

#include <stddef.h>
#include <stdint.h>

#include "common/wire/schedule.h"

enum steps_form { STEPS_RATE, STEPS_ADAM, STEPS_INVERSE };

/* What a step's number decides.   a                        b                       d
 *   STEPS_RATE                    the rate                 -                       -
 *   STEPS_ADAM                    rate / (1 - beta1^t)     1 / sqrt(1 - beta2^t)   rate * decay
 *   STEPS_INVERSE                 1 / rate                 -                       -                */
struct scalars {
    float a, b, d;
};

/* Steps that follow each other: step i of the run has at[i * stride]. */
struct run {
    const struct scalars *at;
    uint64_t steps;
    size_t stride; /* 0 = all the same */
};

struct steps {
    enum steps_form form;
    double rate, beta1, beta2, decay;
    float a_max; /* no step's a is larger; not of STEPS_INVERSE */
    struct schedule schedule;
    /* steps 1..settled have scalars of their own; later ones change with the schedule's changes only */
    uint64_t settled;
    struct scalars *cache; /* cache[s], s in 1..cached; owned */
    uint64_t cached;
    size_t cache_cap;
    struct scalars constant; /* of the steps constant_from .. constant_to - 1, all beyond settled */
    uint64_t constant_from, constant_to;
};

/* beta1, beta2, decay: of STEPS_ADAM. No schedule yet: the rate is the same at every step. */
void steps_init(struct steps *t, enum steps_form form, double rate, double beta1, double beta2,
                double decay);
void steps_release(struct steps *t);
/* The schedule as of now; replaces the former. */
void steps_schedule(struct steps *t, const struct schedule *s);

/* The scalars of `step` by their closed form; what the cache holds. */
struct scalars steps_scalars(const struct steps *t, uint64_t step);
/* The longest run from step s, not beyond `to`. Valid until the next call. */
struct run steps_run(struct steps *t, uint64_t s, uint64_t to);

#endif
