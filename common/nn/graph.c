/* graph.c - building a graph, planning its memory, walking it.
 *
 * Memory. Time has 2N ticks for N operators: forward of operator i is tick i, backward tick 2N - 1 - i. A
 * value lives from its maker's forward to its maker's backward; a gradient from the first writer's (the
 * last reader's) backward to its maker's. Buffers are laid into one slab first-fit by these spans, so
 * gradients take the place of one another and of activations that are no longer needed. Parameters and
 * their gradients are the caller's and are not here.
 *
 * Sharing. A view's value is columns of its host's (concat without copying). A gradient may also be a
 * view: of a host's gradient when the concat is the only reader, or of the output's gradient when the
 * operator is the only reader and says it can work in place. A group that shares has one buffer, with
 * the span of them all.
 *
 * Early rows. A product finishes rows in blocks that still are in the cache. Where the operator behind it
 * (in backward: before it) could do something with them at once, it is told, instead of reading all of
 * them again from memory at its turn: batch norm takes its moments and its gradient sums so.
 *
 * Strides. Rows of 16 and more reals begin at cache lines (ld is a multiple of 16), but never at a
 * multiple of 1 KiB: columns would fall into few sets of the cache.
 */
#include "common/nn/graph.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define LINE_REALS 16u

struct span { /* a buffer in the slab */
    size_t offset, reals;
    size_t from, to; /* ticks, inclusive */
};

struct graph *graph_new(const struct job *job, struct plan *plan, size_t fields, size_t floats,
                        size_t batch_max)
{
    struct graph *g = mem_zalloc(sizeof(*g));
    g->job = job;
    g->plan = plan;
    g->fields = fields;
    g->floats = floats;
    g->rows_max[ROWS_BATCH] = batch_max;
    g->seed = job->train.seed;
    g->tasks = job_tasks(job);
    g->task = job_task(job);
    for (size_t t = 0; t < g->tasks; t++)
        g->task_weight[t] = (real)job_task_weight(job, t);
    return g;
}

void graph_free(struct graph *g)
{
    if (!g)
        return;
    if (g->slab)
        mem_slab_free(g->slab, g->slab_bytes);
    tokens_free(g->tokens);
    free(g->tensors);
    free(g->ops);
    free(g);
}

/* -- tensors -- */

static uint32_t tensor_add(struct graph *g, enum graph_home home, enum graph_rows kind, size_t rows,
                           size_t cols)
{
    assert(!g->sealed && cols > 0);
    mem_grow(&g->tensors, &g->tensors_cap, g->tensors_used + 1, sizeof(*g->tensors));
    g->tensors[g->tensors_used] = (struct graph_tensor){
        .kind = kind,
        .home = home,
        .rows = kind == ROWS_FIXED ? rows : g->rows_max[kind],
        .cols = cols,
        .ld = cols,
        .host = GRAPH_NONE,
        .grad_host = GRAPH_NONE,
        .maker = GRAPH_NONE,
    };
    return (uint32_t)g->tensors_used++;
}

uint32_t graph_table(struct graph *g, const char *name, size_t dim)
{
    return graph_table_of(g, name, dim, g->job->model.embedding_init);
}

uint32_t graph_table_of(struct graph *g, const char *name, size_t dim, double std)
{
    const struct plan_table *t =
        plan_add_sparse(g->plan, name, (uint32_t)dim, std > 0 ? PLAN_NORMAL : PLAN_ZERO, std,
                        job_optim_of(g->job, name));
    const uint32_t id = tensor_add(g, HOME_TABLE, ROWS_UNIQUE, 0, dim);
    /* Sparse tables stand before the dense ones, in the order of calls: this index stays. */
    g->tensors[id].table = (uint32_t)(t - g->plan->tables);
    g->tensors[id].wants_grad = true;
    return id;
}

static uint32_t tensor_of_plan(struct graph *g, enum graph_home home, size_t rows, size_t cols,
                               const struct plan_tensor *t)
{
    const uint32_t id = tensor_add(g, home, ROWS_FIXED, rows, cols);
    g->tensors[id].block = t->block_first;
    g->tensors[id].blocks = t->blocks;
    g->tensors[id].wants_grad = home == HOME_DENSE;
    return id;
}

uint32_t graph_matrix(struct graph *g, const char *name, size_t rows, size_t cols, double std)
{
    const uint64_t shape[2] = {rows, cols};
    return tensor_of_plan(g, HOME_DENSE, rows, cols,
                          plan_add_tensor(g->plan, PLAN_DENSE, name, 2, shape,
                                          std > 0 ? PLAN_NORMAL : PLAN_ZERO, std,
                                          job_optim_of(g->job, "dense")));
}

uint32_t graph_vector(struct graph *g, const char *name, size_t cols, enum plan_init init)
{
    const uint64_t shape[2] = {cols, 1};
    return tensor_of_plan(g, HOME_DENSE, 1, cols,
                          plan_add_tensor(g->plan, PLAN_DENSE, name, 1, shape, init, 0,
                                          job_optim_of(g->job, "dense")));
}

uint32_t graph_stat(struct graph *g, const char *name, size_t cols, enum plan_init init)
{
    const uint64_t shape[2] = {cols, 1};
    return tensor_of_plan(g, HOME_STAT, 1, cols,
                          plan_add_tensor(g->plan, PLAN_STAT, name, 1, shape, init, 0, NULL));
}

uint32_t graph_float_features(struct graph *g)
{
    return tensor_add(g, HOME_FLOATS, ROWS_BATCH, 0, g->floats);
}

uint32_t graph_slab(struct graph *g, enum graph_rows kind, size_t rows, size_t cols)
{
    const uint32_t id = tensor_add(g, HOME_SLAB, kind, rows, cols);
    if (cols >= LINE_REALS) {
        size_t ld = (cols + LINE_REALS - 1) / LINE_REALS * LINE_REALS;
        if (ld % 256 == 0)
            ld += LINE_REALS;
        g->tensors[id].ld = ld;
    }
    return id;
}

void graph_sequences(struct graph *g, size_t places_max, bool by_step)
{
    assert(!g->tokens && g->fields > 0);
    g->tokens = tokens_new(g->rows_max[ROWS_BATCH], places_max, by_step);
    g->rows_max[ROWS_TOKENS] = g->rows_max[ROWS_BATCH] * places_max;
}

void graph_history(struct graph *g, size_t field, size_t places_max)
{
    assert(field < g->fields);
    graph_sequences(g, places_max, false);
    g->tokens->field = field;
    g->tokens->whole = true;
}

/* -- operators -- */

struct op *graph_op(struct graph *g, const struct op_kind *kind, uint32_t out)
{
    assert(!g->sealed);
    mem_grow(&g->ops, &g->ops_cap, g->ops_used + 1, sizeof(*g->ops));
    struct op *op = &g->ops[g->ops_used];
    *op = (struct op){
        .kind = kind,
        .out = out,
        .save = {GRAPH_NONE, GRAPH_NONE, GRAPH_NONE, GRAPH_NONE, GRAPH_NONE},
        .tell = GRAPH_NONE,
        .tell_grad = GRAPH_NONE,
        .finish = {.keep_scale = 1},
    };
    if (out != GRAPH_NONE) {
        assert(g->tensors[out].home == HOME_SLAB && g->tensors[out].maker == GRAPH_NONE);
        g->tensors[out].maker = (uint32_t)g->ops_used;
    }
    g->ops_used++;
    return op;
}

void graph_read(struct graph *g, struct op *op, uint32_t in)
{
    assert(!g->sealed && op->in_used < OP_IN_MAX && in < g->tensors_used);
    op->in[op->in_used++] = in;
    g->tensors[in].users++;
    if (op->out != GRAPH_NONE && g->tensors[in].wants_grad)
        g->tensors[op->out].wants_grad = true;
}

void graph_save(struct graph *g, struct op *op, uint32_t i, uint32_t id)
{
    assert(!g->sealed && i < OP_SAVE_MAX && g->tensors[id].home == HOME_SLAB &&
           g->tensors[id].maker == GRAPH_NONE);
    op->save[i] = id;
    g->tensors[id].maker = (uint32_t)(op - g->ops);
}

bool graph_view(struct graph *g, uint32_t in, uint32_t host, size_t col)
{
    struct graph_tensor *t = &g->tensors[in];
    const struct graph_tensor *h = &g->tensors[host];
    assert(t->kind == h->kind && col + t->cols <= h->cols);
    if (t->home != HOME_SLAB || t->host != GRAPH_NONE)
        return false;
    t->host = host;
    t->host_col = col;
    return true;
}

/* -- sealing -- */

static uint32_t value_root(const struct graph *g, uint32_t id, size_t *col)
{
    *col = 0;
    while (g->tensors[id].host != GRAPH_NONE) {
        *col += g->tensors[id].host_col;
        id = g->tensors[id].host;
    }
    return id;
}

/* A view has the stride of what it is a view of, at last: hosts may be views themselves. */
static void seal_strides(struct graph *g)
{
    size_t col;
    for (uint32_t id = 0; id < g->tensors_used; id++)
        g->tensors[id].ld = g->tensors[value_root(g, id, &col)].ld;
}

/* Who shares a gradient, once all readers are known. */
static void seal_grad_hosts(struct graph *g)
{
    for (size_t i = 0; i < g->tensors_used; i++) {
        struct graph_tensor *t = &g->tensors[i];
        if (t->host != GRAPH_NONE && t->users == 1 && t->wants_grad) {
            t->grad_host = t->host;
            t->grad_host_col = t->host_col;
        }
    }
    for (size_t i = 0; i < g->ops_used; i++) {
        const struct op *op = &g->ops[i];
        struct graph_tensor *t = &g->tensors[op->in[0]];
        if (op->kind->grad_in_place && t->home == HOME_SLAB && t->users == 1 && t->wants_grad &&
            t->grad_host == GRAPH_NONE && t->ld == g->tensors[op->out].ld)
            t->grad_host = op->out;
    }
}

/* Reverse walk: the first writer of a gradient overwrites, later ones add. */
static void seal_adds(struct graph *g)
{
    bool *written = mem_array(g->tensors_used, sizeof(*written));
    for (size_t i = g->ops_used; i-- > 0;) {
        struct op *op = &g->ops[i];
        /* A result that nobody uses on the way to the loss would be read back as noise. */
        assert(op->out == GRAPH_NONE || !g->tensors[op->out].wants_grad || written[op->out]);
        for (uint32_t j = 0; j < op->in_used; j++) {
            op->add[j] = written[op->in[j]];
            written[op->in[j]] = true;
        }
    }
    free(written);
}

/* Who tells whom of early rows. A value goes to one of its readers; a gradient is final only where there
 * is one reader. */
static void seal_tells(struct graph *g)
{
    for (size_t i = 0; i < g->ops_used; i++) {
        struct op *op = &g->ops[i];
        const struct graph_tensor *x = &g->tensors[op->in[0]];
        if (x->home != HOME_SLAB)
            continue;
        struct op *maker = &g->ops[x->maker];
        if (op->kind->take && maker->kind->tells && maker->tell == GRAPH_NONE) {
            maker->tell = (uint32_t)i;
            op->told = true;
        }
        if (op->kind->tells_grad && maker->kind->take_grad && x->users == 1 && x->wants_grad) {
            op->tell_grad = x->maker;
            maker->told_grad = true;
        }
    }
}

static uint32_t grad_root(const struct graph *g, uint32_t id, size_t *col)
{
    *col = 0;
    while (g->tensors[id].grad_host != GRAPH_NONE) {
        *col += g->tensors[id].grad_host_col;
        id = g->tensors[id].grad_host;
    }
    return id;
}

static void span_widen(struct span *s, const struct graph_tensor *t, size_t from, size_t to)
{
    const size_t reals = t->rows * t->ld;
    *s = s->reals ? *s : (struct span){.from = from, .to = to};
    s->reals = reals > s->reals ? reals : s->reals;
    s->from = from < s->from ? from : s->from;
    s->to = to > s->to ? to : s->to;
}

/* values[id] and grads[id] of each root: how large, and when alive. */
static void seal_spans(const struct graph *g, struct span *values, struct span *grads)
{
    const size_t end = 2 * g->ops_used - 1;
    size_t col;
    for (uint32_t id = 0; id < g->tensors_used; id++) {
        const struct graph_tensor *t = &g->tensors[id];
        if (t->home != HOME_SLAB)
            continue;
        assert(t->maker != GRAPH_NONE);
        span_widen(&values[value_root(g, id, &col)], t, t->maker, end - t->maker);
    }
    for (size_t i = 0; i < g->ops_used; i++) {
        for (uint32_t j = 0; j < g->ops[i].in_used; j++) {
            const uint32_t id = g->ops[i].in[j];
            const struct graph_tensor *t = &g->tensors[id];
            if (t->home == HOME_SLAB && t->wants_grad)
                span_widen(&grads[grad_root(g, id, &col)], t, end - i, end - t->maker);
        }
    }
}

/* First-fit: the lowest offset where nothing that lives at the same time stands. */
static void span_place(struct span *s, struct span *const *placed, size_t placed_used)
{
    s->offset = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t i = 0; i < placed_used; i++) {
            const struct span *p = placed[i];
            if (p->to < s->from || s->to < p->from || p->offset >= s->offset + s->reals ||
                s->offset >= p->offset + p->reals)
                continue;
            s->offset = p->offset + p->reals;
            moved = true;
        }
    }
}

static size_t seal_layout(struct span *spans, size_t n)
{
    struct span **placed = mem_array(n + 1, sizeof(struct span *));
    size_t used = 0, total = 0;
    for (size_t i = 0; i < n; i++) {
        struct span *s = &spans[i];
        if (!s->reals)
            continue;
        s->reals = (s->reals + LINE_REALS - 1) / LINE_REALS * LINE_REALS;
        span_place(s, placed, used);
        placed[used++] = s;
        total = s->offset + s->reals > total ? s->offset + s->reals : total;
    }
    free(placed);
    return total;
}

enum status graph_seal(struct graph *g, struct errbuf *err)
{
    assert(!g->sealed && g->ops_used > 0);
    seal_strides(g);
    seal_grad_hosts(g);
    seal_adds(g);
    seal_tells(g);
    struct span *spans = mem_array(2 * g->tensors_used, sizeof(*spans));
    struct span *values = spans, *grads = spans + g->tensors_used;
    seal_spans(g, values, grads);
    g->slab_bytes = seal_layout(spans, 2 * g->tensors_used) * sizeof(real);
    void *slab = NULL;
    enum status st = mem_slab(g->slab_bytes, &slab, err);
    if (st != ST_OK) {
        (void)errbuf_wrap(err, st, "activations of a batch of %zu records",
                          g->rows_max[ROWS_BATCH]);
        goto free_spans;
    }
    g->slab = slab;
    for (uint32_t id = 0; id < g->tensors_used; id++) {
        struct graph_tensor *t = &g->tensors[id];
        if (t->home != HOME_SLAB)
            continue;
        size_t col;
        const uint32_t root = value_root(g, id, &col);
        t->own = g->slab + values[root].offset + col;
        t->value = t->own;
        const uint32_t grad = grad_root(g, id, &col);
        t->grad = t->wants_grad ? g->slab + grads[grad].offset + col : NULL;
    }
    g->sealed = true;
    g->job = NULL;
    g->plan = NULL;
free_spans:
    free(spans);
    return st;
}

/* -- running -- */

static void bind_padding(const struct graph_tensor *t)
{
    const size_t used = t->rows * t->cols;
    memset(t->grad + used, 0, ((size_t)t->blocks * DENSE_BLOCK - used) * sizeof(real));
}

void graph_bind(struct graph *g, struct graph_run *run)
{
    assert(g->sealed);
    if (g->tokens) {
        tokens_lay(g->tokens, run->in, g->fields, run->train);
        run->rows[ROWS_TOKENS] = g->tokens->used;
    }
    for (size_t i = 0; i < g->tensors_used; i++) {
        struct graph_tensor *t = &g->tensors[i];
        switch (t->home) {
        case HOME_SLAB: break;
        case HOME_FLOATS: t->value = run->in->floats; break;
        case HOME_TABLE:
            t->value = run->params->rows[t->table];
            t->grad = run->grads ? run->grads->rows[t->table] : NULL;
            break;
        case HOME_DENSE:
            t->value = run->params->dense + (size_t)t->block * DENSE_BLOCK;
            t->grad = run->grads ? run->grads->dense + (size_t)t->block * DENSE_BLOCK : NULL;
            break;
        case HOME_STAT:
            t->value = run->params->stat + (size_t)t->block * DENSE_BLOCK;
            t->grad = run->grads ? run->grads->stat + (size_t)t->block * DENSE_BLOCK : NULL;
            break;
        }
        if (run->grads && (t->home == HOME_DENSE || t->home == HOME_STAT))
            bind_padding(t);
    }
}

void graph_forward(const struct graph *g, struct graph_run *run)
{
    for (size_t i = 0; i < g->ops_used; i++)
        if (run->train || !g->ops[i].kind->loss)
            g->ops[i].kind->forward(g, &g->ops[i], run);
}

void graph_backward(const struct graph *g, struct graph_run *run)
{
    for (size_t i = g->ops_used; i-- > 0;) {
        const struct op *op = &g->ops[i];
        if (op->kind->loss || g->tensors[op->out].wants_grad)
            op->kind->backward(g, op, run);
    }
}

const struct graph_tensor *graph_at(const struct graph *g, uint32_t id)
{
    assert(id < g->tensors_used);
    return &g->tensors[id];
}

size_t graph_rows_of(const struct graph_tensor *t, const struct graph_run *run)
{
    return t->kind == ROWS_FIXED ? t->rows : run->rows[t->kind];
}

void graph_tell(const struct graph *g, const struct op *op, struct graph_run *run, size_t from,
                size_t to)
{
    if (op->tell != GRAPH_NONE)
        g->ops[op->tell].kind->take(g, &g->ops[op->tell], run, from, to);
}

void graph_tell_grad(const struct graph *g, const struct op *op, struct graph_run *run, size_t from,
                     size_t to)
{
    if (op->tell_grad != GRAPH_NONE)
        g->ops[op->tell_grad].kind->take_grad(g, &g->ops[op->tell_grad], run, from, to);
}

real *graph_grad_in(const struct graph *g, const struct op *op, uint32_t i)
{
    const struct graph_tensor *t = &g->tensors[op->in[i]];
    return t->wants_grad ? t->grad : NULL;
}

size_t graph_flops(const struct graph *g)
{
    size_t sum = 0;
    for (size_t i = 0; i < g->ops_used; i++)
        if (g->ops[i].kind->flops)
            sum += g->ops[i].kind->flops(g, &g->ops[i]);
    return sum;
}
