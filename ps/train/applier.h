/* applier.h - where gradients meet rows: a shard's pulls and pushes on its own tables, one table a call.
 *
 * Knows the store and the optimizers, and no message, worker or clock. Shard thread only.
 *
 * Slots, in both calls: in, a guess for each key or SLOT_NONE (what an earlier pull found); out, where the
 * rows are. A guess is checked against the key that stands in the row, so an old one costs a lookup and is
 * never wrong. After warm-up neither call asks for memory, unless rows are new.
 */
#ifndef PENSTOCK_PS_TRAIN_APPLIER_H
#define PENSTOCK_PS_TRAIN_APPLIER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/plan.h"
#include "common/wire/schedule.h"
#include "ps/snapshot/undo.h"
#include "ps/store/table.h"

struct applier; /* opaque */

/* What became of the rows of a push; calls add to it. */
struct applier_result {
    uint64_t rows;        /* looked at: all of these below and those simply updated */
    uint64_t added;       /* rows that were not there */
    uint64_t clipped;     /* scaled down to clip_row */
    uint64_t refused;     /* not finite, or some |g| > grad_max: the row is as it was */
    uint64_t refused_key; /* the first of them; valid if refused > 0 */
    uint64_t full;        /* new rows that the budget had no room for: not made */
    uint64_t full_key;    /* the first of them; valid if full > 0 */
};

/* plan, store: borrowed, outlive the applier. clip_row, grad_max: 0 = off (then only non-finite gradients
 * are refused). clip_row is for sparse rows: a dense block is no row of anything. Averaged tensors (PLAN_STAT)
 * send values, not gradients: they are refused only where they are not finite. */
struct applier *applier_new(const struct plan *plan, struct store *store, double clip_row,
                            double grad_max);
void applier_free(struct applier *ap);
/* Rates from here on; may differ from the former schedule only in steps that are not applied yet. */
void applier_schedule(struct applier *ap, const struct schedule *s);

/* A push begins: what is judged of its keys holds until the next one. */
void applier_begin(struct applier *ap);

/* The pushes from here on are late: their step is multiplied by factor, in (0, 1]. */
void applier_damp(struct applier *ap, double factor);

/* Weights of keys as of after `step`: missed steps replayed into `out` (n, dim); an absent key gives what its
 * row would be had it been made at step 0. Changes nothing: no row, no record, no counter. */
void applier_pull(struct applier *ap, uint32_t table, const uint64_t *keys, size_t n,
                  uint32_t *slots, uint64_t step, float *out);

/* Step number `step` of one table: grads (n, dim), summed over duplicates, in the order of keys. Absent rows
 * are made. Before a row's first change in the interval `stamp` its image goes to `log`; log NULL: no images.
 *
 * ST_BAD_PEER: a key is there twice. ST_REFUSED: step is beyond UINT32_MAX, the last that a row can note.
 * In both cases nothing has changed. A push of several tables with the same keys array is judged at its first
 * call. Refused rows are no error: they count as processed. */
MUST_CHECK enum status applier_push(struct applier *ap, uint32_t table, const uint64_t *keys,
                                    uint32_t *slots, size_t n, const float *grads, uint64_t step,
                                    struct undo *log, uint32_t stamp, struct applier_result *result,
                                    struct errbuf *err);

/* cut_render (cut.h) with ctx = the applier: bring a copy of a record up to `step`. Records of tables
 * without replay stay as they are, last_step too. */
void applier_render(void *ctx, uint32_t table, void *record, uint64_t step);

#endif
