/* shard_load.c - see shard_load.h. */
#include "ps/train/shard_load.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"

struct shard_load {
    /* -- set once in start -- */
    struct shard_load_conf conf;
    uint16_t map[BUCKETS];
    struct thread thread;
    /* -- the loading thread until done, then the owner -- */
    struct manifest base;
    enum status status;
    struct errbuf err;
    /* -- both -- */
    atomic_bool done;
};

static void *run(void *arg)
{
    struct shard_load *l = arg;
    const struct shard_load_conf *c = &l->conf;
    uint64_t rows = 0, begin_us = clock_now_us();
    l->status = manifest_read(c->dir, c->k, &l->base, &l->err);
    if (l->status == ST_OK)
        l->status = restore_load(c->dir, &l->base, c->plan, l->map, c->shard, c->shards, c->store,
                                 c->hash, &rows, &l->err);
    if (l->status == ST_OK)
        log_info("shard %" PRIu32 ": cut %" PRIu64 " loaded, %" PRIu64 " rows matched, %" PRIu64
                 " ms",
                 c->shard, c->k, rows, (clock_now_us() - begin_us) / 1000);
    atomic_store(&l->done, true);
    wake_signal(c->wake);
    return NULL;
}

enum status shard_load_start(const struct shard_load_conf *conf, struct shard_load **out,
                             struct errbuf *err)
{
    struct shard_load *l = mem_zalloc(sizeof(*l));
    l->conf = *conf;
    memcpy(l->map, conf->map, sizeof(l->map));
    manifest_init(&l->base);
    enum status st = thread_start(&l->thread, "load", run, l, err);
    if (st != ST_OK) {
        shard_load_free(l);
        return st;
    }
    *out = l;
    return ST_OK;
}

bool shard_load_done(const struct shard_load *l)
{
    return atomic_load(&l->done);
}

enum status shard_load_result(struct shard_load *l, const struct manifest **out_base,
                              const char **out_text)
{
    assert(shard_load_done(l));
    *out_base = &l->base;
    *out_text = l->err.text;
    return l->status;
}

void shard_load_free(struct shard_load *l)
{
    if (l == NULL)
        return;
    thread_stop(&l->thread);
    manifest_release(&l->base);
    free(l);
}
