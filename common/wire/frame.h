/* frame.h - a block of bytes that travels behind an envelope, and the pool it comes from.
 *
 * Frames are reference-free and owned by exactly one holder; frame_release gives the memory back to
 * whoever made it (a pool, a ZeroMQ message). Pools are bounded in bytes and locked inside (the network's
 * thread releases what a shard's thread took); after warm-up they do not call malloc.
 */
#ifndef PENSTOCK_COMMON_WIRE_FRAME_H
#define PENSTOCK_COMMON_WIRE_FRAME_H

#include <stddef.h>
#include <stdint.h>

struct frame {
    void *data; /* 64-byte aligned when it comes from a pool */
    size_t bytes;
    void (*release)(void *data, void *hint); /* NULL: borrowed, or empty */
    void *hint;
};

/* ThreadSanitizer does not see a frame change hands inside libzmq. So who gives one away says so first, and who gets
 * it, be it the release function in the network's thread, before it looks at it. p: the frame's data. */
#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *p);
void __tsan_release(void *p);
#define HANDED_OVER(p) __tsan_release(p)
#define TAKEN_OVER(p)  __tsan_acquire(p)
#else
#define HANDED_OVER(p) ((void)(p))
#define TAKEN_OVER(p)  ((void)(p))
#endif

void frame_release(struct frame *f); /* NULL-safe fields; f becomes empty */

struct frame_pool;
struct frame_pool *frame_pool_new(uint64_t bytes_max);
void frame_pool_free(struct frame_pool *p); /* no frame may be out */
/* A frame of exactly `bytes`, uninitialised; beyond bytes_max it is taken from malloc and freed on
 * release (counted in frame_pool_misses), never refused. */
struct frame frame_pool_get(struct frame_pool *p, size_t bytes);
uint64_t frame_pool_misses(struct frame_pool *p);
uint64_t frame_pool_out_bytes(struct frame_pool *p);

#endif
