/* bytes.c - little-endian bytes: a bounded reader and a growing buffer.
 *
 * The reader is how foreign bytes are read everywhere: it never leaves its range, and a parser asks once,
 * at the end of a header, whether all reads were good. A failed read yields zeros and moves nothing, so
 * what follows is defined, and short.
 *
 * Files and frames are little-endian, and so are the machines we build for; a machine that is not refuses
 * to compile here instead of writing snapshots nobody else can read.
 */
#include "common/base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "formats and host are little-endian");
_Static_assert(sizeof(float) == 4 && sizeof(double) == 8, "IEEE floats");

void reader_init(struct reader *r, const void *bytes, size_t n)
{
    static const uint8_t nothing;
    r->at = bytes == NULL ? &nothing : bytes;
    r->end = r->at + (bytes == NULL ? 0 : n);
    r->bad = false;
}

size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}

const uint8_t *reader_view(struct reader *r, size_t n)
{
    if (r->bad || n > reader_left(r)) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *view = r->at;
    r->at += n;
    return view;
}

static void take(struct reader *r, void *dst, size_t n)
{
    const uint8_t *view = reader_view(r, n);
    if (view == NULL)
        memset(dst, 0, n);
    else
        memcpy(dst, view, n);
}

uint8_t reader_u8(struct reader *r)
{
    uint8_t v;
    take(r, &v, sizeof v);
    return v;
}

uint16_t reader_u16(struct reader *r)
{
    uint16_t v;
    take(r, &v, sizeof v);
    return v;
}

uint32_t reader_u32(struct reader *r)
{
    uint32_t v;
    take(r, &v, sizeof v);
    return v;
}

uint64_t reader_u64(struct reader *r)
{
    uint64_t v;
    take(r, &v, sizeof v);
    return v;
}

float reader_f32(struct reader *r)
{
    float v;
    take(r, &v, sizeof v);
    return v;
}

double reader_f64(struct reader *r)
{
    double v;
    take(r, &v, sizeof v);
    return v;
}

void buffer_release(struct buffer *b)
{
    free(b->data);
    b->data = NULL;
    b->used = b->cap = 0;
}

void buffer_reset(struct buffer *b)
{
    b->used = 0;
}

void *buffer_room(struct buffer *b, size_t n)
{
    if (n > SIZE_MAX - b->used - 64)
        mem_alloc(SIZE_MAX); /* says how much and aborts */
    size_t need = b->used + n;
    if (need > b->cap || b->data == NULL)
        mem_grow(&b->data, &b->cap, need < 64 ? 64 : need, 1);
    void *room = b->data + b->used;
    b->used = need;
    return room;
}

void buffer_put(struct buffer *b, const void *bytes, size_t n)
{
    void *room = buffer_room(b, n);
    if (n > 0)
        memcpy(room, bytes, n);
}

void buffer_u8(struct buffer *b, uint8_t v)
{
    buffer_put(b, &v, sizeof v);
}

void buffer_u16(struct buffer *b, uint16_t v)
{
    buffer_put(b, &v, sizeof v);
}

void buffer_u32(struct buffer *b, uint32_t v)
{
    buffer_put(b, &v, sizeof v);
}

void buffer_u64(struct buffer *b, uint64_t v)
{
    buffer_put(b, &v, sizeof v);
}

void buffer_f32(struct buffer *b, float v)
{
    buffer_put(b, &v, sizeof v);
}

void buffer_f64(struct buffer *b, double v)
{
    buffer_put(b, &v, sizeof v);
}

void buffer_printf(struct buffer *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n <= 0)
        return;
    char *room = buffer_room(b, (size_t)n + 1);
    va_start(args, fmt);
    vsnprintf(room, (size_t)n + 1, fmt, args);
    va_end(args);
    b->used--; /* the 0 is not text */
}

const char *buffer_text(struct buffer *b)
{
    char *end = buffer_room(b, 1);
    *end = '\0';
    b->used--;
    return (const char *)b->data;
}
