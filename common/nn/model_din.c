/* model_din.c - DIN (Zhou et al. 2018): a user's history as the item at hand sees it.
 *
 *     q_j = net([h_j ; t ; h_j - t ; h_j t])      u = sum_j q_j h_j      z = out(hidden([E with u instead of sum_j h_j]))
 *
 * t is the item's embedding, h_j that of the history's j-th, in one table. The weights q are what the net says: no
 * softmax, so that their sum tells how much of the history concerns the item (model.attention_softmax: the
 * alternative). The net over the history has no batch norm and no dropout; model.activation=dice makes both nets' relus Dice.
 * An empty history gives u = 0.
 *
 * The history is the field of type history that is of the item; or a bag of ids that shares the item's vocab.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/nn/families.h"
#include "common/nn/ops.h"

struct din { /* slots of id fields */
    size_t item, history;
    size_t places_max;
};

static const char *vocab_of(const struct job_field *f)
{
    return f->vocab && f->vocab[0] ? f->vocab : f->name;
}

static bool is_history_of(const struct job_field *f, const struct job_field *item)
{
    if (f->type == FIELD_HISTORY)
        return f->of && strcmp(f->of, item->name) == 0;
    return f->type == FIELD_IDS && strcmp(vocab_of(f), vocab_of(item)) == 0;
}

static bool din_find(const struct graph *g, struct din *out, struct errbuf *err)
{
    const struct job_field *fields = g->job->data.fields, *item = NULL;
    const size_t used = g->job->data.fields_used;
    for (size_t i = 0; i < used && !item; i++)
        item = fields[i].type == FIELD_ITEM ? &fields[i] : NULL;
    for (size_t i = 0; i < used && item; i++) {
        if (!is_history_of(&fields[i], item))
            continue;
        *out = (struct din){
            .item = model_mlp_slot(g, (size_t)(item - fields)),
            .history = model_mlp_slot(g, i),
            .places_max = (size_t)(fields[i].type == FIELD_IDS ? fields[i].ids_max : fields[i].max),
        };
        return true;
    }
    (void)errbuf_set(
        err, ST_USAGE,
        "model.family: din needs a field of type item and its history (a field of type "
        "history that is of it, or of type ids with its vocab)");
    return false;
}

/* u (n, d) */
static uint32_t din_interest(struct graph *g, uint32_t table, const struct din *din)
{
    const struct u64s *widths = &g->job->model.attention;
    const bool dice = g->job->model.activation == JOB_DICE;
    const struct epilogue none = {0}, relu = {.relu = true};
    graph_history(g, din->history, din->places_max);
    const uint32_t h = op_tokens(g, table, GRAPH_NONE, 1, &none);
    uint32_t q = op_match(g, h, op_embed_fields(g, table, din->item, din->item + 1));
    for (size_t i = 0; i < widths->used; i++) {
        char name[PLAN_NAME_MAX];
        (void)snprintf(name, sizeof(name), "attention.%zu", i);
        q = model_mlp_linear(g, q, name, (size_t)widths->item[i], dice ? &none : &relu);
        if (dice)
            q = model_mlp_dice(g, q, name, &none);
    }
    return op_pool(g, model_mlp_linear(g, q, "attention.out", 1, &none), h,
                   g->job->model.attention_softmax);
}

uint32_t model_din_build(struct graph *g, struct errbuf *err)
{
    struct din din;
    if (!din_find(g, &din, err))
        return GRAPH_NONE;
    const uint32_t table = model_mlp_table(g);
    uint32_t parts[4];
    size_t used = 0;
    if (din.history > 0)
        parts[used++] = op_embed_fields(g, table, 0, din.history);
    parts[used++] = din_interest(g, table, &din);
    if (din.history + 1 < g->fields)
        parts[used++] = op_embed_fields(g, table, din.history + 1, g->fields);
    if (g->floats)
        parts[used++] = graph_float_features(g);
    const uint32_t h = model_mlp_hidden(g, op_concat(g, parts, used));
    return model_mlp_linear(g, h, "out", 1, &(struct epilogue){0});
}
