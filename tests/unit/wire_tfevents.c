/* wire_tfevents.c - event files, byte for byte: the framing, its checksums by a second and slow way, the fields. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/wire/tfevents.h"

/* One bit after the other, as the standard writes it down. */
static uint32_t slow_masked_crc(const uint8_t *p, size_t n)
{
    uint32_t c = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int bit = 0; bit < 8; bit++) {
            c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
        }
    }
    c = ~c;
    return (c >> 15 | c << 17) + 0xa282ead8u;
}

/* The payload of the next record, its frame checked. */
static const uint8_t *next(struct reader *r, size_t *n)
{
    const uint8_t *frame = r->at;
    *n = (size_t)reader_u64(r);
    assert_int_equal(reader_u32(r), slow_masked_crc(frame, 8));
    const uint8_t *data = reader_view(r, *n);
    assert_non_null(data);
    assert_int_equal(reader_u32(r), slow_masked_crc(data, *n));
    assert_false(r->bad);
    return data;
}

static void crc_of_nine_digits(void **state)
{
    (void)state;
    uint32_t c = slow_masked_crc((const uint8_t *)"123456789", 9) - 0xa282ead8u;
    assert_int_equal(c >> 17 | c << 15, 0xe3069283u); /* RFC 3720 */
}

static void a_file(void **state)
{
    (void)state;
    struct buffer out = BUFFER_INIT;
    const struct tfevents_scalar s[] = {{"loss", .5}, {"no", NAN}, {"auc", -2}, {"no", INFINITY}};
    tfevents_version(&out, 1.5);
    tfevents_start(&out, 1.5, 7);
    tfevents_scalars(&out, 1.5, 300, s, 4);
    tfevents_scalars(&out, 1.5, 300, &s[1], 1); /* nothing finite: no record */
    struct reader r;
    size_t n;
    reader_init(&r, out.data, out.used);

    static const uint8_t version[] = "\x09\0\0\0\0\0\0\xf8\x3f\x10\x00\x1a\x0d"
                                     "brain.Event:2";
    const uint8_t *p = next(&r, &n);
    assert_int_equal(n, sizeof(version) - 1);
    assert_memory_equal(p, version, n);

    static const uint8_t start[] = "\x09\0\0\0\0\0\0\xf8\x3f\x10\x07\x3a\x02\x08\x01";
    p = next(&r, &n);
    assert_int_equal(n, sizeof(start) - 1);
    assert_memory_equal(p, start, n);

    static const uint8_t scalars[] = "\x09\0\0\0\0\0\0\xf8\x3f\x10\xac\x02\x2a\x19"
                                     "\x0a\x0b\x0a\x04loss\x15\0\0\0\x3f"
                                     "\x0a\x0a\x0a\x03"
                                     "auc\x15\0\0\0\xc0";
    p = next(&r, &n);
    assert_int_equal(n, sizeof(scalars) - 1);
    assert_memory_equal(p, scalars, n);
    assert_int_equal(reader_left(&r), 0);
    buffer_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(crc_of_nine_digits),
                                       cmocka_unit_test(a_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
