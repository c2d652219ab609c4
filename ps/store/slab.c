/* slab.c - pieces of equal size out of 2 MiB slabs.
 *
 * Why slabs of exactly one huge page, and numbers with holes: the number of a piece must give its address
 * without a division, so index and slab are bit fields of it. Rounding the pieces of a slab down to a power
 * of two would leave up to half of a huge page empty (25% at 96-byte records); rounding the *field* up
 * instead costs numbers, not memory: of 2^32 at least 2^31 can be used.
 *
 * The first slab is different only in its pages (4 KiB) and in how it is charged.
 */
#include "ps/store/slab.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/mem.h"

#define PAGE_BYTES  4096u
#define BASES_FIRST 8u

bool budget_take(struct budget *b, uint64_t bytes)
{
    if (bytes > b->max - b->used)
        return false;
    b->used += bytes;
    return true;
}

void budget_give(struct budget *b, uint64_t bytes)
{
    assert(bytes <= b->used);
    b->used -= bytes;
}

void slab_init(struct slab *s, size_t stride, struct budget *budget)
{
    assert(stride > 0 && stride <= SLAB_BYTES);
    memset(s, 0, sizeof *s);
    s->stride = (uint32_t)stride;
    s->per_slab = (uint32_t)(SLAB_BYTES / stride);
    while ((1u << s->shift) < s->per_slab)
        s->shift++;
    s->limit = s->shift == 0 ? UINT32_MAX : (1u << (32 - s->shift)) - 1; /* keeps SLAB_NONE free */
    s->budget = budget;
}

void slab_release(struct slab *s)
{
    for (uint32_t i = 0; i < s->slabs; i++)
        mem_slab_free(s->base[i], SLAB_BYTES);
    free(s->base);
    budget_give(s->budget, s->bytes);
    memset(s, 0, sizeof *s);
}

void slab_reset(struct slab *s)
{
    s->at = s->index = 0;
}

uint64_t slab_taken(const struct slab *s)
{
    if (s->index > 0)
        return ((uint64_t)s->at << s->shift) + s->index;
    return s->at == 0 ? 0 : ((uint64_t)(s->at - 1) << s->shift) + s->per_slab;
}

static enum status refuse(const struct slab *s, uint64_t bytes, struct errbuf *err)
{
    return errbuf_set(err, ST_AGAIN,
                      "%" PRIu64 " bytes more would exceed the budget: %" PRIu64 " of %" PRIu64
                      " used",
                      bytes, s->budget->used, s->budget->max);
}

static enum status charge(struct slab *s, uint64_t bytes, struct errbuf *err)
{
    if (!budget_take(s->budget, bytes))
        return refuse(s, bytes, err);
    s->bytes += bytes;
    return ST_OK;
}

static void discharge(struct slab *s, uint64_t bytes)
{
    budget_give(s->budget, bytes);
    s->bytes -= bytes;
}

static enum status grow_bases(struct slab *s, struct errbuf *err)
{
    if (s->slabs < s->cap)
        return ST_OK;
    uint32_t cap = s->cap == 0 ? BASES_FIRST : s->cap * 2;
    enum status st = charge(s, (uint64_t)(cap - s->cap) * sizeof *s->base, err);
    if (st != ST_OK)
        return st;
    s->base = mem_realloc(s->base, cap * sizeof *s->base);
    s->cap = cap;
    return ST_OK;
}

static enum status map_slab(struct slab *s, struct errbuf *err)
{
    if (s->slabs >= s->limit)
        return errbuf_set(err, ST_AGAIN, "a table is full: no row numbers are left");
    enum status st = grow_bases(s, err);
    if (st != ST_OK)
        return st;
    const bool first = s->slabs == 0;
    if (!first && (st = charge(s, SLAB_BYTES, err)) != ST_OK)
        return st;
    void *p = NULL;
    st = mem_slab(SLAB_BYTES, &p, err);
    if (st != ST_OK) {
        if (!first)
            discharge(s, SLAB_BYTES);
        return st;
    }
    if (first) /* a wish, as mem_slab's is: where it is refused, small tables are larger */
        (void)madvise(p, SLAB_BYTES, MADV_NOHUGEPAGE);
    s->base[s->slabs++] = p;
    return ST_OK;
}

/* The first slab is charged up to the page that holds the end of piece `index`. */
static enum status charge_pages(struct slab *s, uint32_t index, struct errbuf *err)
{
    uint64_t end = (uint64_t)(index + 1) * s->stride;
    end = (end + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    if (end <= s->page_bytes)
        return ST_OK;
    enum status st = charge(s, end - s->page_bytes, err);
    if (st == ST_OK)
        s->page_bytes = end;
    return st;
}

enum status slab_take(struct slab *s, uint32_t *out_number, struct errbuf *err)
{
    enum status st = ST_OK;
    if (s->at == s->slabs && (st = map_slab(s, err)) != ST_OK)
        return st;
    if (s->at == 0 && (st = charge_pages(s, s->index, err)) != ST_OK)
        return st;
    *out_number = s->at << s->shift | s->index;
    if (++s->index == s->per_slab) {
        s->index = 0;
        s->at++;
    }
    return ST_OK;
}
