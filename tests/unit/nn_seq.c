/* nn_seq.c - the sequence families as the worker sees them, in float: what they compute, and what they promise.
 *
 * What: loss and rank against slow models written from the formulas, each record by itself, in double; on every
 * vector path. Promises: the same bits again; targets and earlier items don't matter in training; ranks don't depend
 * on the batch; dropout hangs on record and place; parts make the whole; nothing allocates; errors leave the
 * outputs alone.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/nn_seq_case.h"
#include "tests/unit/nn_seq_slow.h"

#ifndef __SANITIZE_ADDRESS__
#define COUNTS_MALLOC
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t each);
extern void *__libc_realloc(void *p, size_t n);
static size_t allocations;

void *malloc(size_t n)
{
    allocations++;
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t each)
{
    allocations++;
    return __libc_calloc(n, each);
}

void *realloc(void *p, size_t n)
{
    allocations++;
    return __libc_realloc(p, n);
}
#endif

/* -- tests -- */

static void open_case(struct seq_case *s)
{
    struct errbuf err = ERRBUF_INIT;
    if (seq_open(s, &err) != ST_OK)
        fail_msg("%s", err.text);
}

static struct seq_case variant_of(int family, unsigned variant)
{
    struct seq_case s = seq_default(family);
    struct job *job = &s.c.job;
    s.c.n = 23;
    s.c.unique = 40;
    s.some = (variant & 4) != 0;
    job->data.sequence.max = 8;
    job->model.embedding = 6;
    job->model.tied = (variant & 1) == 0;
    job->model.recurrent = variant & 1 && family != JOB_SASREC && family != JOB_CNN ? 5 : 0;
    job->model.loss = (int)(variant / 2 % 3);
    job->model.heads = variant & 1 ? 2 : 1;
    job->model.ffn = variant & 2 ? 9 : 0;
    job->model.activation = variant & 2 ? JOB_GELU : JOB_RELU;
    job->model.blocks = variant & 4 ? 2 : 1;
    job->model.dilations.used = variant & 2 ? 2 : 1;
    return s;
}

static void formulas_on(enum vec_path path, bool own)
{
    for (int family = JOB_SASREC; family <= JOB_CNN; family++) {
        for (unsigned variant = 0; variant < 12; variant++) {
            struct seq_case s = variant_of(family, variant);
            open_case(&s);
            (void)vec_force(path);
            (void)gemm_force(own);
            const struct model_loss want = slow_loss(&s.c);
            /* By step the tokens stand in another order, and so meet other negatives. */
            const bool other =
                s.c.job.model.loss == JOB_LOSS_BCE && (family == JOB_LSTM || family == JOB_GRU);
            seq_step(&s);
            assert_int_equal(s.count, want.count);
            if (!other) {
                assert_true(fabs(s.c.loss * (double)s.count - want.sum) < 1e-5 * want.sum);
                assert_int_equal(s.correct, want.correct);
            }
            float rank[32];
            double ranked = 0;
            struct model_loss loss;
            model_rank(s.c.model, &s.c.in, &s.c.p, rank, &loss);
            for (size_t i = 0; i < s.c.n; i++)
                assert_true(fabs((double)rank[i] - slow_rank(&s.c, i, &ranked)) < 1e-9);
            assert_int_equal(loss.count, s.c.n);
            assert_true(isnan(ranked) ? isnan(loss.sum) : fabs(loss.sum - ranked) < 1e-5 * ranked);
            case_close(&s.c);
        }
    }
    (void)vec_force(VEC_AVX512);
    (void)gemm_force(true);
}

static void test_formulas(void **state)
{
    (void)state;
    formulas_on(VEC_PLAIN, false);
    formulas_on(VEC_AVX2, false);
    formulas_on(VEC_AVX512, true);
}

/* Larger ones, with dropout: all paths agree, gradients too. */
static struct seq_case wide_case(int family)
{
    struct seq_case s = seq_default(family);
    struct job *job = &s.c.job;
    s.c.n = 60;
    s.c.unique = 300;
    job->data.sequence.max = 90;
    job->model.embedding = 20;
    job->model.heads = 2;
    job->model.blocks = 2;
    job->model.dilations.used = 2;
    job->model.dropout = 0.2;
    job->model.input_dropout = 0.1;
    job->model.recurrent_dropout = 0.3;
    s.length[0] = 100; /* more than there may be, more than one block of attention */
    s.length[6] = 70;
    return s;
}

static void test_paths_agree(void **state)
{
    (void)state;
    static const struct {
        enum vec_path path;
        bool own;
    } how[] = {{VEC_PLAIN, false}, {VEC_AVX2, false}, {VEC_AVX512, false}, {VEC_AVX512, true}};
    for (int family = JOB_SASREC; family <= JOB_CNN; family++) {
        for (int loss = JOB_LOSS_CE; loss <= JOB_LOSS_BCE; loss++) {
            double want = 0, slope[5] = {0};
            for (size_t k = 0; k < 4; k++) {
                struct seq_case s = wide_case(family);
                s.c.job.model.loss = loss;
                s.some = loss != JOB_LOSS_CE;
                open_case(&s);
                (void)vec_force(how[k].path);
                (void)gemm_force(how[k].own);
                seq_step(&s);
                for (uint64_t d = 0; d < 5; d++) {
                    const double now = case_slope(&s.c, s.c.dw, d, NULL);
                    slope[d] = k ? slope[d] : now;
                    assert_true(fabs(now - slope[d]) < 2e-3 * fabs(slope[d]) + 1e-5);
                }
                want = k ? want : s.c.loss;
                assert_true(fabs(s.c.loss - want) < 1e-5 * want);
                case_close(&s.c);
            }
        }
    }
    (void)vec_force(VEC_AVX512);
    (void)gemm_force(true);
}

static void test_same_bits(void **state)
{
    (void)state;
    for (int family = JOB_SASREC; family <= JOB_CNN; family++) {
        struct seq_case a = wide_case(family), b = wide_case(family);
        open_case(&a);
        open_case(&b);
        float rank[64], again[64];
        seq_step(&a);
        const double loss = a.c.loss;
        model_rank(a.c.model, &a.c.in, &a.c.p, rank, NULL); /* something else in between */
        memset(a.c.dw, 0xff, a.c.used * sizeof(*a.c.dw));
        memset(b.c.dw, 0xff, b.c.used * sizeof(*b.c.dw));
        seq_step(&a);
        seq_step(&b);
        assert_true(a.c.loss == loss && b.c.loss == loss);
        assert_memory_equal(a.c.dw, b.c.dw, a.c.used * sizeof(*a.c.dw));
        for (size_t i = 0; i < a.c.used; i++)
            assert_true(isfinite(a.c.dw[i]));
        model_rank(b.c.model, &b.c.in, &b.c.p, again, NULL);
        assert_memory_equal(rank, again, a.c.n * sizeof(*rank));
        case_close(&a.c);
        case_close(&b.c);
    }
}

/* Record i of the batch by itself. */
struct single {
    uint32_t offsets[4];
    struct model_input in;
};

static void single_of(const struct nn_case *c, size_t i, struct single *s)
{
    for (size_t k = 0; k < 4; k++)
        s->offsets[k] = c->in.offsets[3 * i + k] - c->in.offsets[3 * i];
    s->in = c->in;
    s->in.n = 1;
    s->in.offsets = s->offsets;
    s->in.index += c->in.offsets[3 * i];
    s->in.record += i;
}

/* Records by themselves have the loss and the gradient that they have in the batch, dropout and all: so masks hang on
 * record and place. A rank, too, is the record's own. */
static void test_parts_are_the_whole(void **state)
{
    (void)state;
    for (int family = JOB_SASREC; family <= JOB_CNN; family++) {
        struct seq_case s = wide_case(family);
        struct nn_case *c = &s.c;
        open_case(&s);
        seq_step(&s);
        float *whole = mem_array(c->used, sizeof(*whole)), rank[64], one;
        double *sum = mem_array(c->used, sizeof(*sum)), losses = 0;
        memcpy(whole, c->dw, c->used * sizeof(*whole));
        model_rank(c->model, &c->in, &c->p, rank, NULL);
        for (size_t i = 0; i < c->n; i++) {
            struct single part_of;
            struct model_loss loss;
            single_of(c, i, &part_of);
            model_step(c->model, &part_of.in, &c->p, &c->g, NULL, &loss);
            losses += loss.sum;
            for (size_t k = 0; k < c->used; k++)
                sum[k] += (double)c->dw[k] * (double)loss.count / (double)s.count;
            model_rank(c->model, &part_of.in, &c->p, &one, NULL);
            assert_true(fabsf(one - rank[i]) <= 1);
        }
        assert_true(fabs(losses / (double)s.count - c->loss) < 1e-5 * c->loss);
        for (size_t k = 0; k < c->used; k++)
            assert_true(fabs(sum[k] - (double)whole[k]) < 2e-6 + 1e-3 * fabs(sum[k]));
        struct model_loss loss;
        c->in.epoch++;
        model_step(c->model, &c->in, &c->p, &c->g, NULL, &loss);
        assert_true(fabs(loss.sum / (double)loss.count - c->loss) > 1e-6); /* other masks */
        free(whole);
        free(sum);
        case_close(c);
    }
}

/* Nothing to predict: no loss, no gradient. */
static void test_nothing_to_predict(void **state)
{
    (void)state;
    for (int family = JOB_SASREC; family <= JOB_CNN; family++) {
        struct seq_case s = wide_case(family);
        for (size_t i = 0; i < 8; i++)
            s.length[i] = i % 2;
        open_case(&s);
        struct model_loss loss;
        memset(s.c.dw, 0xff, s.c.used * sizeof(*s.c.dw));
        model_step(s.c.model, &s.c.in, &s.c.p, &s.c.g, NULL, &loss);
        assert_true(loss.sum == 0 && loss.count == 0 && loss.correct == 0);
        for (size_t i = 0; i < s.c.used; i++)
            assert_true(s.c.dw[i] == 0);
        case_close(&s.c);
    }
}

/* No history: every item is as good as another. A target that is no candidate, a broken model: last. */
static void test_ranks_at_the_edges(void **state)
{
    (void)state;
    struct seq_case s = wide_case(JOB_SASREC);
    struct nn_case *c = &s.c;
    float rank[64];
    for (size_t i = 0; i < 8; i++)
        s.length[i] = i == 0 ? 0 : 4;
    open_case(&s);
    model_rank(c->model, &c->in, &c->p, rank, NULL);
    assert_true(rank[0] == 1 + 299 / 2.0f); /* earlier items: none of record 0 */
    for (size_t i = 0; i < c->used; i++)
        c->w[i] = 0;
    struct model_loss loss;
    model_rank(c->model, &c->in, &c->p, rank, &loss);
    assert_true(fabs(loss.sum - (double)c->n * log(300)) < 1e-4 * loss.sum && loss.correct == 0);
    for (size_t i = 0; i < c->n; i++)
        assert_true(rank[i] > 140 && rank[i] <= 1 + 299 / 2.0f);
    c->in.candidates = 1;
    model_rank(c->model, &c->in, &c->p, rank, NULL);
    assert_true(rank[0] == 1);
    c->in.candidates = 300;
    for (size_t i = 0; i < c->used; i++)
        c->w[i] = NAN;
    model_rank(c->model, &c->in, &c->p, rank, &loss);
    assert_true(isnan(loss.sum) && loss.correct == 0);
    for (size_t i = 0; i < c->n; i++)
        assert_true(rank[i] == 300);
    model_step(c->model, &c->in, &c->p, &c->g, NULL, &loss);
    assert_true(isnan(loss.sum) && loss.correct == 0);
    case_close(c);
}

/* The loss beside a rank is that of training: of the second item of two, from the first. */
static void test_loss_of_ranks(void **state)
{
    (void)state;
    for (int family = JOB_SASREC; family <= JOB_CNN; family++) {
        struct seq_case s = wide_case(family);
        struct nn_case *c = &s.c;
        const uint32_t train[] = {0, 2, 2, 2}, rank[] = {0, 1, 2, 2};
        struct model_loss trained, ranked, all;
        float place[64];
        c->job.model.dropout = c->job.model.input_dropout = c->job.model.recurrent_dropout = 0;
        open_case(&s);
        model_rank(c->model, &c->in, &c->p, place, &all);
        assert_true(all.count == c->n && isfinite(all.sum) && all.sum > 0);
        c->in.n = 1;
        c->in.offsets = train;
        model_step(c->model, &c->in, &c->p, &c->g, NULL, &trained);
        c->in.offsets = rank;
        model_rank(c->model, &c->in, &c->p, place, &ranked);
        assert_true(trained.count == 1 && ranked.count == 1);
        assert_true(fabs(trained.sum - ranked.sum) < 1e-5 * trained.sum);
        assert_true(trained.correct == ranked.correct);
        case_close(c);
    }
}

/* Softmax over all unique keys in place, and over the same items gathered, are one loss and one gradient. */
static void test_gathered_is_direct(void **state)
{
    (void)state;
    struct seq_case a = wide_case(JOB_GRU), b = wide_case(JOB_GRU);
    b.c.job.model.loss = JOB_LOSS_SAMPLED;
    open_case(&a);
    open_case(&b);
    seq_step(&a);
    seq_step(&b);
    assert_true(fabs(a.c.loss - b.c.loss) < 1e-6 * a.c.loss && a.correct == b.correct);
    for (size_t i = 0; i < a.c.used; i++)
        assert_true(fabsf(a.c.dw[i] - b.c.dw[i]) < 1e-6f + 1e-4f * fabsf(a.c.dw[i]));
    case_close(&a.c);
    case_close(&b.c);
}

static void test_no_allocation(void **state)
{
    (void)state;
#ifdef COUNTS_MALLOC
    for (int family = JOB_SASREC; family <= JOB_CNN; family++) {
        struct seq_case s = wide_case(family);
        open_case(&s);
        float rank[64];
        for (int own = 0; own < 2; own++) {
            (void)gemm_force(own);
            seq_step(&s);
            model_rank(s.c.model, &s.c.in, &s.c.p, rank, NULL);
            const size_t before = allocations;
            seq_step(&s);
            model_rank(s.c.model, &s.c.in, &s.c.p, rank, NULL);
            assert_int_equal(allocations, before);
        }
        case_close(&s.c);
    }
#else
    skip();
#endif
}

static void refused(const struct job *job, size_t fields, size_t floats, const char *word)
{
    struct model *m = (struct model *)1;
    static struct plan plan;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(model_new(job, fields, floats, 8, &m, &plan, &err), ST_USAGE);
    if (!strstr(err.text, word))
        fail_msg("%s", err.text);
    assert_true(m == (struct model *)1 && plan.tables_used == 0);
}

static void test_refusals(void **state)
{
    (void)state;
    for (int family = JOB_SASREC; family <= JOB_CNN; family++) {
        struct seq_case s = seq_default(family);
        s.c.job.model.dilations.item = s.dilations;
        refused(&s.c.job, 2, 0, "data.records=sequences");
        refused(&s.c.job, 3, 1, "data.records=sequences");
    }
    struct seq_case s = seq_default(JOB_SASREC);
    s.c.job.model.heads = 3;
    refused(&s.c.job, 3, 0, "model.heads");
    s.c.job.model.family = JOB_GRU;
    s.c.job.model.recurrent = 5;
    refused(&s.c.job, 3, 0, "model.tied");
    s.c.job.model.family = JOB_CNN;
    s.c.job.model.dilations.used = 0;
    refused(&s.c.job, 3, 0, "model.dilations");
    s.c.job.model.family = JOB_FM;
    refused(&s.c.job, 3, 0, "data.records");
}

static void test_plan(void **state)
{
    (void)state;
    struct job job = {0};
    job.data.records = JOB_SEQUENCES;
    job.data.sequence.max = 50;
    job.model.family = JOB_LSTM;
    job.model.embedding = 128;
    job.model.embedding_init = 0.02;
    struct model *m;
    static struct plan plan;
    assert_int_equal(model_new(&job, 3, 0, 16, &m, &plan, NULL), ST_OK);
    assert_true(model_ranks(m));
    assert_int_equal(plan.tables_used, 4);
    const char *const names[] = {"embedding", "output", "output.bias", "dense"};
    const uint32_t dims[] = {128, 128, 1, DENSE_BLOCK};
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(plan.tables[i].name, names[i]);
        assert_int_equal(plan.tables[i].dim, dims[i]);
    }
    assert_int_equal(plan.tables[2].init, PLAN_ZERO);
    assert_int_equal(plan.tables[3].tensors_used, 3);
    assert_string_equal(plan.tables[3].tensors[2].name, "recurrent.state");
    assert_true(fabs(plan.tables[3].tensors[2].init_a - sqrt(1 / 128.0)) < 1e-12);
    assert_int_equal(model_flops(m), 2 * 2 * 512 * 128);
    model_free(m);
    plan_release(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas),           cmocka_unit_test(test_paths_agree),
        cmocka_unit_test(test_same_bits),          cmocka_unit_test(test_parts_are_the_whole),
        cmocka_unit_test(test_nothing_to_predict), cmocka_unit_test(test_ranks_at_the_edges),
        cmocka_unit_test(test_gathered_is_direct), cmocka_unit_test(test_no_allocation),
        cmocka_unit_test(test_refusals),           cmocka_unit_test(test_plan),
        cmocka_unit_test(test_loss_of_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
