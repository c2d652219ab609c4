/* nn_seq.c - how fast the sequence families train and rank: model_step and model_rank, without servers.
 *
 * Batches look like two public logs after their leave-one-out split: "beauty", 256 users with 5.9 inputs on average
 * (3 to 50) over 12,101 items, and "ml-1m", 128 users with 108 (16 to 200) over 3,416 items. A position is one
 * predicted item. Arithmetic is counted as three forwards; its share is that of the best matrix product in the same
 * run. Times are CPU times of the thread, the best of all steps: the cores may be shared.
 *
 * First come the products of attention's size, ours (or what stands for it on this CPU) beside OpenBLAS.
 *
 *     nn_seq [cases] [seconds] [how]      e.g. nn_seq sasrec,lstm 3, nn_seq beauty 2 plain
 *
 * how: "blas" OpenBLAS's products instead of ours; "avx2" or "plain": that path of vec.h.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/math/gemm.h"
#include "common/math/vec.h"
#include "common/nn/model.h"

struct shape {
    const char *name;
    size_t users, items, most, least;
    double mean; /* inputs of a user */
};

static const struct shape shapes[] = {
    {"beauty", 256, 12101, 50, 3, 5.9},
    {"ml-1m", 128, 3416, 200, 16, 108},
};

struct batch { /* arrays owned */
    struct model_input in;
    uint32_t *offsets, *index, *candidate;
    uint64_t *record;
    size_t positions;
    double pairs; /* query and key, all heads */
};

/* Lengths: least + an exponential one, cut at most; its mean found by halving. */
static double length_of(const struct shape *s, double mean, size_t user)
{
    const double x = (double)s->least - mean * log(1 - rng_unit(5, user, 0));
    return x < (double)s->most ? floor(x) : (double)s->most;
}

static double mean_for(const struct shape *s)
{
    double low = 0, high = 1e4;
    for (int i = 0; i < 60; i++) {
        const double mean = (low + high) / 2;
        double sum = 0;
        for (size_t u = 0; u < s->users; u++)
            sum += length_of(s, mean, u);
        if (sum / (double)s->users < s->mean)
            low = mean;
        else
            high = mean;
    }
    return high;
}

/* Every item is a unique key of the batch, as it is when the catalog is the candidates. */
static void batch_fill(struct batch *b, const struct shape *s, size_t candidates)
{
    const double mean = mean_for(s);
    *b = (struct batch){0};
    b->offsets = mem_array(3 * s->users + 1, sizeof(*b->offsets));
    b->index = mem_array(s->users * (s->most + 2), sizeof(*b->index));
    b->candidate = mem_array(candidates, sizeof(*b->candidate));
    b->record = mem_array(s->users, sizeof(*b->record));
    uint32_t used = 0;
    for (size_t u = 0; u < s->users; u++) {
        const size_t n = (size_t)length_of(s, mean, u);
        for (size_t k = 0; k <= n; k++) {
            const double x = rng_unit(6, u, k);
            b->index[used++] =
                (uint32_t)(x * x * (double)s->items); /* some are in many histories */
        }
        b->offsets[3 * u + 1] = used;
        b->offsets[3 * u + 2] = b->offsets[3 * u + 3] = used;
        b->record[u] = u;
        b->positions += n;
        b->pairs += (double)n * ((double)n + 1) / 2;
    }
    for (size_t c = 0; c < candidates; c++)
        b->candidate[c] = (uint32_t)rng_permute(9, s->items, c);
    b->in = (struct model_input){
        .n = s->users,
        .unique = s->items,
        .offsets = b->offsets,
        .index = b->index,
        .record = b->record,
        .candidate = b->candidate,
        .candidates = candidates,
    };
}

static void batch_free(struct batch *b)
{
    free(b->offsets);
    free(b->index);
    free(b->candidate);
    free(b->record);
}

/* GFLOP/s of a product (m, k) (k, n), forward form. */
static double product_rate(size_t m, size_t n, size_t k, bool own)
{
    float *a = mem_aligned(64, m * k * sizeof(float)), *b = mem_aligned(64, n * k * sizeof(float));
    float *c = mem_aligned(64, m * n * sizeof(float));
    rng_normal_fill(1, 0, a, m * k);
    rng_normal_fill(1, 1, b, n * k);
    (void)gemm_force(own);
    const size_t often = 1 + 20000000 / (m * n * k);
    double best = 0;
    for (int i = 0; i < 20; i++) {
        const uint64_t from = clock_cpu_us();
        for (size_t j = 0; j < often; j++)
            gemm_nt(&(struct gemm){
                .m = m, .n = n, .k = k, .a = a, .lda = k, .b = b, .ldb = k, .c = c, .ldc = n});
        const double rate =
            2e-3 * (double)(m * n * k * often) / (double)(clock_cpu_us() - from + 1);
        best = rate > best ? rate : best;
    }
    free(a);
    free(b);
    free(c);
    return best;
}

static double products(bool own)
{
    static const size_t size[][3] = {{6, 6, 64},     {16, 16, 64},    {32, 32, 64},
                                     {64, 64, 64},   {64, 200, 64},   {64, 64, 200},
                                     {64, 50, 32},   {128, 3416, 64}, {86, 12101, 64},
                                     {2048, 64, 64}, {128, 512, 128}};
    double ceiling = 0;
    printf("products, GFLOP/s (ours / OpenBLAS):");
    for (size_t i = 0; i < sizeof(size) / sizeof(*size); i++)
        printf("%s %zux%zux%zu %.0f / %.0f", i % 4 ? "," : "\n   ", size[i][0], size[i][1],
               size[i][2], product_rate(size[i][0], size[i][1], size[i][2], true),
               product_rate(size[i][0], size[i][1], size[i][2], false));
    for (int i = 0; i < 3; i++) {
        const double rate = product_rate(4096, 400, 400, own);
        ceiling = rate > ceiling ? rate : ceiling;
    }
    printf("\n    ceiling, 4096x400x400: %.0f\n", ceiling);
    (void)gemm_force(own);
    return ceiling;
}

struct arrays { /* owned */
    struct model_params p;
    struct model_grads g;
    float *all[2 * PLAN_TABLES_MAX];
    size_t all_used;
};

static void arrays_fill(struct arrays *a, const struct plan *plan, size_t unique)
{
    for (uint32_t t = 0; t < plan->tables_used; t++) {
        const struct plan_table *table = &plan->tables[t];
        const size_t rows = table->kind == PLAN_SPARSE ? unique : (size_t)table->blocks;
        float *w = mem_aligned(64, (rows * table->dim + 1) * sizeof(float));
        float *g = mem_aligned(64, (rows * table->dim + 1) * sizeof(float));
        a->all[a->all_used++] = w;
        a->all[a->all_used++] = g;
        for (size_t r = 0; r < rows; r++)
            plan_init_row(plan, t, r, w + r * table->dim);
        if (table->kind == PLAN_SPARSE) {
            a->p.rows[t] = w;
            a->g.rows[t] = g;
        } else {
            a->p.dense = w;
            a->g.dense = g;
        }
    }
}

struct bench_case {
    const char *name;
    int family;
    size_t d, blocks, heads;
    int loss;
    bool tied;
    double dropout;
};

static const struct bench_case cases[] = {
    {"sasrec 1 block", JOB_SASREC, 64, 1, 1, JOB_LOSS_CE, true, .3},
    {"sasrec 2 blocks", JOB_SASREC, 64, 2, 1, JOB_LOSS_CE, true, .2},
    {"sasrec 2 blocks 2 heads", JOB_SASREC, 64, 2, 2, JOB_LOSS_CE, true, .2},
    {"sasrec 2 blocks, 1024 shared", JOB_SASREC, 64, 2, 1, JOB_LOSS_SAMPLED, true, .2},
    {"sasrec 2 blocks, bce", JOB_SASREC, 64, 2, 1, JOB_LOSS_BCE, true, .2},
    {"lstm 128 untied", JOB_LSTM, 128, 1, 1, JOB_LOSS_CE, false, .2},
    {"gru", JOB_GRU, 64, 1, 1, JOB_LOSS_CE, true, .2},
    {"cnn 1, 2, 4", JOB_CNN, 64, 1, 1, JOB_LOSS_CE, true, .2},
};

static double flops_of(const struct bench_case *k, const struct shape *s, const struct batch *b,
                       const struct model *m)
{
    double flops = (double)model_flops(m) * (double)b->positions;
    const double classes = k->loss == JOB_LOSS_CE        ? (double)s->items
                           : k->loss == JOB_LOSS_SAMPLED ? (double)b->in.candidates
                                                         : 2;
    flops += 2 * (double)k->d * classes * (double)b->positions;
    if (k->family == JOB_SASREC)
        flops += 4 * (double)(k->d * k->blocks) * b->pairs;
    return 3 * flops;
}

static void job_fill(struct job *job, const struct bench_case *k, const struct shape *s,
                     uint64_t *dilations)
{
    *job = (struct job){0};
    job->data.records = JOB_SEQUENCES;
    job->data.sequence.max = s->most;
    job->model.family = k->family;
    job->model.embedding = k->d;
    job->model.embedding_init = .02;
    job->model.blocks = k->blocks;
    job->model.heads = k->heads;
    job->model.dropout = k->dropout;
    job->model.input_dropout = k->dropout;
    job->model.recurrent_dropout = k->family == JOB_LSTM ? k->dropout : 0;
    job->model.kernel = 3;
    job->model.dilations = (struct u64s){dilations, 3};
    job->model.loss = k->loss;
    job->model.scale_embedding = true;
    job->model.tied = k->tied;
    job->train.seed = 1;
}

static uint64_t best_step(struct model *m, const struct batch *b, struct arrays *a, double seconds)
{
    uint64_t best = UINT64_MAX;
    const uint64_t end = clock_now_us() + (uint64_t)(seconds * 1e6);
    struct model_loss loss;
    do {
        const uint64_t from = clock_cpu_us();
        model_step(m, &b->in, &a->p, &a->g, NULL, &loss);
        const uint64_t took = clock_cpu_us() - from + 1;
        best = took < best ? took : best;
    } while (clock_now_us() < end);
    return best;
}

/* Users a second, over the whole catalog. */
static double rank_rate(struct model *m, const struct batch *all, struct arrays *a, double seconds)
{
    float *rank = mem_array(all->in.n, sizeof(*rank));
    uint64_t best = UINT64_MAX;
    const uint64_t end = clock_now_us() + (uint64_t)(seconds * 1e6);
    do {
        const uint64_t from = clock_cpu_us();
        model_rank(m, &all->in, &a->p, rank, NULL);
        const uint64_t took = clock_cpu_us() - from + 1;
        best = took < best ? took : best;
    } while (clock_now_us() < end);
    free(rank);
    return 1e6 * (double)all->in.n / (double)best;
}

static void case_run(const struct bench_case *k, const struct shape *s, double seconds,
                     double ceiling)
{
    uint64_t dilations[] = {1, 2, 4};
    struct job job;
    struct errbuf err = ERRBUF_INIT;
    struct model *m;
    struct batch b, all;
    struct arrays a = {0};
    struct plan *plan = mem_zalloc(sizeof(*plan));
    job_fill(&job, k, s, dilations);
    batch_fill(&b, s, k->loss == JOB_LOSS_CE ? s->items : 1024);
    batch_fill(&all, s, s->items);
    if (model_new(&job, 3, 0, s->users, &m, plan, &err) != ST_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    arrays_fill(&a, plan, s->items);
    const uint64_t took = best_step(m, &b, &a, seconds);
    const double rate = 1e-3 * flops_of(k, s, &b, m) / (double)took;
    printf("%-7s %-30s %8.0f positions/s %6.1f GFLOP/s %3.0f%% | rank %7.0f users/s | %5.0f MB\n",
           s->name, k->name, 1e6 * (double)b.positions / (double)took, rate, 100 * rate / ceiling,
           rank_rate(m, &all, &a, seconds / 4), (double)model_bytes(m) * 1e-6);
    for (size_t i = 0; i < a.all_used; i++)
        free(a.all[i]);
    model_free(m);
    plan_release(plan);
    free(plan);
    batch_free(&b);
    batch_free(&all);
}

int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : "beauty,ml-1m";
    const double seconds = argc > 2 ? atof(argv[2]) : 2;
    const char *how = argc > 3 ? argv[3] : "";
    gemm_init();
    vec_init();
    if (strstr(how, "avx2") || strstr(how, "plain"))
        (void)vec_force(strstr(how, "avx2") ? VEC_AVX2 : VEC_PLAIN);
    const double ceiling = products(!strstr(how, "blas"));
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
        for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++)
            if (strstr(only, shapes[i].name) || strstr(only, job_family_name(cases[k].family)))
                case_run(&cases[k], &shapes[i], seconds, ceiling);
    return 0;
}
