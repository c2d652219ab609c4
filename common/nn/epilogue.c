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
        op->whole_record = e->whole_record;
        op->layer = g->layers_used++;
    }
}

struct vec_finish epilogue_finish(const struct op *op, const struct graph_run *run)
{
    if (run->train)
        return op->finish;
    return (struct vec_finish){.relu = op->finish.relu, .keep_scale = 1};
}

struct epilogue_base epilogue_base(const struct graph *g, const struct op *op,
                                   const struct graph_run *run)
{
    struct epilogue_base base = {.key = rng_mix(rng_mix(g->seed, run->in->epoch), op->layer)};
    if (op->out != GRAPH_NONE && graph_at(g, op->out)->kind == ROWS_TOKENS) {
        base.record = g->tokens->record;
        base.place = op->whole_record ? NULL : g->tokens->place;
    }
    return base;
}

uint64_t epilogue_key(struct epilogue_base base, const struct graph_run *run, size_t row)
{
    if (!run->in->record) /* may be absent where nothing is dropped */
        return base.key;
    const uint64_t key = rng_mix(base.key, run->in->record[base.record ? base.record[row] : row]);
    return base.place ? rng_mix(key, base.place[row]) : key;
}
