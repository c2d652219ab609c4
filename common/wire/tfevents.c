/* tfevents.c - see tfevents.h. Protobuf: a field is a varint (number << 3 | type), then its value; type 0 is a
 * varint, 1 eight bytes, 2 a length and so many bytes, 5 four bytes. */
#include "common/wire/tfevents.h"

#include <math.h>
#include <string.h>

#include "common/base/crc32c.h"

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static void put_varint(struct buffer *out, uint64_t v)
{
    for (; v >= 128; v >>= 7) {
        buffer_u8(out, (uint8_t)(v | 128u));
    }
    buffer_u8(out, (uint8_t)v);
}

static void put_key(struct buffer *out, unsigned field, unsigned type)
{
    put_varint(out, field << 3 | type);
}

static void put_bytes(struct buffer *out, unsigned field, const void *bytes, size_t n)
{
    put_key(out, field, BYTES);
    put_varint(out, n);
    buffer_put(out, bytes, n);
}

static void begin(struct buffer *event, double wall_time, uint64_t step)
{
    put_key(event, 1, FIXED64);
    buffer_f64(event, wall_time);
    put_key(event, 2, VARINT);
    put_varint(event, step);
}

/* Frame what was gathered, and give it back. */
static void end(struct buffer *out, struct buffer *event)
{
    size_t at = out->used;
    buffer_u64(out, event->used);
    buffer_u32(out, crc32c_masked(out->data + at, 8));
    buffer_put(out, event->data, event->used);
    buffer_u32(out, crc32c_masked(event->data, event->used));
    buffer_release(event);
}

void tfevents_version(struct buffer *out, double wall_time)
{
    static const char version[] = "brain.Event:2";
    struct buffer event = BUFFER_INIT;
    begin(&event, wall_time, 0);
    put_bytes(&event, 3, version, sizeof(version) - 1);
    end(out, &event);
}

void tfevents_start(struct buffer *out, double wall_time, uint64_t step)
{
    static const uint8_t start[] = {1 << 3 | VARINT, 1};
    struct buffer event = BUFFER_INIT;
    begin(&event, wall_time, step);
    put_bytes(&event, 7, start, sizeof(start));
    end(out, &event);
}

void tfevents_scalars(struct buffer *out, double wall_time, uint64_t step,
                      const struct tfevents_scalar *scalars, size_t n)
{
    struct buffer event = BUFFER_INIT, summary = BUFFER_INIT, value = BUFFER_INIT;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(scalars[i].value)) {
            continue;
        }
        buffer_reset(&value);
        put_bytes(&value, 1, scalars[i].tag, strlen(scalars[i].tag));
        put_key(&value, 2, FIXED32);
        buffer_f32(&value, (float)scalars[i].value);
        put_bytes(&summary, 1, value.data, value.used);
    }
    if (summary.used > 0) {
        begin(&event, wall_time, step);
        put_bytes(&event, 5, summary.data, summary.used);
        end(out, &event);
    }
    buffer_release(&summary);
    buffer_release(&value);
}
