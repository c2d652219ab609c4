/* popular.c - see popular.h. */
#include "ps/serve/popular.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/data/dataset.h"

#define QUICK_US    50000u
#define RECORDS     4096u
#define RECORDS_MAX 10000000u /* of train, the newest: a node should be up in seconds */

static int by_key(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Runs of equal keys become counts. keys: owned from here on. */
static void count_runs(struct catalog *c, uint64_t *keys, size_t n)
{
    qsort(keys, n, sizeof(*keys), by_key);
    c->count = mem_array(n + 1, sizeof(*c->count));
    c->key = keys;
    for (size_t i = 0; i < n; i++) {
        if (c->n == 0 || c->key[c->n - 1] != keys[i])
            c->key[c->n++] = keys[i];
        c->count[c->n - 1]++;
    }
}

/* Items of positive records of the train part. */
static void count_train(struct popular *p)
{
    const struct model_view *v = p->view;
    struct dataset *d = NULL;
    struct batch b;
    struct errbuf err = ERRBUF_INIT;
    uint64_t *keys = NULL, row[RECORDS];
    size_t used = 0, cap = 0;
    if (dataset_open(&v->model->job, v->model->cache, PART_TRAIN, &d, &err) != ST_OK) {
        log_info("popular items are those of this node's events alone: %s", err.text);
        return;
    }
    batch_init(&b, d, RECORDS);
    enum status st = ST_OK;
    const uint64_t rows = dataset_rows(d);
    for (uint64_t at = rows > RECORDS_MAX ? rows - RECORDS_MAX : 0; at < rows && st == ST_OK;
         at += RECORDS) {
        const size_t n = rows - at < RECORDS ? (size_t)(rows - at) : RECORDS;
        for (size_t i = 0; i < n; i++)
            row[i] = at + i;
        st = dataset_batch(d, row, n, &b, &err);
        for (size_t i = 0; i < n && st == ST_OK; i++) {
            const uint32_t k = b.offsets[i * b.fields + v->item_slot];
            if (b.labels[i] <= 0)
                continue;
            if (used == cap)
                mem_grow(&keys, &cap, used + 1, sizeof(*keys));
            keys[used++] = b.keys[b.index[k]];
        }
    }
    if (st != ST_OK)
        log_warn("popular items are not those of all of train: %s", err.text);
    count_runs(&p->counts, keys, used);
    batch_release(&b);
    dataset_close(d);
}

void popular_init(struct popular *p, const struct model_view *view, struct state *state)
{
    memset(p, 0, sizeof(*p));
    p->view = view;
    p->state = state;
    if (!view->ranks && view->item_slot != SCHEMA_NONE)
        count_train(p);
}

void popular_release(struct popular *p)
{
    catalog_release(&p->counts);
    free(p->trained);
    free(atomic_load(&p->list));
    memset(p, 0, sizeof(*p));
}

static float trained(struct popular *p, uint32_t number)
{
    const struct catalog *c = p->view->ranks ? &p->view->model->catalog : &p->counts;
    for (; p->trained_used <= number; p->trained_used++) {
        const struct item *item = state_item_at(p->state, (uint32_t)p->trained_used);
        uint64_t key;
        size_t at = CATALOG_NONE;
        if (c->n > 0 && model_view_item_key(p->view, item->head.id, item->head.id_n, &key))
            at = catalog_find(c, key);
        mem_grow(&p->trained, &p->trained_cap, p->trained_used + 1, sizeof(*p->trained));
        p->trained[p->trained_used] = at != CATALOG_NONE ? (float)c->count[at] : 0;
    }
    return p->trained[number];
}

static int by_score(const void *a, const void *b)
{
    const struct popular_item *x = a, *y = b;
    return x->score > y->score   ? -1
           : x->score < y->score ? 1
           : x->item < y->item   ? -1
                                 : x->item > y->item;
}

void popular_refresh(struct popular *p, uint64_t now_us)
{
    const uint32_t items =
        p->view->item_slot != SCHEMA_NONE ? atomic_load(&p->state->items.used) : 0;
    const uint64_t began = clock_now_us();
    if (began < p->rest_until_us)
        return;
    struct popular_item *all = mem_array((size_t)items + 1, sizeof(*all));
    uint32_t n = 0;
    for (uint32_t i = 0; i < items; i++) {
        const struct item *item = state_item_at(p->state, i);
        if (item->in_stock || item->known)
            all[n++] = (struct popular_item){
                i, trained(p, i) + (float)state_heat(p->state, i, (int64_t)now_us)};
    }
    qsort(all, n, sizeof(*all), by_score);
    n = n < POPULAR_MAX ? n : POPULAR_MAX;
    struct popular_list *list = mem_zalloc(sizeof(*list) + n * sizeof(list->item[0]));
    list->n = n;
    memcpy(list->item, all, n * sizeof(*all));
    free(all);
    struct popular_list *was = atomic_load(&p->list);
    atomic_store(&p->list, list);
    if (was != NULL)
        registry_retire(&p->state->items, was);
    const uint64_t took = clock_now_us() - began;
    p->rest_until_us = took > QUICK_US ? began + 10 * took : 0;
}
