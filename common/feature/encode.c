/* encode.c - see encode.h. */
#include "common/feature/encode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/feature/number.h"

/* A cell can hold no NUL byte (readers refuse it), so these never equal the key of a cell. */
static const char OOV[] = "\0oov";
static const char MISSING[] = "\0missing";

static void set_vocab(struct encoder *e, const struct schema_field *f)
{
    struct encoder_vocab *v = &e->vocab[f->vocab];
    const char *name = e->schema.vocab[f->vocab];
    v->seed = hash_bytes(name, strlen(name), 0);
    v->oov = hash_bytes(OOV, sizeof OOV - 1, v->seed);
    v->missing = hash_bytes(MISSING, sizeof MISSING - 1, v->seed);
    v->hash = f->hash;
    v->min_count = f->min_count;
}

/* Also for encoder_parse: everything that follows from the schema alone. */
static struct encoder *from_schema(const struct schema *s)
{
    struct encoder *e = mem_zalloc(sizeof *e);
    e->schema = *s;
    e->vocab = mem_array(s->vocabs_used + 1, sizeof *e->vocab);
    e->num = mem_array(s->floats_used + 1, sizeof *e->num);
    e->fitted = true;
    for (size_t i = 0; i < s->ids_used; i++) {
        set_vocab(e, &s->field[s->ids[i]]);
        e->fitted &= s->field[s->ids[i]].min_count == 0;
    }
    for (size_t j = 0; j < s->floats_used; j++) {
        int norm = s->field[s->floats[j]].norm;
        e->num[j] = (struct encoder_float){norm, 0, 1};
        e->fitted &= norm != NORM_STANDARD && norm != NORM_MINMAX;
    }
    return e;
}

enum status encoder_new(const struct job *job, struct encoder **out, struct errbuf *err)
{
    struct schema s;
    enum status st = schema_init(&s, job, err);
    if (st == ST_OK)
        *out = from_schema(&s);
    return st;
}

enum status encoder_new_events(const struct job *job, struct encoder **out, struct errbuf *err)
{
    struct schema s;
    enum status st = schema_init_events(&s, job, err);
    if (st == ST_OK)
        *out = from_schema(&s);
    return st;
}

void encoder_free(struct encoder *e)
{
    if (e == NULL)
        return;
    for (size_t v = 0; v < e->schema.vocabs_used; v++)
        keyset_release(&e->vocab[v].kept);
    free(e->vocab);
    free(e->num);
    schema_release(&e->schema);
    free(e);
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

void encoder_trim(const char **cell, size_t *n)
{
    const char *p = *cell, *end = p + *n;
    while (p < end && is_blank(*p))
        p++;
    while (p < end && is_blank(end[-1]))
        end--;
    *cell = p;
    *n = (size_t)(end - p);
}

static const struct encoder_vocab *vocab_of(const struct encoder *e, size_t id_slot)
{
    return &e->vocab[e->schema.field[e->schema.ids[id_slot]].vocab];
}

static uint64_t fold(const struct encoder_vocab *v, uint64_t key)
{
    return v->hash == 0 ? key : hash_u64(v->seed + key % v->hash);
}

uint64_t encoder_key(const struct encoder *e, size_t id_slot, const char *cell, size_t n)
{
    const struct encoder_vocab *v = vocab_of(e, id_slot);
    return fold(v, hash_bytes(cell, n, v->seed));
}

uint64_t encoder_key_u64(const struct encoder *e, size_t id_slot, uint64_t id)
{
    const struct encoder_vocab *v = vocab_of(e, id_slot);
    return fold(v, hash_u64(id ^ v->seed));
}

uint64_t encoder_key_missing(const struct encoder *e, size_t id_slot)
{
    return vocab_of(e, id_slot)->missing;
}

static uint64_t key_kept(const struct encoder_vocab *v, uint64_t raw)
{
    return raw == v->missing || keyset_count(&v->kept, raw) > 0 ? raw : v->oov;
}

uint64_t encoder_key_fitted(const struct encoder *e, size_t id_slot, uint64_t raw)
{
    const struct encoder_vocab *v = vocab_of(e, id_slot);
    return v->min_count == 0 ? raw : key_kept(v, raw);
}

static float norm_float(const struct encoder_float *t, float raw)
{
    double x = raw;
    if (isnan(raw))
        return 0;
    switch (t->norm) {
    case NORM_LOG: return (float)copysign(log1p(fabs(x)), x);
    case NORM_STANDARD: return (float)((x - t->a) / (t->b > 0 ? t->b : 1));
    case NORM_MINMAX:
        if (!(t->b > t->a))
            return 0;
        /* A value beyond what train had would be the largest input the model ever saw. */
        x = (x - t->a) / (t->b - t->a);
        return (float)(x < 0 ? 0 : x > 1 ? 1 : x);
    default: return raw;
    }
}

float encoder_float_fitted(const struct encoder *e, size_t float_slot, float raw)
{
    return norm_float(&e->num[float_slot], raw);
}

static void apply_keys(const struct encoder *e, const struct encoder_rows *rows, size_t slot)
{
    size_t F = e->schema.ids_used;
    const struct encoder_vocab *v = vocab_of(e, slot);
    for (size_t i = 0; i < rows->n; i++) {
        size_t at = i * F + slot;
        size_t k = rows->offsets ? rows->offsets[at] : at;
        size_t end = rows->offsets ? rows->offsets[at + 1] : at + 1;
        for (; k < end; k++)
            rows->keys[k] = key_kept(v, rows->keys[k]);
    }
}

void encoder_apply(const struct encoder *e, const struct encoder_rows *rows)
{
    for (size_t slot = 0; slot < e->schema.ids_used; slot++)
        if (vocab_of(e, slot)->min_count > 0)
            apply_keys(e, rows, slot);
    size_t D = e->schema.floats_used;
    for (size_t j = 0; j < D; j++)
        for (size_t i = 0; i < rows->n; i++)
            rows->floats[i * D + j] = norm_float(&e->num[j], rows->floats[i * D + j]);
}

size_t encoder_cell_keys(const struct encoder *e, size_t id_slot, const char *cell, size_t n,
                         uint64_t *keys, size_t keys_max)
{
    const struct schema_field *f = &e->schema.field[e->schema.ids[id_slot]];
    size_t used = 0, sep = strlen(f->sep);
    encoder_trim(&cell, &n);
    if (f->type != FIELD_IDS) {
        bool missing = schema_missing(&e->schema, cell, n);
        if (keys_max == 0)
            return 0;
        keys[0] = missing ? encoder_key_missing(e, id_slot)
                          : encoder_key_fitted(e, id_slot, encoder_key(e, id_slot, cell, n));
        return 1;
    }
    if (keys_max > f->ids_max)
        keys_max = (size_t)f->ids_max;
    const char *end = cell + n;
    while (cell <= end && used < keys_max) {
        const char *next = memmem(cell, (size_t)(end - cell), f->sep, sep);
        const char *token = cell;
        size_t token_n = (size_t)((next ? next : end) - cell);
        cell = next ? next + sep : end + 1;
        encoder_trim(&token, &token_n);
        if (token_n == 0 || schema_missing(&e->schema, token, token_n))
            continue;
        uint64_t raw = encoder_key(e, id_slot, token, token_n);
        keys[used++] = encoder_key_fitted(e, id_slot, raw);
    }
    return used;
}

const char *encoder_cell_float(const struct encoder *e, size_t float_slot, const char *cell,
                               size_t n, float *out)
{
    double x = NAN;
    encoder_trim(&cell, &n);
    if (!schema_missing(&e->schema, cell, n)) {
        const char *wrong = number_parse(cell, n, &x);
        if (wrong != NULL)
            return wrong;
    }
    *out = encoder_float_fitted(e, float_slot, (float)x);
    return NULL;
}

/* ---- file --------------------------------------------------------------------------------------- */

static const char MAGIC[8] = "PNSTKENC";
#define VERSION        1u
#define HEADER_BYTES   32u
#define FILE_BYTES_MAX ((size_t)16 << 30)

static enum status write_kept(const struct encoder_vocab *v, struct buffer *out, struct errbuf *err)
{
    uint64_t *keys;
    size_t n;
    enum status st = keyset_sorted(&v->kept, 1, &keys, &n, err);
    if (st != ST_OK)
        return st;
    buffer_u64(out, n);
    for (size_t i = 0; i < n; i++)
        buffer_u64(out, keys[i]);
    free(keys);
    return ST_OK;
}

enum status encoder_write(struct encoder *e, struct buffer *out, struct errbuf *err)
{
    struct buffer body = BUFFER_INIT;
    enum status st = ST_OK;
    schema_write(&e->schema, &body);
    for (size_t j = 0; j < e->schema.floats_used; j++) {
        buffer_f64(&body, e->num[j].a);
        buffer_f64(&body, e->num[j].b);
    }
    for (size_t v = 0; st == ST_OK && v < e->schema.vocabs_used; v++)
        st = write_kept(&e->vocab[v], &body, err);
    if (st == ST_OK) {
        e->hash = hash_bytes(body.data, body.used, 0);
        buffer_put(out, MAGIC, sizeof MAGIC);
        buffer_u32(out, VERSION);
        buffer_u32(out, 0);
        buffer_u64(out, body.used);
        buffer_u64(out, e->hash);
        buffer_put(out, body.data, body.used);
    }
    buffer_release(&body);
    return st;
}

enum status encoder_save(struct encoder *e, const char *path, struct errbuf *err)
{
    struct buffer b = BUFFER_INIT;
    enum status st = encoder_write(e, &b, err);
    if (st == ST_OK)
        st = file_write_atomic(path, b.data, b.used, err);
    buffer_release(&b);
    return st;
}

static enum status read_kept(struct encoder_vocab *v, struct reader *in, struct errbuf *err)
{
    uint64_t n = reader_u64(in);
    if (n > reader_left(in) / 8 || (n > 0 && v->min_count == 0))
        in->bad = true;
    for (uint64_t i = 0; !in->bad && i < n; i++) {
        enum status st = keyset_add(&v->kept, reader_u64(in), err);
        if (st != ST_OK)
            return st;
    }
    return ST_OK;
}

static enum status read_body(struct reader *in, struct encoder **out, struct errbuf *err)
{
    struct schema s;
    enum status st = schema_read(&s, in, err);
    if (st != ST_OK)
        return st;
    struct encoder *e = from_schema(&s);
    e->fitted = true;
    for (size_t j = 0; j < s.floats_used; j++) {
        e->num[j].a = reader_f64(in);
        e->num[j].b = reader_f64(in);
        if (!isfinite(e->num[j].a) || !isfinite(e->num[j].b))
            in->bad = true;
    }
    for (size_t v = 0; st == ST_OK && v < s.vocabs_used; v++)
        st = read_kept(&e->vocab[v], in, err);
    if (st == ST_OK && (in->bad || reader_left(in) != 0))
        st = errbuf_set(err, ST_BAD_DATA, "the fitted state is damaged");
    if (st == ST_OK)
        *out = e;
    else
        encoder_free(e);
    return st;
}

enum status encoder_parse(const void *bytes, size_t n, const char *name, struct encoder **out,
                          struct errbuf *err)
{
    struct reader in;
    reader_init(&in, bytes, n);
    const uint8_t *magic = reader_view(&in, sizeof MAGIC);
    if (magic == NULL || memcmp(magic, MAGIC, sizeof MAGIC) != 0)
        return errbuf_set(err, ST_BAD_DATA, "%s: not an encoder file", name);
    uint32_t version = reader_u32(&in), zero = reader_u32(&in);
    uint64_t size = reader_u64(&in), sum = reader_u64(&in);
    if (!in.bad && version != VERSION)
        return errbuf_set(err, ST_BAD_DATA, "%s: version %u, this program reads %u", name, version,
                          VERSION);
    if (in.bad || zero != 0 || size != reader_left(&in) || hash_bytes(in.at, size, 0) != sum)
        return errbuf_set(err, ST_BAD_DATA, "%s: damaged (checksum or length)", name);
    enum status st = read_body(&in, out, err);
    if (st != ST_OK)
        return errbuf_wrap(err, st, "%s: ", name);
    (*out)->hash = sum;
    return ST_OK;
}

enum status encoder_load(const char *path, struct encoder **out, struct errbuf *err)
{
    char *bytes;
    size_t n;
    enum status st = file_read(path, FILE_BYTES_MAX, &bytes, &n, err);
    if (st != ST_OK)
        return st;
    st = encoder_parse(bytes, n, path, out, err);
    free(bytes);
    return st;
}
