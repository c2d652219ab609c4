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
    struct steps steps;        /* rates and bias corrections */
    optim_kernel kernel;
};

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
