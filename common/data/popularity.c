/* popularity.c - how far one gets by the mean label of each item alone; see popularity.h.
 *
 * All that is needed of a part are two counts for each key: records and positive ones. score(key) =
 * (positives + STRENGTH * mean) / (records + STRENGTH). Sorted by score, the keys give AUC and logloss of
 * all records exactly. The field is chosen on the first SAMPLE train records, each scored by the others
 * of its key: in the sample itself a field of unique values would rank perfectly.
 */
#include "common/data/popularity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/data/dataset_map.h"

#define STRENGTH 10.0
#define SAMPLE   1000000u

void popularity_release(struct popularity *t)
{
    keyset_release(&t->all);
    keyset_release(&t->positive);
    memset(t, 0, sizeof *t);
}

enum status popularity_add(struct popularity *t, struct dataset *d, size_t f,
                           const struct popularity_of *of, struct errbuf *err)
{
    size_t F = dataset_fields(d);
    for (uint64_t r = of->first; r < of->end; r++) {
        const struct cache_block *k;
        size_t i;
        enum status st = dataset_locate(d, r, &k, &i, err);
        if (st != ST_OK)
            return st;
        if (k->time != NULL && k->time[i] < of->from)
            continue;
        const float label = k->label[i * d->header.shape.labels];
        if (label < 0)
            continue;
        uint64_t key = k->key[k->bag != NULL ? k->bag[i * F + f] : i * F + f];
        st = keyset_add(&t->all, key, err);
        if (st == ST_OK && label > 0)
            st = keyset_add(&t->positive, key, err);
        if (st != ST_OK)
            return st;
        t->records++;
        t->positives += label > 0;
    }
    return ST_OK;
}

static double score(double positives, double records, double mean)
{
    return (positives + STRENGTH * mean) / (records + STRENGTH);
}

static int by_score(const void *a, const void *b)
{
    double x = ((const struct popularity_group *)a)->score,
           y = ((const struct popularity_group *)b)->score;
    return x < y ? -1 : x > y;
}

/* Positives of a group are above all negatives of lower groups. */
double popularity_auc(struct popularity_group *g, size_t n)
{
    double below = 0, pairs = 0, positives = 0;
    qsort(g, n, sizeof *g, by_score);
    for (size_t i = 0; i < n;) {
        double p = 0, q = 0, s = g[i].score;
        for (; i < n && g[i].score == s; i++) {
            p += g[i].positives;
            q += g[i].negatives;
        }
        pairs += p * (below + q / 2);
        below += q;
        positives += p;
    }
    return positives > 0 && below > 0 ? pairs / (positives * below) : .5;
}

/* AUC on the very records that were counted, each scored without itself. */
static enum status auc_alone(const struct popularity *t, double *out, struct errbuf *err)
{
    uint64_t *keys;
    size_t n;
    enum status st = keyset_sorted(&t->all, 1, &keys, &n, err);
    if (st != ST_OK)
        return st;
    struct popularity_group *g = mem_array(2 * n + 1, sizeof *g);
    double mean = t->positives / (t->records > 0 ? t->records : 1);
    for (size_t i = 0; i < n; i++) {
        double all = keyset_count(&t->all, keys[i]), p = keyset_count(&t->positive, keys[i]);
        g[2 * i] = (struct popularity_group){score(p - 1, all - 1, mean), p, 0};
        g[2 * i + 1] = (struct popularity_group){score(p, all - 1, mean), 0, all - p};
    }
    *out = popularity_auc(g, 2 * n);
    free(g);
    free(keys);
    return ST_OK;
}

enum status popularity_field(const struct schema *s, struct dataset *train, size_t *out,
                             struct errbuf *err)
{
    uint64_t rows = dataset_rows(train) < SAMPLE ? dataset_rows(train) : SAMPLE;
    double best = -1;
    *out = s->item != SCHEMA_NONE ? s->field[s->item].slot : SCHEMA_NONE;
    for (size_t f = 0; s->item == SCHEMA_NONE && f < s->ids_used; f++) {
        struct popularity t = {0};
        double auc = 0;
        if (s->field[s->ids[f]].type == FIELD_IDS || s->field[s->ids[f]].derived)
            continue;
        enum status st =
            popularity_add(&t, train, f, &(struct popularity_of){0, rows, INT64_MIN}, err);
        if (st == ST_OK)
            st = auc_alone(&t, &auc, err);
        popularity_release(&t);
        if (st != ST_OK)
            return st;
        if (auc > best) {
            best = auc;
            *out = f;
        }
    }
    return ST_OK;
}

enum status popularity_judge(const struct popularity *train, const struct popularity *part,
                             struct baseline *out, struct errbuf *err)
{
    uint64_t *keys;
    size_t n;
    if (train->records == 0 || part->records == 0) {
        *out = (struct baseline){.there = false};
        return ST_OK;
    }
    enum status st = keyset_sorted(&part->all, 1, &keys, &n, err);
    if (st != ST_OK)
        return st;
    struct popularity_group *g = mem_array(n + 1, sizeof *g);
    double mean = train->positives / train->records, loss = 0;
    /* A log of one class only: keep log() away from 0. */
    mean = mean < 1e-6 ? 1e-6 : mean > 1 - 1e-6 ? 1 - 1e-6 : mean;
    for (size_t i = 0; i < n; i++) {
        double s = score(keyset_count(&train->positive, keys[i]),
                         keyset_count(&train->all, keys[i]), mean);
        double p = keyset_count(&part->positive, keys[i]);
        g[i] = (struct popularity_group){s, p, keyset_count(&part->all, keys[i]) - p};
        loss -= g[i].positives * log(s) + g[i].negatives * log1p(-s);
    }
    *out = (struct baseline){
        .there = true, .auc = popularity_auc(g, n), .logloss = loss / part->records};
    free(g);
    free(keys);
    return ST_OK;
}
