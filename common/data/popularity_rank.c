/* popularity_rank.c - see popularity_rank.h. With all counts sorted once, how many items are above a target and how
 * many tie with it are two searches; what the user has seen is then taken off again. So a record costs its length, not the
 * catalog's.
 */
#include "common/data/popularity_rank.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/data/catalog.h"
#include "common/data/dataset_map.h"
#include "common/feature/schema.h"

enum { HISTORY, TARGET, EARLIER };

struct judge {
    struct catalog catalog;
    const uint64_t *count; /* (n) the catalog's count, or recent */
    uint64_t *sorted;      /* (n) counts, ascending; owned */
    uint64_t *mark;        /* (n) the last record that saw this item, + 1; owned */
    struct ranking ranking;
};

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* How many counts are below v; or_equal: or equal to it. */
static size_t below(const struct judge *j, uint64_t v, bool or_equal)
{
    size_t low = 0, high = j->catalog.n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (j->sorted[mid] < v || (or_equal && j->sorted[mid] == v))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void add_record(struct judge *j, uint64_t r, const struct cache_block *k, size_t i)
{
    const uint32_t *bag = k->bag + i * SCHEMA_SEQUENCE_FIELDS;
    size_t n = j->catalog.n, at = catalog_find(&j->catalog, k->key[bag[TARGET]]);
    if (at == CATALOG_NONE) { /* no candidate at all: behind all of them */
        ranking_add(&j->ranking, (double)n + 1);
        return;
    }
    uint64_t count = j->count[at];
    size_t above = n - below(j, count, true);
    size_t ties = n - above - below(j, count, false) - 1;
    j->mark[at] = r + 1; /* the target itself is neither */
    for (size_t x = bag[HISTORY]; x < bag[EARLIER + 1]; x++) {
        size_t seen = catalog_find(&j->catalog, k->key[x]);
        if (seen == CATALOG_NONE || j->mark[seen] == r + 1)
            continue;
        j->mark[seen] = r + 1;
        above -= j->count[seen] > count;
        ties -= j->count[seen] == count;
    }
    ranking_add(&j->ranking, 1 + (double)above + (double)ties / 2);
}

static enum status judge_part(struct judge *j, struct dataset *d, struct errbuf *err)
{
    size_t n = j->catalog.n;
    j->sorted = mem_array(n + 1, sizeof *j->sorted);
    j->mark = mem_array(n + 1, sizeof *j->mark);
    memcpy(j->sorted, j->count, n * sizeof *j->sorted);
    qsort(j->sorted, n, sizeof *j->sorted, ascending);
    for (uint64_t r = 0; r < dataset_rows(d); r++) {
        const struct cache_block *k;
        size_t i;
        enum status st = dataset_locate(d, r, &k, &i, err);
        if (st != ST_OK)
            return st;
        const uint32_t *bag = k->bag != NULL ? k->bag + i * SCHEMA_SEQUENCE_FIELDS : NULL;
        if (dataset_fields(d) != SCHEMA_SEQUENCE_FIELDS || bag == NULL ||
            bag[TARGET + 1] - bag[TARGET] != 1)
            return errbuf_set(err, ST_BAD_DATA, "%s: record %llu has not exactly one target",
                              d->path, (unsigned long long)r);
        add_record(j, r, k, i);
    }
    return ST_OK;
}

static bool has_recent(const struct catalog *c)
{
    uint64_t all = 0;
    for (size_t i = 0; i < c->n; i++)
        all += c->recent[i];
    return all > 0;
}

enum status popularity_rank(const struct job *job, const char *cache_dir, enum part part,
                            struct dataset *judged, bool recent, struct ranking *out,
                            struct errbuf *err)
{
    struct judge j;
    struct dataset *own = NULL;
    enum status st = ST_OK;
    memset(&j, 0, sizeof j);
    if (job->data.records != JOB_SEQUENCES)
        return errbuf_set(err, ST_NOT_FOUND, "records that are no sequences have no next item");
    if (part == PART_TRAIN && judged == NULL)
        return errbuf_set(err, ST_USAGE, "records of train have no target");
    if (judged == NULL)
        st = dataset_open(job, cache_dir, part, &own, err);
    if (st == ST_OK)
        st = catalog_load(cache_dir, &j.catalog, err);
    if (st == ST_OK && recent && !has_recent(&j.catalog))
        st = errbuf_set(err, ST_NOT_FOUND, "the log has no times, so nothing is recent");
    if (st == ST_OK) {
        j.count = recent ? j.catalog.recent : j.catalog.count;
        st = judge_part(&j, judged != NULL ? judged : own, err);
    }
    if (st == ST_OK)
        *out = j.ranking;
    free(j.sorted);
    free(j.mark);
    catalog_release(&j.catalog);
    dataset_close(own);
    return st;
}
