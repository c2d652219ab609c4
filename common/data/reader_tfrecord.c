/* reader_tfrecord.c - see reader_tfrecord.h.
 *
 * The few messages of tf.Example are read off the wire by hand: every length is held against what is left, unknown
 * fields are skipped, and a value is text as soon as it is read, because cells are text in every format.
 *
 *   Example  { Features features = 1 }         Features { map<string, Feature> feature = 1 }
 *   entry    { string key = 1; Feature value = 2 }
 *   Feature  { BytesList = 1 | FloatList = 2 | Int64List = 3 }, each { repeated value = 1 }, packed or not
 */
#include "common/data/reader_tfrecord.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/base/stream.h"

#define HEAD_BYTES 12u
#define CHUNK      ((size_t)1 << 20) /* memory follows bytes that are there, not a length that says so */

enum { WIRE_VARINT = 0, WIRE_8 = 1, WIRE_BYTES = 2, WIRE_4 = 5 };

struct reader_tfrecord {
    struct stream *stream;
    char *path;
    struct columns *columns; /* borrowed */
    uint8_t *data;           /* one record and its checksum; owned */
    size_t cap;
    uint64_t number, offset;
    char fault[160];
};

enum status reader_tfrecord_open(const char *path, uint64_t bytes_max, struct columns *columns,
                                 struct reader_tfrecord **out, struct errbuf *err)
{
    struct stream *stream;
    enum status st = stream_open(path, bytes_max, &stream, err);
    if (st != ST_OK)
        return st;
    struct reader_tfrecord *r = mem_zalloc(sizeof *r);
    r->stream = stream;
    r->path = mem_strdup(path);
    r->columns = columns;
    *out = r;
    return ST_OK;
}

void reader_tfrecord_close(struct reader_tfrecord *r)
{
    if (r == NULL)
        return;
    stream_close(r->stream);
    free(r->path);
    free(r->data);
    free(r);
}

uint64_t reader_tfrecord_in_bytes(const struct reader_tfrecord *r)
{
    return stream_in_bytes(r->stream);
}

/* ---- the wire ----------------------------------------------------------------------------------- */

static uint64_t take_varint(struct reader *in)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t b = reader_u8(in);
        if (shift == 63 && b > 1)
            break;
        v |= (uint64_t)(b & 127) << (shift < 64 ? shift : 63);
        if (b < 128)
            return v;
    }
    in->bad = true;
    return 0;
}

/* The next field's number (0 at the end or when bad) and, of bytes, a reader over them. */
static uint64_t take_field(struct reader *in, unsigned *out_wire, struct reader *out_bytes)
{
    if (in->bad || reader_left(in) == 0)
        return 0;
    uint64_t key = take_varint(in), n;
    *out_wire = (unsigned)(key & 7);
    if (*out_wire == WIRE_BYTES) {
        n = take_varint(in);
        const uint8_t *at = n <= reader_left(in) ? reader_view(in, (size_t)n) : NULL;
        if (at == NULL)
            in->bad = true;
        else
            reader_init(out_bytes, at, (size_t)n);
    } else if (*out_wire != WIRE_VARINT && *out_wire != WIRE_4 && *out_wire != WIRE_8) {
        in->bad = true;
    }
    if (key >> 3 == 0)
        in->bad = true;
    return in->bad ? 0 : key >> 3;
}

/* A field that is not ours; bytes were taken already. */
static void skip_field(struct reader *in, unsigned wire)
{
    if (wire == WIRE_VARINT)
        take_varint(in);
    else if (wire == WIRE_4)
        reader_u32(in);
    else if (wire == WIRE_8)
        reader_u64(in);
}

struct feature { /* whose values are read */
    struct columns *columns;
    const char *name;
    size_t name_n;
    bool list;
    const char *fault;
};

static void give(struct feature *f, const char *at, size_t n, bool copy)
{
    struct given v = {.at = at, .n = n, .weight = 1, .list = f->list, .copy = copy};
    if (f->fault == NULL)
        f->fault = columns_give(f->columns, f->name, f->name_n, &v);
}

static void give_number(struct feature *f, struct reader *in, bool is_float)
{
    char text[32];
    int n = is_float ? snprintf(text, sizeof text, "%.9g", (double)reader_f32(in))
                     : snprintf(text, sizeof text, "%" PRId64, (int64_t)take_varint(in));
    if (!in->bad)
        give(f, text, (size_t)n, true);
}

/* Values in a list, so far as it takes to tell none, one and more apart. */
static unsigned count_values(struct reader in, bool bytes, bool is_float)
{
    struct reader packed;
    unsigned wire, n = 0;
    for (uint64_t field; n < 2 && (field = take_field(&in, &wire, &packed)) != 0;) {
        if (wire != WIRE_BYTES)
            skip_field(&in, wire);
        if (field != 1)
            continue;
        if (bytes || wire != WIRE_BYTES)
            n++;
        while (!bytes && wire == WIRE_BYTES && n < 2 && !packed.bad && reader_left(&packed) > 0) {
            skip_field(&packed, is_float ? WIRE_4 : WIRE_VARINT);
            n++;
        }
    }
    return n;
}

static void take_list(struct feature *f, uint64_t kind, struct reader *in)
{
    struct reader value;
    unsigned wire;
    bool bytes = kind == 1, is_float = kind == 2;
    unsigned number = is_float ? WIRE_4 : WIRE_VARINT;
    f->list = count_values(*in, bytes, is_float) > 1;
    for (uint64_t field; (field = take_field(in, &wire, &value)) != 0;) {
        if (field != 1) {
            skip_field(in, wire);
        } else if (bytes) {
            in->bad |= wire != WIRE_BYTES;
            if (!in->bad)
                give(f, (const char *)value.at, reader_left(&value), false);
        } else if (wire == WIRE_BYTES) {
            while (!value.bad && reader_left(&value) > 0 && f->fault == NULL)
                give_number(f, &value, is_float);
            in->bad |= value.bad;
        } else if (wire == number) {
            give_number(f, in, is_float);
        } else {
            in->bad = true;
        }
        if (f->fault != NULL)
            return;
    }
}

static const char *take_entry(struct columns *columns, struct reader *in)
{
    struct feature f = {columns, "", 0, false, NULL};
    struct reader bytes, value = *in, list;
    unsigned wire;
    uint64_t field;
    bool has_value = false;
    while ((field = take_field(in, &wire, &bytes)) != 0) {
        if (wire != WIRE_BYTES) {
            skip_field(in, wire);
        } else if (field == 1) {
            f.name = (const char *)bytes.at;
            f.name_n = reader_left(&bytes);
        } else if (field == 2) {
            value = bytes;
            has_value = true;
        }
    }
    while (has_value && !in->bad && (field = take_field(&value, &wire, &list)) != 0) {
        if (wire != WIRE_BYTES || field > 3) {
            skip_field(&value, wire);
            continue;
        }
        take_list(&f, field, &list);
        value.bad |= list.bad;
        if (f.fault != NULL)
            return f.fault;
    }
    in->bad |= value.bad;
    return NULL;
}

static const char *take_example(struct reader_tfrecord *r, const uint8_t *data, size_t n)
{
    struct reader example, features, entry;
    const char *fault = NULL;
    unsigned wire;
    uint64_t field;
    reader_init(&example, data, n);
    while (fault == NULL && (field = take_field(&example, &wire, &features)) != 0) {
        if (field != 1 || wire != WIRE_BYTES) {
            skip_field(&example, wire);
            continue;
        }
        while (fault == NULL && (field = take_field(&features, &wire, &entry)) != 0) {
            if (field != 1 || wire != WIRE_BYTES) {
                skip_field(&features, wire);
                continue;
            }
            fault = take_entry(r->columns, &entry);
            features.bad |= entry.bad;
        }
        example.bad |= features.bad;
    }
    return fault == NULL && example.bad ? "no tf.Example (its fields don't fit its length)" : fault;
}

/* ---- the file ----------------------------------------------------------------------------------- */

static enum status fill(struct reader_tfrecord *r, size_t from, size_t n, size_t *out_n,
                        struct errbuf *err)
{
    size_t had = 0;
    while (had < n) {
        size_t got, want = n - had < CHUNK ? n - had : CHUNK;
        if (from + had + want > r->cap)
            mem_grow(&r->data, &r->cap, from + had + want, 1);
        enum status st = stream_read(r->stream, r->data + from + had, want, &got, err);
        if (st != ST_OK)
            return st;
        if (got == 0)
            break;
        had += got;
    }
    *out_n = had;
    return ST_OK;
}

static uint32_t u32_at(const uint8_t *at)
{
    struct reader in;
    reader_init(&in, at, 4);
    return reader_u32(&in);
}

static uint64_t u64_at(const uint8_t *at)
{
    struct reader in;
    reader_init(&in, at, 8);
    return reader_u64(&in);
}

bool reader_tfrecord_begins(const void *bytes, size_t n)
{
    return n >= HEAD_BYTES && u32_at((const uint8_t *)bytes + 8) == crc32c_masked(bytes, 8);
}

static enum status damaged(const struct reader_tfrecord *r, const char *what, struct errbuf *err)
{
    return errbuf_set(err, ST_BAD_DATA,
                      "%s: record %" PRIu64 " at byte %" PRIu64
                      ": %s; cut the file there, or fetch it again",
                      r->path, r->number, r->offset, what);
}

static enum status read_head(struct reader_tfrecord *r, uint64_t *out_n, struct errbuf *err)
{
    size_t got;
    enum status st = fill(r, 0, HEAD_BYTES, &got, err);
    if (st != ST_OK)
        return st;
    if (got == 0)
        return ST_END;
    if (got < HEAD_BYTES)
        return damaged(r, "the file ends inside a record", err);
    if (!reader_tfrecord_begins(r->data, got))
        return damaged(r,
                       r->number == 1 ? "its length fails its checksum: no TFRecord file?"
                                      : "its length fails its checksum",
                       err);
    *out_n = u64_at(r->data);
    if (*out_n > TFRECORD_BYTES_MAX)
        return damaged(r, "longer than 64 MiB", err);
    return ST_OK;
}

enum status reader_tfrecord_next(struct reader_tfrecord *r, struct named_record *out,
                                 struct errbuf *err)
{
    uint64_t n = 0;
    size_t got;
    r->number++;
    enum status st = read_head(r, &n, err);
    if (st == ST_OK)
        st = fill(r, 0, (size_t)n + 4, &got, err);
    if (st != ST_OK)
        return st;
    if (got < (size_t)n + 4)
        return damaged(r, "the file ends inside a record", err);
    columns_reset(r->columns);
    const char *fault = NULL;
    if (u32_at(r->data + n) != crc32c_masked(r->data, (size_t)n))
        fault = "its data fails its checksum";
    else
        fault = take_example(r, r->data, (size_t)n);
    if (fault != NULL) {
        columns_reset(r->columns);
        snprintf(r->fault, sizeof r->fault, "record at byte %" PRIu64 ": %s", r->offset, fault);
        fault = r->fault;
    }
    columns_end(r->columns);
    *out = (struct named_record){r->columns, (const char *)r->data, (size_t)n, r->number, r->offset,
                                 fault};
    r->offset += HEAD_BYTES + n + 4;
    return ST_OK;
}
