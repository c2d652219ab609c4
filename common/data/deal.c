/* deal.c - see deal.h. The order of time asks for rows anywhere in the file, so there it is mapped: logs are nearly in
 * that order already, and the kernel reads ahead.
 */
#include "common/data/deal.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "common/base/mem.h"

#define POLL_ROWS 65536u

static enum status deal_row(const struct cache_writer *all, const struct cache_block *b, size_t i,
                            struct cache_writer *w, struct errbuf *err)
{
    size_t F = all->shape.fields, D = all->shape.floats;
    for (size_t f = 0; f < F; f++) {
        size_t k = b->bag != NULL ? b->bag[i * F + f] : i * F + f;
        size_t end = b->bag != NULL ? b->bag[i * F + f + 1] : k + 1;
        for (; k < end; k++) {
            if (b->weight != NULL)
                cache_writer_key_weighted(w, b->key[k], b->weight[k]);
            else
                cache_writer_key(w, b->key[k]);
        }
        cache_writer_bag_end(w);
    }
    for (size_t j = 0; j < D; j++)
        cache_writer_num(w, b->num[i * D + j]);
    return cache_writer_row_end(w, b->label[i], b->source[i], b->offset[i], b->time[i], err);
}

static bool stopped(const volatile int *stop)
{
    return stop != NULL && *stop != 0;
}

enum status deal_by_time(struct cache_writer *all, const struct split_times *at,
                         struct cache_writer *part, const volatile int *stop, struct errbuf *err)
{
    enum status st = ST_OK;
    for (size_t k = 0; st == ST_OK && k < all->blocks; k++) {
        struct cache_block b;
        st = cache_writer_read(all, k, &b, err);
        for (size_t i = 0; st == ST_OK && i < b.rows; i++)
            st = deal_row(all, &b, i, &part[split_time_part(at, b.time[i])], err);
        if (st == ST_OK && stopped(stop))
            st = errbuf_set(err, ST_REFUSED, "interrupted");
    }
    return st;
}

/* The block of a row: mostly that of the row before. */
static size_t block_of(const struct cache_writer *all, uint64_t row, size_t last)
{
    const struct cache_entry *e = &all->entry[last];
    if (row >= e->first_row && row - e->first_row < e->rows)
        return last;
    size_t low = 0, high = all->blocks;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (all->entry[mid].first_row <= row)
            low = mid;
        else
            high = mid;
    }
    return low;
}

static enum status deal_mapped(const struct cache_writer *all, const struct cache_block *block,
                               const uint64_t *order, struct cache_writer *to,
                               const volatile int *stop, struct errbuf *err)
{
    enum status st = ST_OK;
    for (uint64_t i = 0, at = 0; st == ST_OK && i < all->rows_all; i++) {
        at = block_of(all, order[i], (size_t)at);
        st = deal_row(all, &block[at], (size_t)(order[i] - all->entry[at].first_row), to, err);
        if (st == ST_OK && i % POLL_ROWS == 0 && stopped(stop))
            st = errbuf_set(err, ST_REFUSED, "interrupted");
    }
    return st;
}

enum status deal_in_order(struct cache_writer *all, const int64_t *times, struct cache_writer *to,
                          const volatile int *stop, struct errbuf *err)
{
    if (all->rows_all == 0)
        return ST_OK;
    uint8_t *map = mmap(NULL, (size_t)all->end, PROT_READ, MAP_PRIVATE, all->fd, 0);
    if (map == MAP_FAILED)
        return errbuf_errno(err, ST_IO, "%s", all->tmp);
    struct cache_block *block = mem_array(all->blocks, sizeof *block);
    for (size_t b = 0; b < all->blocks; b++)
        cache_block_view(&all->shape, all->entry[b].rows, all->entry[b].keys,
                         map + all->entry[b].offset, &block[b]);
    uint64_t *order = split_time_order(times, (size_t)all->rows_all);
    enum status st = deal_mapped(all, block, order, to, stop, err);
    free(order);
    free(block);
    munmap(map, (size_t)all->end);
    return st;
}
