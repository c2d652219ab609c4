/* shard_load.h - load a base into a shard's store beside the shard's thread.
 *
 * Loading takes a second a gigabyte, and the shard must go on saying STATE meanwhile. So a thread of its own
 * reads the files; until it ends the store and the hash are its, and the shard's thread gives its core no
 * event that could touch them (shard_thread.c). One load at a time.
 */
#ifndef PENSTOCK_PS_TRAIN_SHARD_LOAD_H
#define PENSTOCK_PS_TRAIN_SHARD_LOAD_H

#include <stdbool.h>

#include "common/net/wake.h"
#include "ps/snapshot/restore.h"

struct shard_load;

struct shard_load_conf {
    const char *dir; /* borrowed, as all pointers here, until the load is freed */
    const struct plan *plan;
    struct store *store; /* empty */
    struct cut_hash *hash;
    uint64_t k; /* > 0 */
    uint32_t shard, shards;
    const uint16_t *map;     /* (BUCKETS) copied */
    const struct wake *wake; /* signalled at the end */
};

MUST_CHECK enum status shard_load_start(const struct shard_load_conf *conf, struct shard_load **out,
                                        struct errbuf *err);
bool shard_load_done(const struct shard_load *l);
/* After done: what came of it. base and text are l's. */
enum status shard_load_result(struct shard_load *l, const struct manifest **out_base,
                              const char **out_text);
void shard_load_free(struct shard_load *l); /* waits for the thread; NULL-safe */

#endif
