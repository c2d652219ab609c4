/* kernels.h - what optim.c and the kernels share. Private to ps/optim.
 *
 * A kernel brings one row from after step `last` to after step `step`: the steps between by replay, the
 * last one with the gradient g; g = NULL: all of them by replay. Every path does the same float operations
 * in the same order, no fused multiply-add, exact division and square root: results don't depend on the CPU.
 */
#ifndef PENSTOCK_PS_OPTIM_KERNELS_H
#define PENSTOCK_PS_OPTIM_KERNELS_H

#include "ps/optim/optim.h"
#include "ps/optim/steps.h"

enum optim_kind {
    OPTIM_SGD,
    OPTIM_ADAGRAD,
    OPTIM_ROWWISE,
    OPTIM_ADAM,
    OPTIM_MOMENTUM,
    OPTIM_NESTEROV,
    OPTIM_ADAMW,
    OPTIM_AMSGRAD,
    OPTIM_ROWWISE_ADAM,
    OPTIM_FTRL,
    OPTIM_STAT
};
#define OPTIM_KINDS 11

typedef void (*optim_kernel)(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                             uint64_t step);

struct optim {
    enum optim_kind kind;
    uint32_t dim;
    bool replays;              /* untouched rows move */
    float l2;                  /* added to every gradient as l2 * w; 0 = not even that */
    float b1, c1, b2, c2, eps; /* beta, 1 - beta; b1 is momentum's factor, too */
    float beta, l1;            /* ftrl */
    float damp;                /* of the steps with a gradient: their rate times this */
    struct steps steps;        /* rates and bias corrections */
    optim_kernel kernel;
};

/* A step with a gradient: its share of the rate is damped, what it adds up is not. */
static inline struct scalars optim_damped(const struct optim *o, struct scalars s)
{
    return (struct scalars){s.a * o->damp, s.b, s.d * o->damp};
}

/* rowwise_adagrad.c, for both row-wise kernels: g + l2 w of element j, g NULL = 0; and the mean of its square. */
float optim_row_grad(const struct optim *o, const float *w, const float *g, uint32_t j);
float optim_row_mean2(const struct optim *o, const float *w, const float *g);

void optim_sgd_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                     uint64_t step);
void optim_adagrad_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                         uint64_t step);
void optim_rowwise_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                         uint64_t step);
void optim_adam_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                      uint64_t step);
void optim_momentum_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                          uint64_t step);
void optim_nesterov_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                          uint64_t step);
void optim_adamw_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                       uint64_t step);
void optim_amsgrad_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                         uint64_t step);
void optim_rowwise_adam_plain(struct optim *o, float *w, float *state, const float *g,
                              uint64_t last, uint64_t step);
void optim_ftrl_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
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
