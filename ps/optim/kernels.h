/* kernels.h - what optim.c and the kernels share. Private to ps/optim.
 *
 * A kernel brings one row from after step `last` to after step `step`: the steps between by replay, the
 * last one with the gradient g; g = NULL: all of them by replay. Every path does the same float operations
 * in the same order, no fused multiply-add, exact division and square root: results don't depend on the CPU.
 */
#ifndef PENSTOCK_PS_OPTIM_KERNELS_H
#define PENSTOCK_PS_OPTIM_KERNELS_H

#include "ps/optim/optim.h"

/* What a step's number decides: a = the rate (Adam: over 1 - beta1^t), b = Adam's 1 / sqrt(1 - beta2^t). */
struct scalars {
    float a, b;
};

/* Steps that follow each other: step i of the run has at[i * stride]. */
struct run {
    const struct scalars *at;
    uint64_t steps;
    size_t stride; /* 0 = all the same */
};

enum optim_kind { OPTIM_SGD, OPTIM_ADAGRAD, OPTIM_ROWWISE, OPTIM_ADAM, OPTIM_STAT };
#define OPTIM_KINDS 5

typedef void (*optim_kernel)(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                             uint64_t step);

struct optim {
    enum optim_kind kind;
    uint32_t dim;
    bool replays;              /* untouched rows move */
    float l2;                  /* added to every gradient as l2 * w; 0 = not even that */
    float b1, c1, b2, c2, eps; /* beta, 1 - beta */
    float a_max;               /* no step's a is larger */
    double rate, beta1, beta2;
    struct schedule schedule;
    optim_kernel kernel;
    /* steps 1..settled have scalars of their own; later ones change with the schedule's changes only */
    uint64_t settled;
    struct scalars *cache; /* cache[s], s in 1..cached; owned */
    uint64_t cached;
    size_t cache_cap;
    struct scalars constant; /* of the steps constant_from .. constant_to - 1, all beyond settled */
    uint64_t constant_from, constant_to;
};

/* The scalars of `step` by their closed form; what the cache holds. */
struct scalars optim_scalars(const struct optim *o, uint64_t step);
/* The longest run from step s, not beyond `to`. Valid until the next call. */
struct run optim_run(struct optim *o, uint64_t s, uint64_t to);

void optim_sgd_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                     uint64_t step);
void optim_adagrad_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                         uint64_t step);
void optim_rowwise_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                         uint64_t step);
void optim_adam_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                      uint64_t step);
void optim_stat_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                      uint64_t step);

/* By enum optim_kind; call only where the CPU can. */
extern const optim_kernel optim_avx2[OPTIM_KINDS];
extern const optim_kernel optim_avx512[OPTIM_KINDS];

/* For tests: all optimizers made afterwards use at most this path. */
enum optim_path { OPTIM_PLAIN, OPTIM_AVX2, OPTIM_AVX512 };
enum optim_path optim_force(enum optim_path wanted); /* the one that is used */

#endif
