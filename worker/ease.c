/* ease.c - see ease.h.
 *
 * The Gram matrix is filled history by history, inverted in place, and read by rows: of a seen item i the row of P adds
 * to the scores, which are then divided by -P_jj. One matrix of items x items is all the memory there is to it.
 */
#include "worker/ease.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/data/catalog.h"
#include "common/math/inverse.h"
#include "common/math/vec.h"

enum { HISTORY, TARGET, EARLIER, BAGS, BATCH = 256 };

struct ease {
    struct catalog catalog;
    float *p; /* (n, n): X'X + lambda I, then its inverse; a slab */
    size_t bytes;
    struct batch batch;
    size_t *place; /* (place_cap) of the batch's unique keys in the catalog */
    size_t place_cap;
    uint32_t *seen; /* (n) items of the record at hand, each once */
    size_t seen_used;
    uint64_t *mark; /* (n) the last record that saw the item */
    uint64_t record;
    float *score; /* (n) */
};

static uint64_t free_bytes(void)
{
    unsigned long long kib = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "re");
    while (f != NULL && kib == 0 && fgets(line, sizeof(line), f) != NULL)
        if (sscanf(line, "MemAvailable: %llu kB", &kib) != 1)
            kib = 0;
    if (f != NULL)
        fclose(f);
    return (uint64_t)kib << 10;
}

static enum status open_matrix(struct ease *e, struct errbuf *err)
{
    const size_t n = e->catalog.n;
    e->bytes = n * n * sizeof(*e->p);
    if (n == 0 || n > EASE_ITEMS_MAX)
        return errbuf_set(err, ST_REFUSED, "%zu items (1 to %u are worked out)", n, EASE_ITEMS_MAX);
    if (e->bytes > free_bytes() / 2)
        return errbuf_set(err, ST_REFUSED, "%zu items need %zu MB, more than half of what is free",
                          n, e->bytes >> 20);
    void *slab = NULL;
    enum status st = mem_slab(e->bytes, &slab, err);
    e->p = slab;
    e->seen = mem_array(n, sizeof(*e->seen));
    e->mark = mem_array(n, sizeof(*e->mark));
    e->score = mem_array(n, sizeof(*e->score));
    return st;
}

static void see_bag(struct ease *e, size_t record, size_t bag)
{
    const struct batch *b = &e->batch;
    for (size_t at = b->offsets[record * BAGS + bag]; at < b->offsets[record * BAGS + bag + 1];
         at++) {
        const size_t item = e->place[b->index[at]];
        if (item == CATALOG_NONE || e->mark[item] == e->record)
            continue;
        e->mark[item] = e->record;
        e->seen[e->seen_used++] = (uint32_t)item;
    }
}

/* What record i of the batch has seen, each item once. */
static void see(struct ease *e, size_t i)
{
    e->record++;
    e->seen_used = 0;
    see_bag(e, i, HISTORY);
    see_bag(e, i, EARLIER);
}

static void add_history(struct ease *e)
{
    const size_t n = e->catalog.n;
    for (size_t a = 0; a < e->seen_used; a++)
        for (size_t b = 0; b < e->seen_used; b++)
            if (e->seen[b] >= e->seen[a])
                e->p[e->seen[a] * n + e->seen[b]] += 1;
}

static void add_rank(struct ease *e, size_t i, struct ranking *out)
{
    const struct batch *b = &e->batch;
    const size_t n = e->catalog.n, at = b->offsets[i * BAGS + TARGET];
    const size_t target =
        b->offsets[i * BAGS + TARGET + 1] > at ? e->place[b->index[at]] : CATALOG_NONE;
    size_t above = 0, same = 0;
    if (target == CATALOG_NONE) {
        ranking_add(out, (double)n);
        return;
    }
    memset(e->score, 0, n * sizeof(*e->score));
    for (size_t s = 0; s < e->seen_used; s++)
        vec_put(e->score, e->p + e->seen[s] * n, n, true);
    for (size_t j = 0; j < n; j++)
        e->score[j] /= -e->p[j * n + j];
    if (e->mark[target] == e->record) /* seen before: B has a diagonal of zeros */
        e->score[target] += 1;
    for (size_t j = 0; j < n; j++) {
        if (j == target || e->mark[j] == e->record)
            continue;
        above += e->score[j] > e->score[target];
        same += e->score[j] == e->score[target];
    }
    ranking_add(out, 1 + (double)above + (double)same / 2);
}

/* All records of a part: into the matrix, or, with out, ranked by it. */
static enum status walk(struct ease *e, const struct job *job, const char *cache_dir,
                        enum part part, struct ranking *out, struct errbuf *err)
{
    struct dataset *d = NULL;
    uint64_t rows[BATCH];
    enum status st = dataset_open(job, cache_dir, part, &d, err);
    if (st != ST_OK)
        return st;
    batch_init(&e->batch, d, BATCH);
    for (uint64_t at = 0; st == ST_OK && at < dataset_rows(d); at += BATCH) {
        const uint64_t left = dataset_rows(d) - at;
        const size_t n = left < BATCH ? (size_t)left : BATCH;
        for (size_t i = 0; i < n; i++)
            rows[i] = at + i;
        st = dataset_batch(d, rows, n, &e->batch, err);
        mem_grow(&e->place, &e->place_cap, e->batch.unique + 1, sizeof(*e->place));
        for (size_t u = 0; st == ST_OK && u < e->batch.unique; u++)
            e->place[u] = catalog_find(&e->catalog, e->batch.keys[u]);
        for (size_t i = 0; st == ST_OK && i < n; i++) {
            see(e, i);
            if (out != NULL)
                add_rank(e, i, out);
            else
                add_history(e);
        }
    }
    batch_release(&e->batch);
    dataset_close(d);
    return st;
}

static enum status invert(struct ease *e, double lambda, struct errbuf *err)
{
    const size_t n = e->catalog.n;
    for (size_t i = 0; i < n; i++)
        e->p[i * n + i] += (float)lambda;
    if (!inverse_symmetric(e->p, n))
        return errbuf_set(err, ST_REFUSED, "the matrix of %zu items can't be inverted", n);
    return ST_OK;
}

enum status ease_rank(const struct job *job, const char *cache_dir, enum part part, double lambda,
                      struct ranking *out, struct errbuf *err)
{
    struct ease e;
    struct ranking sums = {.count = 0};
    memset(&e, 0, sizeof(e));
    vec_init();
    const bool own = job->data.split.by == JOB_SPLIT_LEAVE_ONE_OUT;
    enum status st = catalog_load(cache_dir, &e.catalog, err);
    if (st == ST_OK)
        st = open_matrix(&e, err);
    if (st == ST_OK)
        st = walk(&e, job, cache_dir, own ? part : PART_TRAIN, NULL, err);
    if (st == ST_OK)
        st = invert(&e, lambda, err);
    if (st == ST_OK)
        st = walk(&e, job, cache_dir, part, &sums, err);
    if (st == ST_OK)
        *out = sums;
    if (e.p != NULL)
        mem_slab_free(e.p, e.bytes);
    free(e.place);
    free(e.seen);
    free(e.mark);
    free(e.score);
    catalog_release(&e.catalog);
    return st;
}
