/* graph.h - a static graph of typed operators over tensors whose memory is planned once.
 *
 * Building: a model file makes tensors and operators in the order in which forward shall walk them (an
 * operator's builder, ops.h, checks its shapes and returns the tensor it makes). graph_seal then
 * decides who writes and who adds to each gradient, and where everything lives. After that nothing
 * allocates and nothing is searched for: forward walks the operators, backward walks them in reverse.
 *
 * A tensor is rows x cols with a stride `ld` between rows. How many rows it has is a *kind*, not a
 * number: FIXED (weights), BATCH (one a record), TOKENS (one an element of the packed, ragged sequences
 * of a batch), UNIQUE (one a pulled key). A run says how many rows each kind has this time.
 *
 * Parameters are tensors like any other and inputs of the operators that read them, so a parameter used
 * by two operators gets the sum of both gradients by the same rule as an activation used twice: in
 * backward the first writer overwrites, later ones add (op.add), and nothing is ever zeroed.
 *
 * One thread a graph. Errors of construction are our bugs and assert; what a user can cause (a schema
 * that a family can't use, too much memory) is a status of model_new.
 */
#ifndef PENSTOCK_COMMON_NN_GRAPH_H
#define PENSTOCK_COMMON_NN_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/base/job_task.h"
#include "common/base/plan.h"
#include "common/math/vec.h"
#include "common/nn/model.h"
#include "common/nn/real.h"
#include "common/nn/tokens.h"

#define GRAPH_NONE  UINT32_MAX
#define OP_IN_MAX   8u
#define OP_SAVE_MAX 5u

enum graph_rows { ROWS_FIXED, ROWS_BATCH, ROWS_TOKENS, ROWS_UNIQUE, ROWS_KINDS };

enum graph_home {
    HOME_SLAB,   /* made by an operator; the graph's memory */
    HOME_FLOATS, /* the batch's float features */
    HOME_TABLE,  /* pulled rows of a sparse table, (U, dim) */
    HOME_DENSE,  /* a tensor of the dense table */
    HOME_STAT    /* a tensor of the stat table; "gradient" = this batch's value */
};

struct graph_tensor {
    enum graph_rows kind;
    enum graph_home home;
    size_t rows; /* of ROWS_FIXED; of the others the most there can be (UNIQUE: 0, the caller's) */
    size_t cols;
    size_t ld;      /* >= cols: reals from one row to the next */
    uint32_t table; /* HOME_TABLE: index into rows[] */
    uint64_t block; /* HOME_DENSE, HOME_STAT: first block in its table */
    uint64_t blocks;
    bool wants_grad;
    uint32_t host; /* a view of columns of that tensor from host_col on, or GRAPH_NONE */
    size_t host_col;
    uint32_t grad_host; /* its gradient is columns of that tensor's gradient, or GRAPH_NONE */
    size_t grad_host_col;
    uint32_t maker;    /* index of the operator that makes it, or GRAPH_NONE */
    uint32_t users;    /* operators that read it */
    const real *value; /* slab: set by graph_seal; others: bound, and borrowed, for each run */
    real *own;         /* slab only: the same address, for the operator that makes it */
    real *grad;
};

struct graph;

struct graph_run {                     /* one walk over the graph */
    const struct model_input *in;      /* borrowed */
    const struct model_params *params; /* borrowed */
    struct model_grads *grads;         /* borrowed; NULL in evaluation */
    bool train;
    size_t rows[ROWS_KINDS];         /* how many rows each kind has; FIXED unused */
    double loss;                     /* out: sum over the records */
    uint64_t count, judged, correct; /* out: as in struct model_loss */
    double loss_aside; /* out: of losses that help to train but judge nothing (op_imitate) */
};

struct op {
    const struct op_kind *kind;
    uint32_t in[OP_IN_MAX];
    uint32_t in_used;
    uint32_t out;               /* GRAPH_NONE for a loss */
    uint32_t save[OP_SAVE_MAX]; /* slab tensors that forward keeps for backward, or GRAPH_NONE */
    bool add[OP_IN_MAX];  /* set by graph_seal: in[i]'s gradient has already been written to */
    uint32_t tell;        /* set by graph_seal: operator to which rows are told, or GRAPH_NONE */
    uint32_t tell_grad;   /* the same in backward */
    bool told, told_grad; /* it is told, and so has done its part when its turn comes */
    struct vec_finish finish; /* epilogue: activation and dropout */
    bool mean;                /* of op_embed: bags are averaged */
    bool whole_record;        /* dropout: one mask for all tokens of a record */
    uint32_t layer;           /* number of this dropout in the graph: part of its key */
    real eps;
    real scale;   /* of op_add's sum, of op_imitate's loss */
    size_t param; /* of the kind: how many vectors, which column ... */
    size_t step;  /* of op_conv: dilation; of op_softmax: items of a tile, 0: its own choice */
};

struct op_kind {
    const char *name;
    void (*forward)(const struct graph *g, const struct op *op, struct graph_run *run);
    void (*backward)(const struct graph *g, const struct op *op, struct graph_run *run);
    size_t (*flops)(const struct graph *g, const struct op *op); /* forward, one row; NULL: none */
    /* Early rows: rows [from, to) of in[0] (of the output's gradient) are final and still in the cache.
     * What the operator's own turn would begin with, row by row, is done now instead; a maker (a reader)
     * that says tells_* calls these through graph_tell_*, for all rows in order. Optional. */
    void (*take)(const struct graph *g, const struct op *op, struct graph_run *run, size_t from,
                 size_t to);
    void (*take_grad)(const struct graph *g, const struct op *op, struct graph_run *run,
                      size_t from, size_t to);
    bool tells, tells_grad;
    /* A loss is skipped in evaluation. */
    bool loss;
    /* Backward may write in[0]'s gradient over the output's. */
    bool grad_in_place;
};

struct graph {             /* -- written while building only; operators read it -- */
    const struct job *job; /* borrowed until graph_seal */
    struct plan *plan;     /* borrowed until graph_seal: parameters are appended to it */
    size_t fields, floats;
    size_t rows_max[ROWS_KINDS];
    uint64_t seed;
    size_t tasks, task; /* of the job; the one that is judged */
    real task_weight[JOB_TASKS_MAX];
    struct graph_tensor *tensors; /* owned */
    size_t tensors_used, tensors_cap;
    struct op *ops; /* owned */
    size_t ops_used, ops_cap;
    uint32_t layers_used;
    struct tokens *tokens; /* owned; laid by graph_bind; NULL: no sequences */
    bool sealed;
    real *slab; /* owned */
    size_t slab_bytes;
};

/* job and plan are borrowed until graph_seal. */
struct graph *graph_new(const struct job *job, struct plan *plan, size_t fields, size_t floats,
                        size_t batch_max);
void graph_free(struct graph *g);

/* Tensors. A parameter is appended to the plan under `name`. */
uint32_t graph_table(struct graph *g, const char *name, size_t dim);
uint32_t graph_table_of(struct graph *g, const char *name, size_t dim, double std); /* 0: zeros */
uint32_t graph_matrix(struct graph *g, const char *name, size_t rows, size_t cols, double std);
uint32_t graph_vector(struct graph *g, const char *name, size_t cols, enum plan_init init);
uint32_t graph_stat(struct graph *g, const char *name, size_t cols, enum plan_init init);
uint32_t graph_float_features(struct graph *g); /* (n, D) */
uint32_t graph_slab(struct graph *g, enum graph_rows kind, size_t rows, size_t cols);
/* Records are sequences of at most places_max inputs: call before tensors of kind TOKENS are made. */
void graph_sequences(struct graph *g, size_t places_max, bool by_step);
/* Or: one field of the records is a history, whose items are tokens, too; in training as in evaluation. */
void graph_history(struct graph *g, size_t field, size_t places_max);

/* Append an operator of `kind` that makes `out` (GRAPH_NONE for a loss); inputs follow by graph_read.
 * The pointer is good until the next graph_op. */
struct op *graph_op(struct graph *g, const struct op_kind *kind, uint32_t out);
void graph_read(struct graph *g, struct op *op, uint32_t in);
/* Slab tensor `id` is kept by op's forward as save[i], for its backward or as scratch. */
void graph_save(struct graph *g, struct op *op, uint32_t i, uint32_t id);
/* Make `in` a view of columns [col, col + cols) of `host`; false if it can't be (not in the slab, or a
 * view already): then its reader copies. */
bool graph_view(struct graph *g, uint32_t in, uint32_t host, size_t col);

/* Decide gradients and memory. ST_NO_MEMORY. */
MUST_CHECK enum status graph_seal(struct graph *g, struct errbuf *err);
size_t graph_flops(const struct graph *g); /* forward, one record */

void graph_bind(struct graph *g, struct graph_run *run); /* before a walk; sets rows[ROWS_TOKENS] */
void graph_forward(const struct graph *g, struct graph_run *run);
void graph_backward(const struct graph *g, struct graph_run *run);

/* For operators. */
void graph_tell(const struct graph *g, const struct op *op, struct graph_run *run, size_t from,
                size_t to);
void graph_tell_grad(const struct graph *g, const struct op *op, struct graph_run *run, size_t from,
                     size_t to);
const struct graph_tensor *graph_at(const struct graph *g, uint32_t id);
size_t graph_rows_of(const struct graph_tensor *t, const struct graph_run *run);
/* Where to write in[i]'s gradient, or NULL when nobody wants it. */
real *graph_grad_in(const struct graph *g, const struct op *op, uint32_t i);

#endif
