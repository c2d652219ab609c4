/* model_mlp.c - the "DNN" of BARS: embeddings and floats side by side, hidden layers, one logit.
 *
 * A hidden layer is linear -> batch norm -> relu (or Dice) -> dropout, in this order; the linear keeps its bias
 * before a batch norm, where it has no effect in training (as BARS has it). Weights begin Xavier-normal,
 * std sqrt(2 / (in + out)), biases at zero. There is no linear ("wide") part.
 */
#include <math.h>
#include <stdio.h>

#include "common/nn/families.h"
#include "common/nn/ops.h"

size_t model_mlp_slot(const struct graph *g, size_t field)
{
    size_t slot = 0;
    for (size_t i = 0; i < field; i++) {
        const int t = g->job->data.fields[i].type;
        slot += t == FIELD_ID || t == FIELD_IDS || t == FIELD_USER || t == FIELD_ITEM ||
                t == FIELD_HISTORY;
    }
    return slot;
}

uint32_t model_mlp_table(struct graph *g)
{
    return g->fields ? graph_table(g, "embedding", (size_t)g->job->model.embedding) : GRAPH_NONE;
}

uint32_t model_mlp_features(struct graph *g, uint32_t table)
{
    uint32_t parts[2];
    size_t used = 0;
    if (g->fields)
        parts[used++] = op_embed(g, table);
    if (g->floats)
        parts[used++] = graph_float_features(g);
    return used == 1 ? parts[0] : op_concat(g, parts, used);
}

uint32_t model_mlp_linear(struct graph *g, uint32_t x, const char *name, size_t width,
                          const struct epilogue *e)
{
    const size_t in = graph_at(g, x)->cols;
    char tensor[PLAN_NAME_MAX];
    (void)snprintf(tensor, sizeof(tensor), "%s.weight", name);
    const uint32_t w = graph_matrix(g, tensor, width, in, sqrt(2 / (double)(in + width)));
    (void)snprintf(tensor, sizeof(tensor), "%s.bias", name);
    const uint32_t b = graph_vector(g, tensor, width, PLAN_ZERO);
    return op_linear(g, x, w, b, e);
}

uint32_t model_mlp_norm(struct graph *g, uint32_t x, const char *name, const struct epilogue *e)
{
    const size_t width = graph_at(g, x)->cols;
    char tensor[4][PLAN_NAME_MAX];
    const char *const parts[4] = {"weight", "bias", "mean", "var"};
    for (size_t i = 0; i < 4; i++)
        (void)snprintf(tensor[i], PLAN_NAME_MAX, "%s.bn.%s", name, parts[i]);
    const struct op_norm norm = {
        .gamma = graph_vector(g, tensor[0], width, PLAN_ONE),
        .beta = graph_vector(g, tensor[1], width, PLAN_ZERO),
        .mean = graph_stat(g, tensor[2], width, PLAN_ZERO),
        .var = graph_stat(g, tensor[3], width, PLAN_ONE),
        .eps = (real)1e-5,
    };
    return op_batch_norm(g, x, &norm, e);
}

uint32_t model_mlp_dice(struct graph *g, uint32_t x, const char *name, const struct epilogue *e)
{
    const size_t width = graph_at(g, x)->cols;
    char tensor[3][PLAN_NAME_MAX];
    const char *const parts[3] = {"alpha", "mean", "var"};
    for (size_t i = 0; i < 3; i++)
        (void)snprintf(tensor[i], PLAN_NAME_MAX, "%s.dice.%s", name, parts[i]);
    const struct op_dice dice = {
        .alpha = graph_vector(g, tensor[0], width, PLAN_ZERO),
        .mean = graph_stat(g, tensor[1], width, PLAN_ZERO),
        .var = graph_stat(g, tensor[2], width, PLAN_ONE),
        .eps = (real)1e-9,
    };
    return op_dice(g, x, &dice, e);
}

uint32_t model_mlp_net(struct graph *g, uint32_t x, const struct model_net *net)
{
    const struct epilogue none = {0};
    const bool norm = g->job->model.batch_norm, dice = g->job->model.activation == JOB_DICE;
    const struct epilogue drop = {.dropout = net->dropout};
    const struct epilogue finish = dice ? none : (struct epilogue){true, net->dropout, false};
    for (size_t i = 0; i < net->hidden->used; i++) {
        char name[PLAN_NAME_MAX];
        (void)snprintf(name, sizeof(name), "%s.%zu", net->name, i);
        x = model_mlp_linear(g, x, name, (size_t)net->hidden->item[i], norm ? &none : &finish);
        if (norm)
            x = model_mlp_norm(g, x, name, &finish);
        if (dice)
            x = model_mlp_dice(g, x, name, &drop);
    }
    return x;
}

uint32_t model_mlp_hidden(struct graph *g, uint32_t x)
{
    return model_mlp_net(g, x,
                         &(struct model_net){"mlp", &g->job->model.hidden, g->job->model.dropout});
}

uint32_t model_mlp_build(struct graph *g, struct errbuf *err)
{
    (void)err;
    const uint32_t h = model_mlp_hidden(g, model_mlp_features(g, model_mlp_table(g)));
    return model_mlp_linear(g, h, "out", 1, &(struct epilogue){0});
}
