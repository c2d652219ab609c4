/* base_bytes.c - status, errbuf, bytes, utf8: the small change of every module. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

static void test_status_names_and_exits(void **state)
{
    (void)state;
    assert_string_equal(status_name(ST_OK), "ok");
    assert_string_equal(status_name(ST_FENCED), "fenced");
    assert_string_equal(status_name((enum status)999), "unknown status");
    assert_int_equal(status_exit_code(ST_OK), 0);
    assert_int_equal(status_exit_code(ST_USAGE), 2);
    assert_int_equal(status_exit_code(ST_BAD_DATA), 3);
    assert_int_equal(status_exit_code(ST_IO), 1);
    assert_int_equal(status_exit_code(ST_NOT_FOUND), 1);
    assert_int_equal(status_exit_code((enum status)999), 1);
}

static void test_errbuf(void **state)
{
    (void)state;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(errbuf_set(&err, ST_IO, "row %d", 7), ST_IO);
    assert_int_equal(errbuf_wrap(&err, ST_FAULT, "shard %d: ", 3), ST_FAULT);
    assert_string_equal(err.text, "shard 3: row 7");
    errbuf_set(&err, ST_IO, "again: %s", err.text); /* its own text as an argument */
    assert_string_equal(err.text, "again: shard 3: row 7");
    errno = ENOENT;
    errbuf_errno(&err, ST_IO, "%s", "x.csv");
    assert_string_equal(err.text, "x.csv: No such file or directory");
    assert_int_equal(errno, ENOENT);
    assert_int_equal(errbuf_set(NULL, ST_IO, "nobody listens"), ST_IO);
    assert_int_equal(errbuf_wrap(NULL, ST_IO, "nobody"), ST_IO);
    assert_int_equal(errbuf_errno(NULL, ST_IO, "nobody"), ST_IO);
}

/* Reasons quote what others wrote: it must not reach a terminal as it is. */
static void test_errbuf_is_tame(void **state)
{
    (void)state;
    struct errbuf err = ERRBUF_INIT;
    errbuf_set(&err, ST_BAD_DATA, "no column %s", "\x1b[2Ja\tb\x7f");
    assert_string_equal(err.text, "no column ?[2Ja?b?");
    errbuf_wrap(&err, ST_BAD_DATA, "%s: ", "pr\xe9nom.csv"); /* Latin-1 */
    assert_string_equal(err.text, "pr?nom.csv: no column ?[2Ja?b?");
    errbuf_set(&err, ST_BAD_DATA, "%s\nusage",
               "pr\xc3\xa9nom \xc2\x9b"
               "2J"); /* UTF-8; U+009B is CSI */
    assert_string_equal(err.text, "pr\xc3\xa9nom ??2J\nusage");
    errno = ENOENT;
    errbuf_errno(&err, ST_IO, "\r%s", "x");
    assert_string_equal(err.text, "?x: No such file or directory");
}

static void test_errbuf_says_when_it_cuts(void **state)
{
    (void)state;
    struct errbuf err;
    char longest[4000];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    errbuf_set(&err, ST_IO, "%s", longest);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_string_equal(err.text + strlen(err.text) - 4, "x...");
    errbuf_wrap(&err, ST_IO, "front: "); /* the prefix stays, the tail goes */
    assert_memory_equal(err.text, "front: xxx", 10);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_string_equal(err.text + strlen(err.text) - 3, "...");
    errno = EIO;
    errbuf_errno(&err, ST_IO, "%s", longest);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct buffer b = BUFFER_INIT;
    buffer_u8(&b, 0xfe);
    buffer_u16(&b, 0x0102);
    buffer_u32(&b, 0x01020304);
    buffer_u64(&b, 0x0102030405060708u);
    buffer_f32(&b, -0.0f);
    buffer_f64(&b, 1.5);
    buffer_put(&b, "abc", 3);
    static const uint8_t head[] = {0xfe, 2, 1, 4, 3, 2, 1, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0x80};
    assert_memory_equal(b.data, head, sizeof head); /* little-endian, byte for byte */
    struct reader r;
    reader_init(&r, b.data, b.used);
    assert_int_equal(reader_u8(&r), 0xfe);
    assert_int_equal(reader_u16(&r), 0x0102);
    assert_int_equal(reader_u32(&r), 0x01020304);
    assert_true(reader_u64(&r) == 0x0102030405060708u);
    float f = reader_f32(&r);
    assert_true(f == 0 && __builtin_signbit(f));
    assert_true(reader_f64(&r) == 1.5);
    assert_memory_equal(reader_view(&r, 3), "abc", 3);
    assert_int_equal(reader_left(&r), 0);
    assert_false(r.bad);
    buffer_release(&b);
    assert_null(b.data);
}

static void test_reader_stays_inside(void **state)
{
    (void)state;
    uint8_t *three = malloc(3); /* an exact block: a sanitizer sees a byte more */
    memset(three, 0xff, 3);
    struct reader r;
    reader_init(&r, three, 3);
    assert_int_equal(reader_u32(&r), 0);
    assert_true(r.bad);
    assert_int_equal(reader_u8(&r), 0); /* sticky, though a byte is there */
    assert_null(reader_view(&r, 0));
    reader_init(&r, three, 3);
    assert_null(reader_view(&r, SIZE_MAX)); /* no overflow of at + n */
    assert_true(r.bad);
    reader_init(&r, NULL, 0);
    assert_int_equal(reader_left(&r), 0);
    assert_non_null(reader_view(&r, 0));
    assert_int_equal(reader_u8(&r), 0);
    assert_true(r.bad);
    free(three);
}

static void test_buffer_text(void **state)
{
    (void)state;
    struct buffer b = BUFFER_INIT;
    assert_string_equal(buffer_text(&b), "");
    assert_int_equal(b.used, 0);
    for (int i = 0; i < 1000; i++)
        buffer_printf(&b, "%d,", i);
    buffer_printf(&b, "%s", "");
    const char *text = buffer_text(&b);
    assert_int_equal(strlen(text), b.used);
    assert_memory_equal(text, "0,1,2,", 6);
    assert_string_equal(text + b.used - 8, "998,999,");
    buffer_reset(&b);
    assert_string_equal(buffer_text(&b), "");
    assert_non_null(buffer_room(&b, 0));
    memset(buffer_room(&b, 100000), 1, 100000);
    assert_int_equal(b.used, 100000);
    buffer_release(&b);
}

static void test_utf8(void **state)
{
    (void)state;
    uint32_t point = 0;
    assert_int_equal(utf8_next("a", &point), 1);
    assert_int_equal(utf8_next("\xc3\xa9", &point), 2);
    assert_int_equal(point, 0xe9);
    assert_int_equal(utf8_next("\xe2\x82\xac", &point), 3);
    assert_int_equal(point, 0x20ac);
    assert_int_equal(utf8_next("\xf0\x9f\x98\x80", &point), 4);
    assert_int_equal(point, 0x1f600);
    static const char *const bad[] = {
        "\x80",             /* a continuation without a lead */
        "\xc0\x80",         /* overlong */
        "\xe0\x80\x80",     /* overlong */
        "\xf0\x80\x80\x80", /* overlong */
        "\xed\xa0\x80",     /* a surrogate */
        "\xf4\x90\x80\x80", /* beyond U+10FFFF */
        "\xf8\x88\x80\x80", /* no lead */
        "\xc3",             /* cut */
        "\xe2\x82",         /* cut */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(utf8_next(bad[i], NULL), 0);
        assert_false(utf8_valid(bad[i]));
    }
    assert_true(utf8_valid(""));
    assert_true(utf8_valid("na\xc3\xafve"));
    assert_false(utf8_valid("na\xefve"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_names_and_exits),
        cmocka_unit_test(test_errbuf),
        cmocka_unit_test(test_errbuf_is_tame),
        cmocka_unit_test(test_errbuf_says_when_it_cuts),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_reader_stays_inside),
        cmocka_unit_test(test_buffer_text),
        cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
