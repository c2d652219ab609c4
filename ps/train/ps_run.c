/* ps_run.c - open and close what a server's threads share (ps_run.h). */
#include "ps/train/ps_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"

enum { POOL_BYTES_MAX = 512 << 20, WRITER_BYTES_MAX = 8 << 20 };

uint32_t ps_run_shards(const struct ps_run *p)
{
    uint32_t all = (uint32_t)p->dir.job.cluster.shards;
    return all / p->servers + (p->server < all % p->servers ? 1 : 0);
}

static enum status start_writer(struct ps_run *p, struct errbuf *err)
{
    struct cut_writer_conf conf = {.dir = p->dir.path,
                                   .pool = p->pool,
                                   .slots = ps_run_shards(p),
                                   .bytes_max = WRITER_BYTES_MAX};
    return cut_writer_start(&conf, &p->writer, err);
}

enum status ps_run_open(const char *dir, uint32_t server, uint32_t servers, struct ps_run *out,
                        struct errbuf *err)
{
    char who[32];
    struct ps_run *p = out;
    memset(p, 0, sizeof(*p));
    enum status st = run_dir_open(dir, &p->dir, err);
    if (st != ST_OK)
        return st;
    p->server = server;
    p->servers = servers;
    p->boot = rng_os_u64();
    snprintf(who, sizeof(who), "ps-%" PRIu32, server);
    st = run_dir_log(&p->dir, "penstock-ps", who, err);
    if (st == ST_OK && p->dir.job.cluster.shards > SHARDS_MAX)
        st = errbuf_set(err, ST_USAGE, "%" PRIu64 " shards are more than %u",
                        p->dir.job.cluster.shards, SHARDS_MAX);
    if (st != ST_OK)
        goto release_dir;
    st = wake_init(&p->main_wake, err);
    if (st != ST_OK)
        goto release_dir;
    st = endpoint_hub_new(&p->hub, err);
    if (st != ST_OK)
        goto release_wake;
    p->pool = frame_pool_new(POOL_BYTES_MAX);
    st = start_writer(p, err);
    if (st != ST_OK)
        goto free_hub;
    return ST_OK;
free_hub:
    endpoint_hub_free(p->hub);
    frame_pool_free(p->pool);
release_wake:
    wake_release(&p->main_wake);
release_dir:
    run_dir_release(&p->dir);
    return st;
}

void ps_run_close(struct ps_run *p)
{
    cut_writer_stop(p->writer);
    /* Frames on their way belong to ZeroMQ until its context has ended. */
    endpoint_hub_free(p->hub);
    frame_pool_free(p->pool);
    wake_release(&p->main_wake);
    run_dir_release(&p->dir);
}
