/* ps_run.h - what the threads of one penstock-ps share.
 *
 * All of it is made before they start and given back after they ended, by the main thread; only `stop` is
 * changed in between. Threads and what each owns: ps/README.md.
 */
#ifndef PENSTOCK_PS_TRAIN_PS_RUN_H
#define PENSTOCK_PS_TRAIN_PS_RUN_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/net/endpoint.h"
#include "common/net/run_dir.h"
#include "common/net/wake.h"
#include "ps/train/cut_writer.h"

struct ps_run {
    /* -- set once in open -- */
    struct run_dir dir;
    uint64_t boot;
    uint32_t server, servers;
    struct endpoint_hub *hub;
    struct frame_pool *pool;
    struct cut_writer *writer; /* a slot for each shard here, in rising order */
    struct wake main_wake;     /* a thread ended */
    /* -- any thread -- */
    atomic_bool stop; /* end now, without protocol: another thread of this process failed */
};

/* Number of shards that this process hosts: those with shard % servers == server. */
uint32_t ps_run_shards(const struct ps_run *p);
MUST_CHECK enum status ps_run_open(const char *dir, uint32_t server, uint32_t servers,
                                   struct ps_run *out, struct errbuf *err);
void ps_run_close(struct ps_run *p);

#endif
