/* fit.c - see fit.h. */
#include "common/feature/fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

void fit_begin(struct fit *f, struct encoder *e)
{
    f->encoder = e;
    f->counts = mem_array(e->schema.vocabs_used + 1, sizeof *f->counts);
    f->num = mem_array(e->schema.floats_used + 1, sizeof *f->num);
}

void fit_release(struct fit *f)
{
    for (size_t v = 0; f->counts != NULL && v < f->encoder->schema.vocabs_used; v++)
        keyset_release(&f->counts[v]);
    free(f->counts);
    free(f->num);
    memset(f, 0, sizeof *f);
}

static enum status add_keys(struct fit *f, size_t slot, const struct encoder_rows *rows,
                            struct errbuf *err)
{
    const struct schema *s = &f->encoder->schema;
    size_t F = s->ids_used, v = s->field[s->ids[slot]].vocab;
    const struct encoder_vocab *vocab = &f->encoder->vocab[v];
    for (size_t i = 0; i < rows->n; i++) {
        size_t at = i * F + slot;
        size_t k = rows->offsets ? rows->offsets[at] : at;
        size_t end = rows->offsets ? rows->offsets[at + 1] : at + 1;
        for (; k < end; k++) {
            if (rows->keys[k] == vocab->missing)
                continue;
            enum status st = keyset_add(&f->counts[v], rows->keys[k], err);
            if (st != ST_OK)
                return st;
        }
    }
    return ST_OK;
}

static void add_floats(struct fit_float *t, const float *x, size_t n, size_t D)
{
    double sum = 0, count = 0, m2 = 0, low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        double v = x[i * D];
        if (isnan(v))
            continue;
        sum += v;
        count++;
        if (v < low)
            low = v;
        if (v > high)
            high = v;
    }
    if (count == 0)
        return;
    double mean = sum / count;
    for (size_t i = 0; i < n; i++) {
        double v = x[i * D] - mean;
        if (!isnan(v))
            m2 += v * v;
    }
    if (t->n == 0) {
        *t = (struct fit_float){count, mean, m2, low, high};
        return;
    }
    double all = t->n + count, delta = mean - t->mean;
    t->m2 += m2 + delta * delta * t->n * count / all;
    t->mean += delta * count / all;
    t->n = all;
    if (low < t->min)
        t->min = low;
    if (high > t->max)
        t->max = high;
}

enum status fit_add(struct fit *f, const struct encoder_rows *rows, struct errbuf *err)
{
    const struct encoder *e = f->encoder;
    for (size_t slot = 0; slot < e->schema.ids_used; slot++) {
        const struct schema_field *field = &e->schema.field[e->schema.ids[slot]];
        if (e->vocab[field->vocab].min_count == 0 ||
            field->derived) /* it repeats what was counted */
            continue;
        enum status st = add_keys(f, slot, rows, err);
        if (st != ST_OK)
            return st;
    }
    size_t D = e->schema.floats_used;
    for (size_t j = 0; j < D; j++)
        if (e->num[j].norm == NORM_STANDARD || e->num[j].norm == NORM_MINMAX)
            add_floats(&f->num[j], rows->floats + j, rows->n, D);
    return ST_OK;
}

static enum status keep(struct encoder_vocab *v, const struct keyset *counts, struct errbuf *err)
{
    uint64_t *keys = NULL;
    size_t n = 0;
    uint32_t least = v->min_count < UINT32_MAX ? (uint32_t)v->min_count : UINT32_MAX;
    enum status st = keyset_sorted(counts, least, &keys, &n, err);
    for (size_t i = 0; st == ST_OK && i < n; i++)
        st = keyset_add(&v->kept, keys[i], err);
    free(keys);
    return st;
}

enum status fit_end(struct fit *f, struct errbuf *err)
{
    struct encoder *e = f->encoder;
    enum status st = ST_OK;
    for (size_t v = 0; st == ST_OK && v < e->schema.vocabs_used; v++)
        if (e->vocab[v].min_count > 0)
            st = keep(&e->vocab[v], &f->counts[v], err);
    for (size_t j = 0; st == ST_OK && j < e->schema.floats_used; j++) {
        const struct fit_float *t = &f->num[j];
        if (t->n == 0)
            continue;
        bool standard = e->num[j].norm == NORM_STANDARD;
        e->num[j].a = standard ? t->mean : t->min;
        e->num[j].b = standard ? sqrt(t->m2 / t->n) : t->max;
    }
    if (st == ST_OK)
        e->fitted = true;
    fit_release(f);
    return st;
}
