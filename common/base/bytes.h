/* bytes.h - little-endian bytes: a bounded reader for foreign bytes and a growing buffer to write.
 *
 * The reader never reads past its end: a short read sets `bad` and yields zeros, so a parser may read a
 * whole header and check once.
 */
#ifndef PENSTOCK_COMMON_BASE_BYTES_H
#define PENSTOCK_COMMON_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
    const uint8_t *at; /* borrowed from the caller of reader_init, as long as the reader lives */
    const uint8_t *end;
    bool bad; /* sticky: something was read past the end */
};

void reader_init(struct reader *r, const void *bytes, size_t n);
size_t reader_left(const struct reader *r);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
float reader_f32(struct reader *r);
double reader_f64(struct reader *r);
const uint8_t *reader_view(struct reader *r, size_t n); /* NULL and bad if fewer are left */

struct buffer {
    uint8_t *data; /* owned */
    size_t used;
    size_t cap;
};

#define BUFFER_INIT                                                                                \
    {                                                                                              \
        NULL, 0, 0                                                                                 \
    }

void buffer_release(struct buffer *b);
void buffer_reset(struct buffer *b);           /* used = 0, memory kept */
void *buffer_room(struct buffer *b, size_t n); /* n more bytes, uninitialised, counted as used */
void buffer_put(struct buffer *b, const void *bytes, size_t n);
void buffer_u8(struct buffer *b, uint8_t v);
void buffer_u16(struct buffer *b, uint16_t v);
void buffer_u32(struct buffer *b, uint32_t v);
void buffer_u64(struct buffer *b, uint64_t v);
void buffer_f32(struct buffer *b, float v);
void buffer_f64(struct buffer *b, double v);
void buffer_printf(struct buffer *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *buffer_text(struct buffer *b); /* terminated (the 0 is not counted); "" if empty */

#endif
