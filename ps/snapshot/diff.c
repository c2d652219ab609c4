/* diff.c - two merged cuts walked side by side. See diff.h. */
#include "ps/snapshot/diff.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct side { /* one table of one cut; table NULL: this side's plan hasn't got it */
    struct chain_cursor at;
    bool open;
    enum status st; /* ST_OK: key, t and row stand; ST_END */
    uint64_t key;
    const struct part_table *t;
    struct part_row row;
};

static enum status side_next(struct side *s, struct errbuf *err)
{
    s->st = s->open ? chain_next(&s->at, &s->key, &s->t, &s->row, err) : ST_END;
    return s->st == ST_END ? ST_OK : s->st;
}

static enum status side_start(struct side *s, const struct chain *c, int table, struct errbuf *err)
{
    memset(s, 0, sizeof *s);
    s->open = table >= 0;
    if (s->open)
        chain_cursor_init(&s->at, c, (uint32_t)table);
    return side_next(s, err);
}

static float load_f32(const uint8_t *at)
{
    float v;
    memcpy(&v, at, sizeof v);
    return v;
}

static void compare_rows(const struct side *a, const struct side *b, struct diff_table *d)
{
    const struct part_row *x = &a->row, *y = &b->row;
    bool same_weights =
        x->weight_bytes == y->weight_bytes && memcmp(x->weights, y->weights, x->weight_bytes) == 0;
    bool same_state =
        x->state_bytes == y->state_bytes && memcmp(x->state, y->state, x->state_bytes) == 0;
    if (same_weights && same_state && memcmp(x->meta, y->meta, 8) == 0)
        return;
    d->changed++;
    for (uint32_t i = 0; i < x->weight_bytes && i < y->weight_bytes; i += 4) {
        float v = load_f32(x->weights + i), w = load_f32(y->weights + i);
        double off = fabs((double)v - (double)w);
        if (memcmp(x->weights + i, y->weights + i, 4) != 0 && !isfinite(off))
            off = INFINITY;
        if (off > d->weight_max) {
            d->weight_max = off;
            d->weight_key = a->key;
        }
    }
}

static enum status walk(struct side *a, struct side *b, struct diff_table *d, struct errbuf *err)
{
    enum status st = ST_OK;
    while (st == ST_OK && (a->st == ST_OK || b->st == ST_OK)) {
        bool has_a = a->st == ST_OK && (b->st != ST_OK || a->key <= b->key);
        bool has_b = b->st == ST_OK && (a->st != ST_OK || b->key <= a->key);
        d->rows_a += has_a;
        d->rows_b += has_b;
        if (has_a && has_b)
            compare_rows(a, b, d);
        else
            *(has_a ? &d->only_a : &d->only_b) += 1;
        if (has_a)
            st = side_next(a, err);
        if (has_b && st == ST_OK)
            st = side_next(b, err);
    }
    return st;
}

static enum status diff_one(const struct chain *a, const struct chain *b, const char *name,
                            struct diff_table *d, struct errbuf *err)
{
    int ta = plan_find(a->plan, name), tb = plan_find(b->plan, name);
    memset(d, 0, sizeof *d);
    snprintf(d->name, sizeof d->name, "%s", name);
    d->in_a = ta >= 0;
    d->in_b = tb >= 0;
    if (d->in_a && d->in_b && a->plan->tables[ta].dim != b->plan->tables[tb].dim)
        return errbuf_set(err, ST_BAD_DATA,
                          "table %s has rows of %u floats in one, of %u in the other", name,
                          a->plan->tables[ta].dim, b->plan->tables[tb].dim);
    struct side x, y;
    enum status st = side_start(&x, a, ta, err);
    enum status st_b = side_start(&y, b, tb, st == ST_OK ? err : NULL);
    if (st == ST_OK)
        st = st_b;
    if (st == ST_OK)
        st = walk(&x, &y, d, err);
    if (x.open)
        chain_cursor_release(&x.at);
    if (y.open)
        chain_cursor_release(&y.at);
    return st;
}

enum status diff_chains(const struct chain *a, const struct chain *b, struct diff_table *out,
                        size_t *out_n, struct errbuf *err)
{
    size_t n = 0;
    enum status st = ST_OK;
    for (size_t t = 0; t < a->plan->tables_used && st == ST_OK; t++)
        st = diff_one(a, b, a->plan->tables[t].name, &out[n++], err);
    for (size_t t = 0; t < b->plan->tables_used && st == ST_OK; t++)
        if (plan_find(a->plan, b->plan->tables[t].name) < 0)
            st = diff_one(a, b, b->plan->tables[t].name, &out[n++], err);
    *out_n = n;
    return st;
}
