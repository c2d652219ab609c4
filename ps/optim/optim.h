/* optim.h - optimizers: pure kernels over one record's weights and state.
 *
 * Step numbers: the n-th push applied by a shard is step n (from 1); every push goes to every shard, so
 * all agree. A row remembers the last step that touched it; the steps between are *replayed* at its next
 * touch with gradient l2 * w (l2_mode exact), so that a lazy row equals one of dense Adam with dense L2
 * to rounding (ps/optim/README.md, "Missed steps"). With l2_mode touched nothing is replayed: L2 is added at
 * touches only.
 * Replay is a loop of single steps: replaying a..b then b..c gives the bits of a..c.
 *
 * State per row, in floats: sgd 0; momentum, nesterov dim (v); adagrad dim (n); row-wise adagrad 1 (n); adam,
 * adamw 2 dim (m, v); amsgrad 3 dim (m, v, the largest v); row-wise adam dim + 1 (m, v); ftrl 2 dim (z, n);
 * stat 0. A fresh row's state is zeros.
 * Formulas: reference of the field, PyTorch's forms (eps outside the root). Adam's t is the global step.
 */
#ifndef PENSTOCK_PS_OPTIM_OPTIM_H
#define PENSTOCK_PS_OPTIM_OPTIM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/job.h"
#include "common/base/plan.h"
#include "common/wire/schedule.h"

struct optim; /* opaque: a table's settings and its cache of per-step scalars (rates, bias terms) */

/* table: of the plan; its kind decides (PLAN_STAT: w += (x - w) * PLAN_STAT_RATE). */
struct optim *optim_new(const struct plan_table *table);
void optim_free(struct optim *o);
uint32_t optim_state_floats(const struct plan_table *table);
/* The schedule as of now; replaces the former. Changes lie only in steps not yet applied. */
void optim_schedule(struct optim *o, const struct schedule *s);
/* The rate of the gradients applied from here on is multiplied by factor, in (0, 1]: they are stale. Only the
 * step that a gradient makes: not what it adds to the state, not replayed steps. FTRL has no such step. */
void optim_damp(struct optim *o, float factor);

/* Bring w, state from after step `from` to after step `to` with no gradient. No-op when nothing moves. */
void optim_replay(struct optim *o, float *w, float *state, uint64_t from, uint64_t to);
/* One touched row at `step`: replay (last, step - 1], then the update with g. g: (dim). last = step: a further gradient
 * of the same step (workers whose steps are one clock), with the same rate and bias terms. */
void optim_apply(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                 uint64_t step);
/* Does a row that isn't touched move? (then full cuts render) */
bool optim_replays(const struct optim *o);
/* The obvious one-element-at-a-time double-free path, for tests: same contract. */
void optim_apply_plain(struct optim *o, float *w, float *state, const float *g, uint64_t last,
                       uint64_t step);

#endif
