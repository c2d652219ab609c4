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
    optim_sgd_plain,          optim_adagrad_plain,  optim_rowwise_plain, optim_adam_plain,
    optim_momentum_plain,     optim_momentum_plain, optim_adamw_plain,   optim_amsgrad_plain,
    optim_rowwise_adam_plain, optim_ftrl_plain,     optim_stat_plain};
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
    case JOB_MOMENTUM: return OPTIM_MOMENTUM;
    case JOB_NESTEROV: return OPTIM_NESTEROV;
    case JOB_ADAMW: return OPTIM_ADAMW;
    case JOB_AMSGRAD: return OPTIM_AMSGRAD;
    case JOB_ROWWISE_ADAM: return OPTIM_ROWWISE_ADAM;
    case JOB_FTRL: return OPTIM_FTRL;
    }
    assert(!"an optimizer the option table does not know");
    return OPTIM_SGD;
}

uint32_t optim_state_floats(const struct plan_table *table)
{
    switch (kind_of(table)) {
    case OPTIM_ROWWISE: return 1;
    case OPTIM_ADAGRAD:
    case OPTIM_MOMENTUM:
    case OPTIM_NESTEROV: return table->dim;
    case OPTIM_ROWWISE_ADAM: return table->dim + 1;
    case OPTIM_ADAM:
    case OPTIM_ADAMW:
    case OPTIM_FTRL: return 2 * table->dim;
    case OPTIM_AMSGRAD: return 3 * table->dim;
    case OPTIM_SGD:
    case OPTIM_STAT: break;
    }
    return 0;
}

/* Does a row move without a gradient even where nothing decays: by momentum, or (FTRL) when the rate changes? */
static bool moves_by_itself(enum optim_kind kind)
{
    switch (kind) {
    case OPTIM_ADAM:
    case OPTIM_MOMENTUM:
    case OPTIM_NESTEROV:
    case OPTIM_ADAMW:
    case OPTIM_AMSGRAD:
    case OPTIM_ROWWISE_ADAM:
    case OPTIM_FTRL: return true;
    case OPTIM_SGD:
    case OPTIM_ADAGRAD:
    case OPTIM_ROWWISE:
    case OPTIM_STAT: break;
    }
    return false;
}

static enum steps_form form_of(enum optim_kind kind)
{
    if (kind == OPTIM_FTRL)
        return STEPS_INVERSE;
    const bool corrected = kind == OPTIM_ADAM || kind == OPTIM_ADAMW || kind == OPTIM_AMSGRAD ||
                           kind == OPTIM_ROWWISE_ADAM;
    return corrected ? STEPS_ADAM : STEPS_RATE;
}

struct optim *optim_new(const struct plan_table *table)
{
    struct optim *o = mem_zalloc(sizeof *o);
    const struct job_optim *j = &table->optim;
    o->kind = kind_of(table);
    o->dim = table->dim;
    o->damp = 1;
    if (o->kind != OPTIM_STAT) {
        const bool has_velocity = o->kind == OPTIM_MOMENTUM || o->kind == OPTIM_NESTEROV;
        o->l2 = (float)j->l2;
        o->b1 = (float)(has_velocity ? j->momentum : j->beta1);
        o->c1 = (float)(1 - j->beta1);
        o->b2 = (float)j->beta2;
        o->c2 = (float)(1 - j->beta2);
        o->eps = (float)j->eps;
        o->beta = (float)j->beta;
        o->l1 = (float)j->l1;
        o->replays = j->l2_mode == JOB_L2_EXACT && (o->l2 != 0 || moves_by_itself(o->kind));
    }
    o->kernel = choose(o->kind);
    steps_init(&o->steps, form_of(o->kind), j->rate, j->beta1, j->beta2, j->l2);
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

void optim_damp(struct optim *o, float factor)
{
    assert(factor > 0 && factor <= 1);
    o->damp = factor;
}

void optim_replay(struct optim *o, float *w, float *state, uint64_t from, uint64_t to)
{
    if (o->replays && from < to)
        o->kernel(o, w, state, NULL, from, to);
}

void optim_apply(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                 uint64_t step)
{
    assert(last <= step && step > 0);
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
