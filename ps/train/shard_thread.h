/* shard_thread.h - one shard's shell: its core, its port, its line to the head, on a thread of its own. */
#ifndef PENSTOCK_PS_TRAIN_SHARD_THREAD_H
#define PENSTOCK_PS_TRAIN_SHARD_THREAD_H

#include <stdbool.h>

#include "ps/train/ps_run.h"

struct shard_thread;

/* slot: of the cut writer. */
MUST_CHECK enum status shard_thread_start(struct ps_run *p, uint32_t shard, uint32_t slot,
                                          struct shard_thread **out, struct errbuf *err);
/* Has it ended, and how? */
bool shard_thread_ended(const struct shard_thread *t, int *out_code);
void shard_thread_wake(const struct shard_thread *t); /* p->stop was set: look at it now */
/* Waits; free. NULL-safe. */
void shard_thread_stop(struct shard_thread *t);

#endif
