/* op_attention.c - causal multi-head attention within each sequence: o = softmax(q k' / sqrt d_h) v.
 *
 * q, k, v (T, d), packed by record; head h is columns [h d_h, (h + 1) d_h). Queries go in blocks of AT_BLOCK; a block
 * meets the keys up to its own end and no others, so of the half that causality forbids only the triangle within the
 * block's own square is computed in vain. The scores of a block, (AT_BLOCK, at most L), stay in the cache: a row
 * is whole, and its softmax needs no running maximum. Kept for backward: each row's log-sum-exp; the scores are
 * made again.
 *
 *     P = e^(s - lse), P~ = P dropped, O = P~ V;  D = <dO, O> a row
 *     dV = P~' dO;  dP = dropped (dO V');  dS = P (dP - D) / sqrt d_h;  dQ = dS K;  dK = dS' Q
 *
 * Backward takes a sequence's blocks from the last to the first: the last one reaches all keys and so writes all of dK and
 * dV first. Dropout's key is (record, place of the query, head), its column the place of the key.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/math/gemm.h"
#include "common/nn/epilogue.h"
#include "common/nn/ops.h"

#ifdef PENSTOCK_REAL_DOUBLE
#define REAL_LOG log
#else
#define REAL_LOG logf
#endif
#define AT_BLOCK 64u /* queries */

enum { AT_Q, AT_K, AT_V };
enum { AT_LSE, AT_P, AT_DP }; /* (T, heads); scratch (AT_BLOCK, L) twice */

struct attend { /* one block of queries of one head of one sequence */
    const struct graph *g;
    const struct op *op;
    struct graph_run *run;
    struct vec_finish finish;
    struct epilogue_base base;
    real scale;
    real *p, *dp; /* (AT_BLOCK, keys) with stride ld */
    size_t ld;
    size_t width, head;
    size_t from;              /* first row of the sequence */
    size_t first, many, keys; /* its queries [first, first + many) see its keys [0, keys) */
    bool more;                /* backward: a block behind this one has written dK and dV */
};

static struct attend attend_of(const struct graph *g, const struct op *op, struct graph_run *run)
{
    const size_t width = graph_at(g, op->out)->cols / op->param;
    const struct graph_tensor *p = graph_at(g, op->save[AT_P]);
    return (struct attend){
        .g = g,
        .op = op,
        .run = run,
        .finish = epilogue_finish(op, run),
        .base = epilogue_base(g, op, run),
        .scale = (real)(1 / sqrt((double)width)),
        .p = p->own,
        .dp = graph_at(g, op->save[AT_DP])->own,
        .ld = p->ld,
        .width = width,
    };
}

/* This head's part of the row of a place, in a value or a gradient of tensor t. */
static size_t attend_at(const struct attend *a, const struct graph_tensor *t, size_t place)
{
    return (a->from + place) * t->ld + a->head * a->width;
}

static uint64_t drop_key(const struct attend *a, size_t query)
{
    return rng_mix(epilogue_key(a->base, a->run, a->from + a->first + query), a->head);
}

static real *lse_of(const struct attend *a, size_t query)
{
    const struct graph_tensor *t = graph_at(a->g, a->op->save[AT_LSE]);
    return t->own + (a->from + a->first + query) * t->ld + a->head;
}

/* c (many, keys) = x y', where x are rows of the queries and y those of the keys. */
static void against_keys(const struct attend *a, const real *x, size_t ldx, uint32_t in, real *c)
{
    const struct graph_tensor *t = graph_at(a->g, a->op->in[in]);
    gemm_nt(&(struct gemm){.m = a->many,
                           .n = a->keys,
                           .k = a->width,
                           .a = x,
                           .lda = ldx,
                           .b = t->value + attend_at(a, t, 0),
                           .ldb = t->ld,
                           .c = c,
                           .ldc = a->ld});
}

/* y (many, d_h) = p times the keys' rows. */
static void from_keys(const struct attend *a, const real *p, uint32_t in, real *y, size_t ldy,
                      bool add)
{
    const struct graph_tensor *t = graph_at(a->g, a->op->in[in]);
    gemm_nn(&(struct gemm){.m = a->many,
                           .n = a->width,
                           .k = a->keys,
                           .a = p,
                           .lda = a->ld,
                           .b = t->value + attend_at(a, t, 0),
                           .ldb = t->ld,
                           .c = y,
                           .ldc = ldy,
                           .add = add});
}

/* Gradient of the keys' rows: p' times y, the queries' rows. */
static void to_keys(const struct attend *a, const real *p, const real *y, size_t ldy, uint32_t in)
{
    const struct graph_tensor *t = graph_at(a->g, a->op->in[in]);
    gemm_tn(&(struct gemm){.m = a->keys,
                           .n = a->width,
                           .k = a->many,
                           .a = p,
                           .lda = a->ld,
                           .b = y,
                           .ldb = ldy,
                           .c = t->grad + attend_at(a, t, 0),
                           .ldc = t->ld,
                           .add = a->op->add[in] || a->more});
}

static void block_forward(const struct attend *a)
{
    const struct graph_tensor *q = graph_at(a->g, a->op->in[AT_Q]), *o = graph_at(a->g, a->op->out);
    real sum[AT_BLOCK];
    against_keys(a, q->value + attend_at(a, q, a->first), q->ld, AT_K, a->p);
    for (size_t r = 0; r < a->many; r++) {
        real *p = a->p + r * a->ld;
        const size_t sees = a->first + r + 1;
        const real most = a->scale * vec_max(p, sees);
        sum[r] = vec_exp_sum(p, p, a->scale, most, sees);
        memset(p + sees, 0, (a->keys - sees) * sizeof(*p));
        *lse_of(a, r) = most + REAL_LOG(sum[r]);
        if (a->finish.drop_below)
            vec_finish(p, p, NULL, NULL, sees, &a->finish, drop_key(a, r));
    }
    real *y = o->own + attend_at(a, o, a->first);
    from_keys(a, a->p, AT_V, y, o->ld, false);
    for (size_t r = 0; r < a->many; r++)
        vec_scaled(y + r * o->ld, 1 / sum[r], y + r * o->ld, a->width, false);
}

/* a->p: P again. a->dp: dO V'. Dropped where P was. */
static void block_again(const struct attend *a)
{
    const struct graph_tensor *q = graph_at(a->g, a->op->in[AT_Q]), *o = graph_at(a->g, a->op->out);
    against_keys(a, q->value + attend_at(a, q, a->first), q->ld, AT_K, a->p);
    against_keys(a, o->grad + attend_at(a, o, a->first), o->ld, AT_V, a->dp);
    for (size_t r = 0; r < a->many; r++) {
        real *p = a->p + r * a->ld, *dp = a->dp + r * a->ld;
        const size_t sees = a->first + r + 1;
        (void)vec_exp_sum(p, p, a->scale, *lse_of(a, r), sees);
        memset(p + sees, 0, (a->keys - sees) * sizeof(*p));
        if (a->finish.drop_below)
            vec_finish_back(dp, dp, p, sees, &a->finish, drop_key(a, r));
    }
}

static void block_backward(const struct attend *a)
{
    const struct graph_tensor *q = graph_at(a->g, a->op->in[AT_Q]), *o = graph_at(a->g, a->op->out);
    const real *dy = o->grad + attend_at(a, o, a->first), *y = o->value + attend_at(a, o, a->first);
    block_again(a);
    for (size_t r = 0; r < a->many; r++) {
        real *p = a->p + r * a->ld, *dp = a->dp + r * a->ld;
        const size_t sees = a->first + r + 1;
        const real mean = vec_dot(dy + r * o->ld, y + r * o->ld, a->width);
        vec_softmax_back(dp, p, dp, mean, a->scale, sees);
        memset(dp + sees, 0, (a->keys - sees) * sizeof(*dp));
        if (a->finish.drop_below)
            vec_finish(p, p, NULL, NULL, sees, &a->finish, drop_key(a, r));
    }
    to_keys(a, a->p, dy, o->ld, AT_V);
    to_keys(a, a->dp, q->value + attend_at(a, q, a->first), q->ld, AT_K);
    from_keys(a, a->dp, AT_K, q->grad + attend_at(a, q, a->first), q->ld, a->op->add[AT_Q]);
}

static void attention_forward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    struct attend a = attend_of(g, op, run);
    for (size_t i = 0; i < g->tokens->records; i++) {
        const size_t n = g->tokens->start[i + 1] - g->tokens->start[i];
        a.from = g->tokens->start[i];
        for (a.head = 0; a.head < op->param; a.head++) {
            for (a.first = 0; a.first < n; a.first += AT_BLOCK) {
                a.many = n - a.first < AT_BLOCK ? n - a.first : AT_BLOCK;
                a.keys = a.first + a.many;
                block_forward(&a);
            }
        }
    }
}

static void attention_backward(const struct graph *g, const struct op *op, struct graph_run *run)
{
    struct attend a = attend_of(g, op, run);
    for (size_t i = 0; i < g->tokens->records; i++) {
        const size_t n = g->tokens->start[i + 1] - g->tokens->start[i];
        a.from = g->tokens->start[i];
        for (a.head = 0; a.head < op->param; a.head++) {
            a.more = false;
            for (size_t end = n; end > 0; end = a.first) {
                a.first = (end - 1) / AT_BLOCK * AT_BLOCK;
                a.many = end - a.first;
                a.keys = end;
                block_backward(&a);
                a.more = true;
            }
        }
    }
}

static const struct op_kind attention_kind = {
    .name = "attention",
    .forward = attention_forward,
    .backward = attention_backward,
};

uint32_t op_attention(struct graph *g, const uint32_t qkv[3], size_t heads, double dropout)
{
    const struct graph_tensor t = *graph_at(g, qkv[AT_Q]);
    assert(t.kind == ROWS_TOKENS && !g->tokens->by_step && heads > 0 && t.cols % heads == 0);
    assert(qkv[0] != qkv[1] && qkv[1] != qkv[2] && qkv[0] != qkv[2]);
    const uint32_t out = graph_slab(g, ROWS_TOKENS, 0, t.cols);
    const uint32_t lse = graph_slab(g, ROWS_TOKENS, 0, heads);
    const uint32_t p = graph_slab(g, ROWS_FIXED, AT_BLOCK, g->tokens->places_max);
    const uint32_t dp = graph_slab(g, ROWS_FIXED, AT_BLOCK, g->tokens->places_max);
    struct op *op = graph_op(g, &attention_kind, out);
    graph_save(g, op, AT_LSE, lse);
    graph_save(g, op, AT_P, p);
    graph_save(g, op, AT_DP, dp);
    for (uint32_t i = 0; i < 3; i++) {
        assert(graph_at(g, qkv[i])->kind == ROWS_TOKENS && graph_at(g, qkv[i])->cols == t.cols &&
               graph_at(g, qkv[i])->wants_grad);
        graph_read(g, op, qkv[i]);
    }
    op->param = heads;
    epilogue_set(g, op, &(struct epilogue){.dropout = dropout});
    return out;
}
