/* clock.c - stored pushes become one step (clock.h).
 *
 *   pushes of ranks 0 .. W - 1, each: keys (n), per sparse table rows (n, dim), dense, stat
 *   the step: the distinct keys of all, rows summed key by key, dense and stat summed whole
 *
 * Where only one push has anything it is the step, and nothing is copied: so it is with one worker, always.
 */
#include "ps/train/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/sim_bug.h"
#include "ps/store/table.h"

void clock_init(struct clock *c)
{
    *c = (struct clock){0};
    merge_init(&c->merge);
}

static size_t pulls(const struct clock *c)
{
    return (size_t)c->workers * (c->slack + 1) * 2;
}

static void forget_pushes(struct clock *c)
{
    for (uint32_t r = 0; r < c->workers; r++) {
        msg_free(c->push[r].msg);
        frame_release(&c->push[r].keys);
        frame_release(&c->push[r].slots);
        c->push[r] = (struct clock_push){0};
    }
    msg_free(c->merged);
    c->merged = NULL;
    c->stored = 0;
}

static void forget(struct clock *c)
{
    forget_pushes(c);
    for (size_t i = 0; i < pulls(c); i++)
        msg_free(c->pull[i].msg);
    free(c->push);
    free(c->pull);
    free(c->list);
    free(c->key_list);
    free(c->n);
}

void clock_release(struct clock *c)
{
    forget(c);
    merge_release(&c->merge);
    free(c->slots);
    *c = (struct clock){0};
}

void clock_reset(struct clock *c, uint32_t workers, uint32_t slack, uint32_t carrier)
{
    forget(c);
    c->workers = workers;
    c->slack = slack;
    c->carrier = carrier;
    c->fastest = c->carried = 0;
    if (!SIM_BUG(47))
        c->applied = 0;
    c->push = mem_array(workers, sizeof *c->push);
    c->pull = mem_array(pulls(c), sizeof *c->pull);
    c->list = mem_array(workers, sizeof *c->list);
    c->key_list = mem_array(workers, sizeof *c->key_list);
    c->n = mem_array(workers, sizeof *c->n);
}

void clock_store(struct clock *c, uint32_t rank, struct msg **push, struct frame *keys,
                 struct frame *slots)
{
    assert(rank < c->workers && c->push[rank].msg == NULL);
    c->push[rank] = (struct clock_push){*push, *keys, *slots};
    *push = NULL;
    *keys = *slots = (struct frame){0};
    c->stored++;
}

bool clock_full(const struct clock *c)
{
    return c->workers > 0 && c->stored == c->workers;
}

static bool has_records(const struct clock_push *p)
{
    return p->msg->u.push.begin < p->msg->u.push.end;
}

/* The two frames behind those of the tables. */
static bool has_dense(const struct clock_push *p)
{
    const uint32_t n = p->msg->frames;
    return p->msg->frame[n - 2].bytes + p->msg->frame[n - 1].bytes > 0;
}

/* Parts of one step: the same split, each begins where the one before ends. */
static enum status judge(const struct clock *c, struct errbuf *err)
{
    for (uint32_t r = 1; r < c->workers; r++) {
        const struct msg_push *a = &c->push[r - 1].msg->u.push, *b = &c->push[r].msg->u.push;
        if (a->epoch != b->epoch || a->split != b->split || a->end != b->begin)
            return errbuf_set(err, ST_FAULT,
                              "clock %" PRIu64 ": worker %" PRIu32 " has records from %" PRIu64
                              " on, the one before it up to %" PRIu64,
                              c->applied + 1, r, b->begin, a->end);
    }
    return ST_OK;
}

static const struct clock_push *only_one(const struct clock *c)
{
    const struct clock_push *one = &c->push[0];
    uint32_t n = 0;
    for (uint32_t r = 0; r < c->workers; r++) {
        if (has_records(&c->push[r]) || has_dense(&c->push[r])) {
            one = &c->push[r];
            n++;
        }
    }
    return n <= 1 ? one : NULL;
}

static enum status merge_all_keys(struct clock *c, struct errbuf *err)
{
    for (uint32_t r = 0; r < c->workers; r++) {
        c->key_list[r] = c->push[r].keys.data;
        c->n[r] = c->push[r].msg->u.push.n;
    }
    merge_keys(&c->merge, c->key_list, c->n, c->workers);
    for (size_t i = 0; i < c->merge.n; i++) {
        for (uint32_t p = c->merge.first[i] + 1; p < c->merge.first[i + 1]; p++) {
            if (c->merge.place[p].list == c->merge.place[p - 1].list)
                return errbuf_set(err, ST_FAULT,
                                  "key %" PRIu64 " stands in one push of worker %" PRIu32 " twice",
                                  c->merge.keys[i], c->merge.place[p].list);
        }
    }
    return ST_OK;
}

/* What the first worker that has the key found, table by table. */
static void merge_slots(struct clock *c, size_t sparse)
{
    const size_t n = c->merge.n;
    mem_grow(&c->slots, &c->slots_cap, sparse * n + 1, sizeof *c->slots);
    for (size_t i = 0; i < n; i++) {
        const struct merge_place *at = &c->merge.place[c->merge.first[i]];
        const uint32_t *found = c->push[at->list].slots.data;
        for (size_t t = 0; t < sparse; t++)
            c->slots[t * n + i] = found[t * c->n[at->list] + at->at];
    }
}

static struct frame sum_arrays(struct clock *c, uint32_t frame, struct frame_pool *pool)
{
    size_t bytes = 0;
    for (uint32_t r = 0; r < c->workers; r++) {
        const struct frame *of = &c->push[r].msg->frame[frame];
        c->list[r] = of->bytes > 0 ? of->data : NULL;
        bytes = of->bytes > bytes ? of->bytes : bytes;
    }
    struct frame f = frame_pool_get(pool, bytes);
    if (f.bytes > 0)
        merge_arrays(c->list, c->workers, f.bytes / sizeof(float), f.data);
    return f;
}

static struct frame sum_rows(struct clock *c, uint32_t frame, size_t dim, struct frame_pool *pool)
{
    struct frame f = frame_pool_get(pool, c->merge.n * dim * sizeof(float));
    for (uint32_t r = 0; r < c->workers; r++)
        c->list[r] = c->push[r].msg->frame[frame].data;
    if (f.bytes > 0)
        merge_rows(&c->merge, c->list, dim, f.data);
    return f;
}

enum status clock_merge(struct clock *c, const struct plan *plan, size_t sparse,
                        struct frame_pool *pool, struct clock_step *out, struct errbuf *err)
{
    const uint32_t last = c->workers - 1;
    assert(clock_full(c));
    enum status st = judge(c, err);
    const struct clock_push *one = only_one(c);
    if (st == ST_OK && one != NULL) {
        *out = (struct clock_step){one->msg, one->keys.data, one->slots.data};
        return ST_OK;
    }
    if (st == ST_OK)
        st = merge_all_keys(c, err);
    if (st != ST_OK)
        return st;
    struct msg *m = c->merged = msg_new(MSG_PUSH);
    m->u.push = c->push[0].msg->u.push;
    m->u.push.n = (uint32_t)c->merge.n;
    m->u.push.end = c->push[last].msg->u.push.end;
    m->frames = c->push[0].msg->frames;
    for (uint32_t t = 0; t < sparse; t++)
        m->frame[t + 1] = sum_rows(c, t + 1, plan->tables[t].dim, pool);
    for (uint32_t f = (uint32_t)sparse + 1; f < m->frames; f++)
        m->frame[f] = sum_arrays(c, f, pool);
    merge_slots(c, sparse);
    *out = (struct clock_step){m, c->merge.keys, c->slots};
    return ST_OK;
}

void clock_done(struct clock *c)
{
    forget_pushes(c);
    c->applied++;
}

bool clock_count(struct clock *c, const uint64_t *last)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t r = 0; r < c->workers; r++) {
        least = last[r] < least ? last[r] : least;
        c->fastest = last[r] > c->fastest ? last[r] : c->fastest;
    }
    if (c->carrier < c->workers)
        c->carried = last[c->carrier];
    if (least == c->applied)
        return false;
    c->applied = least;
    return true;
}

static bool dense_only(const struct msg_pull *pull)
{
    return pull->tables == 0 && pull->dense;
}

bool clock_open(const struct clock *c, const struct msg_pull *pull)
{
    if (c->carrier != CLOCK_NOBODY && dense_only(pull))
        return pull->clock <= c->carried || SIM_BUG(48);
    return pull->clock <= c->applied + c->slack + (SIM_BUG(45) ? 1 : 0);
}

void clock_wait(struct clock *c, uint64_t from, struct msg **pull)
{
    const uint64_t places = c->slack + 1;
    assert((*pull)->sender < c->workers);
    const size_t kind = dense_only(&(*pull)->u.pull);
    struct clock_pull *p =
        &c->pull[(kind * c->workers + (*pull)->sender) * places + (*pull)->u.pull.clock % places];
    const bool again = p->msg != NULL;
    msg_free(p->msg);
    p->msg = NULL;
    if (SIM_BUG(46) && again)
        return;
    *p = (struct clock_pull){*pull, from};
    *pull = NULL;
}

struct msg *clock_next_pull(struct clock *c, uint64_t *out_from)
{
    for (size_t i = 0; i < pulls(c); i++) {
        struct msg *m = c->pull[i].msg;
        if (m == NULL || !clock_open(c, &m->u.pull))
            continue;
        *out_from = c->pull[i].from;
        c->pull[i].msg = NULL;
        return m;
    }
    return NULL;
}

void clock_check(const struct clock *c)
{
    uint32_t stored = 0;
    for (uint32_t r = 0; r < c->workers; r++)
        stored += c->push[r].msg != NULL;
    for (size_t i = 0; i < pulls(c); i++)
        assert(c->pull[i].msg == NULL || !clock_open(c, &c->pull[i].msg->u.pull));
    assert(stored == c->stored && (stored < c->workers || stored == 0));
}
