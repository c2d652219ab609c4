/* optim.c - which kernel a table uses: by its optimizer and by what this CPU can.
 *
 * What all rows of a table share at a step, rates and bias corrections, is in steps.c.
 */
#include "ps/optim/optim.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "ps/optim/kernels.h"

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

struct optim *optim_new(const struct plan_table *table)
{
    struct optim *o = mem_zalloc(sizeof *o);
    o->kind = kind_of(table);
    o->dim = table->dim;
    if (o->kind != OPTIM_STAT) {
        const struct job_optim *j = &table->optim;
        o->l2 = (float)j->l2;
        o->b1 = (float)j->beta1;
        o->c1 = (float)(1 - j->beta1);
        o->b2 = (float)j->beta2;
        o->c2 = (float)(1 - j->beta2);
        o->eps = (float)j->eps;
        o->replays = j->l2_mode == JOB_L2_EXACT && (o->l2 != 0 || o->kind == OPTIM_ADAM);
    }
    o->kernel = choose(o->kind);
    steps_init(&o->steps, o->kind == OPTIM_ADAM, table->optim.rate, table->optim.beta1,
               table->optim.beta2);
    return o;
}

void optim_free(struct optim *o)
{
    if (o == NULL)
        return;
    steps_release(&o->steps);
    free(o);
}

void optim_schedule(struct optim *o, const struct schedule *s)
{
    steps_schedule(&o->steps, s);
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
