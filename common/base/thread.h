/* thread.h - start a named thread and join it; signals are blocked in it. */
#ifndef PENSTOCK_COMMON_BASE_THREAD_H
#define PENSTOCK_COMMON_BASE_THREAD_H

#include <pthread.h>

#include "common/base/errbuf.h"

struct thread {
    pthread_t id;
    int started;
};

MUST_CHECK enum status thread_start(struct thread *t, const char *name, void *(*run)(void *),
                                    void *arg, struct errbuf *err);
void thread_stop(struct thread *t); /* waits (join); the caller told it to end before; idempotent */

#endif
