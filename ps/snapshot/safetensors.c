/* safetensors.c - write and read the safetensors format by its plain rule.
 *
 *   offset        bytes  what
 *   0             8      N, u64 little-endian: length of the header, padding included
 *   8             N      JSON object, first byte '{', padded with spaces so that N % 8 == 0
 *   8 + N         rest   the data section: tensors without holes, little-endian, C order
 *
 * The header is written by hand (a few printf a tensor) because its order is the order of the bytes, and
 * read with json.h, because what we read was perhaps not written by us. The reader believes nothing: every
 * field is checked before it is used, and after parsing the tensors, sorted by offset, must tile the data
 * section exactly, so that `begin` and `end` need no further check by anyone.
 */
#include "ps/snapshot/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/mem.h"

#define HEADER_MAX ((uint64_t)64 << 20)
#define META_MAX   256u

static const struct {
    const char *name;
    uint64_t bytes;
} types[] = {[TENSOR_F32] = {"F32", 4}, [TENSOR_U32] = {"U32", 4}, [TENSOR_U64] = {"U64", 8}};

#define TYPES (sizeof types / sizeof types[0])

/* -- writing -- */

static void put_text(struct buffer *out, const char *s)
{
    buffer_u8(out, '"');
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            buffer_printf(out, "\\%c", c);
        else if (c < 0x20)
            buffer_printf(out, "\\u%04x", c);
        else
            buffer_u8(out, c);
    }
    buffer_u8(out, '"');
}

static void put_tensor(struct buffer *out, const struct tensor_info *t)
{
    put_text(out, t->name);
    buffer_printf(out, ":{\"dtype\":\"%s\",\"shape\":[", types[t->type].name);
    for (uint32_t d = 0; d < t->dims; d++)
        buffer_printf(out, "%s%" PRIu64, d > 0 ? "," : "", t->shape[d]);
    buffer_printf(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", t->begin, t->end);
}

void safetensors_header(struct tensor_info *tensors, size_t n, const char *const *metadata,
                        size_t metadata_pairs, struct buffer *out)
{
    size_t start = out->used;
    buffer_u64(out, 0); /* the length, known at the end */
    buffer_u8(out, '{');
    if (metadata_pairs > 0) {
        buffer_printf(out, "\"__metadata__\":{");
        for (size_t i = 0; i < metadata_pairs; i++) {
            if (i > 0)
                buffer_u8(out, ',');
            put_text(out, metadata[2 * i]);
            buffer_u8(out, ':');
            put_text(out, metadata[2 * i + 1]);
        }
        buffer_u8(out, '}');
    }
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t bytes = types[tensors[i].type].bytes;
        for (uint32_t d = 0; d < tensors[i].dims; d++)
            bytes *= tensors[i].shape[d];
        tensors[i].begin = at;
        tensors[i].end = at += bytes;
        if (i > 0 || metadata_pairs > 0)
            buffer_u8(out, ',');
        put_tensor(out, &tensors[i]);
    }
    buffer_u8(out, '}');
    while ((out->used - start) % 8 != 0)
        buffer_u8(out, ' ');
    uint64_t length = out->used - start - 8;
    memcpy(out->data + start, &length, sizeof length);
}

/* -- reading -- */

/* A scalar's shape. json_len is 0 for anything that is no list, too. */
static bool is_empty_list(const struct json *j)
{
    if (j == NULL)
        return false;
    char *text = json_text(j, 0);
    bool empty = strcmp(text, "[]") == 0;
    free(text);
    return empty;
}

static enum status parse_shape(const struct json *j, struct tensor_info *t, struct errbuf *err)
{
    const struct json *shape = json_get(j, "shape");
    size_t dims = json_len(shape);
    if (dims > 4 || (dims == 0 && !is_empty_list(shape)))
        return errbuf_set(err, ST_BAD_DATA, "shape is not a list of at most 4 numbers");
    uint64_t bytes = types[t->type].bytes;
    for (size_t d = 0; d < dims; d++) {
        enum status st = json_need_u64(json_at(shape, d), NULL, &t->shape[d], err);
        if (st != ST_OK)
            return errbuf_wrap(err, st, "shape: ");
        if (t->shape[d] != 0 && bytes > UINT64_MAX / t->shape[d])
            return errbuf_set(err, ST_BAD_DATA, "shape is too large");
        bytes *= t->shape[d];
    }
    t->dims = (uint32_t)dims;
    if (t->end - t->begin != bytes)
        return errbuf_set(err, ST_BAD_DATA,
                          "data_offsets span %" PRIu64 " bytes, the shape needs %" PRIu64,
                          t->end - t->begin, bytes);
    return ST_OK;
}

static enum status parse_tensor(const char *name, const struct json *j, uint64_t data_bytes,
                                struct tensor_info *t, struct errbuf *err)
{
    size_t n = strlen(name);
    if (n == 0 || n >= sizeof t->name)
        return errbuf_set(err, ST_BAD_DATA, "a name of %zu bytes (allowed: 1 to %zu)", n,
                          sizeof t->name - 1);
    memset(t, 0, sizeof *t);
    memcpy(t->name, name, n + 1);
    const char *dtype = json_str(j, "dtype", "");
    size_t type = 0;
    while (type < TYPES && strcmp(dtype, types[type].name) != 0)
        type++;
    if (type == TYPES)
        return errbuf_set(err, ST_BAD_DATA, "dtype \"%.16s\" (known: F32, U32, U64)", dtype);
    t->type = (enum tensor_type)type;
    const struct json *span = json_get(j, "data_offsets");
    if (json_len(span) != 2)
        return errbuf_set(err, ST_BAD_DATA, "data_offsets is not a pair of numbers");
    enum status st = json_need_u64(json_at(span, 0), NULL, &t->begin, err);
    if (st == ST_OK)
        st = json_need_u64(json_at(span, 1), NULL, &t->end, err);
    if (st != ST_OK)
        return errbuf_wrap(err, st, "data_offsets: ");
    if (t->begin > t->end || t->end > data_bytes)
        return errbuf_set(err, ST_BAD_DATA,
                          "data_offsets [%" PRIu64 ", %" PRIu64 ") outside the %" PRIu64
                          " bytes there are",
                          t->begin, t->end, data_bytes);
    return parse_shape(j, t, err);
}

static enum status parse_meta(const struct json *j, struct safetensors *s, struct errbuf *err)
{
    const char *key;
    const struct json *v;
    for (size_t i = 0; json_item(j, i, &key, &v); i++) {
        const char *text;
        if (i >= META_MAX)
            return errbuf_set(err, ST_BAD_DATA, "__metadata__ has more than %u entries", META_MAX);
        enum status st = json_need_str(v, NULL, &text, err);
        if (st != ST_OK)
            return errbuf_wrap(err, st, "__metadata__: ");
        s->meta = mem_realloc(s->meta, (i + 1) * 2 * sizeof *s->meta);
        s->meta[2 * i] = mem_strdup(key);
        s->meta[2 * i + 1] = mem_strdup(text);
        s->meta_pairs = i + 1;
    }
    return ST_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct tensor_info *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) /* empty tensors stand before the one that begins where they are */
        return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b, void *tensors)
{
    const struct tensor_info *t = tensors;
    return strcmp(t[*(const uint32_t *)a].name, t[*(const uint32_t *)b].name);
}

static enum status check_tiling(struct safetensors *s, uint64_t data_bytes, struct errbuf *err)
{
    if (s->n > 0)
        qsort(s->tensors, s->n, sizeof *s->tensors, by_offset);
    uint64_t at = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->tensors[i].begin != at)
            return errbuf_set(err, ST_BAD_DATA,
                              "tensor %s: begins at byte %" PRIu64 ", expected %" PRIu64,
                              s->tensors[i].name, s->tensors[i].begin, at);
        at = s->tensors[i].end;
    }
    if (at != data_bytes)
        return errbuf_set(err, ST_BAD_DATA, "tensors end at byte %" PRIu64 " of %" PRIu64, at,
                          data_bytes);
    s->by_name = mem_array(s->n, sizeof *s->by_name);
    for (size_t i = 0; i < s->n; i++)
        s->by_name[i] = (uint32_t)i;
    if (s->n > 0)
        qsort_r(s->by_name, s->n, sizeof *s->by_name, by_name, s->tensors);
    return ST_OK;
}

static enum status parse_header(const struct json *root, uint64_t data_bytes, struct safetensors *s,
                                struct errbuf *err)
{
    size_t cap = 0;
    const char *key;
    const struct json *v;
    for (size_t i = 0; json_item(root, i, &key, &v); i++) {
        enum status st;
        if (strcmp(key, "__metadata__") == 0) {
            st = parse_meta(v, s, err);
        } else if (s->n == SAFETENSORS_MAX) {
            return errbuf_set(err, ST_BAD_DATA, "more than %u tensors", SAFETENSORS_MAX);
        } else {
            mem_grow(&s->tensors, &cap, s->n + 1, sizeof *s->tensors);
            st = parse_tensor(key, v, data_bytes, &s->tensors[s->n], err);
            if (st != ST_OK)
                return errbuf_wrap(err, st, "tensor %.127s: ", key);
            s->n++;
        }
        if (st != ST_OK)
            return st;
    }
    return check_tiling(s, data_bytes, err);
}

enum status safetensors_parse(const uint8_t *bytes, size_t n, const char *name,
                              struct safetensors *out, struct errbuf *err)
{
    struct reader r;
    reader_init(&r, bytes, n);
    uint64_t length = reader_u64(&r);
    if (r.bad || length > HEADER_MAX || length > reader_left(&r))
        return errbuf_set(err, ST_BAD_DATA,
                          "%s: not a safetensors file: a header of %" PRIu64
                          " bytes in a file of %zu",
                          name, length, n);
    const char *header = (const char *)reader_view(&r, (size_t)length);
    if (length == 0 || header[0] != '{')
        return errbuf_set(err, ST_BAD_DATA, "%s: not a safetensors file: the header is no object",
                          name);
    struct json *root;
    enum status st = json_parse(header, (size_t)length, name, &root, err);
    if (st != ST_OK)
        return st;
    struct safetensors s = {.data = r.at};
    st = parse_header(root, reader_left(&r), &s, err);
    json_free(root);
    if (st != ST_OK) {
        safetensors_close(&s);
        return errbuf_wrap(err, st, "%s: ", name);
    }
    *out = s;
    return ST_OK;
}

enum status safetensors_open(const char *path, struct safetensors *out, struct errbuf *err)
{
    struct file_map map;
    enum status st = file_map_open(path, &map, err);
    if (st != ST_OK)
        return st;
    st = safetensors_parse(map.data, map.n, path, out, err);
    if (st != ST_OK)
        file_map_close(&map);
    else
        out->map = map;
    return st;
}

void safetensors_close(struct safetensors *s)
{
    if (s->map.data != NULL)
        file_map_close(&s->map);
    for (size_t i = 0; i < 2 * s->meta_pairs; i++)
        free(s->meta[i]);
    free(s->meta);
    free(s->by_name);
    free(s->tensors);
    memset(s, 0, sizeof *s);
}

const struct tensor_info *safetensors_find(const struct safetensors *s, const char *name)
{
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(s->tensors[s->by_name[mid]].name, name);
        if (order == 0)
            return &s->tensors[s->by_name[mid]];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const char *safetensors_meta(const struct safetensors *s, const char *key)
{
    for (size_t i = 0; i < s->meta_pairs; i++)
        if (strcmp(s->meta[2 * i], key) == 0)
            return s->meta[2 * i + 1];
    return NULL;
}
