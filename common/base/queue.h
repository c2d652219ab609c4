/* queue.h - a bounded queue of pointers between threads; every wait has a deadline.
 *
 * Mutex and condition inside; the only lock held while inside. close() wakes everybody: pushes are then
 * refused, pops drain what is left and then answer ST_END.
 */
#ifndef PENSTOCK_COMMON_BASE_QUEUE_H
#define PENSTOCK_COMMON_BASE_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

struct queue;

struct queue *queue_new(size_t items_max);
void queue_free(struct queue *q); /* nobody may be inside; items left are the caller's business */
/* ST_OK, ST_TIMEOUT (wait_us 0 = try), ST_END after close. */
MUST_CHECK enum status queue_push(struct queue *q, void *item, uint64_t wait_us);
MUST_CHECK enum status queue_pop(struct queue *q, void **out_item, uint64_t wait_us);
size_t queue_used(struct queue *q);
void queue_close(struct queue *q);

#endif
