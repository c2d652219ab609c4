/* queue.c - a bounded ring of pointers between threads.
 *
 * A mutex, two conditions, a ring of fixed size: nothing is allocated after queue_new, and nobody waits
 * without a deadline, so a thread that is told to end always comes to look. Waits count on the monotonic
 * clock: a corrected date must not stretch them.
 *
 * Lock order: `lock` is taken last and held for a few instructions; no other lock is taken inside.
 */
#include "common/base/queue.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/mem.h"

struct queue {
    /* -- set once in new -- */
    size_t items_max;
    void **item; /* owned: the ring; what it points to is not */
    /* -- under lock -- */
    pthread_mutex_t lock;
    pthread_cond_t not_full;
    pthread_cond_t not_empty;
    size_t first;
    size_t used;
    bool closed;
};

struct queue *queue_new(size_t items_max)
{
    assert(items_max > 0);
    struct queue *q = mem_zalloc(sizeof *q);
    q->items_max = items_max;
    q->item = mem_array(items_max, sizeof *q->item);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->not_full, &attr);
    pthread_cond_init(&q->not_empty, &attr);
    pthread_condattr_destroy(&attr);
    return q;
}

void queue_free(struct queue *q)
{
    if (q == NULL)
        return;
    pthread_cond_destroy(&q->not_empty);
    pthread_cond_destroy(&q->not_full);
    pthread_mutex_destroy(&q->lock);
    free(q->item);
    free(q);
}

static struct timespec deadline_in(uint64_t wait_us)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    if (wait_us > (uint64_t)1 << 50) /* 35 years: "for ever" must not overflow time_t */
        wait_us = (uint64_t)1 << 50;
    t.tv_sec += (time_t)(wait_us / 1000000u);
    t.tv_nsec += (long)(wait_us % 1000000u) * 1000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

enum status queue_push(struct queue *q, void *item, uint64_t wait_us)
{
    enum status st = ST_OK;
    pthread_mutex_lock(&q->lock);
    if (q->used == q->items_max && !q->closed && wait_us > 0) {
        struct timespec until = deadline_in(wait_us);
        while (q->used == q->items_max && !q->closed)
            if (pthread_cond_timedwait(&q->not_full, &q->lock, &until) == ETIMEDOUT)
                break;
    }
    if (q->closed) {
        st = ST_END;
    } else if (q->used == q->items_max) {
        st = ST_TIMEOUT;
    } else {
        q->item[(q->first + q->used) % q->items_max] = item;
        q->used++;
        pthread_cond_signal(&q->not_empty);
    }
    pthread_mutex_unlock(&q->lock);
    return st;
}

enum status queue_pop(struct queue *q, void **out_item, uint64_t wait_us)
{
    enum status st = ST_OK;
    pthread_mutex_lock(&q->lock);
    if (q->used == 0 && !q->closed && wait_us > 0) {
        struct timespec until = deadline_in(wait_us);
        while (q->used == 0 && !q->closed)
            if (pthread_cond_timedwait(&q->not_empty, &q->lock, &until) == ETIMEDOUT)
                break;
    }
    if (q->used > 0) {
        *out_item = q->item[q->first];
        q->first = (q->first + 1) % q->items_max;
        q->used--;
        pthread_cond_signal(&q->not_full);
    } else {
        st = q->closed ? ST_END : ST_TIMEOUT;
    }
    pthread_mutex_unlock(&q->lock);
    return st;
}

size_t queue_used(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    size_t used = q->used;
    pthread_mutex_unlock(&q->lock);
    return used;
}

void queue_close(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->not_full);
    pthread_cond_broadcast(&q->not_empty);
    pthread_mutex_unlock(&q->lock);
}
