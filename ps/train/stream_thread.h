/* stream_thread.h - the thread in the head's process that serves complete cuts to followers (cluster.stream).
 *
 * It reads what stands in the run's folder and shares nothing with the shards or the head: whatever followers do,
 * training goes on. DIR/stream is one line, the address that they are to be given.
 */
#ifndef PENSTOCK_PS_TRAIN_STREAM_THREAD_H
#define PENSTOCK_PS_TRAIN_STREAM_THREAD_H

#include "ps/train/ps_run.h"

struct stream_thread;

/* *out NULL, ST_OK: the job wants none. The port may still be taken by who served before us: it is tried until it is
 * free. ST_USAGE: cluster.stream is no address. */
MUST_CHECK enum status stream_thread_start(struct ps_run *p, struct stream_thread **out,
                                           struct errbuf *err);
void stream_thread_stop(struct stream_thread *t); /* NULL-safe */

#endif
