/* data_reader_tfrecord.c - records of tf.Example: lists of three kinds, packed or not, and every way to be damaged. */
#include "tests/unit/data_case.h"

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/data/reader_tfrecord.h"

static const char *const NAMES[] = {"b", "f", "i"};
enum { B, F, I, NAMES_USED };

static struct columns columns;
static struct reader_tfrecord *reader;
static struct named_record rec;
static struct buffer file = BUFFER_INIT;

static int release(void **state)
{
    (void)state;
    reader_tfrecord_close(reader);
    reader = NULL;
    columns_release(&columns);
    buffer_release(&file);
    return 0;
}

static void put_bytes(struct buffer *b, unsigned field, const void *bytes, size_t n)
{
    assert_true(n < 128 * 128);
    buffer_u8(b, (uint8_t)(field << 3 | 2));
    if (n >= 128)
        buffer_u8(b, (uint8_t)((n & 127) | 128));
    buffer_u8(b, (uint8_t)(n >= 128 ? n >> 7 : n));
    buffer_put(b, bytes, n);
}

/* features.feature[name] = {kind: list} */
static void put_feature(struct buffer *features, const char *name, unsigned kind, const void *list,
                        size_t n)
{
    struct buffer feature = BUFFER_INIT, entry = BUFFER_INIT;
    put_bytes(&feature, kind, list, n);
    put_bytes(&entry, 1, name, strlen(name));
    put_bytes(&entry, 2, feature.data, feature.used);
    put_bytes(features, 1, entry.data, entry.used);
    buffer_release(&entry);
    buffer_release(&feature);
}

static void put_record(const void *data, size_t n)
{
    size_t from = file.used;
    buffer_u64(&file, n);
    buffer_u32(&file, crc32c_masked(file.data + from, 8));
    buffer_put(&file, data, n);
    buffer_u32(&file, crc32c_masked(data, n));
}

static void put_example(void)
{
    struct buffer features = BUFFER_INIT, example = BUFFER_INIT;
    static const uint8_t TEXTS[] = {0x0a, 2, 'h', 'i', 0x0a, 0};
    /* floats: two packed, one not */
    static const uint8_t FLOATS[] = {0x0a, 8, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xbf, 0x0d, 0, 0, 0, 0x40};
    /* ints: unpacked 300, packed -1 */
    static const uint8_t INTS[] = {0x08, 0xac, 2,    0x0a, 10,   0xff, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};
    put_feature(&features, "b", 1, TEXTS, sizeof TEXTS);
    put_feature(&features, "f", 2, FLOATS, sizeof FLOATS);
    put_feature(&features, "i", 3, INTS, sizeof INTS);
    buffer_u8(&features, 7 << 3 | 5); /* an unknown field */
    buffer_u32(&features, 1);
    put_bytes(&example, 1, features.data, features.used);
    put_record(example.data, example.used);
    buffer_release(&features);
    buffer_release(&example);
}

static void open_file(void)
{
    reader_tfrecord_close(reader);
    columns_release(&columns);
    columns_init(&columns, NAMES, NAMES_USED);
    assert_int_equal(reader_tfrecord_open(case_write("in.tfrecord", file.data, file.used), 1 << 20,
                                          &columns, &reader, &err),
                     ST_OK);
}

static void is(size_t column, const char *want)
{
    char text[512] = "";
    size_t used = 0;
    for (const struct value *v = columns_first(&columns, column); v != NULL;
         v = columns_next(&columns, v))
        used += (size_t)snprintf(text + used, sizeof text - used, "[%.*s]", (int)v->n, v->at);
    assert_string_equal(text, want);
}

static void checksum(void **state)
{
    uint8_t zeros[32] = {0};
    (void)state;
    assert_true(crc32c("123456789", 9) == 0xe3069283u);
    assert_true(crc32c(zeros, 32) == 0x8a9136aau);
    assert_true(crc32c("", 0) == 0);
}

static void three_kinds(void **state)
{
    (void)state;
    put_example();
    put_record("", 0);
    open_file();
    assert_int_equal(reader_tfrecord_next(reader, &rec, &err), ST_OK);
    assert_null(rec.fault);
    is(B, "[hi][]");
    is(F, "[1][-0.5][2]");
    is(I, "[300][-1]");
    assert_int_equal(reader_tfrecord_next(reader, &rec, &err), ST_OK);
    assert_null(rec.fault);
    is(I, "");
    assert_int_equal(rec.line, 2);
    assert_int_equal(reader_tfrecord_next(reader, &rec, &err), ST_END);
}

/* A flipped bit in the data costs that record. */
static void bad_data(void **state)
{
    (void)state;
    put_example();
    size_t one = file.used;
    put_example();
    file.data[20] ^= 1;
    open_file();
    assert_int_equal(reader_tfrecord_next(reader, &rec, &err), ST_OK);
    assert_non_null(strstr(rec.fault, "record at byte 0: its data fails its checksum"));
    assert_int_equal(reader_tfrecord_next(reader, &rec, &err), ST_OK);
    assert_null(rec.fault);
    assert_int_equal(rec.offset, one);
}

/* One in a length, or an end inside a record, ends the file. */
static void bad_frame(void **state)
{
    (void)state;
    put_example();
    size_t one = file.used;
    put_example();
    file.data[one] ^= 1;
    open_file();
    assert_int_equal(reader_tfrecord_next(reader, &rec, &err), ST_OK);
    assert_int_equal(reader_tfrecord_next(reader, &rec, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "record 2 at byte"));
    file.data[one] ^= 1;
    for (size_t cut = one + 1; cut < file.used; cut++) {
        size_t whole = file.used;
        file.used = cut;
        open_file();
        assert_int_equal(reader_tfrecord_next(reader, &rec, &err), ST_OK);
        assert_int_equal(reader_tfrecord_next(reader, &rec, &err), ST_BAD_DATA);
        assert_non_null(strstr(err.text, "ends inside a record"));
        file.used = whole;
    }
}

/* The checksum is right and the message is not. */
static void no_example(void **state)
{
    static const char *const BAD[] = {"\x0a\x05\x0a",
                                      "\x0a\x04\x0a\x7f\x0a\x01",
                                      "\x0b",
                                      "\x07",
                                      "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                                      "plain text"};
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        put_record(BAD[i], strlen(BAD[i]));
    open_file();
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        assert_int_equal(reader_tfrecord_next(reader, &rec, &err), ST_OK);
        assert_non_null(rec.fault);
        assert_non_null(strstr(rec.fault, "no tf.Example"));
    }
    assert_int_equal(reader_tfrecord_next(reader, &rec, &err), ST_END);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksum),
        cmocka_unit_test_teardown(three_kinds, release),
        cmocka_unit_test_teardown(bad_data, release),
        cmocka_unit_test_teardown(bad_frame, release),
        cmocka_unit_test_teardown(no_example, release),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
