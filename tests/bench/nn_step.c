/* nn_step.c - how fast a training step's arithmetic is: model_step and model_score, without servers.
 *
 * The batch looks like frappe's: 4096 records of 10 fields with one id each out of 5382, skewed; rows of 10
 * floats. MLP and DCN-v2 are those of common/nn/README.md, "Measured": [400]^3 with batch norm, dropout
 * .2, four cross layers. Beside each figure stands its share of a ceiling measured in the same run: the time that
 * its arithmetic takes at the rate of the best matrix product, or that its rows and gradients take to be copied
 * within the cache, whichever is longer; the word behind the share says which.
 *
 * DIN's first field is a history of 1 to 49 items instead of an id; a record's arithmetic is that of its 25 on average.
 * The multitask model has three labels, 400 and 400 shared and a tower of 400 each. What predicts the next item is in
 * nn_seq.c.
 *
 * Times are CPU times of the thread, the best of all steps: the cores may be shared. Arithmetic of a step
 * is counted as three forwards (forward, gradient of inputs, gradient of weights), products and sums
 * counted as two.
 *
 *     nn_step [families] [seconds] [how]      e.g. nn_step mlp,dcnv2 3, nn_step mlp 2 blas,avx2
 *
 * how: "blas" OpenBLAS's products instead of ours; "avx2" or "plain": that path of vec.h.
 */
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

#define BATCH  4096u
#define FIELDS 10u
#define IDS    5382u
#define DIM    10u
#define TASKS  3u
#define PLACES 49u /* of DIN's history */
#define WEIGHS 64u /* width of the net that weighs an item of it */

struct batch { /* arrays owned */
    struct model_input in;
    uint32_t *offsets, *index;
    float *labels;
    uint64_t *record;
    double ids; /* of a record */
};

/* places: 1, or how many ids field 0 of a record has at most. */
static void batch_fill(struct batch *b, uint64_t seed, size_t places)
{
    const size_t most = BATCH * (FIELDS - 1 + places);
    b->offsets = mem_array(BATCH * FIELDS + 1, sizeof(*b->offsets));
    b->index = mem_array(most, sizeof(*b->index));
    b->labels = mem_array(BATCH * TASKS, sizeof(*b->labels));
    b->record = mem_array(BATCH, sizeof(*b->record));
    uint32_t *seen = mem_array(IDS, sizeof(*seen));
    struct rng rng = {.key = seed};
    uint32_t unique = 0;
    for (size_t i = 0; i < BATCH * FIELDS; i++) {
        const size_t many = i % FIELDS == 0 ? 1 + (size_t)rng_below(&rng, places) : 1;
        b->offsets[i + 1] = b->offsets[i] + (uint32_t)many;
    }
    const size_t ids = b->offsets[BATCH * FIELDS];
    for (size_t o = 0; o < ids; o++) {
        const double u = rng_next_unit(&rng);
        const size_t id = (size_t)(u * u * u * IDS); /* a few ids are in most records */
        if (!seen[id])
            seen[id] = ++unique;
        b->index[o] = seen[id] - 1;
    }
    free(seen);
    for (size_t i = 0; i < BATCH * TASKS; i++)
        b->labels[i] = rng_next_unit(&rng) < 1.0 / 3 ? 1 : 0;
    for (size_t i = 0; i < BATCH; i++)
        b->record[i] = i;
    b->ids = (double)ids / BATCH;
    b->in = (struct model_input){
        .n = BATCH,
        .unique = unique,
        .offsets = b->offsets,
        .index = b->index,
        .labels = b->labels,
        .record = b->record,
    };
}

static void batch_free(struct batch *b)
{
    free(b->offsets);
    free(b->index);
    free(b->labels);
    free(b->record);
}

/* Best GFLOP/s of one shape: 'f' forward nt, 'x' gradient of the input nn, 'w' of the weight tn. 0: this CPU has
 * no product of ours. */
static double product_rate(char which, size_t rows, size_t in, size_t out, bool own)
{
    if (gemm_force(own) != own)
        return 0;
    float *x = mem_aligned(64, rows * in * sizeof(float));
    float *w = mem_aligned(64, out * in * sizeof(float));
    float *y = mem_aligned(64, rows * out * sizeof(float));
    rng_normal_fill(1, 0, x, rows * in);
    rng_normal_fill(1, 1, w, out * in);
    rng_normal_fill(1, 2, y, rows * out);
    double best = 0;
    uint64_t spent = 0;
    for (int i = 0; i < 40 && (i < 5 || spent < 300000); i++) {
        const uint64_t from = clock_cpu_us();
        if (which == 'f')
            gemm_nt(&(struct gemm){.m = rows,
                                   .n = out,
                                   .k = in,
                                   .a = x,
                                   .lda = in,
                                   .b = w,
                                   .ldb = in,
                                   .c = y,
                                   .ldc = out});
        else if (which == 'x')
            gemm_nn(&(struct gemm){.m = rows,
                                   .n = in,
                                   .k = out,
                                   .a = y,
                                   .lda = out,
                                   .b = w,
                                   .ldb = in,
                                   .c = x,
                                   .ldc = in});
        else
            gemm_tn(&(struct gemm){.m = out,
                                   .n = in,
                                   .k = rows,
                                   .a = y,
                                   .lda = out,
                                   .b = x,
                                   .ldb = in,
                                   .c = w,
                                   .ldc = in});
        const uint64_t took = clock_cpu_us() - from + 1;
        spent += took;
        const double rate = 2e-3 * (double)(rows * in * out) / (double)took;
        best = rate > best ? rate : best;
    }
    free(x);
    free(w);
    free(y);
    return best;
}

/* Ours beside OpenBLAS, so that ours earns its place. Returns the best of the first shape, which the hidden
 * layers are made of: the ceiling of what follows. */
static double products(bool own)
{
    static const struct {
        size_t rows, in, out;
    } shapes[] = {{BATCH, 400, 400}, {BATCH, 100, 400}, {BATCH, 100, 100},
                  {BATCH, 512, 512}, {256, 400, 400},   {32, 400, 400}};
    double ceiling = 0;
    own = gemm_force(own);
    printf("products, GFLOP/s:        forward          dx          dw   (%s / OpenBLAS)\n",
           gemm_force(true) ? "ours" : "0: none of ours on this CPU");
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        printf("  %4zu x %3zu -> %3zu   ", shapes[i].rows, shapes[i].in, shapes[i].out);
        for (const char *which = "fxw"; *which; which++) {
            double rate[2];
            for (int side = 0; side < 2; side++) {
                rate[side] =
                    product_rate(*which, shapes[i].rows, shapes[i].in, shapes[i].out, !side);
                if (i == 0 && side == !own && rate[side] > ceiling)
                    ceiling = rate[side];
            }
            printf("  %4.0f / %-4.0f", rate[0], rate[1]);
        }
        printf("\n");
    }
    (void)gemm_force(own);
    return ceiling;
}

/* Bytes a second that memcpy reads and writes, of an array as large as a batch's rows. */
static double copy_rate(size_t bytes)
{
    char *a = mem_aligned(64, bytes), *b = mem_aligned(64, bytes);
    memset(a, 1, bytes);
    double best = 0;
    for (int r = 0; r < 200; r++) {
        const uint64_t from = clock_cpu_us();
        for (int i = 0; i < 20; i++)
            memcpy(i % 2 ? a : b, i % 2 ? b : a, bytes);
        const uint64_t took = clock_cpu_us() - from + 1;
        const double rate = 2e6 * 20 * (double)bytes / (double)took;
        best = rate > best ? rate : best;
    }
    free(a);
    free(b);
    return best;
}

struct ceilings {
    double flops; /* products and sums a second */
    double bytes; /* copied a second */
};

/* Seconds that one record takes at the least, and what they are spent on. A record has an offset a field, an
 * index and a row an id of each sparse table, read; a step reads and writes its gradient, too. */
static double least_seconds(const struct plan *plan, double flops, double ids, bool step,
                            const struct ceilings *c, const char **what)
{
    double floats = 0;
    for (uint32_t t = 0; t < plan->tables_used; t++)
        if (plan->tables[t].kind == PLAN_SPARSE)
            floats += plan->tables[t].dim;
    const double bytes = 4 * FIELDS + ids * (4 + 4 * floats * (step ? 3 : 1));
    const double by_flops = flops * (step ? 3 : 1) / c->flops, by_bytes = bytes / c->bytes;
    *what = by_flops > by_bytes ? "flops" : "copies";
    return by_flops > by_bytes ? by_flops : by_bytes;
}

struct arrays { /* owned */
    struct model_params p;
    struct model_grads g;
    float *all[2 * PLAN_TABLES_MAX];
    size_t all_used;
};

static float *array_add(struct arrays *a, size_t n)
{
    a->all[a->all_used] = mem_aligned(64, (n + 1) * sizeof(float));
    return a->all[a->all_used++];
}

static void arrays_fill(struct arrays *a, const struct plan *plan, size_t unique)
{
    for (uint32_t t = 0; t < plan->tables_used; t++) {
        const struct plan_table *table = &plan->tables[t];
        const size_t rows = table->kind == PLAN_SPARSE ? unique : (size_t)table->blocks;
        float *w = array_add(a, rows * table->dim), *g = array_add(a, rows * table->dim);
        for (size_t r = 0; r < rows; r++)
            plan_init_row(plan, t, r, w + r * table->dim);
        if (table->kind == PLAN_SPARSE) {
            a->p.rows[t] = w;
            a->g.rows[t] = g;
        } else if (table->kind == PLAN_DENSE) {
            a->p.dense = w;
            a->g.dense = g;
        } else {
            a->p.stat = w;
            a->g.stat = g;
        }
    }
}

/* Fields of what is told by the schema: DIN's history, then its item; labels. */
static void schema_fill(struct job *job, struct job_field *fields)
{
    static const char *const labels[TASKS] = {"click", "cart", "buy"};
    job->data.fields = fields;
    for (size_t i = 0; i < FIELDS; i++)
        fields[i] = (struct job_field){.name = (char *)"id", .type = FIELD_ID};
    fields[0] = (struct job_field){
        .name = (char *)"liked", .type = FIELD_HISTORY, .of = (char *)"item", .max = PLACES};
    fields[1] = (struct job_field){.name = (char *)"item", .type = FIELD_ITEM};
    job->data.fields_used = FIELDS;
    for (size_t t = 0; job->model.family == JOB_MULTITASK && t < TASKS; t++)
        fields[job->data.fields_used++] = (struct job_field){
            .name = (char *)(uintptr_t)labels[t], .type = FIELD_LABEL, .weight = 1};
}

/* What model_flops counts once for each kind of rows, of DIN's history as often as there are items. */
static double flops_of(const struct model *m, const struct job *job, const struct batch *b)
{
    const double items = b->ids - (FIELDS - 1);
    const double each = 2.0 * (4 * DIM * WEIGHS + WEIGHS);
    return (double)model_flops(m) + (job->model.family == JOB_DIN ? (items - 1) * each : 0);
}

/* FinalMLP and FinalNet as launch/jobs/frappe.yaml has them. The lists are the caller's. */
static struct job family_job(int family, uint64_t *hidden, uint64_t *second, uint64_t *weighs)
{
    struct job job = {0};
    job.model.family = family;
    job.model.second.hidden.item = second;
    job.model.second.hidden.used = 1;
    job.model.second.dropout = .2;
    job.model.finalmlp.heads = 5;
    job.model.finalnet.gate = JOB_FIELD_GATE_SUM;
    job.model.finalnet.teach = 1;
    job.model.embedding = DIM;
    job.model.embedding_init = 1e-2;
    job.model.hidden.item = hidden;
    job.model.hidden.used = family == JOB_FINALMLP                              ? 1
                            : family == JOB_FINALNET || family == JOB_MULTITASK ? 2
                                                                                : 3;
    job.model.tower.item = hidden;
    job.model.tower.used = 1;
    job.model.attention.item = weighs;
    job.model.attention.used = 1;
    job.model.dropout = .2;
    job.model.batch_norm = true;
    job.model.cross = 4;
    job.train.seed = 1;
    return job;
}

static void family_run(int family, double seconds, const struct ceilings *c, const struct batch *b)
{
    uint64_t hidden[] = {400, 400, 400}, second[] = {family == JOB_FINALMLP ? 100 : 400};
    uint64_t weighs[] = {WEIGHS};
    struct job_field fields[FIELDS + TASKS];
    struct job job = family_job(family, hidden, second, weighs);
    schema_fill(&job, fields);
    struct errbuf err = ERRBUF_INIT;
    struct model *m;
    struct plan *plan = mem_zalloc(sizeof(*plan));
    if (model_new(&job, FIELDS, 0, BATCH, &m, plan, &err) != ST_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    struct arrays a = {0};
    arrays_fill(&a, plan, b->in.unique);
    float *logits = mem_array(BATCH * TASKS, sizeof(*logits));
    struct model_loss loss;
    double rate[2];
    for (int score = 0; score < 2; score++) {
        uint64_t best = UINT64_MAX;
        const uint64_t end = clock_now_us() + (uint64_t)(seconds * 1e6);
        while (clock_now_us() < end) {
            const uint64_t from = clock_cpu_us();
            if (score)
                model_score(m, &b->in, &a.p, logits);
            else
                model_step(m, &b->in, &a.p, &a.g, logits, &loss);
            const uint64_t took = clock_cpu_us() - from;
            best = took < best ? took : best;
        }
        rate[score] = BATCH / (double)best * 1e6;
    }
    const double flops = flops_of(m, &job, b);
    const char *what[2];
    const double least[2] = {least_seconds(plan, flops, b->ids, true, c, &what[0]),
                             least_seconds(plan, flops, b->ids, false, c, &what[1])};
    printf("%-9s step %9.0f samples/s %6.1f GFLOP/s %3.0f%% of %-6s | score %9.0f samples/s "
           "%3.0f%% of %-6s | "
           "%5.1f MB\n",
           job_family_name(family), rate[0], rate[0] * flops * 3e-9, 100 * rate[0] * least[0],
           what[0], rate[1], 100 * rate[1] * least[1], what[1], (double)model_bytes(m) * 1e-6);
    for (size_t i = 0; i < a.all_used; i++)
        free(a.all[i]);
    free(logits);
    model_free(m);
    plan_release(plan);
    free(plan);
}

static bool listed(const char *list, const char *name) /* between commas, whole */
{
    const size_t n = strlen(name);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += n)
        if ((at == list || at[-1] == ',') && (at[n] == ',' || at[n] == '\0'))
            return true;
    return false;
}

int main(int argc, char **argv)
{
    const char *families =
        argc > 1 ? argv[1] : "lr,fm,mlp,dcnv2,widedeep,deepfm,dlrm,finalmlp,finalnet,din,multitask";
    const double seconds = argc > 2 ? atof(argv[2]) : 2;
    const char *how = argc > 3 ? argv[3] : "";
    gemm_init();
    vec_init();
    if (strstr(how, "avx2") || strstr(how, "plain"))
        (void)vec_force(strstr(how, "avx2") ? VEC_AVX2 : VEC_PLAIN);
    struct batch b, histories;
    batch_fill(&b, 7, 1);
    batch_fill(&histories, 7, PLACES);
    const struct ceilings c = {.flops = 1e9 * products(!strstr(how, "blas")),
                               .bytes = copy_rate(b.in.unique * DIM * sizeof(float))};
    printf("ceilings: products %.0f GFLOP/s, copies in the cache %.1f GB/s\n", 1e-9 * c.flops,
           1e-9 * c.bytes);
    printf("batch %u, %u fields, %zu unique keys\n", BATCH, FIELDS, b.in.unique);
    for (int f = JOB_LR; f < JOB_CLICK_FAMILIES; f++)
        if (listed(families, job_family_name(f)))
            family_run(f, seconds, &c, f == JOB_DIN ? &histories : &b);
    batch_free(&b);
    batch_free(&histories);
    return 0;
}
