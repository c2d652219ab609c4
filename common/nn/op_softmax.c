/* op_softmax.c - mean cross-entropy of the next item: -log softmax(z)[target], z_c = <h, E_c> + b_c.
 *
 * The (T, C) logits are never there as a whole. A block of at most ROWS_MAX tokens meets the items in tiles; a block's logits
 * of one tile stay in the cache. While all items fit one tile (TILE_MAX), a block's exponentials e = e^(z - max) are
 * final when they are made, and the two products of the gradient follow at once:
 *
 *     dh = a (e E) - E_target / T;   dE += e' (a h) ...;   a = 1 / (T sum e), and e_target -= sum e stands for the target
 *
 * With more tiles a first walk over them keeps each row's running maximum and sum, and a second one makes the exponentials
 * again. Loss and gradient come out of one another, so all of it is the operator's backward.
 *
 * Two ways to the items. Over all of the batch's unique keys (the worker passes the whole catalog) the pulled rows
 * are the tile, and their gradient is written in place. Otherwise, and when `shared`, the sum is over the target
 * and all candidates but the target: sampled softmax with negatives that all tokens share, or the same softmax if
 * the candidates happen to hold the target. Their rows are gathered, and their gradients added back.
 *
 * A tied table is the table of op_tokens: op->add makes its gradient the sum of both uses.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/math/gemm.h"
#include "common/nn/ops.h"

#define ROWS_MAX   256u
#define TILE_MAX   32768u
#define GATHER_MAX 2048u
#define Z_REALS    ((size_t)1 << 20)

enum { SM_H, SM_ITEMS, SM_BIAS };
enum { SM_KEEP_Z, SM_KEEP_ITEMS, SM_KEEP_D_ITEMS, SM_KEEP_H, SM_KEEP_BIAS }; /* all scratch */

struct softmax {
    const struct graph *g;
    const struct op *op;
    struct graph_run *run;
    const struct graph_tensor *h, *items, *bias; /* bias may be NULL */
    const struct tokens *t;
    bool direct;
    size_t classes, tile, ldz, d; /* items, items of a tile, stride of z, width */
    real scale;                   /* 1 / T */
    /* -- the block and the tile at hand -- */
    size_t from, rows;                      /* tokens [from, from + rows) */
    size_t first, many;                     /* classes [first, first + many) */
    const real *e, *b;                      /* their rows and biases */
    real most[ROWS_MAX], sum[ROWS_MAX];     /* of the exponents so far */
    real target[ROWS_MAX], other[ROWS_MAX]; /* logit of the target, largest of the others */
};

static real *softmax_scratch(const struct softmax *s, uint32_t i)
{
    return graph_at(s->g, s->op->save[i])->own;
}

static real *z_row(const struct softmax *s, size_t r)
{
    return softmax_scratch(s, SM_KEEP_Z) + r * s->ldz;
}

static const real *h_row(const struct softmax *s, size_t r)
{
    return s->h->value + (s->from + r) * s->h->ld;
}

static void items_gather(struct softmax *s)
{
    real *e = softmax_scratch(s, SM_KEEP_ITEMS), *b = softmax_scratch(s, SM_KEEP_BIAS);
    for (size_t c = 0; c < s->many; c++) {
        const size_t u = s->run->in->candidate[s->first + c];
        vec_put(e + c * s->d, s->items->value + u * s->d, s->d, false);
        if (s->bias)
            b[c] = s->bias->value[u];
    }
    s->e = e;
    s->b = s->bias ? b : NULL;
}

/* The tile from class `first` on; what was gathered for the only tile stays. */
static void tile_begin(struct softmax *s, size_t first)
{
    const bool there = s->tile == s->classes && s->from > 0;
    s->first = first;
    s->many = s->classes - first < s->tile ? s->classes - first : s->tile;
    if (s->direct) {
        s->e = s->items->value + first * s->d;
        s->b = s->bias ? s->bias->value + first : NULL;
    } else if (!there) {
        items_gather(s);
    }
}

static void tile_logits(const struct softmax *s)
{
    gemm_nt(&(struct gemm){.m = s->rows,
                           .n = s->many,
                           .k = s->d,
                           .a = h_row(s, 0),
                           .lda = s->h->ld,
                           .b = s->e,
                           .ldb = s->d,
                           .c = z_row(s, 0),
                           .ldc = s->ldz,
                           .bias = s->b});
    for (size_t r = 0; r < s->rows && !s->direct; r++) {
        const uint32_t target = s->t->target[s->from + r];
        const uint32_t *candidate = s->run->in->candidate + s->first;
        real *z = z_row(s, r);
        for (size_t c = 0; c < s->many; c++)
            if (candidate[c] == target)
                z[c] = -(real)INFINITY;
    }
}

/* Where the target of row r stands in this tile, or NULL. */
static real *z_target(const struct softmax *s, size_t r)
{
    const size_t target = s->t->target[s->from + r];
    return s->direct && target >= s->first && target - s->first < s->many
               ? z_row(s, r) + (target - s->first)
               : NULL;
}

static void rows_begin(struct softmax *s)
{
    for (size_t r = 0; r < s->rows; r++) {
        s->most[r] = s->other[r] = -(real)INFINITY;
        s->sum[r] = 0;
        if (s->direct)
            continue;
        const size_t u = s->t->target[s->from + r];
        s->target[r] = vec_dot(h_row(s, r), s->items->value + u * s->d, s->d) +
                       (s->bias ? s->bias->value[u] : 0);
        s->most[r] = s->target[r];
        s->sum[r] = 1;
    }
}

/* z becomes e^(z - most so far), and the row's maximum and sum take it in. */
static void rows_take(struct softmax *s)
{
    for (size_t r = 0; r < s->rows; r++) {
        real *z = z_row(s, r), *t = z_target(s, r), most = s->most[r];
        if (t) {
            s->target[r] = *t;
            *t = -(real)INFINITY;
        }
        const real here = vec_max(z, s->many);
        s->other[r] = here > s->other[r] ? here : s->other[r];
        if (t)
            *t = s->target[r];
        most = here > most ? here : most;
        most = t && *t > most ? *t : most;
        if (most > s->most[r]) {
            const real shrink = s->most[r] - most;
            (void)vec_exp_sum(&s->most[r], &shrink, 1, 0, 1);
            s->sum[r] *= s->most[r];
            s->most[r] = most;
        }
        s->sum[r] += vec_exp_sum(z, z, 1, most, s->many);
    }
}

/* Add the gathered rows' gradients, which stand in scratch, to where the rows come from. */
static void items_scatter(const struct softmax *s)
{
    real *d_items = graph_grad_in(s->g, s->op, SM_ITEMS);
    const real *d = softmax_scratch(s, SM_KEEP_D_ITEMS);
    for (size_t c = 0; c < s->many; c++)
        vec_put(d_items + s->run->in->candidate[s->first + c] * s->d, d + c * s->d, s->d, true);
}

static void bias_gradient(const struct softmax *s)
{
    real *d_bias = graph_grad_in(s->g, s->op, SM_BIAS), *d = d_bias + s->first;
    const bool add = s->direct && (s->op->add[SM_BIAS] || s->from > 0);
    if (!s->direct)
        d = softmax_scratch(s, SM_KEEP_BIAS) + GATHER_MAX;
    for (size_t r = 0; r < s->rows; r++)
        vec_scaled(d, s->scale / s->sum[r], z_row(s, r), s->many, add || r > 0);
    for (size_t c = 0; c < s->many && !s->direct; c++)
        d_bias[s->run->in->candidate[s->first + c]] += d[c];
}

/* From z = e^(z - most): this tile's part of all gradients; rows of dh still lack their factor. */
static void tile_gradient(const struct softmax *s)
{
    real *hs = softmax_scratch(s, SM_KEEP_H);
    for (size_t r = 0; r < s->rows; r++) {
        real *t = z_target(s, r);
        if (t)
            *t -= s->sum[r];
        vec_scaled(hs + r * s->d, s->scale / s->sum[r], h_row(s, r), s->d, false);
    }
    gemm_nn(&(struct gemm){.m = s->rows,
                           .n = s->d,
                           .k = s->many,
                           .a = z_row(s, 0),
                           .lda = s->ldz,
                           .b = s->e,
                           .ldb = s->d,
                           .c = graph_grad_in(s->g, s->op, SM_H) + s->from * s->h->ld,
                           .ldc = s->h->ld,
                           .add = s->first > 0});
    gemm_tn(&(struct gemm){.m = s->many,
                           .n = s->d,
                           .k = s->rows,
                           .a = z_row(s, 0),
                           .lda = s->ldz,
                           .b = hs,
                           .ldb = s->d,
                           .c = s->direct ? graph_grad_in(s->g, s->op, SM_ITEMS) + s->first * s->d
                                          : softmax_scratch(s, SM_KEEP_D_ITEMS),
                           .ldc = s->d,
                           .add = s->direct && (s->op->add[SM_ITEMS] || s->from > 0)});
    if (s->bias)
        bias_gradient(s);
    if (!s->direct)
        items_scatter(s);
}

static void rows_end(struct softmax *s)
{
    real *d_items = graph_grad_in(s->g, s->op, SM_ITEMS);
    for (size_t r = 0; r < s->rows; r++) {
        real *dh = graph_grad_in(s->g, s->op, SM_H) + (s->from + r) * s->h->ld;
        const size_t u = s->t->target[s->from + r];
        real p = s->target[r];
        s->run->loss += (double)s->most[r] + log((double)s->sum[r]) - (double)s->target[r];
        s->run->correct += s->target[r] > s->other[r];
        vec_scaled(dh, s->scale / s->sum[r], dh, s->d, false);
        if (s->direct)
            continue;
        (void)vec_exp_sum(&p, &p, 1, s->most[r], 1);
        const real d = (p / s->sum[r] - 1) * s->scale;
        vec_scaled(dh, d, s->items->value + u * s->d, s->d, true);
        vec_scaled(d_items + u * s->d, d, h_row(s, r), s->d, true);
        if (s->bias)
            graph_grad_in(s->g, s->op, SM_BIAS)[u] += d;
    }
    s->run->count += s->rows;
}

static void softmax_block(struct softmax *s)
{
    const bool one = s->tile == s->classes;
    rows_begin(s);
    for (size_t first = 0; first < s->classes; first += s->tile) {
        tile_begin(s, first);
        tile_logits(s);
        rows_take(s);
    }
    for (size_t first = 0; first < s->classes; first += s->tile) {
        if (!one) {
            tile_begin(s, first);
            tile_logits(s);
            for (size_t r = 0; r < s->rows; r++)
                (void)vec_exp_sum(z_row(s, r), z_row(s, r), 1, s->most[r], s->many);
        }
        tile_gradient(s);
    }
    rows_end(s);
}

static void softmax_sizes(struct softmax *s)
{
    size_t most = s->op->step ? s->op->step : TILE_MAX;
    if (!s->direct && most > GATHER_MAX)
        most = GATHER_MAX;
    const size_t tiles = (s->classes + most - 1) / most;
    s->tile = (s->classes + tiles - 1) / tiles;
    s->ldz = (s->tile + 15) / 16 * 16;
    s->ldz += s->ldz % 256 == 0 ? 16 : 0;
}

static void softmax_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    struct softmax s = {
        .g = g,
        .op = op,
        .run = run,
        .h = graph_at(g, op->in[SM_H]),
        .items = graph_at(g, op->in[SM_ITEMS]),
        .bias = op->in_used > SM_BIAS ? graph_at(g, op->in[SM_BIAS]) : NULL,
        .t = g->tokens,
        .direct = op->param == 0 && run->in->candidates == run->in->unique,
        .classes = run->in->candidates,
        .d = graph_at(g, op->in[SM_H])->cols,
        .scale = 1 / (real)g->tokens->used,
    };
    assert(run->in->candidates > 0 && !op->add[SM_H]);
    softmax_sizes(&s);
    if (!s.direct && !op->add[SM_ITEMS])
        memset(graph_grad_in(g, op, SM_ITEMS), 0, run->in->unique * s.d * sizeof(real));
    if (!s.direct && s.bias && !op->add[SM_BIAS])
        memset(graph_grad_in(g, op, SM_BIAS), 0, run->in->unique * sizeof(real));
    const size_t fit = Z_REALS / s.ldz, block = fit < ROWS_MAX ? fit : ROWS_MAX;
    for (s.from = 0; s.from < s.t->used; s.from += s.rows) {
        s.rows = s.t->used - s.from < block ? s.t->used - s.from : block;
        softmax_block(&s);
    }
}

static void softmax_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    (void)g;
    (void)op;
    (void)run;
}

static const struct op_kind softmax_kind = {
    .name = "softmax",
    .forward = softmax_forward,
    .backward = softmax_backward,
    .loss = true,
};

void op_softmax(struct graph *g, uint32_t h, uint32_t items, uint32_t bias, bool shared)
{
    const size_t d = graph_at(g, h)->cols;
    assert(graph_at(g, h)->kind == ROWS_TOKENS && graph_at(g, items)->home == HOME_TABLE &&
           graph_at(g, items)->cols == d);
    const uint32_t keep[5] = {
        graph_slab(g, ROWS_FIXED, 1, Z_REALS),        graph_slab(g, ROWS_FIXED, 1, GATHER_MAX * d),
        graph_slab(g, ROWS_FIXED, 1, GATHER_MAX * d), graph_slab(g, ROWS_FIXED, 1, ROWS_MAX * d),
        graph_slab(g, ROWS_FIXED, 1, 2 * GATHER_MAX),
    };
    struct op *op = graph_op(g, &softmax_kind, GRAPH_NONE);
    for (uint32_t i = 0; i < 5; i++)
        graph_save(g, op, i, keep[i]);
    graph_read(g, op, h);
    graph_read(g, op, items);
    if (bias != GRAPH_NONE) {
        assert(graph_at(g, bias)->home == HOME_TABLE && graph_at(g, bias)->cols == 1);
        graph_read(g, op, bias);
    }
    op->param = shared;
}
