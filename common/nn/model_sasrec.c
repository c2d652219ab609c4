/* model_sasrec.c - SASRec (Kang and McAuley 2018): causal self-attention over a user's history.
 *
 *     x = drop(sqrt(d) E[item] + P[place])
 *     per block:  q = LN(x);  x = q + W_o attention(W_q q, W_k x, W_v x)     keys and values are not normed,
 *                 y = LN(x);  x = y + drop(W_2 drop(act(W_1 y)))             and what is added to is: as in the
 *     h = LN(x)                                                              reference code
 *
 * The part of it that other sequence families share stands here: how the items are scored (model_next_item).
 */
#include <math.h>
#include <stdio.h>

#include "common/nn/families.h"
#include "common/nn/ops.h"

/* Weights begin at N(0, 0.02^2), as in GPT and BERT; embeddings and places at N(0, model.embedding_init^2). */
#define STD 0.02

enum status model_next_item_check(const struct graph *g, struct errbuf *err)
{
    if (g->fields == 3 && g->floats == 0)
        return ST_OK;
    return errbuf_set(err, ST_USAGE,
                      "model.family: %s learns from sequences of items; set data.records=sequences",
                      job_family_name(g->job->model.family));
}

void model_next_item(struct graph *g, uint32_t h, uint32_t table, struct model_head *out)
{
    *out = (struct model_head){.h = h, .items = table, .bias = GRAPH_NONE};
    if (!g->job->model.tied) {
        out->items = graph_table(g, "output", graph_at(g, h)->cols);
        out->bias = graph_table_of(g, "output.bias", 1, 0);
    }
    if (g->job->model.loss == JOB_LOSS_BCE)
        op_bce_pair(g, h, out->items, out->bias);
    else
        op_softmax(g, h, out->items, out->bias, g->job->model.loss == JOB_LOSS_SAMPLED);
}

uint32_t model_next_norm(struct graph *g, uint32_t x, const char *name)
{
    const size_t cols = graph_at(g, x)->cols;
    char gamma[PLAN_NAME_MAX], beta[PLAN_NAME_MAX];
    (void)snprintf(gamma, sizeof(gamma), "%s.weight", name);
    (void)snprintf(beta, sizeof(beta), "%s.bias", name);
    return op_layer_norm(g, x, graph_vector(g, gamma, cols, PLAN_ONE),
                         graph_vector(g, beta, cols, PLAN_ZERO), 1e-8);
}

uint32_t model_next_linear(struct graph *g, uint32_t x, const char *name, size_t width,
                           const struct epilogue *e)
{
    char w[PLAN_NAME_MAX], b[PLAN_NAME_MAX];
    (void)snprintf(w, sizeof(w), "%s.weight", name);
    (void)snprintf(b, sizeof(b), "%s.bias", name);
    return op_linear(g, x, graph_matrix(g, w, width, graph_at(g, x)->cols, STD),
                     graph_vector(g, b, width, PLAN_ZERO), e);
}

static const char *block_name(char *buf, size_t block, const char *part)
{
    (void)snprintf(buf, PLAN_NAME_MAX - 8, "block.%zu.%s", block, part);
    return buf;
}

static uint32_t attend(struct graph *g, uint32_t x, size_t block)
{
    char name[PLAN_NAME_MAX];
    const struct epilogue none = {0};
    const size_t d = graph_at(g, x)->cols;
    const uint32_t n = model_next_norm(g, x, block_name(name, block, "norm1"));
    uint32_t qkv[3];
    qkv[0] = model_next_linear(g, n, block_name(name, block, "query"), d, &none);
    qkv[1] = model_next_linear(g, x, block_name(name, block, "key"), d, &none);
    qkv[2] = model_next_linear(g, x, block_name(name, block, "value"), d, &none);
    const uint32_t a = op_attention(g, qkv, (size_t)g->job->model.heads, g->job->model.dropout);
    return op_add(g, n, model_next_linear(g, a, block_name(name, block, "out"), d, &none));
}

static uint32_t feed_forward(struct graph *g, uint32_t x, size_t block)
{
    char name[PLAN_NAME_MAX];
    const size_t d = graph_at(g, x)->cols;
    const size_t width = g->job->model.ffn ? (size_t)g->job->model.ffn : d;
    const struct epilogue drop = {.dropout = g->job->model.dropout};
    const uint32_t n = model_next_norm(g, x, block_name(name, block, "norm2"));
    uint32_t y;
    if (g->job->model.activation == JOB_GELU) {
        y = op_gelu(g, model_next_linear(g, n, block_name(name, block, "ffn1"), width,
                                         &(struct epilogue){0}));
        if (drop.dropout > 0)
            y = op_epilogue(g, y, &drop);
    } else {
        y = model_next_linear(g, n, block_name(name, block, "ffn1"), width,
                              &(struct epilogue){.relu = true, .dropout = drop.dropout});
    }
    return op_add(g, n, model_next_linear(g, y, block_name(name, block, "ffn2"), d, &drop));
}

uint32_t model_sasrec_build(struct graph *g, struct model_head *out, struct errbuf *err)
{
    const struct job *job = g->job;
    const size_t d = (size_t)job->model.embedding, places = (size_t)job->data.sequence.max;
    if (d % job->model.heads != 0) {
        (void)errbuf_set(err, ST_USAGE, "model.heads: %zu does not divide model.embedding, %zu",
                         (size_t)job->model.heads, d);
        return GRAPH_NONE;
    }
    graph_sequences(g, places, false);
    const uint32_t table = graph_table(g, "embedding", d);
    const uint32_t positions = graph_matrix(g, "positions", places, d, job->model.embedding_init);
    uint32_t x = op_tokens(g, table, positions, job->model.scale_embedding ? sqrt((double)d) : 1,
                           &(struct epilogue){.dropout = job->model.input_dropout});
    for (size_t i = 0; i < job->model.blocks; i++)
        x = feed_forward(g, attend(g, x, i), i);
    x = model_next_norm(g, x, "norm");
    model_next_item(g, x, table, out);
    return x;
}
