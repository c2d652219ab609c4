/* frame.c - a pool of blocks in power-of-two classes, 64 B to 64 MiB.
 *
 *   block:  [struct block, 64 bytes][data, 64-byte aligned, 2^class bytes]
 *
 * The header in front of the data says where a block belongs, so releasing one needs no search and may be
 * done by another thread than the one that took it: the network's thread releases what a shard filled. One
 * mutex guards the free lists; it is held for a few instructions. What would lead beyond bytes_max, or is
 * larger than the largest class, comes from malloc and goes back there: a pool never refuses, it only stops
 * being fast, and counts that.
 */
#include "common/wire/frame.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/base/mem.h"

enum { CLASS_MIN = 6, CLASS_MAX = 26, CLASSES = CLASS_MAX - CLASS_MIN + 1 };

struct block {
    struct frame_pool *pool;
    struct block *next;  /* while free */
    size_t bytes;        /* of data asked for while it is out */
    uint32_t size_class; /* CLASSES: from malloc, not kept */
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct block) == 64, "data must stay aligned behind the header");

struct frame_pool {
    pthread_mutex_t lock;
    /* -- under lock -- */
    struct block *free[CLASSES];
    uint64_t held_bytes; /* of blocks that belong to the classes, in or out */
    uint64_t out_bytes;  /* asked for by frames that are out */
    uint64_t misses;
    /* -- set once in new -- */
    uint64_t bytes_max;
};

void frame_release(struct frame *f)
{
    if (f->release != NULL)
        f->release(f->data, f->hint);
    *f = (struct frame){0};
}

struct frame_pool *frame_pool_new(uint64_t bytes_max)
{
    struct frame_pool *p = mem_zalloc(sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    p->bytes_max = bytes_max;
    return p;
}

void frame_pool_free(struct frame_pool *p)
{
    if (p == NULL)
        return;
    assert(p->out_bytes == 0);
    for (int c = 0; c < CLASSES; c++) {
        for (struct block *b = p->free[c], *next; b != NULL; b = next) {
            next = b->next;
            free(b);
        }
    }
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static uint32_t class_of(size_t bytes)
{
    uint32_t c = 0;
    while (c < CLASSES && ((size_t)1 << (c + CLASS_MIN)) < bytes)
        c++;
    return c;
}

static void give_back(void *data, void *hint)
{
    TAKEN_OVER(data);
    struct block *b = hint;
    struct frame_pool *p = b->pool;
    pthread_mutex_lock(&p->lock);
    p->out_bytes -= b->bytes;
    if (b->size_class < CLASSES) {
        b->next = p->free[b->size_class];
        p->free[b->size_class] = b;
        b = NULL;
    }
    pthread_mutex_unlock(&p->lock);
    free(b);
}

struct frame frame_pool_get(struct frame_pool *p, size_t bytes)
{
    if (bytes == 0)
        return (struct frame){0};
    uint32_t c = class_of(bytes);
    size_t room = c < CLASSES ? (size_t)1 << (c + CLASS_MIN) : bytes;
    pthread_mutex_lock(&p->lock);
    struct block *b = c < CLASSES ? p->free[c] : NULL;
    if (b != NULL) {
        p->free[c] = b->next;
    } else if (c < CLASSES && p->held_bytes + room <= p->bytes_max) {
        p->held_bytes += room;
    } else {
        c = CLASSES;
        room = bytes;
        p->misses++;
    }
    p->out_bytes += bytes;
    pthread_mutex_unlock(&p->lock);
    if (b == NULL) {
        b = aligned_alloc(64, (sizeof *b + room + 63) / 64 * 64);
        if (b == NULL)
            abort(); /* as mem_alloc: a restart from a cut is the tested path */
        b->pool = p;
        b->size_class = c;
    }
    b->bytes = bytes;
    return (struct frame){.data = b + 1, .bytes = bytes, .release = give_back, .hint = b};
}

uint64_t frame_pool_misses(struct frame_pool *p)
{
    pthread_mutex_lock(&p->lock);
    uint64_t n = p->misses;
    pthread_mutex_unlock(&p->lock);
    return n;
}

uint64_t frame_pool_out_bytes(struct frame_pool *p)
{
    pthread_mutex_lock(&p->lock);
    uint64_t n = p->out_bytes;
    pthread_mutex_unlock(&p->lock);
    return n;
}
