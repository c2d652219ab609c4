/* head_thread.h - the head's shell: its core, its port, DIR/head, the fence and the commits. */
#ifndef PENSTOCK_PS_TRAIN_HEAD_THREAD_H
#define PENSTOCK_PS_TRAIN_HEAD_THREAD_H

#include <stdbool.h>

#include "ps/train/ps_run.h"

struct head_thread;

/* Opens the train and valid part of the cache to learn their sizes. */
MUST_CHECK enum status head_thread_start(struct ps_run *p, struct head_thread **out,
                                         struct errbuf *err);
/* Any thread: end the run gracefully (a cut, then STOP). */
void head_thread_ask_stop(struct head_thread *t);
bool head_thread_ended(const struct head_thread *t, int *out_code);
void head_thread_wake(const struct head_thread *t);
void head_thread_stop(struct head_thread *t); /* waits; free; NULL-safe */

#endif
