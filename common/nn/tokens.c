/* tokens.c - see tokens.h. */
#include "common/nn/tokens.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

struct tokens *tokens_new(size_t records_max, size_t places_max, bool by_step)
{
    struct tokens *t = mem_zalloc(sizeof(*t));
    const size_t most = records_max * places_max;
    t->records_max = records_max;
    t->places_max = places_max;
    t->by_step = by_step;
    t->record = mem_array(most + 1, sizeof(*t->record));
    t->place = mem_array(most + 1, sizeof(*t->place));
    t->at = mem_array(most + 1, sizeof(*t->at));
    t->item = mem_array(most + 1, sizeof(*t->item));
    t->target = mem_array(most + 1, sizeof(*t->target));
    t->start = mem_array(records_max + 1, sizeof(*t->start));
    t->step = mem_array(places_max + 2, sizeof(*t->step));
    t->last = mem_array(records_max, sizeof(*t->last));
    t->order = mem_array(records_max, sizeof(*t->order));
    return t;
}

void tokens_free(struct tokens *t)
{
    if (!t)
        return;
    free(t->record);
    free(t->place);
    free(t->at);
    free(t->item);
    free(t->target);
    free(t->start);
    free(t->step);
    free(t->last);
    free(t->order);
    free(t);
}

struct history { /* of one record */
    const uint32_t *item;
    uint32_t at; /* of the first, in the batch's occurrences */
    size_t inputs;
};

static struct history history_of(const struct tokens *t, const struct model_input *in,
                                 size_t fields, bool train, size_t record)
{
    const uint32_t *offsets = in->offsets + record * fields + t->field;
    const size_t from = offsets[0], to = offsets[1];
    size_t inputs = to - from;
    if (train && !t->whole && inputs > 0)
        inputs--;
    const size_t skip = inputs > t->places_max ? inputs - t->places_max : 0;
    return (struct history){in->index + from + skip, (uint32_t)(from + skip), inputs - skip};
}

static void tokens_put(struct tokens *t, const struct history *h, size_t row, size_t record,
                       size_t place, bool train)
{
    t->record[row] = (uint32_t)record;
    t->place[row] = (uint32_t)place;
    t->at[row] = h->at + (uint32_t)place;
    t->item[row] = h->item[place];
    if (train && !t->whole)
        t->target[row] = h->item[place + 1];
    t->last[record] = (uint32_t)row; /* the last call for a record is that of its last place */
}

static void lay_by_record(struct tokens *t, const struct model_input *in, size_t fields, bool train)
{
    size_t row = 0;
    for (size_t i = 0; i < in->n; i++) {
        const struct history h = history_of(t, in, fields, train, i);
        t->start[i] = (uint32_t)row;
        for (size_t k = 0; k < h.inputs; k++)
            tokens_put(t, &h, row++, i, k, train);
    }
    t->start[in->n] = (uint32_t)row;
    t->used = row;
}

/* Counting sort by length, longest first; records of one length stay in order. */
static void lay_by_step(struct tokens *t, const struct model_input *in, size_t fields, bool train)
{
    uint32_t *count = t->step; /* first: how many records have k inputs; then where they begin */
    memset(count, 0, (t->places_max + 2) * sizeof(*count));
    for (size_t i = 0; i < in->n; i++)
        count[history_of(t, in, fields, train, i).inputs]++;
    uint32_t at = 0;
    for (size_t k = t->places_max + 1; k-- > 0;) {
        const uint32_t many = count[k];
        count[k] = at;
        at += many;
    }
    for (size_t i = 0; i < in->n; i++)
        t->order[count[history_of(t, in, fields, train, i).inputs]++] = (uint32_t)i;
    size_t row = 0, active = in->n;
    for (size_t k = 0; k < t->steps; k++) {
        t->step[k] = (uint32_t)row;
        while (active > 0 && history_of(t, in, fields, train, t->order[active - 1]).inputs <= k)
            active--;
        for (size_t i = 0; i < active; i++) {
            const struct history h = history_of(t, in, fields, train, t->order[i]);
            tokens_put(t, &h, row++, t->order[i], k, train);
        }
    }
    t->step[t->steps] = (uint32_t)row;
    t->used = row;
}

void tokens_lay(struct tokens *t, const struct model_input *in, size_t fields, bool train)
{
    assert(in->n <= t->records_max);
    t->records = in->n;
    t->steps = 0;
    for (size_t i = 0; i < in->n; i++) {
        const size_t inputs = history_of(t, in, fields, train, i).inputs;
        t->steps = inputs > t->steps ? inputs : t->steps;
        t->last[i] = TOKEN_NONE;
    }
    if (t->by_step)
        lay_by_step(t, in, fields, train);
    else
        lay_by_record(t, in, fields, train);
}
