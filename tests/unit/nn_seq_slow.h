/* nn_seq_slow.h - the sequence families written again from their formulas, a record by itself, in double.
 *
 * The states h (inputs, width) of a record, the loss of its places, the rank of its target.
 */
#ifndef PENSTOCK_TESTS_UNIT_NN_SEQ_SLOW_H
#define PENSTOCK_TESTS_UNIT_NN_SEQ_SLOW_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/nn_seq_case.h"

#define MOST  16u /* places */
#define WIDTH 24u

typedef double states[MOST][WIDTH];

struct slow {
    const struct nn_case *c;
    size_t n; /* inputs */
    const uint32_t *item;
    size_t d;
};

static inline const float *tensor(const struct nn_case *c, const char *name)
{
    const struct plan_table *t = &c->plan.tables[plan_find(&c->plan, "dense")];
    for (size_t i = 0; i < t->tensors_used; i++)
        if (strcmp(t->tensors[i].name, name) == 0)
            return c->p.dense + t->tensors[i].block_first * DENSE_BLOCK;
    fail_msg("no tensor %s", name);
    return NULL;
}

static inline const float *part(const struct nn_case *c, const char *name, const char *what)
{
    char full[2 * PLAN_NAME_MAX];
    (void)snprintf(full, sizeof(full), "%s.%s", name, what);
    return tensor(c, full);
}

static inline const float *rows(const struct nn_case *c, const char *table)
{
    return c->p.rows[plan_find(&c->plan, table)];
}

/* y = W x + b */
static inline void slow_product(const float *w, const float *b, const double *x, size_t in,
                                double *y, size_t out)
{
    for (size_t j = 0; j < out; j++) {
        y[j] = b ? (double)b[j] : 0;
        for (size_t k = 0; k < in; k++)
            y[j] += (double)w[j * in + k] * x[k];
    }
}

static inline void slow_linear(const struct slow *s, const char *name, const double *x, size_t in,
                               double *y, size_t out)
{
    slow_product(part(s->c, name, "weight"), part(s->c, name, "bias"), x, in, y, out);
}

static inline void slow_norm(const struct slow *s, const char *name, const double *x, double *y)
{
    double mean = 0, var = 0;
    for (size_t k = 0; k < s->d; k++)
        mean += x[k] / (double)s->d;
    for (size_t k = 0; k < s->d; k++)
        var += (x[k] - mean) * (x[k] - mean) / (double)s->d;
    for (size_t k = 0; k < s->d; k++)
        y[k] = (x[k] - mean) / sqrt(var + 1e-8) * (double)part(s->c, name, "weight")[k] +
               (double)part(s->c, name, "bias")[k];
}

static inline double sigmoid_of(double x)
{
    return 1 / (1 + exp(-x));
}

static inline void slow_embed(const struct slow *s, double scale, states x)
{
    for (size_t t = 0; t < s->n; t++)
        for (size_t k = 0; k < s->d; k++)
            x[t][k] = scale * (double)rows(s->c, "embedding")[s->item[t] * s->d + k];
}

static inline void slow_attention(const struct slow *s, const states q, const states k,
                                  const states v, states out)
{
    const size_t heads = (size_t)s->c->job.model.heads, width = s->d / heads;
    for (size_t t = 0; t < s->n; t++) {
        for (size_t h = 0; h < heads; h++) {
            double p[MOST], sum = 0;
            for (size_t u = 0; u <= t; u++) {
                double dot = 0;
                for (size_t j = h * width; j < (h + 1) * width; j++)
                    dot += q[t][j] * k[u][j];
                sum += p[u] = exp(dot / sqrt((double)width));
            }
            for (size_t j = h * width; j < (h + 1) * width; j++) {
                out[t][j] = 0;
                for (size_t u = 0; u <= t; u++)
                    out[t][j] += p[u] / sum * v[u][j];
            }
        }
    }
}

static inline double slow_activation(const struct slow *s, double x)
{
    if (s->c->job.model.activation == JOB_RELU)
        return x > 0 ? x : 0;
    return x * sigmoid_of(2 * sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x));
}

static inline void slow_block(const struct slow *s, size_t block, states x)
{
    static states n, q, k, v, a;
    char name[6][PLAN_NAME_MAX];
    const char *const parts[6] = {"norm1", "query", "key", "value", "out", "norm2"};
    const size_t d = s->d, width = s->c->job.model.ffn ? (size_t)s->c->job.model.ffn : d;
    for (size_t i = 0; i < 6; i++)
        (void)snprintf(name[i], PLAN_NAME_MAX, "block.%zu.%s", block, parts[i]);
    for (size_t t = 0; t < s->n; t++) {
        slow_norm(s, name[0], x[t], n[t]);
        slow_linear(s, name[1], n[t], d, q[t], d);
        slow_linear(s, name[2], x[t], d, k[t], d);
        slow_linear(s, name[3], x[t], d, v[t], d);
    }
    slow_attention(s, q, k, v, a);
    for (size_t t = 0; t < s->n; t++) {
        double y[WIDTH], f[WIDTH];
        slow_linear(s, name[4], a[t], d, y, d);
        for (size_t j = 0; j < d; j++)
            y[j] += n[t][j];
        slow_norm(s, name[5], y, x[t]);
        (void)snprintf(name[0], PLAN_NAME_MAX, "block.%zu.ffn1", block);
        slow_linear(s, name[0], x[t], d, f, width);
        for (size_t j = 0; j < width; j++)
            f[j] = slow_activation(s, f[j]);
        (void)snprintf(name[0], PLAN_NAME_MAX, "block.%zu.ffn2", block);
        slow_linear(s, name[0], f, width, y, d);
        for (size_t j = 0; j < d; j++)
            x[t][j] += y[j];
    }
}

static inline void slow_sasrec(const struct slow *s, states x)
{
    slow_embed(s, sqrt((double)s->d), x);
    for (size_t t = 0; t < s->n; t++)
        for (size_t k = 0; k < s->d; k++)
            x[t][k] += (double)tensor(s->c, "positions")[t * s->d + k];
    for (size_t i = 0; i < s->c->job.model.blocks; i++)
        slow_block(s, i, x);
    for (size_t t = 0; t < s->n; t++) {
        double y[WIDTH];
        slow_norm(s, "norm", x[t], y);
        memcpy(x[t], y, s->d * sizeof(*y));
    }
}

static inline void slow_recurrent(const struct slow *s, states x, bool lstm)
{
    const size_t H = s->c->job.model.recurrent ? (size_t)s->c->job.model.recurrent : s->d;
    double h[WIDTH] = {0}, c[WIDTH] = {0}, a[4 * WIDTH], b[4 * WIDTH];
    slow_embed(s, 1, x);
    for (size_t t = 0; t < s->n; t++) {
        slow_linear(s, "recurrent", x[t], s->d, a, (lstm ? 4 : 3) * H);
        slow_product(tensor(s->c, "recurrent.state"),
                     lstm ? NULL : tensor(s->c, "recurrent.state_bias"), h, H, b,
                     (lstm ? 4 : 3) * H);
        for (size_t k = 0; k < H; k++) {
            if (lstm) {
                c[k] = sigmoid_of(a[H + k] + b[H + k] + 1) * c[k] +
                       sigmoid_of(a[k] + b[k]) * tanh(a[2 * H + k] + b[2 * H + k]);
                h[k] = sigmoid_of(a[3 * H + k] + b[3 * H + k]) * tanh(c[k]);
            } else {
                const double r = sigmoid_of(a[k] + b[k]), z = sigmoid_of(a[H + k] + b[H + k]);
                h[k] = (1 - z) * tanh(a[2 * H + k] + r * b[2 * H + k]) + z * h[k];
            }
        }
        memcpy(x[t], h, H * sizeof(*h));
    }
}

static inline void slow_convolve(const struct slow *s, size_t block, size_t half, size_t dilation,
                                 const states x, states y)
{
    char name[PLAN_NAME_MAX];
    const size_t kernel = (size_t)s->c->job.model.kernel, d = s->d;
    for (size_t t = 0; t < s->n; t++) {
        double seen[MOST * WIDTH] = {0}, z[WIDTH];
        for (size_t k = 0; k < kernel; k++)
            if ((kernel - 1 - k) * dilation <= t)
                memcpy(seen + k * d, x[t - (kernel - 1 - k) * dilation], d * sizeof(*seen));
        (void)snprintf(name, sizeof(name), "block.%zu.conv%zu", block, half);
        slow_linear(s, name, seen, kernel * d, z, d);
        (void)snprintf(name, sizeof(name), "block.%zu.norm%zu", block, half);
        slow_norm(s, name, z, y[t]);
        for (size_t k = 0; k < d; k++)
            y[t][k] = y[t][k] > 0 ? y[t][k] : 0;
    }
}

static inline void slow_cnn(const struct slow *s, states x)
{
    static states y, z;
    size_t block = 0;
    slow_embed(s, 1, x);
    for (size_t i = 0; i < s->c->job.model.blocks; i++) {
        for (size_t k = 0; k < s->c->job.model.dilations.used; k++, block++) {
            const size_t dilation = (size_t)s->c->job.model.dilations.item[k];
            slow_convolve(s, block, 1, dilation, x, y);
            slow_convolve(s, block, 2, 2 * dilation, y, z);
            for (size_t t = 0; t < s->n; t++)
                for (size_t j = 0; j < s->d; j++)
                    x[t][j] += z[t][j];
        }
    }
}

/* h of record i's inputs; returns how many. */
static inline size_t slow_states(const struct nn_case *c, size_t i, bool train, states h)
{
    const size_t all = c->in.offsets[3 * i + 1] - c->in.offsets[3 * i];
    const size_t most = (size_t)c->job.data.sequence.max;
    struct slow s = {.c = c, .d = (size_t)c->job.model.embedding};
    s.n = train && all > 0 ? all - 1 : all;
    s.item = c->in.index + c->in.offsets[3 * i];
    if (s.n > most) {
        s.item += s.n - most;
        s.n = most;
    }
    switch (c->job.model.family) {
    case JOB_SASREC: slow_sasrec(&s, h); break;
    case JOB_CNN: slow_cnn(&s, h); break;
    default: slow_recurrent(&s, h, c->job.model.family == JOB_LSTM);
    }
    return s.n;
}

static inline double slow_logit(const struct nn_case *c, const double *h, size_t u)
{
    const bool tied = c->job.model.tied;
    const size_t width = tied || !c->job.model.recurrent ? (size_t)c->job.model.embedding
                                                         : (size_t)c->job.model.recurrent;
    double z = tied ? 0 : (double)rows(c, "output.bias")[u];
    for (size_t k = 0; k < width; k++)
        z += h[k] * (double)rows(c, tied ? "embedding" : "output")[u * width + k];
    return z;
}

/* Loss of one place, number `at` of the batch; *out_correct as struct model_loss counts it. */
static inline double slow_place(const struct nn_case *c, const double *h, size_t target, size_t at,
                                bool *out_correct)
{
    const double own = slow_logit(c, h, target);
    double sum = exp(own), other = -INFINITY;
    if (c->job.model.loss == JOB_LOSS_BCE) {
        const size_t u = c->in.candidate[at % c->in.candidates];
        const double z = slow_logit(c, h, u);
        *out_correct = u != target && own > z;
        return log1p(exp(-own)) + (u != target ? log1p(exp(z)) : 0);
    }
    for (size_t k = 0; k < c->in.candidates; k++) {
        if (c->in.candidate[k] == target)
            continue;
        const double z = slow_logit(c, h, c->in.candidate[k]);
        sum += exp(z);
        other = z > other ? z : other;
    }
    *out_correct = own > other;
    return log(sum) - own;
}

static inline struct model_loss slow_loss(const struct nn_case *c)
{
    struct model_loss loss = {0};
    for (size_t i = 0; i < c->n; i++) {
        static states h;
        const size_t n = slow_states(c, i, true, h);
        const uint32_t *end = c->in.index + c->in.offsets[3 * i + 1];
        for (size_t t = 0; t < n; t++) {
            bool correct;
            loss.sum += slow_place(c, h[t], end[(long)t - (long)n], (size_t)loss.count, &correct);
            loss.count++;
            loss.correct += correct;
        }
    }
    return loss;
}

/* Cross-entropy of the target over all candidates is added to *loss; NaN if it is none. */
static inline double slow_rank(const struct nn_case *c, size_t i, double *loss)
{
    static states h;
    double last[WIDTH] = {0}, rank = 1;
    const uint32_t *offsets = c->in.offsets + 3 * i;
    const size_t n = slow_states(c, i, false, h), target = c->in.index[offsets[1]];
    double sum = 0;
    bool there = false;
    if (n > 0)
        memcpy(last, h[n - 1], sizeof(last));
    const double own = slow_logit(c, last, target);
    for (size_t k = 0; k < c->in.candidates; k++) {
        bool seen = false;
        there = there || c->in.candidate[k] == target;
        for (size_t o = offsets[0]; o < offsets[3]; o++)
            seen = seen || c->in.index[o] == c->in.candidate[k]; /* the target is in there, too */
        const double z = slow_logit(c, last, c->in.candidate[k]);
        sum += exp(z);
        if (!seen)
            rank += z > own + 1e-6 ? 1 : fabs(z - own) <= 1e-6 ? 0.5 : 0;
    }
    *loss += there ? log(sum) - own : NAN;
    return there ? rank : (double)c->in.candidates;
}

#endif
