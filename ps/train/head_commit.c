/* head_commit.c - the manifest of a cut, and what must be true before it is committed.
 *
 * Production's share of I1 and I3 (ps/train/README.md, "Invariants"): all shards took the cut after the same
 * number of pushes, and have applied exactly the records before its positions. If not, the cut dies and the
 * run ends: a wrong cut is the one thing that must never become complete.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/train/head.h"

bool head_commit_sound(struct head *h)
{
    const struct msg_shard_state *first = &h->shard[0].state;
    uint64_t want = head_log_applied(&h->cut.log);
    for (uint32_t s = 0; s < h->conf.shards; s++) {
        const struct msg_shard_state *t = &h->shard[s].state;
        if (t->step != first->step || t->rendered != first->rendered ||
            t->tables != first->tables || t->tables != h->conf.plan->tables_used ||
            t->file_full != h->cut.full) {
            head_end(h, 1, "fault: shard %u took cut %llu after %llu pushes, shard 0 after %llu", s,
                     (unsigned long long)h->cut.k, (unsigned long long)t->step,
                     (unsigned long long)first->step);
            return false;
        }
        if (t->cut_applied != want) {
            head_end(h, 1,
                     "fault: shard %u took cut %llu with %llu records, its positions say %llu", s,
                     (unsigned long long)h->cut.k, (unsigned long long)t->cut_applied,
                     (unsigned long long)want);
            return false;
        }
    }
    return true;
}

static void fill_files(const struct head *h, struct manifest *m)
{
    size_t old = h->cut.full ? 0 : h->last.files_used;
    m->files_used = old + h->conf.shards;
    m->files = mem_array(m->files_used, sizeof *m->files);
    if (old > 0)
        memcpy(m->files, h->last.files, old * sizeof *m->files);
    for (uint32_t s = 0; s < h->conf.shards; s++) {
        const struct msg_shard_state *t = &h->shard[s].state;
        struct manifest_file *f = &m->files[old + s];
        *f = (struct manifest_file){.k = h->cut.k,
                                    .e = h->e,
                                    .shard = s,
                                    .full = h->cut.full,
                                    .bytes = t->bytes,
                                    .rows = t->rows_written,
                                    .xxh3 = t->xxh3};
        memcpy(f->name, t->file, sizeof f->name);
    }
}

static void fill_positions(const struct head_log *l, struct manifest *m)
{
    m->epoch = l->epoch;
    m->records = l->records;
    m->split_records = l->split_records;
    m->applied = head_log_applied(l);
    m->splits = mem_array(l->splits, sizeof *m->splits);
    for (uint64_t i = 0; i < l->splits; i++) {
        if (l->upto[i] > head_split_begin(l, i))
            m->splits[m->splits_used++] = (struct manifest_split){.split = i, .upto = l->upto[i]};
    }
}

void head_commit_manifest(const struct head *h, struct manifest *m)
{
    const struct plan *plan = h->conf.plan;
    manifest_init(m);
    m->job = h->conf.job;
    m->e = h->e;
    m->k = h->cut.k;
    m->prev = h->complete;
    m->shards = h->conf.shards;
    memcpy(m->map, h->map, sizeof m->map);
    fill_files(h, m);
    m->tables = (uint32_t)plan->tables_used;
    for (uint32_t t = 0; t < m->tables; t++) {
        memcpy(m->table_name[t], plan->tables[t].name, PLAN_NAME_MAX);
        for (uint32_t s = 0; s < h->conf.shards; s++) {
            m->hash[t] += h->shard[s].state.hash[t];
            m->rows[t] += h->shard[s].state.rows[t];
            m->weights[t] += h->shard[s].state.weights[t];
        }
    }
    m->step = h->shard[0].state.step;
    m->rendered = h->shard[0].state.rendered;
    fill_positions(SIM_BUG(21) && h->cut.log.epoch == h->log.epoch ? &h->log : &h->cut.log, m);
    m->best = h->cut.best;
    m->seed = h->conf.conf->train.seed;
    m->config_hash = h->conf.config_hash;
    m->plan_hash = h->conf.plan_hash;
    m->encoder_hash = h->conf.encoder_hash;
    m->wall_us = h->wall_us;
    m->recipe = mem_strdup(h->cut.recipe);
}
