/* run_dir.h - the folder of a run as every process of it finds it.
 *
 *   DIR/resolved.yaml  the job, every key with its value      DIR/plan.json  parameters of its model
 *   DIR/job            the job's id, 16 hex digits            DIR/log/       one file a process
 *   DIR/head           where the head listens; written by its process, by rename, maybe late
 *
 * The front writes the first three before any process starts. DIR/head is one line of text, the address
 * first so that a script can cut it off: "tcp://127.0.0.1:4711 <job, 16 hex> <boot, 16 hex>".
 */
#ifndef PENSTOCK_COMMON_NET_RUN_DIR_H
#define PENSTOCK_COMMON_NET_RUN_DIR_H

#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/base/plan.h"
#include "common/wire/msg.h"

struct run_dir {
    char *path;  /* owned, as all of these */
    char *cache; /* where the converted logs are: data.cache, else DIR/cache */
    uint64_t job_id;
    uint64_t resolved_hash; /* xxh3 of resolved.yaml's bytes, for the first log line */
    uint64_t plan_hash;     /* xxh3 of plan.json's bytes */
    struct job job;
    struct plan plan;
};

/* ST_USAGE, ST_BAD_DATA, ST_IO name the file. */
MUST_CHECK enum status run_dir_open(const char *path, struct run_dir *out, struct errbuf *err);
void run_dir_release(struct run_dir *r);
/* Where the job's caches are when its run stands in path; owned by the caller. */
char *run_dir_cache(const char *path, const struct job *job);
/* Open DIR/log/<who>.log as this process's log and write the first line: job, hashes, versions. */
MUST_CHECK enum status run_dir_log(const struct run_dir *r, const char *program, const char *who,
                                   struct errbuf *err);

MUST_CHECK enum status run_dir_head_write(const char *path, uint64_t job_id, uint64_t boot,
                                          const char *address, struct errbuf *err);
/* ST_NOT_FOUND while there is none; ST_FOREIGN: of another job; ST_BAD_DATA. */
MUST_CHECK enum status run_dir_head_read(const char *path, uint64_t job_id,
                                         char out_address[ADDRESS_MAX], struct errbuf *err);

#endif
