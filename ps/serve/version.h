/* version.h - one complete cut as it is read: every parameter of the model, sparse and dense, as of one instant.
 *
 * A version never changes. It comes from replica_enter (replica.h) and is valid until replica_leave.
 */
#ifndef PENSTOCK_PS_SERVE_VERSION_H
#define PENSTOCK_PS_SERVE_VERSION_H

#include <stddef.h>
#include <stdint.h>

struct version; /* opaque */

uint64_t version_cut(const struct version *v);         /* the cut's number, k */
uint64_t version_incarnation(const struct version *v); /* that wrote it, e */
uint64_t version_wall_us(
    const struct version *v); /* when it was taken, since 1970, by the trainer's clock */
uint64_t
version_shown_us(const struct version *v); /* when this node had it ready, since 1970, by its own */
uint64_t version_step(const struct version *v);    /* pushes applied */
uint64_t version_records(const struct version *v); /* records of the log applied, over all epochs */
/* Of plan table t: live rows (blocks of a dense kind), and the hash over weights, as in the manifest. */
uint64_t version_table_rows(const struct version *v, uint32_t t);
uint64_t version_table_hash(const struct version *v, uint32_t t);

/* Rows of sparse plan table t for n keys into out, (n, dim). A key without a row gets plan_init_row's value, as a
 * pull would answer, and is counted: *out_unknown (may be NULL) is set to how many. */
void version_rows(const struct version *v, uint32_t t, const uint64_t *keys, size_t n, float *out,
                  size_t *out_unknown);
/* Flat, (blocks * DENSE_BLOCK) floats, as struct model_params wants them; NULL: the plan has no such table. */
const float *version_dense(const struct version *v);
const float *version_stat(const struct version *v);

#endif
