/* sim_model.c - a job whose outcome is known: what each record does is a pure function of its number.
 *
 *   table    rows              optimizer          gradient of a record       checks
 *   sum      (keys, 2)         SGD, rate 1        an integer                 exact sums: nothing lost or doubled
 *   emb      (keys, 3)         Adagrad or Adam    integer + part of the row  order and bits
 *   dense    600 + 1 floats    SGD, rate 1        integers; -1 a record      pushes, records
 *   stat     5 floats          mean               a number                   order
 *
 * Integers stay far below 2^24, so float sums are exact in any order.
 */
#include <string.h>

#include "common/math/merge.h"
#include "tests/support/sim_world.h"

enum {
    KEYS_A_RECORD = 3,
    SUM_DIM = 2,
    EMB_DIM = 3,
    SLICE_KEYS = 64,
    DENSE_FLOATS = 4 * DENSE_BLOCK
};

void sim_plan(struct plan *p, const struct sim_conf *conf)
{
    struct job_optim sgd = {.kind = JOB_SGD, .rate = 1, .l2_mode = JOB_L2_TOUCHED};
    struct job_optim emb = {
        .kind = JOB_ADAGRAD, .rate = 0.05, .l2_mode = JOB_L2_TOUCHED, .eps = 1e-8};
    uint64_t wide[2] = {20, 30}, one[1] = {1}, five[1] = {5};
    if (conf->replay)
        emb = (struct job_optim){.kind = JOB_ADAM,
                                 .rate = 0.01,
                                 .l2 = 1e-3,
                                 .l2_mode = JOB_L2_EXACT,
                                 .beta1 = 0.9,
                                 .beta2 = 0.999,
                                 .eps = 1e-8};
    *p = (struct plan){.seed = 7};
    plan_add_sparse(p, "sum", SUM_DIM, PLAN_ZERO, 0, &sgd);
    plan_add_sparse(p, "emb", EMB_DIM, PLAN_NORMAL, 0.1, &emb);
    plan_add_tensor(p, PLAN_DENSE, "wide", 2, wide, PLAN_ZERO, 0, &sgd);
    plan_add_tensor(p, PLAN_DENSE, "count", 1, one, PLAN_ZERO, 0, &sgd);
    plan_add_tensor(p, PLAN_STAT, "mean", 1, five, PLAN_ZERO, 0, &sgd);
}

void sim_job(struct job *j, const struct sim_conf *conf)
{
    memset(j, 0, sizeof *j);
    j->train.epochs = conf->epochs;
    j->train.batch = conf->batch;
    j->train.seed = 7;
    j->train.staleness = conf->permits - 1;
    j->train.consistency = conf->bsp ? JOB_BSP : conf->ssp ? JOB_SSP : JOB_ASYNC;
    j->train.slices = conf->bsp ? SIM_SLICES : 0;
    j->train.dense = conf->allreduce ? JOB_DENSE_ALLREDUCE : JOB_DENSE_PS;
    j->cluster.workers = conf->workers;
    j->train.plateau.factor = conf->plateau_factor;
    j->train.plateau.rate_min = 1e-6;
    j->train.plateau.delta = 1e-6;
    j->cluster.cut_every = conf->cut_every_us;
    j->cluster.full_every = conf->full_every;
    j->cluster.beat = 10000;
    j->cluster.hold = conf->hold_us;
    j->cluster.dead = 1500000;
    j->cluster.write = conf->write_us;
    j->cluster.recover = 5000000;
    j->cluster.orphan = 4000000;
    j->cluster.resend = 20000;
}

/* Key j of a record: small keys are frequent. */
static uint64_t key_of(const struct sim_conf *conf, uint64_t record, uint32_t j)
{
    double u = rng_unit(11, record, j);
    return 1 + (uint64_t)(u * u * conf->keys);
}

static int64_t int_of(uint64_t epoch, uint64_t record, uint64_t key, uint32_t d)
{
    return (int64_t)(rng_mix(rng_mix(epoch * 1000003 + record, key), d) % 7) - 3;
}

size_t sim_batch_keys(const struct sim_conf *conf, uint64_t epoch, uint64_t begin, uint64_t end,
                      uint64_t *out_keys, size_t cap)
{
    size_t n = 0;
    (void)epoch;
    for (uint64_t r = begin; r < end; r++) {
        for (uint32_t j = 0; j < KEYS_A_RECORD; j++) {
            uint64_t key = key_of(conf, r, j);
            size_t i = 0;
            while (i < n && out_keys[i] != key)
                i++;
            if (i == n && n < cap)
                out_keys[n++] = key;
        }
    }
    return n;
}

static size_t index_of(const uint64_t *keys, size_t n, uint64_t key)
{
    size_t i = 0;
    while (i < n && keys[i] != key)
        i++;
    return i;
}

struct grads { /* of a batch, or of a slice */
    float *sum, *emb, *dense, *stat;
};

/* rows: of table emb, beside keys. */
static void gradients(const struct sim_conf *conf, uint64_t epoch, uint64_t begin, uint64_t end,
                      const uint64_t *keys, size_t n, const float *rows, const struct grads *g)
{
    memset(g->sum, 0, n * SUM_DIM * sizeof(float));
    for (size_t i = 0; i < n * EMB_DIM; i++)
        g->emb[i] = 0.125f * rows[i];
    for (uint64_t r = begin; r < end; r++) {
        for (uint32_t j = 0; j < KEYS_A_RECORD; j++) {
            uint64_t key = key_of(conf, r, j);
            size_t i = index_of(keys, n, key);
            for (uint32_t d = 0; d < SUM_DIM; d++)
                g->sum[i * SUM_DIM + d] -= (float)int_of(epoch, r, key, d);
            for (uint32_t d = 0; d < EMB_DIM; d++)
                g->emb[i * EMB_DIM + d] += 0.01f * (float)int_of(epoch, r, key, d);
        }
    }
    for (size_t i = 0; i < DENSE_FLOATS; i++)
        g->dense[i] = 0;
    for (size_t i = 0; i < 600; i++)
        g->dense[i] = (float)int_of(epoch, begin, i, 9);
    g->dense[3 * DENSE_BLOCK] = -(float)(end - begin);
    for (size_t i = 0; i < DENSE_BLOCK; i++)
        g->stat[i] = i < 5 ? (float)(rng_mix(begin, i) % 100) * 0.01f : 0;
}

/* bsp: each slice by itself, then their tree. */
static void sliced(const struct sim_conf *conf, struct flight *f, uint32_t rank)
{
    static uint64_t keys[SIM_SLICES][SLICE_KEYS];
    static float sum[SIM_SLICES][SLICE_KEYS * SUM_DIM], emb[SIM_SLICES][SLICE_KEYS * EMB_DIM];
    static float dense[SIM_SLICES][DENSE_FLOATS], stat[SIM_SLICES][DENSE_BLOCK];
    const uint64_t *key_list[SIM_SLICES];
    const float *list[4][SIM_SLICES];
    size_t n[SIM_SLICES], count = SIM_SLICES / conf->workers;
    for (size_t i = 0; i < count; i++) {
        uint64_t begin = job_part_at(f->begin, f->end, rank * count + i, SIM_SLICES);
        uint64_t end = job_part_at(f->begin, f->end, rank * count + i + 1, SIM_SLICES);
        float rows[SLICE_KEYS * EMB_DIM];
        struct grads g = {sum[i], emb[i], dense[i], stat[i]};
        n[i] = sim_batch_keys(conf, f->epoch, begin, end, keys[i], SLICE_KEYS);
        for (size_t k = 0; k < n[i]; k++)
            memcpy(rows + k * EMB_DIM,
                   f->rows[1] + index_of(f->keys, f->unique, keys[i][k]) * EMB_DIM,
                   EMB_DIM * sizeof(float));
        gradients(conf, f->epoch, begin, end, keys[i], n[i], rows, &g);
        key_list[i] = keys[i];
        list[0][i] = sum[i];
        list[1][i] = emb[i];
        list[2][i] = begin < end ? dense[i] : NULL;
        list[3][i] = begin < end ? stat[i] : NULL;
    }
    struct merge m;
    merge_init(&m);
    merge_keys(&m, key_list, n, count);
    merge_rows(&m, list[0], SUM_DIM, f->grad_rows[0]);
    merge_rows(&m, list[1], EMB_DIM, f->grad_rows[1]);
    merge_arrays(list[2], count, DENSE_FLOATS, f->grad_dense);
    merge_arrays(list[3], count, DENSE_BLOCK, f->grad_stat);
    merge_release(&m);
}

void sim_gradients(const struct sim_conf *conf, struct flight *f, uint32_t rank)
{
    struct grads g = {f->grad_rows[0], f->grad_rows[1], f->grad_dense, f->grad_stat};
    if (conf->bsp)
        sliced(conf, f, rank);
    else if (conf->ssp || conf->allreduce)
        gradients(conf, f->epoch, f->part_begin, f->part_end, f->keys, f->unique, f->rows[1], &g);
    else
        gradients(conf, f->epoch, f->begin, f->end, f->keys, f->unique, f->rows[1], &g);
}

void sim_sum_dense(const struct sim_conf *conf, struct flight *const *of_rank)
{
    float sum[DENSE_FLOATS];
    const float *list[SIM_WORKERS_MAX];
    for (int stat = 0; stat < 2; stat++) {
        const size_t n = stat ? DENSE_BLOCK : DENSE_FLOATS;
        for (uint32_t r = 0; r < conf->workers; r++) {
            const struct flight *f = of_rank[r];
            list[r] = f->part_begin == f->part_end ? NULL : stat ? f->grad_stat : f->grad_dense;
        }
        merge_arrays(list, conf->workers, n, sum);
        for (uint32_t r = 0; r < conf->workers; r++)
            memcpy(stat ? of_rank[r]->grad_stat : of_rank[r]->grad_dense, sum, n * sizeof *sum);
    }
}

void sim_expected_sums(const struct sim_conf *conf, uint64_t epochs, int64_t (*out)[2])
{
    memset(out, 0, (conf->keys + 1) * sizeof *out);
    for (uint64_t r = 0; r < conf->records; r++) {
        for (uint32_t j = 0; j < KEYS_A_RECORD; j++) {
            uint64_t key = key_of(conf, r, j);
            for (uint64_t e = 0; e < epochs; e++) {
                out[key][0] += int_of(e, r, key, 0);
                out[key][1] += int_of(e, r, key, 1);
            }
        }
    }
}
