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

#include "tests/support/sim_world.h"

enum { KEYS_A_RECORD = 3, SUM_DIM = 2, EMB_DIM = 3 };

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

static size_t index_of(const struct flight *f, uint64_t key)
{
    size_t i = 0;
    while (i < f->unique && f->keys[i] != key)
        i++;
    return i;
}

void sim_gradients(const struct sim_conf *conf, struct flight *f)
{
    uint64_t n = f->end - f->begin;
    memset(f->grad_rows[0], 0, f->unique * SUM_DIM * sizeof(float));
    for (size_t i = 0; i < f->unique * EMB_DIM; i++)
        f->grad_rows[1][i] = 0.125f * f->rows[1][i];
    for (uint64_t r = f->begin; r < f->end; r++) {
        for (uint32_t j = 0; j < KEYS_A_RECORD; j++) {
            uint64_t key = key_of(conf, r, j);
            size_t i = index_of(f, key);
            for (uint32_t d = 0; d < SUM_DIM; d++)
                f->grad_rows[0][i * SUM_DIM + d] -= (float)int_of(f->epoch, r, key, d);
            for (uint32_t d = 0; d < EMB_DIM; d++)
                f->grad_rows[1][i * EMB_DIM + d] += 0.01f * (float)int_of(f->epoch, r, key, d);
        }
    }
    for (size_t i = 0; i < 4 * DENSE_BLOCK; i++)
        f->grad_dense[i] = 0;
    for (size_t i = 0; i < 600; i++)
        f->grad_dense[i] = (float)int_of(f->epoch, f->begin, i, 9);
    f->grad_dense[3 * DENSE_BLOCK] = -(float)n;
    for (size_t i = 0; i < DENSE_BLOCK; i++)
        f->grad_stat[i] = i < 5 ? (float)(rng_mix(f->begin, i) % 100) * 0.01f : 0;
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
