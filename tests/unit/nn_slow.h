/* nn_slow.h - the families once more, slowly: written from the formulas of common/nn/README.md, in double.
 *
 * Record by record and layer by layer, with the parameters looked up by their names; nothing is shared with
 * common/nn but the plan. The pairs of a factorization machine are its definition, not the trick. Dropout
 * has no place here: it is tested by its promises (nn_model.c).
 */
#ifndef PENSTOCK_TESTS_UNIT_NN_SLOW_H
#define PENSTOCK_TESTS_UNIT_NN_SLOW_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/nn_case.h"

static inline bool is_deep(int family)
{
    return family != JOB_LR && family != JOB_FM;
}

static inline const float *tensor(const struct nn_case *c, const char *table, const char *name)
{
    const struct plan_table *t = &c->plan.tables[plan_find(&c->plan, table)];
    for (size_t i = 0; i < t->tensors_used; i++)
        if (strcmp(t->tensors[i].name, name) == 0)
            return (strcmp(table, "stat") == 0 ? c->stat : c->p.dense) +
                   t->tensors[i].block_first * DENSE_BLOCK;
    fail_msg("no tensor %s", name);
    return NULL;
}

/* fmt has one %s, for `of`. */
static inline const float *named(const struct nn_case *c, const char *table, const char *fmt,
                                 const char *of)
{
    char name[2 * PLAN_NAME_MAX];
    (void)snprintf(name, sizeof(name), fmt, of);
    return tensor(c, table, name);
}

static inline double weight_of(const struct nn_case *c, size_t o)
{
    return c->in.weight ? (double)c->in.weight[o] : 1;
}

/* b + sum of weights, + floats. */
static inline double slow_lr(const struct nn_case *c, size_t i)
{
    const float *rows = c->p.rows[plan_find(&c->plan, "linear")];
    double z = (double)*tensor(c, "dense", "linear.bias");
    for (size_t o = c->in.offsets[i * c->fields]; o < c->in.offsets[(i + 1) * c->fields]; o++)
        z += weight_of(c, o) * (double)rows[c->in.index[o]];
    for (size_t k = 0; k < c->floats; k++)
        z += (double)(c->in.floats[i * c->floats + k] * tensor(c, "dense", "linear.floats")[k]);
    return z;
}

/* sum over pairs i < j of x_i x_j <v_i, v_j>: the definition, not the trick. */
static inline double slow_fm(const struct nn_case *c, size_t i)
{
    const size_t d = (size_t)c->job.model.embedding, from = c->in.offsets[i * c->fields];
    const size_t ids = c->in.offsets[(i + 1) * c->fields] - from, all = ids + c->floats;
    const float *rows = c->p.rows[plan_find(&c->plan, "embedding")];
    double z = 0;
    for (size_t a = 0; a < all; a++) {
        for (size_t b = a + 1; b < all; b++) {
            const float *v[2];
            double x[2];
            for (int s = 0; s < 2; s++) {
                const size_t f = s ? b : a;
                v[s] = f < ids ? rows + c->in.index[from + f] * d
                               : tensor(c, "dense", "fm.floats") + (f - ids) * d;
                x[s] = f < ids ? weight_of(c, from + f)
                               : (double)c->in.floats[i * c->floats + f - ids];
            }
            for (size_t k = 0; k < d; k++)
                z += x[0] * x[1] * (double)v[0][k] * (double)v[1][k];
        }
    }
    return z;
}

#define SLOW_MAX 192

static bool slow_training; /* batch norm by the batch, or by the averages */

/* E of record i; returns its width. */
static inline size_t slow_features(const struct nn_case *c, size_t i, double *e)
{
    const size_t d = (size_t)c->job.model.embedding;
    const float *rows = c->p.rows[plan_find(&c->plan, "embedding")];
    for (size_t f = 0; f < c->fields; f++) {
        for (size_t k = 0; k < d; k++) {
            e[f * d + k] = 0;
            const uint32_t *offsets = c->in.offsets + i * c->fields + f;
            for (size_t o = offsets[0]; o < offsets[1]; o++)
                e[f * d + k] += weight_of(c, o) * (double)rows[c->in.index[o] * d + k];
            if (c->job.model.pooling == JOB_POOL_MEAN && offsets[1] > offsets[0])
                e[f * d + k] /= (double)(offsets[1] - offsets[0]);
        }
    }
    for (size_t k = 0; k < c->floats; k++)
        e[c->fields * d + k] = (double)c->in.floats[i * c->floats + k];
    return c->fields * d + c->floats;
}

static inline void slow_linear(const float *w, const float *b, const double *x, size_t in,
                               double *y, size_t out)
{
    for (size_t j = 0; j < out; j++) {
        y[j] = (double)b[j];
        for (size_t k = 0; k < in; k++)
            y[j] += (double)w[j * in + k] * x[k];
    }
}

/* What the slow nets work on: one row a record, or one a token. */
struct slow {
    double row[256][SLOW_MAX];
    size_t width;
};

/* Batch norm NAME of column j, in training by the batch, and relu. */
static inline void slow_norm(const struct nn_case *c, const char *name, bool train, struct slow *h,
                             size_t j)
{
    double mean = (double)named(c, "stat", "%s.bn.mean", name)[j];
    double var = (double)named(c, "stat", "%s.bn.var", name)[j];
    if (train) {
        mean = var = 0;
        for (size_t i = 0; i < c->n; i++)
            mean += h->row[i][j] / (double)c->n;
        for (size_t i = 0; i < c->n; i++)
            var += (h->row[i][j] - mean) * (h->row[i][j] - mean) / (double)c->n;
    }
    for (size_t i = 0; i < c->n; i++)
        h->row[i][j] = (h->row[i][j] - mean) / sqrt(var + 1e-5) *
                           (double)named(c, "dense", "%s.bn.weight", name)[j] +
                       (double)named(c, "dense", "%s.bn.bias", name)[j];
}

/* Dice NAME over rows [0, n) of h. */
static inline void slow_dice(const struct nn_case *c, const char *name, struct slow *h, size_t n)
{
    for (size_t j = 0; j < h->width; j++) {
        double mean = (double)named(c, "stat", "%s.dice.mean", name)[j];
        double var = (double)named(c, "stat", "%s.dice.var", name)[j];
        const double alpha = (double)named(c, "dense", "%s.dice.alpha", name)[j];
        if (slow_training && n > 1) {
            mean = var = 0;
            for (size_t i = 0; i < n; i++)
                mean += h->row[i][j] / (double)n;
            for (size_t i = 0; i < n; i++)
                var += (h->row[i][j] - mean) * (h->row[i][j] - mean) / (double)n;
        }
        for (size_t i = 0; i < n; i++) {
            const double x = h->row[i][j], p = 1 / (1 + exp(-(x - mean) / sqrt(var + 1e-9)));
            h->row[i][j] = p * x + alpha * (1 - p) * x;
        }
    }
}

/* h <- relu(norm(join(W h + b))); `factorized`: join is h2 + h1 * h2 or [h2 ; h1 * h2], else nothing. */
static inline void slow_layer(const struct nn_case *c, const char *name, bool train, struct slow *h,
                              size_t out, bool factorized)
{
    const bool concat = c->job.model.finalnet.mix == JOB_MIX_CONCAT;
    for (size_t i = 0; i < c->n; i++) {
        double y[2 * SLOW_MAX];
        const size_t half = concat ? out / 2 : out;
        slow_linear(named(c, "dense", "%s.weight", name), named(c, "dense", "%s.bias", name),
                    h->row[i], h->width, y, factorized && !concat ? 2 * out : out);
        for (size_t j = 0; j < half && factorized; j++) {
            const double both = y[j] * y[half + j];
            y[concat ? half + j : j] = concat ? both : y[j] + both;
        }
        memcpy(h->row[i], y, out * sizeof(*y));
    }
    h->width = out;
    const bool dice = c->job.model.activation == JOB_DICE;
    for (size_t j = 0; j < out; j++) {
        if (c->job.model.batch_norm)
            slow_norm(c, name, train && c->n > 1, h, j);
        for (size_t i = 0; i < c->n && !dice; i++)
            h->row[i][j] = h->row[i][j] > 0 ? h->row[i][j] : 0;
    }
    if (dice)
        slow_dice(c, name, h, c->n);
}

static inline void slow_net(const struct nn_case *c, const char *name, const uint64_t *widths,
                            size_t used, struct slow *h)
{
    for (size_t l = 0; l < used; l++) {
        char layer[PLAN_NAME_MAX];
        (void)snprintf(layer, sizeof(layer), "%s.%zu", name, l);
        slow_layer(c, layer, slow_training, h, (size_t)widths[l], strncmp(name, "block", 5) == 0);
    }
}

static inline void slow_mlp(const struct nn_case *c, struct slow *h)
{
    slow_net(c, "mlp", c->hidden, c->job.model.hidden.used, h);
}

/* z_i += the linear layer NAME of row i. */
static inline void slow_out(const struct nn_case *c, const char *name, const struct slow *h,
                            double *z)
{
    for (size_t i = 0; i < c->n; i++) {
        double y;
        slow_linear(named(c, "dense", "%s.weight", name), named(c, "dense", "%s.bias", name),
                    h->row[i], h->width, &y, 1);
        z[i] += y;
    }
}

static inline void slow_append(struct slow *h, const struct slow *more, size_t n)
{
    for (size_t i = 0; i < n; i++)
        memcpy(h->row[i] + h->width, more->row[i], more->width * sizeof(double));
    h->width += more->width;
}

static inline void slow_cross(const struct nn_case *c, const double *e, size_t width, double *x)
{
    memcpy(x, e, width * sizeof(*x));
    for (size_t l = 0; l < c->job.model.cross; l++) {
        char name[PLAN_NAME_MAX];
        double u[SLOW_MAX];
        (void)snprintf(name, sizeof(name), "cross.%zu", l);
        slow_linear(named(c, "dense", "%s.weight", name), named(c, "dense", "%s.bias", name), x,
                    width, u, width);
        for (size_t k = 0; k < width; k++)
            x[k] += e[k] * u[k];
    }
}

static inline void slow_dcnv2(const struct nn_case *c, const struct slow *e, double *z)
{
    static struct slow h, x;
    h = x = *e;
    slow_mlp(c, &h);
    for (size_t i = 0; i < c->n; i++)
        slow_cross(c, e->row[i], e->width, x.row[i]);
    slow_append(&x, &h, c->n);
    slow_out(c, "out", &x, z);
}

/* [T ; dots of T's vectors] or [e_0 ; dots] into the top net; T = [e_0 ; e_1 ..]. */
static inline void slow_dlrm(const struct nn_case *c, const struct slow *e, double *z)
{
    static struct slow t, h, x;
    const size_t d = (size_t)c->job.model.embedding, ids = c->fields * d;
    t = h = (struct slow){0};
    for (size_t i = 0; i < c->n; i++)
        memcpy(h.row[i], e->row[i] + ids, c->floats * sizeof(double));
    h.width = c->floats;
    if (c->floats) {
        slow_net(c, "bottom", c->bottom, c->job.model.dlrm.bottom.used, &h);
        const bool norm = c->job.model.batch_norm;
        struct nn_case plain = *c;
        plain.job.model.batch_norm = false;
        slow_layer(norm ? &plain : c, "bottom.out", slow_training, &h, d, false);
        slow_append(&t, &h, c->n);
    }
    const size_t beside = t.width;
    x = *e;
    x.width = ids;
    slow_append(&t, &x, c->n);
    x = t;
    x.width = c->job.model.dlrm.top == JOB_TOP_ALL ? t.width : beside;
    for (size_t i = 0; i < c->n; i++) {
        double *to = x.row[i] + x.width;
        for (size_t a = 1; a < t.width / d; a++) {
            for (size_t b = 0; b < a; b++, to++) {
                *to = 0;
                for (size_t k = 0; k < d; k++)
                    *to += t.row[i][a * d + k] * t.row[i][b * d + k];
            }
        }
    }
    x.width += t.width / d * (t.width / d - 1) / 2;
    slow_mlp(c, &x);
    slow_out(c, "out", &x, z);
}

/* Stream `which` of FinalMLP: e behind its gate. */
static inline void slow_gate(const struct nn_case *c, size_t which, struct slow *e)
{
    static struct slow t;
    char name[PLAN_NAME_MAX];
    const size_t d = (size_t)c->job.model.embedding, field = which ? 1 : 2;
    const int gate = c->job.model.finalmlp.gate;
    if (gate == JOB_GATE_NONE)
        return;
    for (size_t i = 0; i < c->n; i++)
        memcpy(t.row[i], e->row[i] + field * d, d * sizeof(double));
    t.width = d;
    struct nn_case plain = *c;
    plain.job.model.batch_norm = false;
    for (size_t l = 0; l < c->job.model.finalmlp.gate_hidden.used && gate == JOB_GATE_FIELDS; l++) {
        (void)snprintf(name, sizeof(name), "gate%zu.%zu", which + 1, l);
        slow_layer(&plain, name, slow_training, &t, (size_t)c->gate_hidden[l], false);
    }
    for (size_t i = 0; i < c->n; i++) {
        double s[SLOW_MAX];
        (void)snprintf(name, sizeof(name), gate == JOB_GATE_BIAS ? "gate%zu" : "gate%zu.out",
                       which + 1);
        if (gate == JOB_GATE_FIELDS)
            slow_linear(named(c, "dense", "%s.weight", name), named(c, "dense", "%s.bias", name),
                        t.row[i], t.width, s, e->width);
        for (size_t k = 0; k < e->width && gate == JOB_GATE_BIAS; k++)
            s[k] = (double)tensor(c, "dense", name)[k];
        for (size_t k = 0; k < e->width; k++)
            e->row[i][k] *= 2 / (1 + exp(-s[k]));
    }
}

static inline void slow_finalmlp(const struct nn_case *c, const struct slow *e, double *z)
{
    static struct slow a, b;
    a = b = *e;
    slow_gate(c, 0, &a);
    slow_gate(c, 1, &b);
    slow_mlp(c, &a);
    slow_net(c, "mlp2", c->second, c->job.model.second.hidden.used, &b);
    const size_t heads = (size_t)c->job.model.finalmlp.heads;
    const size_t rows = a.width / heads, cols = b.width / heads;
    const float *w = tensor(c, "dense", "fusion.weight");
    for (size_t i = 0; i < c->n; i++)
        for (size_t h = 0; h < heads; h++)
            for (size_t r = 0; r < rows; r++)
                for (size_t k = 0; k < cols; k++)
                    z[i] += a.row[i][h * rows + r] * (double)w[(h * rows + r) * cols + k] *
                            b.row[i][h * cols + k];
    slow_append(&a, &b, c->n);
    slow_out(c, "out", &a, z);
}

/* e's fields behind the gate across the fields, floats behind them. */
static inline void slow_field_gate(const struct nn_case *c, struct slow *e)
{
    const size_t d = (size_t)c->job.model.embedding, ids = c->fields * d;
    const int gate = c->job.model.finalnet.gate;
    if (gate == JOB_FIELD_GATE_NONE)
        return;
    const float *w = tensor(c, "dense", "gate.weight"), *b = tensor(c, "dense", "gate.bias");
    for (size_t i = 0; i < c->n; i++) {
        double x[SLOW_MAX], *to = e->row[i];
        memcpy(x, e->row[i], sizeof(x));
        if (gate == JOB_FIELD_GATE_CONCAT)
            to += ids;
        for (size_t f = 0; f < c->fields; f++) {
            for (size_t k = 0; k < d; k++) {
                double g = (double)b[f];
                for (size_t j = 0; j < c->fields; j++)
                    g += (double)w[f * c->fields + j] * x[j * d + k];
                to[f * d + k] = x[f * d + k] * (gate == JOB_FIELD_GATE_SUM ? 1 + g : g);
            }
        }
        memcpy(to + ids, x + ids, c->floats * sizeof(double));
    }
    e->width += gate == JOB_FIELD_GATE_CONCAT ? ids : 0;
}

static inline void slow_finalnet(const struct nn_case *c, const struct slow *e, double *z)
{
    static struct slow h;
    double z2[64] = {0};
    h = *e;
    slow_field_gate(c, &h);
    slow_net(c, "block1", c->hidden, c->job.model.hidden.used, &h);
    slow_out(c, "out", &h, z);
    if (!c->job.model.second.hidden.used)
        return;
    h = *e;
    slow_net(c, "block2", c->second, c->job.model.second.hidden.used, &h);
    slow_out(c, "out2", &h, z2);
    for (size_t i = 0; i < c->n; i++)
        z[i] = (z[i] + z2[i]) / 2;
}

/* The embedding of field 1; of token `o` of the history. */
static inline void slow_target(const struct nn_case *c, size_t i, double *t)
{
    const size_t d = (size_t)c->job.model.embedding;
    double e[SLOW_MAX];
    (void)slow_features(c, i, e);
    memcpy(t, e + d, d * sizeof(*t));
}

static inline void slow_item(const struct nn_case *c, size_t o, double *h)
{
    const size_t d = (size_t)c->job.model.embedding;
    const float *rows = c->p.rows[plan_find(&c->plan, "embedding")];
    for (size_t k = 0; k < d; k++)
        h[k] = weight_of(c, o) * (double)rows[c->in.index[o] * d + k];
}

/* Scores of the tokens of all records, in order; `first[i]` is where record i's begin in the batch's occurrences. */
static inline void slow_attention(const struct nn_case *c, struct slow *x, size_t *first)
{
    const size_t d = (size_t)c->job.model.embedding, most = (size_t)c->schema[0].max;
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        const uint32_t *offsets = c->in.offsets + i * c->fields;
        first[i] = offsets[1] - offsets[0] > most ? offsets[1] - most : offsets[0];
        double t[SLOW_MAX];
        slow_target(c, i, t);
        for (size_t o = first[i]; o < offsets[1]; o++, n++) {
            double *row = x->row[n];
            slow_item(c, o, row);
            for (size_t k = 0; k < d; k++) {
                row[d + k] = t[k];
                row[2 * d + k] = row[k] - t[k];
                row[3 * d + k] = row[k] * t[k];
            }
        }
    }
    x->width = 4 * d;
    for (size_t l = 0; l <= c->job.model.attention.used; l++) {
        const bool last = l == c->job.model.attention.used;
        const size_t out = last ? 1 : (size_t)c->attention[l];
        const bool relu = c->job.model.activation == JOB_RELU;
        char name[PLAN_NAME_MAX];
        (void)snprintf(name, sizeof(name), last ? "attention.out" : "attention.%zu", l);
        for (size_t r = 0; r < n; r++) {
            double y[SLOW_MAX];
            slow_linear(named(c, "dense", "%s.weight", name), named(c, "dense", "%s.bias", name),
                        x->row[r], x->width, y, out);
            for (size_t k = 0; k < out; k++)
                x->row[r][k] = relu && !last && y[k] < 0 ? 0 : y[k];
        }
        x->width = out;
        if (!relu && !last)
            slow_dice(c, name, x, n);
    }
}

/* e's first field is the history: its items by their weights. */
static inline void slow_din(const struct nn_case *c, struct slow *e, double *z)
{
    static struct slow q;
    const size_t d = (size_t)c->job.model.embedding;
    size_t first[64], n = 0;
    slow_attention(c, &q, first);
    for (size_t i = 0; i < c->n; i++) {
        const size_t many = c->in.offsets[i * c->fields + 1] - first[i];
        double sum = 0;
        for (size_t j = 0; j < many; j++)
            sum += exp(q.row[n + j][0]);
        memset(e->row[i], 0, d * sizeof(double));
        for (size_t j = 0; j < many; j++, n++) {
            const double a = c->job.model.attention_softmax ? exp(q.row[n][0]) / sum : q.row[n][0];
            double h[SLOW_MAX];
            slow_item(c, first[i] + j, h);
            for (size_t k = 0; k < d; k++)
                e->row[i][k] += a * h[k];
        }
    }
    slow_mlp(c, e);
    slow_out(c, "out", e, z);
}

/* z: (T, n) */
static inline void slow_multitask(const struct nn_case *c, struct slow *shared, double *z)
{
    static struct slow tower;
    slow_mlp(c, shared);
    memset(z, 0, c->n * c->tasks * sizeof(*z));
    for (size_t t = 0; t < c->tasks; t++) {
        char name[24];
        tower = *shared;
        (void)snprintf(name, sizeof(name), "task%u", (unsigned)t);
        slow_net(c, name, c->tower, c->job.model.tower.used, &tower);
        (void)snprintf(name, sizeof(name), "task%u.out", (unsigned)t);
        slow_out(c, name, &tower, z + t * c->n);
    }
}

static inline void slow_logits(const struct nn_case *c, bool train, double *z)
{
    static struct slow e;
    const int family = c->job.model.family;
    slow_training = train;
    const bool wide = !is_deep(family) || family == JOB_WIDEDEEP || family == JOB_DEEPFM;
    const bool fm = family == JOB_FM || family == JOB_DEEPFM;
    for (size_t i = 0; i < c->n; i++) {
        z[i] = (wide ? slow_lr(c, i) : 0) + (fm ? slow_fm(c, i) : 0);
        if (is_deep(family))
            e.width = slow_features(c, i, e.row[i]);
    }
    switch (family) {
    case JOB_MLP:
    case JOB_WIDEDEEP:
    case JOB_DEEPFM:
        slow_mlp(c, &e);
        slow_out(c, "out", &e, z);
        break;
    case JOB_DCNV2: slow_dcnv2(c, &e, z); break;
    case JOB_DLRM: slow_dlrm(c, &e, z); break;
    case JOB_FINALMLP: slow_finalmlp(c, &e, z); break;
    case JOB_FINALNET: slow_finalnet(c, &e, z); break;
    case JOB_DIN: slow_din(c, &e, z); break;
    case JOB_MULTITASK: slow_multitask(c, &e, z); break;
    default: break;
    }
}

#endif
