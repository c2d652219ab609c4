/* events.c - see events.h. Users are counted, then their events laid side by side: two passes, no comparison. Logs are
 * mostly in the order of time already, so only users who are not get sorted.
 */
#include "common/data/events.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

void events_init(struct events *e, uint64_t bytes_max)
{
    memset(e, 0, sizeof *e);
    e->bytes_max = bytes_max;
}

void events_release(struct events *e)
{
    free(e->item);
    free(e->key);
    free(e->user);
    free(e->order);
    free(e->first);
    memset(e, 0, sizeof *e);
}

static size_t slot_of(const struct events *e, uint64_t key)
{
    size_t mask = e->slots - 1, s = (size_t)key & mask;
    while (e->user[s] != 0 && e->key[s] != key)
        s = (s + 1) & mask;
    return s;
}

static void grow_users(struct events *e)
{
    struct events to = {.slots = e->slots > 0 ? e->slots * 2 : 1024};
    to.key = mem_array(to.slots, sizeof *to.key);
    to.user = mem_array(to.slots, sizeof *to.user);
    for (size_t s = 0; s < e->slots; s++) {
        if (e->user[s] == 0)
            continue;
        size_t at = slot_of(&to, e->key[s]);
        to.key[at] = e->key[s];
        to.user[at] = e->user[s];
    }
    free(e->key);
    free(e->user);
    e->key = to.key;
    e->user = to.user;
    e->slots = to.slots;
}

static uint32_t user_number(struct events *e, uint64_t key)
{
    if (e->users * 2 >= e->slots)
        grow_users(e);
    size_t s = slot_of(e, key);
    if (e->user[s] == 0) {
        e->key[s] = key;
        e->user[s] = (uint32_t)++e->users;
    }
    return e->user[s] - 1;
}

enum status events_add(struct events *e, uint64_t user_key, const struct event *event,
                       struct errbuf *err)
{
    if ((e->used + 1) * (uint64_t)EVENT_BYTES > e->bytes_max || e->users >= UINT32_MAX - 1)
        return errbuf_set(err, ST_NO_MEMORY,
                          "more than %zu events, which is what data.sequence.memory holds at %u "
                          "bytes each; raise it, or train on a part of the log",
                          e->used, EVENT_BYTES);
    mem_grow(&e->item, &e->cap, e->used + 1, sizeof *e->item);
    e->item[e->used] = *event;
    e->item[e->used++].user = user_number(e, user_key);
    return ST_OK;
}

static int by_time(const void *a, const void *b, void *arg)
{
    const struct event *item = arg;
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    if (item[x].time != item[y].time)
        return item[x].time < item[y].time ? -1 : 1;
    return x < y ? -1 : x > y;
}

static bool in_order(const struct events *e, const uint64_t *order, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (e->item[order[i]].time < e->item[order[i - 1]].time)
            return false;
    return true;
}

void events_order(struct events *e)
{
    e->order = mem_array(e->used + 1, sizeof *e->order);
    e->first = mem_array(e->users + 2, sizeof *e->first);
    /* first[u + 1] is where the next event of user u goes, and so in the end where user u + 1 begins. */
    for (size_t i = 0; i < e->used; i++)
        e->first[e->item[i].user + 2]++;
    for (size_t u = 2; u <= e->users; u++)
        e->first[u] += e->first[u - 1];
    for (size_t i = 0; i < e->used; i++)
        e->order[e->first[e->item[i].user + 1]++] = i;
    for (size_t u = 0; u < e->users; u++) {
        size_t n = (size_t)(e->first[u + 1] - e->first[u]);
        if (!in_order(e, e->order + e->first[u], n))
            qsort_r(e->order + e->first[u], n, sizeof *e->order, by_time, e->item);
    }
}
