/* op_imitate.c - a loss that pulls logits z towards a teacher's: weight * mean BCE(z, sigmoid(teacher)).
 *
 * The teacher is a constant here: nothing flows back into it (FinalNet, Zhu et al. 2023, eq. 10: two blocks
 * learn from the mean of both). So this is not the gradient of the sum of all losses, and run->loss, which
 * people read, does not count it; run->loss_aside does. As in op_bce, forward makes loss and gradient.
 */
#include <assert.h>
#include <string.h>

#include "common/nn/ops.h"

enum { IMITATE_Z, IMITATE_TEACHER };

static void imitate_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *z = graph_at(g, op->in[IMITATE_Z]);
    const struct graph_tensor *teacher = graph_at(g, op->in[IMITATE_TEACHER]);
    const size_t n = graph_rows_of(z, run);
    real *dz = graph_at(g, op->save[0])->own, *p = graph_at(g, op->save[1])->own; /* (n, 1) */
    vec_sigmoid(p, teacher->value, n);
    run->loss_aside += (double)op->scale * vec_bce(dz, z->value, p, n, op->scale / (real)n);
}

static void imitate_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const size_t n = graph_rows_of(graph_at(g, op->in[IMITATE_Z]), run);
    real *dz = graph_grad_in(g, op, IMITATE_Z), *dt = graph_grad_in(g, op, IMITATE_TEACHER);
    if (dz)
        vec_put(dz, graph_at(g, op->save[0])->value, n, op->add[IMITATE_Z]);
    /* It was read, so its gradient counts as begun: what others add to must be there. */
    if (dt && !op->add[IMITATE_TEACHER])
        memset(dt, 0, n * sizeof(*dt));
}

static const struct op_kind imitate_kind = {
    .name = "imitate",
    .forward = imitate_forward,
    .backward = imitate_backward,
    .loss = true,
};

void op_imitate(struct graph *g, uint32_t z, uint32_t teacher, double weight)
{
    const struct graph_tensor tz = *graph_at(g, z), tt = *graph_at(g, teacher);
    assert(z != teacher && tz.cols == 1 && tt.cols == 1 && tz.kind == tt.kind);
    const uint32_t dz = graph_slab(g, tz.kind, tz.rows, 1);
    const uint32_t p = graph_slab(g, tz.kind, tz.rows, 1);
    struct op *op = graph_op(g, &imitate_kind, GRAPH_NONE);
    graph_save(g, op, 0, dz);
    graph_save(g, op, 1, p);
    graph_read(g, op, z);
    graph_read(g, op, teacher);
    op->scale = (real)weight;
}
