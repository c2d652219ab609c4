/* plan.h - what parameters a job's model has: the agreement between nn (which makes it) and servers.
 *
 * `penstock-worker --plan` builds it from the model and the front writes it to DIR/plan.json, so that
 * penstock-ps needs neither nn nor BLAS.
 *
 * Every parameter lives in a table. A sparse table maps 64-bit keys to rows of `dim` floats. All dense
 * tensors live in two dense tables, "dense" (gradients) and "stat" (averaged tensors, as batch norm's
 * running mean), cut into blocks of DENSE_BLOCK floats: block b is the row with key b. A tensor begins at a
 * block; its last block is padded with zeros. So one row = one record, for optimizer, undo log, cut and
 * hash alike. Block b of B belongs to shard floor(b * shards / B): contiguous runs.
 * Sparse key k belongs to map[hash_bucket(k)].
 */
#ifndef PENSTOCK_COMMON_BASE_PLAN_H
#define PENSTOCK_COMMON_BASE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"

#define DENSE_BLOCK      256u
#define PLAN_TABLES_MAX  64u
#define PLAN_TENSORS_MAX 4096u
#define PLAN_NAME_MAX    48u

enum plan_kind { PLAN_SPARSE, PLAN_DENSE, PLAN_STAT };
enum plan_init { PLAN_ZERO, PLAN_ONE, PLAN_NORMAL /* a = std */, PLAN_UNIFORM /* in +-a */ };

struct plan_tensor {          /* part of the dense or stat table */
    char name[PLAN_NAME_MAX]; /* "mlp.0.weight" */
    uint32_t dims;            /* 1 or 2 */
    uint64_t shape[2];        /* row-major: (out, in) for linear weights */
    enum plan_init init;
    double init_a;
    uint64_t block_first; /* within its table */
    uint64_t blocks;
};

struct plan_table {
    char name[PLAN_NAME_MAX]; /* "embedding", "linear", "dense", "stat" */
    enum plan_kind kind;
    uint32_t dim;        /* floats a row; DENSE_BLOCK for dense kinds */
    enum plan_init init; /* sparse: of each element */
    double init_a;
    struct job_optim optim;      /* ignored for PLAN_STAT: w += (x - w) * stat_rate */
    struct plan_tensor *tensors; /* owned; dense kinds only */
    size_t tensors_used;
    uint64_t blocks; /* dense kinds: number of rows */
};

#define PLAN_STAT_RATE 0.1f /* PyTorch's batch-norm momentum */

struct plan {
    struct plan_table tables[PLAN_TABLES_MAX]; /* sparse ones first, then "dense", then "stat" */
    size_t tables_used;
    uint64_t seed;
};

void plan_release(struct plan *p);
/* Append. The dense and the stat table are made by the first tensor of their kind and stand behind the
 * sparse ones, whatever the order of calls; each kind keeps the order of its calls. What is returned
 * lives until the next plan_add_ of this plan. A name that is there already, or too many, is our bug. */
struct plan_table *plan_add_sparse(struct plan *p, const char *name, uint32_t dim,
                                   enum plan_init init, double init_a,
                                   const struct job_optim *optim);
struct plan_tensor *plan_add_tensor(struct plan *p, enum plan_kind kind, const char *name,
                                    uint32_t dims, const uint64_t *shape, enum plan_init init,
                                    double init_a, const struct job_optim *optim);
int plan_find(const struct plan *p, const char *table); /* index or -1 */
/* Floats of initial values of row `key` of table t: the same on any process. w: (dim). */
void plan_init_row(const struct plan *p, uint32_t table, uint64_t key, float *w);
/* What a row that no push has made is to those who only look: an evaluation, a serving node. Its initial value; where
 * exact L2 has pulled at it all along, zeros, to which that decay leads. (For training, a pull replays it.) w: (dim). */
void plan_absent_row(const struct plan *p, uint32_t table, uint64_t key, float *w);
/* Floats of all blocks of the table of this kind, PLAN_DENSE or PLAN_STAT; 0: there is none. */
size_t plan_floats(const struct plan *p, enum plan_kind kind);
/* Which dense blocks shard s of `shards` owns: [*first, *end). */
void plan_blocks_of(const struct plan_table *t, uint32_t shard, uint32_t shards, uint64_t *first,
                    uint64_t *end);
/* JSON, with own checksum; ST_BAD_DATA if damaged or out of bounds. */
char *plan_text(const struct plan *p); /* owned by the caller */
MUST_CHECK enum status plan_parse(const char *text, size_t n, const char *name, struct plan *out,
                                  struct errbuf *err);

#endif
