/* nn_seq_grad.c - the operators of sequences, and the families of them, against central differences, in double.
 *
 * As nn_grad.c does it for the others: math and nn are compiled into this file with real = double; every single parameter and
 * 20 directions, memory full of NaN beforehand. The batch (nn_seq_case.h) has sequences of every length from none to
 * more than there may be, and repeated items.
 */
#include "tests/unit/nn_double.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/nn_seq_case.h"

#define STEP       1e-5
#define DIRECTIONS 20u

static void expect_close(const char *what, size_t i, double analytic, double numeric,
                         double tolerance)
{
    double size = fabs(analytic) > fabs(numeric) ? fabs(analytic) : fabs(numeric);
    size = size > 1e-3 ? size : 1e-3; /* numeric is good to about 1e-11 absolute */
    if (!(fabs(analytic - numeric) <= tolerance * size))
        fail_msg("%s %zu: analytic %.12g, numeric %.12g", what, i, analytic, numeric);
}

static double loss_at(struct seq_case *s, size_t i, double h)
{
    const double kept = s->c.w[i];
    s->c.w[i] = kept + h;
    seq_step(s);
    s->c.w[i] = kept;
    return s->c.loss;
}

static bool is_padding(const struct nn_case *c, size_t i)
{
    if (!c->p.dense || c->w + i < c->p.dense)
        return false;
    const size_t at = (size_t)(c->w + i - c->p.dense);
    const struct plan_table *t = &c->plan.tables[plan_find(&c->plan, "dense")];
    for (size_t k = 0; k < t->tensors_used; k++) {
        const struct plan_tensor *x = &t->tensors[k];
        const size_t from = (size_t)x->block_first * DENSE_BLOCK;
        if (at >= from && at < from + (size_t)(x->shape[0] * x->shape[1]))
            return false;
    }
    return true;
}

static void check_directions(struct seq_case *s, const double *dw, double tolerance)
{
    struct nn_case *c = &s->c;
    double *v = mem_array(c->used, sizeof(*v)), *at = mem_array(c->used, sizeof(*at));
    memcpy(at, c->w, c->used * sizeof(*at));
    for (uint64_t d = 0; d < DIRECTIONS; d++) {
        const double slope = case_slope(c, dw, d, v);
        double loss[2];
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < c->used; i++)
                c->w[i] = at[i] + (side ? -STEP : STEP) * v[i];
            seq_step(s);
            loss[side] = c->loss;
        }
        memcpy(c->w, at, c->used * sizeof(*at));
        expect_close("direction", (size_t)d, slope, (loss[0] - loss[1]) / (2 * STEP), tolerance);
    }
    free(v);
    free(at);
}

static void check_case(struct seq_case *s, double tolerance)
{
    struct errbuf err = ERRBUF_INIT;
    struct nn_case *c = &s->c;
    if (seq_open(s, &err) != ST_OK)
        fail_msg("%s", err.text);
    /* NaN everywhere: what is not written, or read before it is written, shows. */
    const struct graph *g = c->model ? c->model->graph : c->graph;
    memset(g->slab, 0xff, g->slab_bytes);
    memset(c->dw, 0xff, c->used * sizeof(*c->dw));
    seq_step(s);
    double *dw = mem_array(c->used, sizeof(*dw));
    memcpy(dw, c->dw, c->used * sizeof(*dw));
    for (size_t i = 0; i < c->used; i++) {
        if (is_padding(c, i)) {
            assert_true(dw[i] == 0);
            continue;
        }
        const double numeric = (loss_at(s, i, STEP) - loss_at(s, i, -STEP)) / (2 * STEP);
        expect_close("parameter", i, dw[i], numeric, tolerance);
    }
    check_directions(s, dw, tolerance);
    free(dw);
    case_close(c);
}

/* -- operators -- */

static uint32_t inputs(struct graph *g, bool by_step, uint32_t *out_table)
{
    graph_sequences(g, (size_t)g->job->data.sequence.max, by_step);
    *out_table = graph_table(g, "embedding", 4);
    return op_tokens(g, *out_table, GRAPH_NONE, 1, &(struct epilogue){0});
}

static uint32_t mixed(struct graph *g, const char *name, uint32_t x, size_t width)
{
    return op_linear(g, x, graph_matrix(g, name, width, graph_at(g, x)->cols, 1), GRAPH_NONE,
                     &(struct epilogue){0});
}

static void draw_tokens(struct graph *g)
{
    graph_sequences(g, (size_t)g->job->data.sequence.max, false);
    const uint32_t t = graph_table(g, "embedding", 4);
    const uint32_t p = graph_matrix(g, "positions", (size_t)g->job->data.sequence.max, 4, 1);
    op_softmax(g, op_tokens(g, t, p, 2, &(struct epilogue){.dropout = 0.3}), t, GRAPH_NONE, false);
}

static void draw_tokens_by_step(struct graph *g)
{
    graph_sequences(g, (size_t)g->job->data.sequence.max, true);
    const uint32_t t = graph_table(g, "embedding", 4);
    const struct epilogue drop = {.dropout = 0.3, .whole_record = true};
    op_softmax(g, mixed(g, "w", op_tokens(g, t, GRAPH_NONE, 1, &drop), 4), t, GRAPH_NONE, false);
}

static void softmax_with(struct graph *g, bool tied, bool shared, size_t tile)
{
    uint32_t t, bias = GRAPH_NONE;
    const uint32_t h = mixed(g, "w", inputs(g, false, &t), 4);
    if (!tied) {
        t = graph_table(g, "output", 4);
        bias = graph_table(g, "output.bias", 1);
    }
    op_softmax(g, h, t, bias, shared);
    g->ops[g->ops_used - 1].step = tile;
}

static void draw_softmax(struct graph *g)
{
    softmax_with(g, true, false, 0);
}

static void draw_softmax_untied(struct graph *g)
{
    softmax_with(g, false, false, 0);
}

static void draw_softmax_tiles(struct graph *g)
{
    softmax_with(g, true, false, 4);
}

static void draw_softmax_untied_tiles(struct graph *g)
{
    softmax_with(g, false, false, 4);
}

static void draw_shared(struct graph *g)
{
    softmax_with(g, true, true, 0);
}

static void draw_shared_untied(struct graph *g)
{
    softmax_with(g, false, true, 0);
}

static void draw_shared_tiles(struct graph *g)
{
    softmax_with(g, false, true, 2);
}

static void draw_pair(struct graph *g)
{
    uint32_t t;
    const uint32_t h = mixed(g, "w", inputs(g, false, &t), 4);
    op_bce_pair(g, h, t, GRAPH_NONE);
}

static void draw_pair_untied(struct graph *g)
{
    uint32_t t;
    const uint32_t h = mixed(g, "w", inputs(g, false, &t), 4);
    op_bce_pair(g, h, graph_table(g, "output", 4), graph_table(g, "output.bias", 1));
}

static void attention_with(struct graph *g, size_t heads, double dropout)
{
    uint32_t t;
    const uint32_t x = inputs(g, false, &t);
    const uint32_t qkv[3] = {mixed(g, "q", x, 6), mixed(g, "k", x, 6), mixed(g, "v", x, 6)};
    op_softmax(g, mixed(g, "o", op_attention(g, qkv, heads, dropout), 4), t, GRAPH_NONE, false);
}

static void draw_attention(struct graph *g)
{
    attention_with(g, 1, 0);
}

static void draw_attention_heads(struct graph *g)
{
    attention_with(g, 3, 0);
}

static void draw_attention_drop(struct graph *g)
{
    attention_with(g, 2, 0.4);
}

static void draw_attention_residual(struct graph *g) /* q and v have other readers */
{
    uint32_t t;
    const uint32_t x = inputs(g, false, &t);
    const uint32_t q = mixed(g, "q", x, 4), k = mixed(g, "k", q, 4);
    const uint32_t qkv[3] = {q, k, x};
    const uint32_t a = op_add(g, op_attention(g, qkv, 2, 0), q);
    op_softmax(g, op_add(g, a, x), t, GRAPH_NONE, false);
}

static void lstm_with(struct graph *g, double dropout)
{
    uint32_t t;
    const uint32_t x = mixed(g, "w", inputs(g, true, &t), 20);
    const uint32_t h = op_lstm(g, x, graph_matrix(g, "u", 20, 5, 0.5), dropout);
    op_softmax(g, mixed(g, "o", h, 4), t, GRAPH_NONE, false);
}

static void draw_lstm(struct graph *g)
{
    lstm_with(g, 0);
}

static void draw_lstm_drop(struct graph *g)
{
    lstm_with(g, 0.4);
}

static void gru_with(struct graph *g, double dropout)
{
    uint32_t t;
    const uint32_t x = mixed(g, "w", inputs(g, true, &t), 15);
    const uint32_t h = op_gru(g, x, graph_matrix(g, "u", 15, 5, 0.5),
                              graph_vector(g, "b", 15, PLAN_ZERO), dropout);
    op_softmax(g, mixed(g, "o", h, 4), t, GRAPH_NONE, false);
}

static void draw_gru(struct graph *g)
{
    gru_with(g, 0);
}

static void draw_gru_drop(struct graph *g)
{
    gru_with(g, 0.4);
}

static void conv_with(struct graph *g, size_t kernel, size_t dilation)
{
    uint32_t t;
    const uint32_t x = mixed(g, "x", inputs(g, false, &t), 3);
    const uint32_t y = op_conv(g, x, graph_matrix(g, "w", 4, kernel * 3, 1),
                               graph_vector(g, "b", 4, PLAN_ZERO), dilation);
    op_softmax(g, op_add(g, y, mixed(g, "o", x, 4)), t, GRAPH_NONE, false);
}

static void draw_conv(struct graph *g)
{
    conv_with(g, 3, 1);
}

static void draw_conv_dilated(struct graph *g)
{
    conv_with(g, 2, 3);
}

static void draw_gelu(struct graph *g)
{
    uint32_t t;
    const uint32_t x = mixed(g, "w", inputs(g, false, &t), 4);
    op_softmax(g, op_add(g, op_gelu(g, op_gelu(g, x)), x), t, GRAPH_NONE, false);
}

static const struct {
    const char *name;
    void (*draw)(struct graph *g);
} draws[] = {
    {"tokens", draw_tokens},
    {"tokens by step", draw_tokens_by_step},
    {"softmax", draw_softmax},
    {"softmax untied", draw_softmax_untied},
    {"softmax in tiles", draw_softmax_tiles},
    {"softmax untied in tiles", draw_softmax_untied_tiles},
    {"softmax shared", draw_shared},
    {"softmax shared untied", draw_shared_untied},
    {"softmax shared in tiles", draw_shared_tiles},
    {"bce_pair", draw_pair},
    {"bce_pair untied", draw_pair_untied},
    {"attention", draw_attention},
    {"attention heads", draw_attention_heads},
    {"attention drop", draw_attention_drop},
    {"attention residual", draw_attention_residual},
    {"lstm", draw_lstm},
    {"lstm drop", draw_lstm_drop},
    {"gru", draw_gru},
    {"gru drop", draw_gru_drop},
    {"conv", draw_conv},
    {"conv dilated", draw_conv_dilated},
    {"gelu", draw_gelu},
};

static void operators_with(size_t n, bool some)
{
    for (size_t i = 0; i < sizeof(draws) / sizeof(*draws); i++) {
        struct seq_case s = seq_default(JOB_SASREC);
        s.draw = draws[i].draw;
        s.c.n = n;
        s.some = some;
        print_message("    %s, n = %zu\n", draws[i].name, n);
        check_case(&s, 1e-6);
    }
}

static void test_operators(void **state)
{
    (void)state;
    operators_with(7, false);
}

static void test_operators_some_candidates(void **state)
{
    (void)state;
    operators_with(8, true);
}

static void test_operators_one_record(void **state)
{
    (void)state;
    operators_with(1, false);
}

/* Sequences of one input only: a state never goes on. */
static void test_operators_length_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(draws) / sizeof(*draws); i++) {
        struct seq_case s = seq_default(JOB_SASREC);
        s.draw = draws[i].draw;
        for (size_t k = 0; k < 8; k++)
            s.length[k] = 2;
        check_case(&s, 1e-6);
    }
}

/* More queries than a block of attention has, and more tokens than one of the softmax. */
static void test_long(void **state)
{
    (void)state;
    static void (*const draw[])(struct graph *) = {draw_attention, draw_attention_drop,
                                                   draw_softmax_untied_tiles, draw_shared_tiles,
                                                   draw_conv_dilated};
    for (size_t i = 0; i < 5; i++) {
        struct seq_case s = seq_default(JOB_SASREC);
        s.draw = draw[i];
        s.c.n = 3;
        s.c.job.data.sequence.max = 150;
        s.length[0] = 140;
        s.length[1] = 66;
        s.length[2] = 65;
        s.length[0] = i == 4 ? 150 : 140;
        check_case(&s, 1e-5);
    }
}

/* -- families -- */

static void test_families(void **state)
{
    (void)state;
    for (int family = JOB_SASREC; family <= JOB_CNN; family++) {
        for (unsigned variant = 0; variant < 16; variant++) {
            struct seq_case s = seq_default(family);
            struct job *job = &s.c.job;
            job->model.tied = (variant & 1) == 0;
            job->model.dropout = variant & 2 ? 0.3 : 0;
            job->model.input_dropout = variant & 2 ? 0.2 : 0;
            job->model.recurrent_dropout = variant & 2 ? 0.25 : 0;
            job->model.loss = (int)(variant / 4 % 3);
            s.some = job->model.loss != JOB_LOSS_CE;
            job->model.recurrent = job->model.tied ? 0 : 5;
            job->model.heads = variant & 2 ? 2 : 1;
            job->model.ffn = variant & 1 ? 7 : 0;
            job->model.activation = variant & 4 ? JOB_GELU : JOB_RELU;
            job->model.blocks = variant & 8 ? 2 : 1;
            job->model.dilations.used = variant & 4 ? 2 : 1;
            check_case(&s, 2e-5);
        }
    }
}

/* Adam with plain dense updates on one batch, until it is learnt by heart. */
static void overfit(int family)
{
    struct seq_case s = seq_default(family);
    struct nn_case *c = &s.c;
    c->unique = 24;
    c->spread = 0;
    c->job.model.embedding = 12;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(seq_open(&s, &err), ST_OK);
    double *m = mem_array(c->used, sizeof(*m)), *v = mem_array(c->used, sizeof(*v));
    for (int t = 1; t <= 800; t++) {
        seq_step(&s);
        for (size_t i = 0; i < c->used; i++) {
            m[i] = 0.9 * m[i] + 0.1 * c->dw[i];
            v[i] = 0.999 * v[i] + 0.001 * c->dw[i] * c->dw[i];
            const double mhat = m[i] / (1 - pow(0.9, t)), vhat = v[i] / (1 - pow(0.999, t));
            c->w[i] -= 0.02 * mhat / (sqrt(vhat) + 1e-8);
        }
    }
    print_message("    %s: loss %.2g, %u of %u right\n", job_family_name(family), c->loss,
                  (unsigned)s.correct, (unsigned)s.count);
    assert_true(c->loss < 0.35); /* two histories begin alike and go on differently */
    free(m);
    free(v);
    case_close(c);
}

static void test_overfit(void **state)
{
    (void)state;
    for (int family = JOB_SASREC; family <= JOB_CNN; family++)
        overfit(family);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operators),
        cmocka_unit_test(test_operators_some_candidates),
        cmocka_unit_test(test_operators_one_record),
        cmocka_unit_test(test_operators_length_one),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_overfit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
