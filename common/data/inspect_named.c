/* inspect_named.c - see inspect_named.h. Columns are those whose names are met in the first rows. */
#include "common/data/inspect_named.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/job.h"
#include "common/base/mem.h"
#include "common/base/stream.h"
#include "common/base/utf8.h"
#include "common/data/columns.h"
#include "common/data/inspect_column.h"
#include "common/data/reader_json.h"
#include "common/data/reader_pairs.h"
#include "common/data/reader_query.h"
#include "common/data/reader_tfrecord.h"

#define BYTES_MAX   ((uint64_t)1 << 50)
#define PROBE_ROWS  500u
#define COLUMNS_MAX 4000u /* a job has at most 4096 fields */
#define NAME_MAX_N  200u
#define SLOTS       16384u /* of the table of names; four times COLUMNS_MAX */

/* ---- which format ------------------------------------------------------------------------------- */

static enum status first_bytes(const char *path, uint8_t *bytes, size_t n, size_t *out_n,
                               struct errbuf *err)
{
    struct stream *s;
    enum status st = stream_open(path, BYTES_MAX, &s, err);
    if (st != ST_OK)
        return st;
    for (*out_n = 0; st == ST_OK && *out_n < n;) {
        size_t got = 0;
        st = stream_read(s, bytes + *out_n, n - *out_n, &got, err);
        *out_n += got;
        if (got == 0)
            break;
    }
    stream_close(s);
    return st;
}

struct probe {                 /* pairs of the first lines */
    uint64_t pairs, bare, odd; /* odd: a value with a colon in it */
    struct keyset slot, value; /* distinct ones */
};

static void see_pair(void *arg, const char *name, size_t n, const struct given *v)
{
    struct probe *p = arg;
    if (!v->list) {
        p->bare++;
        return;
    }
    p->pairs++;
    p->odd += memchr(v->at, ':', v->n) != NULL;
    /* Without memory the guess is a little worse. */
    enum status st = keyset_add(&p->slot, hash_bytes(name, n, 0), NULL);
    if (st == ST_OK)
        st = keyset_add(&p->value, hash_bytes(v->at, v->n, 0), NULL);
    (void)st;
}

/* Lines of pairs of a kind: nine of ten are, and have more pairs than anything else. */
static enum status probe_pairs(const char *path, enum pairs_kind kind, struct probe *p, bool *out,
                               struct errbuf *err)
{
    struct columns none;
    struct reader_pairs *r = NULL;
    struct named_record rec;
    uint64_t rows = 0, good = 0;
    columns_init(&none, NULL, 0);
    columns_watch(&none, see_pair, p);
    enum status st = reader_pairs_open(path, BYTES_MAX, kind, &none, &r, err);
    while (st == ST_OK && rows < PROBE_ROWS && (st = reader_pairs_next(r, &rec, err)) == ST_OK) {
        rows++;
        good += rec.fault == NULL;
    }
    reader_pairs_close(r);
    columns_release(&none);
    *out = rows > 0 && good * 10 >= rows * 9 && p->pairs >= 2 * rows && p->odd == 0;
    return st == ST_END ? ST_OK : st;
}

static enum status is_pairs(struct inspect *in, bool *out, struct errbuf *err)
{
    struct probe p;
    memset(&p, 0, sizeof p);
    enum status st = probe_pairs(in->path, PAIRS_LIBFFM, &p, out, err);
    in->format = JOB_LIBFFM;
    keyset_release(&p.slot);
    keyset_release(&p.value);
    if (st != ST_OK || *out)
        return st;
    memset(&p, 0, sizeof p);
    st = probe_pairs(in->path, PAIRS_SLOT_FIRST, &p, out, err);
    *out = *out && p.pairs >= 9 * p.bare;
    in->format = JOB_SLOTS;
    /* Slots are few, what stands in them is many. */
    in->slot_last = *out && p.value.used < p.slot.used;
    keyset_release(&p.slot);
    keyset_release(&p.value);
    return st;
}

enum status inspect_named_is(struct inspect *in, bool *out, struct errbuf *err)
{
    uint8_t begin[64];
    size_t n = 0, at = 0;
    *out = true;
    enum status st = first_bytes(in->path, begin, sizeof begin, &n, err);
    if (st != ST_OK)
        return st;
    if (n >= 3 && memcmp(begin, "\xEF\xBB\xBF", 3) == 0)
        at = 3;
    while (at < n &&
           (begin[at] == ' ' || begin[at] == '\t' || begin[at] == '\r' || begin[at] == '\n'))
        at++;
    if (n >= 4 && memcmp(begin, "PAR1", 4) == 0)
        in->format = JOB_PARQUET;
    else if (reader_tfrecord_begins(begin, n))
        in->format = JOB_TFRECORD;
    else if (at < n && begin[at] == '{')
        in->format = JOB_JSON;
    else
        return is_pairs(in, out, err);
    return ST_OK;
}

/* ---- the sample --------------------------------------------------------------------------------- */

struct sample {
    struct inspect *in;
    size_t cap;
    struct keyset *distinct; /* (columns); owned */
    size_t distincts_cap;
    uint64_t *row;  /* (columns) last row with a value, from 1; owned */
    uint64_t *here; /* (columns) values in that row; owned */
    size_t rows_cap, heres_cap;
    uint32_t *slot; /* (SLOTS) column + 1; owned */
    uint64_t now;   /* the row being read, from 1 */
    enum status st;
    struct errbuf *err;
};

static struct inspect_column *column_of(struct sample *s, const char *name, size_t n)
{
    struct inspect *in = s->in;
    size_t at = (size_t)hash_bytes(name, n, 0) & (SLOTS - 1);
    for (; s->slot[at] != 0; at = (at + 1) & (SLOTS - 1)) {
        struct inspect_column *c = &in->column[s->slot[at] - 1];
        if (strlen(c->name) == n && memcmp(c->name, name, n) == 0)
            return c;
    }
    size_t i = in->columns_used;
    char copy[NAME_MAX_N + 1];
    if (i == COLUMNS_MAX || n == 0 || n > NAME_MAX_N)
        return NULL;
    memcpy(copy, name, n);
    copy[n] = 0;
    if (strlen(copy) != n || !utf8_valid(copy) || copy[n - 1] == ']')
        return NULL;
    mem_grow(&in->column, &s->cap, i + 1, sizeof *in->column);
    mem_grow(&s->distinct, &s->distincts_cap, i + 1, sizeof *s->distinct);
    mem_grow(&s->row, &s->rows_cap, i + 1, sizeof *s->row);
    mem_grow(&s->here, &s->heres_cap, i + 1, sizeof *s->here);
    memset(&in->column[i], 0, sizeof in->column[i]);
    memset(&s->distinct[i], 0, sizeof s->distinct[i]);
    s->row[i] = s->here[i] = 0;
    in->column[i].name = mem_strdup(copy);
    s->slot[at] = (uint32_t)++in->columns_used;
    return &in->column[i];
}

static void see_value(void *arg, const char *name, size_t n, const struct given *v)
{
    struct sample *s = arg;
    struct inspect_column *c = column_of(s, name, n);
    if (c == NULL || s->st != ST_OK)
        return;
    size_t i = (size_t)(c - s->in->column);
    if (s->row[i] != s->now) {
        s->row[i] = s->now;
        s->here[i] = 0;
        c->with++;
    }
    s->here[i]++;
    /* In slots and libffm every value stands in a list; only more than one makes it one. */
    bool pairs = s->in->format == JOB_SLOTS || s->in->format == JOB_LIBFFM;
    c->lists += s->here[i] == 2 || (v->list && !pairs && s->here[i] == 1);
    c->most = s->here[i] > c->most ? s->here[i] : c->most;
    s->st = inspect_add(c, &s->distinct[i], v->at, v->n, s->err);
}

struct opened { /* one of them */
    struct reader_json *json;
    struct reader_pairs *pairs;
    struct reader_tfrecord *tfrecord;
    struct reader_query *query;
};

/* A query gives no column that is not asked for. */
static enum status parquet_columns(const struct inspect *in, struct columns *c, struct errbuf *err)
{
    struct buffer text = BUFFER_INIT;
    const char **names = NULL;
    size_t used = 0, cap = 0;
    enum status st = reader_query_describe("", "", in->path, &text, err);
    buffer_text(&text);
    for (char *line = (char *)text.data, *end; st == ST_OK && *line != 0; line = end + 1) {
        end = strchr(line, '\n');
        *end = 0;
        char *tab = strrchr(line, '\t'), *type = tab + 1;
        *tab = 0;
        if (strncmp(type, "STRUCT", 6) == 0 || strncmp(type, "MAP", 3) == 0 ||
            strncmp(type, "UNION", 5) == 0 || strstr(type, "[][]") != NULL || used == COLUMNS_MAX)
            continue;
        mem_grow(&names, &cap, used + 1, sizeof *names);
        names[used++] = line;
    }
    if (st == ST_OK)
        columns_init(c, names, used);
    free(names);
    buffer_release(&text);
    return st;
}

static enum status open_one(const struct inspect *in, struct columns *c, struct opened *o,
                            struct errbuf *err)
{
    switch (in->format) {
    case JOB_JSON: return reader_json_open(in->path, BYTES_MAX, c, &o->json, err);
    case JOB_TFRECORD: return reader_tfrecord_open(in->path, BYTES_MAX, c, &o->tfrecord, err);
    case JOB_LIBFFM: return reader_pairs_open(in->path, BYTES_MAX, PAIRS_LIBFFM, c, &o->pairs, err);
    case JOB_SLOTS:
        return reader_pairs_open(in->path, BYTES_MAX,
                                 in->slot_last ? PAIRS_SLOT_LAST : PAIRS_SLOT_FIRST, c, &o->pairs,
                                 err);
    default: return reader_query_open("", "", in->path, c, &o->query, err);
    }
}

static enum status next_one(const struct opened *o, struct named_record *rec, struct errbuf *err)
{
    return o->json != NULL       ? reader_json_next(o->json, rec, err)
           : o->pairs != NULL    ? reader_pairs_next(o->pairs, rec, err)
           : o->tfrecord != NULL ? reader_tfrecord_next(o->tfrecord, rec, err)
                                 : reader_query_next(o->query, rec, err);
}

static enum status read_rows(struct sample *s, struct columns *c, struct errbuf *err)
{
    struct inspect *in = s->in;
    struct opened o = {NULL, NULL, NULL, NULL};
    struct named_record rec;
    enum status st = open_one(in, c, &o, err);
    while (st == ST_OK && in->rows + in->bad < INSPECT_ROWS) {
        s->now++;
        st = next_one(&o, &rec, err);
        if (st == ST_OK && s->st != ST_OK)
            st = s->st;
        in->rows += st == ST_OK && rec.fault == NULL;
        in->bad += st == ST_OK && rec.fault != NULL;
    }
    in->whole = st == ST_END;
    reader_json_close(o.json);
    reader_pairs_close(o.pairs);
    reader_tfrecord_close(o.tfrecord);
    reader_query_close(o.query);
    return st == ST_END ? ST_OK : st;
}

/* ---- types -------------------------------------------------------------------------------------- */

/* Lists of numbers with a point are dense features, a float each; other lists are bags. */
static void type_of(struct inspect *in, struct inspect_column *c)
{
    uint64_t values = c->numbers + c->dates;
    uint64_t none = c->missing; /* values that say so; a record without the name is missing, too */
    c->missing = in->rows > c->with ? in->rows - c->with : 0;
    if (c->lists == 0) {
        c->missing += none;
        if (c->missing > in->rows)
            c->missing = in->rows;
        inspect_type(c, in->rows, true);
        return;
    }
    c->type = FIELD_IDS;
    c->why = "";
    c->sep = '|';
    if (c->numbers > 0 && c->integers < c->numbers && c->dates == 0 && values == c->numbers &&
        c->most <= INSPECT_DENSE_MAX)
        c->type = FIELD_FLOAT;
}

static enum status without_library(struct inspect *in, enum status st, struct errbuf *err)
{
    if (st != ST_NOT_FOUND || in->format != JOB_PARQUET)
        return st;
    in->note = mem_strdup(err != NULL ? err->text : "DuckDB's library is missing");
    return ST_OK;
}

enum status inspect_named_read(struct inspect *in, struct errbuf *err)
{
    struct columns c;
    struct sample s;
    memset(&s, 0, sizeof s);
    s.in = in;
    s.err = err;
    s.slot = mem_array(SLOTS, sizeof *s.slot);
    memset(&c, 0, sizeof c);
    enum status st = ST_OK;
    if (in->format == JOB_PARQUET)
        st = parquet_columns(in, &c, err);
    else
        columns_init(&c, NULL, 0);
    if (st == ST_OK) {
        columns_watch(&c, see_value, &s);
        st = read_rows(&s, &c, err);
    }
    for (size_t i = 0; i < in->columns_used; i++) {
        in->column[i].distinct = s.distinct[i].used + (s.distinct[i].zero > 0);
        keyset_release(&s.distinct[i]);
        type_of(in, &in->column[i]);
    }
    in->header = true;
    inspect_label(in);
    columns_release(&c);
    free(s.distinct);
    free(s.row);
    free(s.here);
    free(s.slot);
    return without_library(in, st, err);
}
