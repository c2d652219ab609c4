/* io_thread.h - the worker's network side: the client core, a line to the head and one to each shard.
 *
 * On a thread of its own, so that a slow batch delays no HELD and no acknowledgement.
 */
#ifndef PENSTOCK_WORKER_IO_THREAD_H
#define PENSTOCK_WORKER_IO_THREAD_H

#include "common/net/endpoint.h"
#include "worker/pipeline.h"

struct io_thread;

/* world: the same on all ranks of this MPI start. */
MUST_CHECK enum status io_thread_start(struct pipeline *p, uint64_t world, struct io_thread **out,
                                       struct errbuf *err);
/* Waits (it ends when the client core says so, or pipeline.ended); free. NULL-safe. */
void io_thread_stop(struct io_thread *t);

#endif
