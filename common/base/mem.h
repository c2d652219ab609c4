/* mem.h - memory: small pieces abort when there is none, big ones return a status.
 *
 * mem_alloc and friends are for small things whose size we choose: out of memory ends the process with a
 * message (a restart from a cut is the tested path). mem_slab is for sizes that come from outside
 * (tables, batches): zeroed, 2 MiB aligned, huge pages asked for, and it can fail.
 */
#ifndef PENSTOCK_COMMON_BASE_MEM_H
#define PENSTOCK_COMMON_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"

void *mem_alloc(size_t bytes);                 /* uninitialised; aborts; free() gives it back */
void *mem_zalloc(size_t bytes);                /* zeroed; aborts */
void *mem_array(size_t n, size_t each);        /* zeroed; aborts, also on overflow */
void *mem_realloc(void *p, size_t bytes);      /* aborts */
char *mem_strdup(const char *s);               /* aborts */
void *mem_aligned(size_t align, size_t bytes); /* zeroed, align a power of two; aborts; free() */
/* Grow *array so that it holds at least `need` items of `each` bytes; *cap in items; doubles. Aborts. */
void mem_grow(void *array, size_t *cap, size_t need, size_t each);

/* Anonymous mapping of `bytes` (rounded up to pages). ST_NO_MEMORY with a text if refused. */
MUST_CHECK enum status mem_slab(size_t bytes, void **out_slab, struct errbuf *err);
void mem_slab_free(void *slab, size_t bytes);

uint64_t mem_rss_peak_bytes(void); /* VmHWM of this process */
uint64_t mem_rss_bytes(void);

#endif
