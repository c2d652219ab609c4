/* sim_worker.c - a worker's shell: leases become batches, batches become integer gradients. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/support/sim_world.h"

enum { KEYS_MAX = 512, EVAL_BATCHES = 2 };

static uint32_t flights(const struct sim_world *w)
{
    uint32_t n = w->conf.permits + 2;
    return n < SIM_FLIGHTS_MAX ? n : SIM_FLIGHTS_MAX;
}

void sim_worker_start(struct sim_world *w, uint32_t rank, uint64_t boot, uint64_t world)
{
    struct sim_worker *k = &w->worker[rank];
    struct client_conf conf = {.job = w->job_id,
                               .boot = boot,
                               .world = world,
                               .rank = rank,
                               .world_size = w->conf.workers,
                               .plan = &w->plan,
                               .permits = w->conf.permits,
                               .dealt = job_deals(&w->job),
                               .clocks = w->conf.bsp || w->conf.ssp,
                               .allreduce = w->conf.allreduce,
                               .dense_apart = w->conf.allreduce && !w->conf.bsp,
                               .leases_max = 2,
                               .beat_us = w->job.cluster.beat,
                               .resend_us = w->job.cluster.resend,
                               .orphan_us = w->job.cluster.orphan,
                               .pool = w->pool};
    memset(k, 0, sizeof *k);
    k->core = client_new(&conf);
    for (uint32_t i = 0; i < flights(w); i++) {
        flight_init(&k->flight[i], &w->plan, KEYS_MAX);
        k->flight[i].user = mem_array(KEYS_MAX, sizeof(uint64_t));
    }
    sim_after(w, 1 + sim_rand(w, 5000), SIM_TICK, SIM_WORKER + rank);
}

void sim_worker_stop(struct sim_world *w, uint32_t rank)
{
    struct sim_worker *k = &w->worker[rank];
    client_free(k->core);
    k->core = NULL;
    for (uint32_t i = 0; i < flights(w); i++) {
        free(k->flight[i].user);
        flight_release(&k->flight[i], &w->plan);
    }
}

static void compute_soon(struct sim_world *w, uint32_t rank)
{
    struct sim_worker *k = &w->worker[rank];
    if (k->computing || k->lents == 0)
        return;
    k->computing = true;
    struct sim_event *ev = sim_after(w, 200 + sim_rand(w, 2500), SIM_GRADS, SIM_WORKER + rank);
    ev->flight = k->lent[0];
}

static void lent(struct sim_world *w, uint32_t rank, struct flight *f)
{
    struct sim_worker *k = &w->worker[rank];
    k->lent[k->lents++] = f;
    compute_soon(w, rank);
}

/* "MPI": the result is there when all ranks have done their part; the same for all. */
static void reduce(struct sim_world *w)
{
    double sum = 1e9;
    for (uint32_t r = 0; r < w->conf.workers; r++) {
        if (!w->worker[r].eval_done || w->worker[r].evaluate != w->worker[0].evaluate)
            return;
        if (r == 0 || !w->conf.bsp) /* bsp: the same for any number of workers */
            sum += w->worker[r].eval_sum;
    }
    for (uint32_t r = 0; r < w->conf.workers; r++) {
        struct sim_event *ev = sim_after(w, 500, SIM_EVALUATED, SIM_WORKER + r);
        ev->k = w->worker[r].evaluate;
        ev->result = (struct client_result){
            .auc = 0.5 + 0.4 * fmod(sum / 1e4, 1), .logloss = 0.5, .count = w->conf.records};
        w->worker[r].eval_done = false;
    }
}

static void evaluated(struct sim_world *w, uint32_t rank, const struct flight *f)
{
    struct sim_worker *k = &w->worker[rank];
    for (size_t i = 0; i < f->unique; i++) /* whole numbers: the order of batches must not show */
        k->eval_sum += (double)(int64_t)(1e6f * (f->rows[0][i * 2] + f->rows[1][i * 3]));
    if (--k->eval_out == 0 && k->eval_at == EVAL_BATCHES) {
        k->eval_done = true;
        reduce(w);
    }
}

static void worker_do(struct sim_world *w, uint32_t rank, const struct client_action *a, size_t n)
{
    struct sim_worker *k = &w->worker[rank];
    for (size_t i = 0; i < n; i++) {
        switch (a[i].kind) {
        case CLIENT_SEND:
            sim_send(w, SIM_WORKER + rank,
                     a[i].to == CLIENT_TO_HEAD ? SIM_HEAD : SIM_SHARD + a[i].to, a[i].msg);
            break;
        case CLIENT_CONNECT: break;
        case CLIENT_ROWS: lent(w, rank, a[i].flight); break;
        case CLIENT_DONE: k->busy[a[i].flight - k->flight] = false; break;
        case CLIENT_LEASE: k->lease[k->leases++] = a[i].lease; break;
        case CLIENT_EVALUATE:
            k->evaluate = a[i].evaluate;
            k->eval_at = k->eval_out = 0;
            k->eval_sum = 0;
            k->eval_done = false;
            break;
        case CLIENT_RESET:
            k->leases = 0;
            k->evaluate = 0;
            break;
        case CLIENT_NOTE: sim_line(w, "worker %u notes: %s", rank, a[i].text); break;
        case CLIENT_EXIT:
            k->ended = true;
            k->code = a[i].code;
            sim_line(w, "worker %u ends, code %d: %s", rank, a[i].code, a[i].text);
            break;
        }
    }
}

static void give(struct sim_world *w, uint32_t rank, enum client_event_kind kind, struct flight *f,
                 struct msg *m)
{
    struct sim_worker *k = &w->worker[rank];
    struct client_event e = {.kind = kind, .now_us = w->now_us, .flight = f, .msg = m};
    const struct client_action *a;
    struct client_view v;
    size_t n;
    client_step(k->core, &e, &a, &n);
    worker_do(w, rank, a, n);
    client_check(k->core);
    client_view(k->core, &v);
    sim_check_obeyed(w, SIM_WORKER + rank, v.e, v.n);
}

static struct flight *free_flight(struct sim_world *w, struct sim_worker *k)
{
    for (uint32_t i = 0; i < flights(w); i++) {
        if (!k->busy[i]) {
            k->busy[i] = true;
            return &k->flight[i];
        }
    }
    return NULL;
}

static void fill(struct sim_world *w, uint32_t rank, struct flight *f, uint64_t epoch,
                 uint64_t split, uint64_t begin, uint64_t end)
{
    f->epoch = epoch;
    f->split = split;
    f->begin = begin;
    f->end = end;
    if (w->conf.bsp && !f->eval) {
        uint64_t each = SIM_SLICES / w->conf.workers;
        f->part_begin = job_part_at(f->begin, f->end, rank * each, SIM_SLICES);
        f->part_end = job_part_at(f->begin, f->end, (rank + 1) * each, SIM_SLICES);
        begin = f->part_begin;
        end = f->part_end;
    } else if ((w->conf.ssp || w->conf.allreduce) && !f->eval) {
        begin = f->part_begin = job_part_at(f->begin, f->end, rank, w->conf.workers);
        end = f->part_end = job_part_at(f->begin, f->end, rank + 1, w->conf.workers);
    }
    f->keys = f->user;
    f->unique = sim_batch_keys(&w->conf, epoch, begin, end, f->user, KEYS_MAX);
}

static bool feed_train(struct sim_world *w, uint32_t rank)
{
    struct sim_worker *k = &w->worker[rank];
    while (k->leases > 0 && k->lease[0].begin == k->lease[0].end) {
        k->leases--;
        memmove(&k->lease[0], &k->lease[1], k->leases * sizeof k->lease[0]);
    }
    if (k->leases == 0)
        return false;
    struct flight *f = free_flight(w, k);
    if (f == NULL)
        return false;
    struct msg_lease *l = &k->lease[0];
    uint64_t end = l->begin + w->conf.batch < l->end ? l->begin + w->conf.batch : l->end;
    f->eval = false;
    fill(w, rank, f, l->epoch, l->split, l->begin, end);
    if (l->epoch != k->epoch)
        k->seen = 0;
    k->epoch = l->epoch;
    k->seen += end - l->begin;
    client_totals(k->core,
                  &(struct client_epoch){.epoch = k->epoch,
                                         .count = k->seen,
                                         .loss_sum = (double)k->seen * 0.5,
                                         .auc = 0.7,
                                         .accuracy = 0.8},
                  1 << 20);
    l->begin = end;
    give(w, rank, CLIENT_BATCH, f, NULL);
    return true;
}

static bool feed_eval(struct sim_world *w, uint32_t rank)
{
    struct sim_worker *k = &w->worker[rank];
    if (k->evaluate == 0 || k->eval_at == EVAL_BATCHES)
        return false;
    struct flight *f = free_flight(w, k);
    if (f == NULL)
        return false;
    uint64_t begin = (rank * EVAL_BATCHES + k->eval_at) * w->conf.batch % w->conf.records;
    uint64_t end =
        begin + w->conf.batch < w->conf.records ? begin + w->conf.batch : w->conf.records;
    k->eval_at++;
    k->eval_out++;
    f->eval = true;
    fill(w, rank, f, 0, 0, begin, end);
    give(w, rank, CLIENT_BATCH, f, NULL);
    return true;
}

static void finished(struct sim_world *w, uint32_t rank, enum client_event_kind kind,
                     struct flight *f)
{
    struct sim_worker *k = &w->worker[rank];
    k->computing = false;
    k->lents--;
    memmove(&k->lent[0], &k->lent[1], k->lents * sizeof k->lent[0]);
    give(w, rank, kind, f, NULL);
    compute_soon(w, rank);
}

/* The dense block that counts records has all before this step, and no other (allreduce, bsp). */
static void check_fresh(struct sim_world *w, uint32_t rank, const struct flight *f)
{
    const double want = (double)(f->epoch * w->conf.records + f->begin);
    if ((w->conf.allreduce || w->conf.bsp) && w->conf.plateau_factor == 1 &&
        (double)f->dense[3 * DENSE_BLOCK] != want)
        sim_fail(w, "I19", "worker %u computes on a dense part of %g records, %g are before", rank,
                 (double)f->dense[3 * DENSE_BLOCK], want);
}

/* "MPI": once all ranks have computed their part of a step, they have the sum; a dead one is waited for in vain. */
static void sum(struct sim_world *w)
{
    struct flight *of_rank[SIM_WORKERS_MAX];
    for (uint32_t r = 0; r < w->conf.workers; r++) {
        of_rank[r] = w->worker[r].summing;
        if (of_rank[r] == NULL)
            return;
        if (of_rank[r]->begin != of_rank[0]->begin || of_rank[r]->epoch != of_rank[0]->epoch)
            sim_fail(w, "allreduce", "workers sum steps at %llu and %llu",
                     (unsigned long long)of_rank[r]->begin, (unsigned long long)of_rank[0]->begin);
    }
    sim_sum_dense(&w->conf, of_rank);
    for (uint32_t r = 0; r < w->conf.workers; r++) {
        w->worker[r].summing = NULL;
        sim_after(w, 1 + sim_rand(w, 500), SIM_SUMMED, SIM_WORKER + r)->flight = of_rank[r];
    }
}

static void computed(struct sim_world *w, uint32_t rank, struct flight *f)
{
    if (f->eval) {
        evaluated(w, rank, f);
        finished(w, rank, CLIENT_DROP, f);
        return;
    }
    check_fresh(w, rank, f);
    sim_gradients(&w->conf, f, rank);
    if (!w->conf.allreduce) {
        finished(w, rank, CLIENT_GRADS, f);
        return;
    }
    w->worker[rank].summing = f;
    sum(w);
}

void sim_worker_event(struct sim_world *w, uint32_t rank, struct sim_event *ev, struct msg *m)
{
    struct sim_worker *k = &w->worker[rank];
    switch (ev->kind) {
    case SIM_MSG: give(w, rank, CLIENT_MSG, NULL, m); break;
    case SIM_GRADS: computed(w, rank, ev->flight); break;
    case SIM_SUMMED: finished(w, rank, CLIENT_GRADS, ev->flight); break;
    case SIM_EVALUATED: {
        struct client_event e = {
            .kind = CLIENT_EVALUATED, .now_us = w->now_us, .evaluate = ev->k, .result = ev->result};
        const struct client_action *a;
        size_t n;
        client_step(k->core, &e, &a, &n);
        worker_do(w, rank, a, n);
        break;
    }
    default:
        sim_after(w, w->job.cluster.beat / 2, SIM_TICK, SIM_WORKER + rank);
        give(w, rank, CLIENT_TICK, NULL, NULL);
        break;
    }
    while (!k->ended && (feed_eval(w, rank) || feed_train(w, rank)))
        continue;
}
