/* sim_shells.c - the head's and a shard's shell: files are real, time and network are not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/snapshot/restore.h"
#include "tests/support/sim_world.h"

enum { FILE_US = 2000, LOAD_US = 5000, SLICE_BYTES = 3000 };

/* How long the disk takes. */
static uint64_t disk(struct sim_world *w, uint64_t us)
{
    return sim_chance(w, w->conf.disk_slow) ? 1 + sim_rand(w, 2 * w->conf.write_us) : us;
}

/* ---- head ---- */

void sim_head_start(struct sim_world *w, uint64_t boot)
{
    struct head_conf conf = {.job = w->job_id,
                             .boot = boot,
                             .conf = &w->job,
                             .plan = &w->plan,
                             .shards = w->conf.shards,
                             .workers = w->conf.workers,
                             .records = w->conf.records,
                             .has_valid = w->conf.has_valid};
    w->head = (struct sim_head){.core = head_new(&conf),
                                .committed_k = w->head.committed_k,
                                .committed_e = w->head.committed_e};
    sim_after(w, 1, SIM_TICK, SIM_HEAD);
}

static void fence(struct sim_world *w)
{
    struct errbuf err = ERRBUF_INIT;
    struct sim_event *ev = sim_after(w, FILE_US, SIM_FENCED, SIM_HEAD);
    ev->status = fence_open(w->dir, 0, false, &w->head.fence, &err);
    w->head.fenced = ev->status == ST_OK;
    if (ev->status != ST_OK)
        sim_fail(w, "fence", "%s", err.text);
}

static void give_fenced(struct sim_world *w, struct sim_event *ev, struct head_event *out,
                        struct manifest *base)
{
    struct errbuf err = ERRBUF_INIT;
    uint64_t *list = NULL;
    size_t n = 0;
    out->kind = HEAD_FENCED;
    out->status = ev->status;
    out->e = w->head.fence.e;
    if (manifest_list(w->dir, &list, &n, &out->highest_seen, &err) != ST_OK)
        sim_fail(w, "fence", "%s", err.text);
    free(list);
    enum status st = manifest_newest(w->dir, base, NULL, &err);
    if (st == ST_OK)
        out->base = base;
    else if (st != ST_NOT_FOUND)
        sim_fail(w, "fence", "%s", err.text);
}

static void commit(struct sim_world *w, const struct manifest *m)
{
    struct errbuf err = ERRBUF_INIT;
    struct sim_event *ev = sim_after(w, disk(w, FILE_US), SIM_COMMITTED, SIM_HEAD);
    ev->k = m->k;
    sim_check_commit(w, m);
    if (sim_chance(w, w->conf.commit_fail)) {
        ev->status = ST_IO;
        sim_line(w, "head: commit of cut %llu fails", (unsigned long long)m->k);
        return;
    }
    ev->status = fence_commit(&w->head.fence, m, &err);
    if (ev->status != ST_OK) {
        sim_fail(w, "commit", "%s", err.text);
        return;
    }
    sim_line(w, "head: cut %llu is committed", (unsigned long long)m->k);
    sim_check_committed(w, m->k);
    if (fence_prune(&w->head.fence, w->conf.keep, &err) != ST_OK)
        sim_fail(w, "prune", "%s", err.text);
    if (sim_chance(w, w->conf.commit_lost)) {
        ev->status = ST_FENCED;
        w->victim = SIM_HEAD;
        sim_line(w, "head: but it can't be synced");
    }
}

/* Eight cuts in a row that the disk would not take end a run, and rightly. */
static bool gave_up(const struct sim_world *w, const char *text)
{
    const struct sim_conf *c = &w->conf;
    return c->disk_fail + c->disk_slow + c->commit_fail > 0 &&
           strncmp(text, "no cut can be made", 18) == 0;
}

static void head_do(struct sim_world *w, const struct head_action *a, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        switch (a[i].kind) {
        case HEAD_SEND: sim_send(w, SIM_HEAD, (uint32_t)a[i].to, a[i].msg); break;
        case HEAD_FENCE: fence(w); break;
        case HEAD_COMMIT: commit(w, a[i].manifest); break;
        case HEAD_NOTE:
            sim_line(w, "head notes: %s", a[i].text);
            if (strncmp(a[i].text, "fault: ", 7) == 0)
                sim_check_fault(w, a[i].text + 7);
            break;
        case HEAD_EXIT:
            w->head.ended = true;
            w->head.code = a[i].code;
            snprintf(w->head.text, sizeof w->head.text, "%s", a[i].text);
            sim_line(w, "head ends, code %d: %s", a[i].code, a[i].text);
            if (gave_up(w, a[i].text))
                w->victim = SIM_HEAD;
            if (a[i].code != 0 && w->victim == 0)
                sim_fail(w, "I10", "the run ended with code %d: %s", a[i].code, a[i].text);
            break;
        }
    }
}

void sim_head_event(struct sim_world *w, struct sim_event *ev, struct msg *m)
{
    struct head_event e = {.now_us = w->now_us, .wall_us = w->now_us, .from = ev->from, .msg = m};
    struct manifest base;
    const struct head_action *a;
    size_t n;
    manifest_init(&base);
    switch (ev->kind) {
    case SIM_MSG: e.kind = HEAD_MSG; break;
    case SIM_FENCED: give_fenced(w, ev, &e, &base); break;
    case SIM_COMMITTED:
        e.kind = HEAD_COMMITTED;
        e.status = ev->status;
        e.text = ev->status == ST_OK ? NULL : "the disk is full";
        break;
    case SIM_STOP: e.kind = HEAD_STOP; break;
    default:
        e.kind = HEAD_TICK;
        sim_after(w, w->job.cluster.beat / 2, SIM_TICK, SIM_HEAD);
        break;
    }
    head_step(w->head.core, &e, &a, &n);
    head_do(w, a, n);
    sim_check_head(w);
    head_check(w->head.core);
    manifest_release(&base);
}

/* ---- shard ---- */

void sim_shard_start(struct sim_world *w, uint32_t s, uint64_t boot)
{
    struct errbuf err = ERRBUF_INIT;
    struct shard_conf conf = {.job = w->job_id,
                              .boot = boot,
                              .shard = s,
                              .plan = &w->plan,
                              .address = "tcp://sim",
                              .bytes_max = (uint64_t)1 << 32,
                              .undo_bytes_max = w->conf.undo_bytes_max,
                              .handle_bytes_max = w->conf.handle_bytes_max,
                              .grad_max = 1e6,
                              .beat_us = w->job.cluster.beat,
                              .orphan_us = w->job.cluster.orphan,
                              .workers_max = SIM_WORKERS_MAX,
                              .consistency = (enum job_consistency)w->job.train.consistency,
                              .allreduce = w->conf.allreduce,
                              .batch = w->job.train.batch,
                              .staleness = (uint32_t)w->job.train.staleness,
                              .pool = w->pool};
    w->shard[s] = (struct sim_shard){0};
    if (shard_new(&conf, &w->shard[s].core, &err) != ST_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    sim_after(w, 1 + sim_rand(w, 5000), SIM_TICK, SIM_SHARD + s);
}

static void load(struct sim_world *w, uint32_t s, const struct shard_action *a)
{
    struct sim_event *ev = sim_after(w, disk(w, LOAD_US), SIM_LOADED, SIM_SHARD + s);
    struct errbuf err = ERRBUF_INIT;
    struct manifest m;
    uint64_t rows;
    ev->k = a->k;
    if (a->k == 0)
        return;
    manifest_init(&m);
    ev->status = manifest_read(w->dir, a->k, &m, &err);
    if (ev->status == ST_OK)
        ev->status =
            restore_load(w->dir, &m, &w->plan, a->order->map, s, a->order->shards,
                         shard_store(w->shard[s].core), shard_hash(w->shard[s].core), &rows, &err);
    if (ev->status != ST_OK)
        sim_fail(w, "load", "shard %u: %s", s, err.text);
    manifest_release(&m);
}

static void slice_soon(struct sim_world *w, uint32_t s)
{
    if (w->shard[s].slicing || !shard_writing(w->shard[s].core))
        return;
    w->shard[s].slicing = true;
    sim_after(w, 200 + sim_rand(w, 3000), SIM_SLICE, SIM_SHARD + s);
}

static void file_end(struct sim_world *w, uint32_t s, const struct shard_action *a)
{
    struct sim_shard *sh = &w->shard[s];
    struct errbuf err = ERRBUF_INIT;
    struct sim_event *ev = sim_after(w, disk(w, FILE_US), SIM_DURABLE, SIM_SHARD + s);
    if (sim_chance(w, w->conf.disk_fail)) {
        cut_file_abort(sh->file);
        ev->status = ST_IO;
    } else {
        ev->status = cut_file_finish(sh->file, &ev->file, &err);
        if (ev->status != ST_OK)
            sim_fail(w, "cut file", "%s", err.text);
    }
    sh->file = NULL;
    ev->file.k = a->k;
    ev->file.e = a->e;
}

static void shard_do(struct sim_world *w, uint32_t s, const struct shard_action *a, size_t n)
{
    struct sim_shard *sh = &w->shard[s];
    struct errbuf err = ERRBUF_INIT;
    for (size_t i = 0; i < n; i++) {
        enum status st = ST_OK;
        switch (a[i].kind) {
        case SHARD_SEND:
            if (a[i].msg->kind == MSG_ROWS && sh->answers < SIM_ANSWERS_MAX) {
                sh->answer[sh->answers].rank = (uint32_t)a[i].to - SIM_WORKER;
                sh->answer[sh->answers++].request = a[i].msg->u.rows.request;
            }
            sim_send(w, SIM_SHARD + s, a[i].to == SHARD_TO_HEAD ? SIM_HEAD : (uint32_t)a[i].to,
                     a[i].msg);
            break;
        case SHARD_LOAD: load(w, s, &a[i]); break;
        case SHARD_FILE_BEGIN:
            st = cut_file_open(w->dir, a[i].k, a[i].e, s, a[i].full, false, &sh->file, &err);
            break;
        case SHARD_FILE_BYTES: st = cut_file_add(sh->file, a[i].bytes, a[i].n, &err); break;
        case SHARD_FILE_END: file_end(w, s, &a[i]); break;
        case SHARD_FILE_ABORT:
            if (sh->file != NULL)
                cut_file_abort(sh->file);
            sh->file = NULL;
            break;
        case SHARD_NOTE:
            sim_line(w, "shard %u notes: %s", s, a[i].text);
            if (strstr(a[i].text, ": fault: ") != NULL)
                sim_check_fault(w, strstr(a[i].text, ": fault: ") + 9);
            break;
        case SHARD_EXIT:
            sh->ended = true;
            sh->code = a[i].code;
            sim_line(w, "shard %u ends, code %d: %s", s, a[i].code, a[i].text);
            break;
        }
        if (st != ST_OK)
            sim_fail(w, "cut file", "%s", err.text);
    }
}

/* A pull leaves all state as it was (I15). A digest is dear, so not after each; the number of rows is not. */
static uint64_t pull_mark(struct sim_world *w, uint32_t s, bool deep)
{
    const struct store *store = shard_store(w->shard[s].core);
    uint64_t mark = deep ? sim_digest(store) : 0;
    for (size_t t = 0; t < store->tables; t++)
        mark += table_rows(store->table[t]);
    return mark;
}

void sim_shard_event(struct sim_world *w, uint32_t s, struct sim_event *ev, struct msg *m)
{
    struct sim_shard *sh = &w->shard[s];
    struct shard_event e = {.now_us = w->now_us, .from = ev->from, .msg = m};
    struct shard_view before, after;
    struct msg *push = m != NULL && m->kind == MSG_PUSH ? sim_copy_push(m) : NULL;
    bool pull = m != NULL && m->kind == MSG_PULL;
    struct msg asked = {0};
    bool deep = pull && w->conf.check_all && ++sh->pulls % 8 == 0;
    uint64_t mark = pull ? pull_mark(w, s, deep) : 0;
    const struct shard_action *a;
    size_t n;

    manifest_init(&e.base);
    if (pull)
        asked = (struct msg){.e = m->e, .sender = m->sender, .u.pull = m->u.pull};
    sh->answers = 0;
    switch (ev->kind) {
    case SIM_MSG: e.kind = SHARD_MSG; break;
    case SIM_LOADED:
        e.kind = SHARD_LOADED;
        e.status = ev->status;
        if (ev->k != 0 && manifest_read(w->dir, ev->k, &e.base, NULL) != ST_OK)
            sim_fail(w, "load", "the manifest of cut %llu is gone", (unsigned long long)ev->k);
        break;
    case SIM_SLICE:
        e.kind = SHARD_SLICE;
        e.max = 1 + sim_rand(w, SLICE_BYTES);
        sh->slicing = false;
        break;
    case SIM_DURABLE:
        e.kind = SHARD_DURABLE;
        e.status = ev->status;
        e.text = ev->status == ST_OK ? NULL : "the disk is full";
        e.file = ev->file;
        break;
    default:
        e.kind = SHARD_TICK;
        sim_after(w, w->job.cluster.beat, SIM_TICK, SIM_SHARD + s);
        break;
    }
    struct schedule schedule = sh->schedule;
    bool order = m != NULL && m->kind == MSG_ORDER;
    uint64_t order_e = order ? m->e : 0, order_n = order ? m->u.order.n : 0;
    if (order)
        schedule = m->u.order.schedule;
    shard_view(sh->core, &before);
    shard_step(sh->core, &e, &a, &n);
    shard_view(sh->core, &after);
    sim_check_obeyed(w, SIM_SHARD + s, after.e, after.n);
    if (order && order_e == after.e && order_n == after.n)
        sh->schedule = schedule;
    shard_do(w, s, a, n);
    shard_check(sh->core);
    if (push != NULL)
        sim_check_push(w, s, &before, &after, push);
    sim_check_pulls(w, s, &before, &after, pull ? &asked : NULL);
    sim_check_order(w, s, &before, &after);
    if (pull && mark != pull_mark(w, s, deep))
        sim_fail(w, "I15", "a pull changed rows of shard %u", s);
    slice_soon(w, s);
    manifest_release(&e.base);
    msg_free(push);
}
