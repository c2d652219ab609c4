/* snapshot_safetensors.c - the file format: the published bytes, a round trip, and what is refused. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ps/snapshot/safetensors.h"

/* A file of two rows: w = F32[2,2] = 1, 2, 3, 4, as huggingface's writer makes it. */
static const uint8_t golden[] =
    "\x40\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}       "
    "\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40";

static void golden_bytes(void **state)
{
    struct buffer out = BUFFER_INIT;
    struct tensor_info t = {.name = "w", .type = TENSOR_F32, .dims = 2, .shape = {2, 2}};
    (void)state;
    safetensors_header(&t, 1, NULL, 0, &out);
    for (int i = 1; i <= 4; i++)
        buffer_f32(&out, (float)i);
    assert_int_equal(t.begin, 0);
    assert_int_equal(t.end, 16);
    assert_int_equal(out.used, sizeof golden - 1);
    assert_memory_equal(out.data, golden, out.used);
    buffer_release(&out);
}

static void reads_golden_bytes(void **state)
{
    struct safetensors s;
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    assert_int_equal(safetensors_parse(golden, sizeof golden - 1, "g", &s, &err), ST_OK);
    assert_int_equal(s.n, 1);
    const struct tensor_info *w = safetensors_find(&s, "w");
    assert_non_null(w);
    assert_int_equal(w->type, TENSOR_F32);
    assert_int_equal(w->dims, 2);
    float v[4];
    memcpy(v, s.data + w->begin, sizeof v);
    assert_true(v[0] == 1 && v[3] == 4);
    assert_null(safetensors_find(&s, "v"));
    assert_null(safetensors_meta(&s, "k"));
    safetensors_close(&s);
}

static void round_trip(void **state)
{
    struct buffer out = BUFFER_INIT;
    struct tensor_info t[] = {
        {.name = "emb.a.ids", .type = TENSOR_U64, .dims = 1, .shape = {3}},
        {.name = "emb.a.tomb", .type = TENSOR_U64, .dims = 1, .shape = {0}},
        {.name = "a \"quoted\\\" name\n", .type = TENSOR_F32, .dims = 2, .shape = {3, 0}},
        {.name = "scalar", .type = TENSOR_U32, .dims = 0},
        {.name = "b", .type = TENSOR_U32, .dims = 4, .shape = {1, 2, 1, 3}},
    };
    const char *meta[] = {"k", "7", "odd \"key\"", "v\\"};
    (void)state;
    safetensors_header(t, 5, meta, 2, &out);
    assert_int_equal(out.used % 8, 0);
    size_t header = out.used;
    for (uint32_t i = 0; i < (24 + 4 + 24) / 4; i++)
        buffer_u32(&out, i);
    struct safetensors s;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(safetensors_parse(out.data, out.used, "f", &s, &err), ST_OK);
    assert_ptr_equal(s.data, out.data + header);
    assert_int_equal(s.n, 5);
    for (size_t i = 0; i < 5; i++) {
        const struct tensor_info *found = safetensors_find(&s, t[i].name);
        assert_non_null(found);
        assert_int_equal(found->begin, t[i].begin);
        assert_int_equal(found->end, t[i].end);
        assert_int_equal(found->dims, t[i].dims);
        assert_memory_equal(found->shape, t[i].shape, sizeof t[i].shape);
    }
    assert_string_equal(safetensors_meta(&s, "k"), "7");
    assert_string_equal(safetensors_meta(&s, "odd \"key\""), "v\\");
    safetensors_close(&s);
    buffer_release(&out);
}

static enum status parse_text(const char *header, size_t data_bytes, struct errbuf *err)
{
    struct buffer b = BUFFER_INIT;
    struct safetensors s;
    buffer_u64(&b, strlen(header));
    buffer_put(&b, header, strlen(header));
    memset(buffer_room(&b, data_bytes), 0, data_bytes);
    uint8_t *exact = malloc(b.used); /* so that a sanitizer sees the smallest step too far */
    assert_non_null(exact);
    memcpy(exact, b.data, b.used);
    enum status st = safetensors_parse(exact, b.used, "f", &s, err);
    if (st == ST_OK)
        safetensors_close(&s);
    free(exact);
    buffer_release(&b);
    return st;
}

#define T(dtype, shape, span)                                                                      \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" span "}"

static void refusals(void **state)
{
    static const struct {
        const char *header;
        size_t data;
        const char *says;
    } bad[] = {
        {"[]", 0, "no object"},
        {"{", 0, "f:1"},
        {"{\"a\":1}", 0, "dtype"},
        {"{\"a\":" T("F16", "[1]", "[0,2]") "}", 2, "dtype \"F16\""},
        {"{\"a\":" T("F32", "[1]", "[0,8]") "}", 8, "span 8 bytes, the shape needs 4"},
        {"{\"a\":" T("F32", "[2]", "[0,8]") "}", 4, "outside"},
        {"{\"a\":" T("F32", "[2]", "[8,0]") "}", 8, "outside"},
        {"{\"a\":" T("F32", "[1]", "[0,4]") "}", 8, "end at byte 4 of 8"},
        {"{\"a\":" T("F32", "[1]", "[4,8]") "}", 8, "begins at byte 4"},
        {"{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[0,4]") "}", 4, "begins"},
        {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[1]", "[4,8]") "}", 8, "begins"},
        {"{\"a\":" T("F32", "[1]", "[0,4]") ",\"a\":" T("F32", "[1]", "[4,8]") "}", 8, "uplicate"},
        {"{\"a\":" T("F32", "[4611686018427387904,4]", "[0,0]") "}", 0, "too large"},
        {"{\"a\":" T("F32", "[1,1,1,1,1]", "[0,4]") "}", 4, "at most 4"},
        {"{\"a\":" T("F32", "3", "[0,4]") "}", 4, "shape"},
        {"{\"a\":" T("F32", "[-1]", "[0,4]") "}", 4, "shape"},
        {"{\"a\":" T("F32", "[1]", "[0]") "}", 4, "pair"},
        {"{\"a\":" T("F32", "[1]", "[0,\"x\"]") "}", 4, "data_offsets"},
        {"{\"\":" T("F32", "[1]", "[0,4]") "}", 4, "name of 0 bytes"},
        {"{\"__metadata__\":{\"k\":7}}", 0, "__metadata__"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct errbuf err = ERRBUF_INIT;
        assert_int_equal(parse_text(bad[i].header, bad[i].data, &err), ST_BAD_DATA);
        if (strstr(err.text, bad[i].says) == NULL || strncmp(err.text, "f:", 2) != 0)
            fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].header, err.text, bad[i].says);
    }
    assert_int_equal(parse_text("{}", 0, NULL), ST_OK);
    assert_int_equal(parse_text("{\"a\":" T("U64", "[]", "[0,8]") "}", 8, NULL), ST_OK);
}

static void lengths_are_bounded(void **state)
{
    struct safetensors s;
    (void)state;
    for (size_t n = 0; n < sizeof golden - 1; n++) {
        uint8_t *cut = malloc(n + 1);
        assert_non_null(cut);
        memcpy(cut, golden, n);
        assert_int_equal(safetensors_parse(cut, n, "f", &s, NULL), ST_BAD_DATA);
        free(cut);
    }
    uint8_t huge[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}'};
    assert_int_equal(safetensors_parse(huge, sizeof huge, "f", &s, NULL), ST_BAD_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_bytes),        cmocka_unit_test(reads_golden_bytes),
        cmocka_unit_test(round_trip),          cmocka_unit_test(refusals),
        cmocka_unit_test(lengths_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
