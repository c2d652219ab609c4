/* op_activation.c - an activation or dropout by itself, where it can't ride on a layer as its epilogue.
 *
 * op_epilogue is relu and dropout; sigmoid, softplus and gelu have kinds of their own. All but the last two
 * make their gradient from the output.
 */
#include "common/nn/epilogue.h"
#include "common/nn/ops.h"

static void epilogue_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    const struct vec_finish finish = epilogue_finish(op, run);
    const struct epilogue_base base = epilogue_base(g, op, run);
    const size_t rows = graph_rows_of(x, run);
    for (size_t r = 0; r < rows; r++)
        vec_finish(y->own + r * y->ld, x->value + r * x->ld, NULL, NULL, x->cols, &finish,
                   epilogue_key(base, run, r));
}

/* dx of row r is ready in dy: hand it on, unless both are one place. */
static void hand_on(const struct graph *g, const struct op *op, size_t r)
{
    const struct graph_tensor *x = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    real *dx = graph_grad_in(g, op, 0) + r * x->ld;
    if (dx != y->grad + r * y->ld)
        vec_put(dx, y->grad + r * y->ld, x->cols, op->add[0]);
}

static void epilogue_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *y = graph_at(g, op->out);
    const struct vec_finish finish = epilogue_finish(op, run);
    const struct epilogue_base base = epilogue_base(g, op, run);
    const size_t rows = graph_rows_of(y, run);
    for (size_t r = 0; r < rows; r++) {
        real *dy = y->grad + r * y->ld;
        vec_finish_back(dy, dy, y->value + r * y->ld, y->cols, &finish, epilogue_key(base, run, r));
        hand_on(g, op, r);
    }
}

static void sigmoid_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    const size_t rows = graph_rows_of(x, run);
    for (size_t r = 0; r < rows; r++)
        vec_sigmoid(y->own + r * y->ld, x->value + r * x->ld, x->cols);
}

static void sigmoid_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *y = graph_at(g, op->out);
    const size_t rows = graph_rows_of(y, run);
    for (size_t r = 0; r < rows; r++) {
        real *dy = y->grad + r * y->ld;
        const real *s = y->value + r * y->ld;
        for (size_t c = 0; c < y->cols; c++)
            dy[c] *= s[c] * (1 - s[c]);
        hand_on(g, op, r);
    }
}

static void softplus_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    const size_t rows = graph_rows_of(x, run);
    for (size_t r = 0; r < rows; r++)
        vec_softplus(y->own + r * y->ld, x->value + r * x->ld, x->cols);
}

static void softplus_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    real *slope = graph_at(g, op->save[0])->own; /* (1, cols) */
    const size_t rows = graph_rows_of(y, run);
    for (size_t r = 0; r < rows; r++) {
        real *dy = y->grad + r * y->ld;
        vec_sigmoid(slope, x->value + r * x->ld, x->cols);
        vec_mul(dy, dy, slope, x->cols, false);
        hand_on(g, op, r);
    }
}

/* x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3): Hendrycks and Gimpel's tanh form. */
#define GELU_A ((real)1.5957691216057308) /* 2 sqrt(2 / pi) */
#define GELU_B ((real)0.044715)

/* gate (cols) = sigmoid(2 u) */
static void gelu_gate(const struct graph *g, const struct op *op, const real *x)
{
    real *gate = graph_at(g, op->save[0])->own;
    const size_t cols = graph_at(g, op->in[0])->cols;
    for (size_t c = 0; c < cols; c++)
        gate[c] = GELU_A * (x[c] + GELU_B * x[c] * x[c] * x[c]);
    vec_sigmoid(gate, gate, cols);
}

static void gelu_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    const real *gate = graph_at(g, op->save[0])->value;
    const size_t rows = graph_rows_of(x, run);
    for (size_t r = 0; r < rows; r++) {
        gelu_gate(g, op, x->value + r * x->ld);
        vec_mul(y->own + r * y->ld, x->value + r * x->ld, gate, x->cols, false);
    }
}

static void gelu_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const struct graph_tensor *x = graph_at(g, op->in[0]), *y = graph_at(g, op->out);
    const real *gate = graph_at(g, op->save[0])->value;
    const size_t rows = graph_rows_of(y, run);
    for (size_t r = 0; r < rows; r++) {
        real *dy = y->grad + r * y->ld;
        const real *v = x->value + r * x->ld;
        gelu_gate(g, op, v);
        for (size_t c = 0; c < y->cols; c++)
            dy[c] *=
                gate[c] + v[c] * gate[c] * (1 - gate[c]) * GELU_A * (1 + 3 * GELU_B * v[c] * v[c]);
        hand_on(g, op, r);
    }
}

static const struct op_kind epilogue_kind = {
    .name = "epilogue",
    .forward = epilogue_forward,
    .backward = epilogue_backward,
    .grad_in_place = true,
};
static const struct op_kind sigmoid_kind = {
    .name = "sigmoid",
    .forward = sigmoid_forward,
    .backward = sigmoid_backward,
    .grad_in_place = true,
};
static const struct op_kind softplus_kind = {
    .name = "softplus",
    .forward = softplus_forward,
    .backward = softplus_backward,
    .grad_in_place = true,
};

static const struct op_kind gelu_kind = {
    .name = "gelu",
    .forward = gelu_forward,
    .backward = gelu_backward,
    .grad_in_place = true,
};

static uint32_t elementwise(struct graph *g, const struct op_kind *kind, uint32_t x)
{
    const struct graph_tensor t = *graph_at(g, x);
    const uint32_t out = graph_slab(g, t.kind, t.rows, t.cols);
    struct op *op = graph_op(g, kind, out);
    graph_read(g, op, x);
    return out;
}

uint32_t op_epilogue(struct graph *g, uint32_t x, const struct epilogue *e)
{
    const uint32_t out = elementwise(g, &epilogue_kind, x);
    epilogue_set(g, &g->ops[g->ops_used - 1], e);
    return out;
}

uint32_t op_sigmoid(struct graph *g, uint32_t x)
{
    return elementwise(g, &sigmoid_kind, x);
}

uint32_t op_softplus(struct graph *g, uint32_t x)
{
    const uint32_t scratch = graph_slab(g, ROWS_FIXED, 1, graph_at(g, x)->cols);
    const uint32_t out = elementwise(g, &softplus_kind, x);
    graph_save(g, &g->ops[g->ops_used - 1], 0, scratch);
    return out;
}

uint32_t op_gelu(struct graph *g, uint32_t x)
{
    const uint32_t scratch = graph_slab(g, ROWS_FIXED, 1, graph_at(g, x)->cols);
    const uint32_t out = elementwise(g, &gelu_kind, x);
    graph_save(g, &g->ops[g->ops_used - 1], 0, scratch);
    return out;
}
