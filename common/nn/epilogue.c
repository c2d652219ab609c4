/* epilogue.c - see epilogue.h. */
#include "common/nn/epilogue.h"

#include <assert.h>

#include "common/base/rng.h"

void epilogue_set(struct graph *g, struct op *op, const struct epilogue *e)
{
    assert(e->dropout >= 0 && e->dropout < 1);
    op->finish = (struct vec_finish){.relu = e->relu, .keep_scale = 1};
    if (e->dropout > 0) {
        op->finish.drop_below = (uint32_t)(e->dropout * 4294967296.0);
        op->finish.keep_scale = (real)(1 / (1 - e->dropout));
        op->layer = g->layers_used++;
    }
}

struct vec_finish epilogue_finish(const struct op *op, const struct graph_run *run)
{
    if (run->train)
        return op->finish;
    return (struct vec_finish){.relu = op->finish.relu, .keep_scale = 1};
}

uint64_t epilogue_base(const struct graph *g, const struct op *op, const struct graph_run *run)
{
    return rng_mix(rng_mix(g->seed, run->in->epoch), op->layer);
}

uint64_t epilogue_key(uint64_t base, const struct graph_run *run, size_t row)
{
    /* record may be absent where nothing is dropped. */
    return run->in->record ? rng_mix(base, run->in->record[row]) : base;
}
