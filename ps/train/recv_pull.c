/* recv_pull.c - a worker asks for rows; the answer is all that changes.
 *
 * A pull may come twice, from an evaluation, or from a worker that was given up: so rows are neither made
 * nor counted here. A row that has missed steps gets them in the answer, and so does the initial value of an
 * unknown key (exact L2 is as if all rows had always been there). Where no push will follow, an unknown key gets what a
 * snapshot's reader takes it for instead. What the push will need (keys, and the slots found) is remembered under a
 * handle.
 *
 * Dealt logs: a pull names the clock of its batch, and waits until that is open (clock.h).
 */
#include "ps/train/shard.h"

static bool sound(const struct shard *s, const struct msg *m)
{
    const struct msg_pull *p = &m->u.pull;
    const uint64_t *keys = m->frame[0].data;
    if (s->sparse < 64 && p->tables >> s->sparse != 0)
        return false;
    for (uint32_t i = 0; i < p->n; i++) {
        if (s->map[hash_bucket(keys[i])] != s->conf.shard)
            return false;
    }
    return true;
}

uint64_t shard_dense_step(const struct shard *s)
{
    const struct clock *c = &s->clock;
    return c->carrier == CLOCK_NOBODY ? s->now.step : s->now.step - (c->fastest - c->carried);
}

static struct frame dense_frame(struct shard *s, enum plan_kind kind)
{
    for (size_t t = s->sparse; t < s->conf.plan->tables_used; t++) {
        struct shard_dense *d = &s->dense[t];
        if (s->conf.plan->tables[t].kind != kind)
            continue;
        struct frame f = frame_pool_get(s->conf.pool, d->n * DENSE_BLOCK * sizeof(float));
        applier_pull(s->applier, (uint32_t)t, d->keys, d->n, d->slots, shard_dense_step(s), f.data);
        return f;
    }
    return (struct frame){0};
}

/* No push will follow: an evaluation sees what a snapshot's reader will. */
static void put_absent(const struct shard *s, uint32_t t, const uint64_t *keys,
                       const uint32_t *slots, size_t n, float *rows)
{
    for (size_t i = 0; i < n; i++) {
        if (slots[i] == SLOT_NONE)
            plan_absent_row(s->conf.plan, t, keys[i], rows + i * s->conf.plan->tables[t].dim);
    }
}

static void answer(struct shard *s, uint64_t from, struct msg *m)
{
    const struct msg_pull *p = &m->u.pull;
    struct msg *r = shard_msg(s, MSG_ROWS);
    const uint64_t *keys = m->frame[0].data;
    size_t n = p->n;
    struct frame slots = frame_pool_get(s->conf.pool, s->sparse * n * sizeof(uint32_t));
    uint32_t *slot = slots.data;
    for (size_t i = 0; i < s->sparse * n; i++)
        slot[i] = SLOT_NONE;
    for (size_t t = 0; t < s->sparse; t++) {
        if ((p->tables >> t & 1) == 0)
            continue;
        struct frame *f = &r->frame[r->frames++];
        *f = frame_pool_get(s->conf.pool, n * s->conf.plan->tables[t].dim * sizeof(float));
        if (n > 0)
            applier_pull(s->applier, (uint32_t)t, keys, n, slot + t * n, s->now.step, f->data);
        if (!p->handle)
            put_absent(s, (uint32_t)t, keys, slot + t * n, n, f->data);
        for (size_t i = 0; SIM_BUG(40) && i < n; i++) {
            if (slot[t * n + i] == SLOT_NONE &&
                table_add(s->store->table[t], keys[i], &slot[t * n + i], NULL) != ST_OK)
                break;
        }
    }
    if (p->dense) {
        r->frame[r->frames++] = dense_frame(s, PLAN_DENSE);
        r->frame[r->frames++] = dense_frame(s, PLAN_STAT);
    }
    r->u.rows = (struct msg_rows){.request = p->request, .n = p->n, .step = s->now.step};
    if (p->handle)
        r->u.rows.handle = handles_add(&s->handles, &m->frame[0], &slots, p->n);
    else
        frame_release(&slots);
    shard_send(s, from, r);
}

void shard_recv_pull(struct shard *s, uint64_t from, struct msg **m)
{
    if (s->loading || s->fault)
        return; /* asked again later */
    if (!sound(s, *m))
        shard_refuse(s, from, *m, "a pull of tables or keys that this shard does not have");
    else if (clock_open(&s->clock, &(*m)->u.pull) || SIM_BUG(44))
        answer(s, from, *m);
    else if ((*m)->sender < s->clock.workers)
        clock_wait(&s->clock, from, m);
}

void shard_answer_pulls(struct shard *s)
{
    uint64_t from;
    struct msg *m;
    while ((m = clock_next_pull(&s->clock, &from)) != NULL) {
        answer(s, from, m);
        msg_free(m);
    }
}
