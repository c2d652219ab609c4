/* epilogue.h - what a layer does to its result before it leaves the cache: activation, then dropout.
 *
 * An epilogue is written into op.finish and op.layer by the builder and applied row by row by
 * vec_finish. Dropout is a function of (seed, epoch, layer, record, column), never of a state: the same
 * record gets the same mask in whatever batch, worker or repetition it comes, and backward can ask
 * again.
 */
#ifndef PENSTOCK_COMMON_NN_EPILOGUE_H
#define PENSTOCK_COMMON_NN_EPILOGUE_H

#include "common/nn/graph.h"

struct epilogue { /* of a builder */
    bool relu;
    double dropout;    /* p in [0, 1); 0: none */
    bool whole_record; /* tokens: one mask for all of a record */
};

void epilogue_set(struct graph *g, struct op *op, const struct epilogue *e);
/* What to hand to vec_finish in this run: without dropout in evaluation. */
struct vec_finish epilogue_finish(const struct op *op, const struct graph_run *run);
/* The part of dropout's key that all rows share, and the key of one row: of its record, or of its record and the
 * place in it. */
struct epilogue_base {
    uint64_t key;
    const uint32_t *record,
        *place; /* of tokens; borrowed; NULL: a row is a record, a record has one key */
};
struct epilogue_base epilogue_base(const struct graph *g, const struct op *op,
                                   const struct graph_run *run);
uint64_t epilogue_key(struct epilogue_base base, const struct graph_run *run, size_t row);

#endif
