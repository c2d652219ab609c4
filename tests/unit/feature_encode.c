/* feature_encode.c - schema and encoder: keys, thresholds, norms, and a file that no flipped bit survives. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/hash.h"
#include "common/feature/encode.h"
#include "common/feature/fit.h"
#include "common/feature/number.h"

static struct errbuf err;
static struct job job;

static const char FIELDS[] =
    "data:\n"
    "  train: x.csv\n"
    "  missing: [\"\", NA]\n"
    "  fields:\n"
    "    - {name: click, type: label}\n"
    "    - {name: user, type: user}\n"
    "    - {name: junk, type: skip}\n"
    "    - {name: item, type: item, vocab: goods, min_count: 2}\n"
    "    - {name: seen, type: ids, sep: \"^\", vocab: goods, min_count: 2, "
    "ids_max: 3}\n"
    "    - {name: city, type: id, hash: 100}\n"
    "    - {name: plain, type: float}\n"
    "    - {name: logged, type: float, norm: log}\n"
    "    - {name: std, type: float, norm: standard}\n"
    "    - {name: range, type: float, norm: minmax}\n"
    "    - {name: when, type: time}\n"
    "model: {family: lr}\n";

static void load(const char *text)
{
    enum status st = job_parse(text, strlen(text), "job.yaml", "/tmp", NULL, 0, &job, &err);
    if (st != ST_OK)
        print_error("%s\n", err.text);
    assert_int_equal(st, ST_OK);
}

static int give_back(void **state)
{
    (void)state;
    job_release(&job);
    return 0;
}

static struct encoder *fresh(void)
{
    struct encoder *e = NULL;
    load(FIELDS);
    assert_int_equal(encoder_new(&job, &e, &err), ST_OK);
    return e;
}

static uint64_t key(const struct encoder *e, size_t slot, const char *cell)
{
    return encoder_key(e, slot, cell, strlen(cell));
}

static void order_of_fields(void **state)
{
    struct encoder *e = fresh();
    const struct schema *s = &e->schema;
    (void)state;
    assert_int_equal(s->ids_used, 4);
    assert_int_equal(s->floats_used, 4);
    assert_string_equal(s->field[s->ids[0]].name, "user");
    assert_string_equal(s->field[s->ids[2]].name, "seen");
    assert_string_equal(s->field[s->floats[3]].name, "range");
    assert_string_equal(s->field[s->label].name, "click");
    assert_string_equal(s->field[s->item].name, "item");
    assert_string_equal(s->field[s->time].name, "when");
    assert_int_equal(s->vocabs_used, 3);
    assert_true(s->ragged);
    assert_false(e->fitted);
    assert_true(schema_missing(s, "NA", 2));
    assert_true(schema_missing(s, "", 0));
    assert_false(schema_missing(s, "N", 1));
    assert_false(schema_missing(s, "NAN", 3));
    encoder_free(e);
}

static void keys(void **state)
{
    struct encoder *e = fresh();
    (void)state;
    uint64_t seed = hash_bytes("user", 4, 0);
    assert_true(key(e, 0, "42") == hash_bytes("42", 2, seed));
    assert_true(key(e, 1, "42") == key(e, 2, "42")); /* one vocab */
    assert_true(key(e, 0, "42") != key(e, 1, "42")); /* another one */
    assert_true(encoder_key_missing(e, 0) != encoder_key_missing(e, 1));
    size_t distinct = 0;
    uint64_t seen[100];
    for (int i = 0; i < 5000; i++) {
        char cell[16];
        snprintf(cell, sizeof cell, "c%d", i);
        uint64_t k = key(e, 3, cell);
        size_t j = 0;
        while (j < distinct && seen[j] != k)
            j++;
        if (j == distinct) {
            assert_true(distinct < 100);
            seen[distinct++] = k;
        }
    }
    assert_int_equal(distinct, 100);
    const char *cell = " \t padded \r";
    size_t n = strlen(cell);
    encoder_trim(&cell, &n);
    assert_int_equal(n, 6);
    assert_memory_equal(cell, "padded", 6);
    encoder_free(e);
}

static void libsvm_keys_are_a_bijection(void **state)
{
    struct encoder *e = NULL;
    (void)state;
    load("data: {train: x, format: libsvm}\nmodel: {family: lr}\n");
    assert_int_equal(encoder_new(&job, &e, &err), ST_OK);
    assert_int_equal(e->schema.ids_used, 1);
    assert_true(e->schema.libsvm && e->fitted);
    /* hash_u64 is a bijection, and so is an exclusive or: no two ids share a key. */
    assert_true(encoder_key_u64(e, 0, 7) == hash_u64(7 ^ hash_bytes("features", 8, 0)));
    assert_true(encoder_key_u64(e, 0, UINT64_MAX) != encoder_key_u64(e, 0, 0));
    assert_true(e->schema.field[e->schema.ids[0]].ids_max == UINT64_MAX);
    encoder_free(e);
}

enum { N = 4, K = 4 + 4 + 8 + 4 };

/* Four train rows; b is seen once, a three times over both fields of the vocab, x twice. */
static void fit_rows(struct encoder *e)
{
    static const float raw[N][4] = {
        {1, 1, 2, 10}, {2, -3, 4, 20}, {3, 0, 6, NAN}, {NAN, NAN, 8, 30}};
    uint64_t k[K];
    uint32_t offsets[N * 4 + 1];
    float floats[N * 4];
    size_t used = 0, at = 0;
    static const char *const item[N] = {"a", "b", "a", "NA"};
    static const char *const bag[N][2] = {{"x", "a"}, {"x", NULL}, {NULL, NULL}, {"y", NULL}};
    offsets[at++] = 0;
    for (size_t i = 0; i < N; i++) {
        k[used++] = key(e, 0, "u");
        offsets[at++] = (uint32_t)used;
        k[used++] = strcmp(item[i], "NA") == 0 ? encoder_key_missing(e, 1) : key(e, 1, item[i]);
        offsets[at++] = (uint32_t)used;
        for (size_t j = 0; j < 2; j++)
            if (bag[i][j] != NULL)
                k[used++] = key(e, 2, bag[i][j]);
        offsets[at++] = (uint32_t)used;
        k[used++] = key(e, 3, "c");
        offsets[at++] = (uint32_t)used;
        memcpy(floats + i * 4, raw[i], sizeof raw[i]);
    }
    struct encoder_rows first = {2, offsets, k, floats}, second = {2, offsets + 8, k, floats + 8};
    struct fit fit;
    fit_begin(&fit, e);
    assert_int_equal(fit_add(&fit, &first, &err), ST_OK);
    assert_int_equal(fit_add(&fit, &second, &err), ST_OK);
    assert_int_equal(fit_end(&fit, &err), ST_OK);
    assert_true(e->fitted);
}

static void thresholds(void **state)
{
    struct encoder *e = fresh();
    (void)state;
    fit_rows(e);
    uint64_t oov = encoder_key_fitted(e, 1, key(e, 1, "b"));
    assert_true(oov != key(e, 1, "b"));
    assert_true(encoder_key_fitted(e, 1, key(e, 1, "never")) == oov);
    assert_true(encoder_key_fitted(e, 2, key(e, 2, "y")) == oov);
    assert_true(encoder_key_fitted(e, 1, key(e, 1, "a")) == key(e, 1, "a"));
    assert_true(encoder_key_fitted(e, 1, key(e, 1, "x")) == key(e, 1, "x"));
    uint64_t missing = encoder_key_missing(e, 1);
    assert_true(encoder_key_fitted(e, 1, missing) == missing && missing != oov);
    assert_true(encoder_key_fitted(e, 0, key(e, 0, "new")) == key(e, 0, "new"));
    encoder_free(e);
}

static void norms(void **state)
{
    struct encoder *e = fresh();
    (void)state;
    fit_rows(e);
    assert_true(encoder_float_fitted(e, 0, 5.5f) == 5.5f);
    assert_true(encoder_float_fitted(e, 1, 3) == (float)log1p(3));
    assert_true(encoder_float_fitted(e, 1, -3) == -(float)log1p(3));
    double std = sqrt((9 + 1 + 1 + 9) / 4.0); /* of 2 4 6 8, mean 5 */
    assert_float_equal(encoder_float_fitted(e, 2, 8), (float)(3 / std), 1e-6f);
    assert_float_equal(encoder_float_fitted(e, 2, 5), 0, 1e-7f);
    assert_true(encoder_float_fitted(e, 3, 10) == 0 && encoder_float_fitted(e, 3, 30) == 1);
    assert_true(encoder_float_fitted(e, 3, 15) == .25f);
    assert_true(encoder_float_fitted(e, 3, -1e9f) == 0 && encoder_float_fitted(e, 3, 1e9f) == 1);
    for (size_t j = 0; j < 4; j++)
        assert_true(encoder_float_fitted(e, j, NAN) == 0);
    encoder_free(e);
}

/* What serving calls gives what conversion gives: raw, then fitted. */
static void cells_as_in_serving(void **state)
{
    struct encoder *e = fresh();
    uint64_t k[8];
    float x = 9;
    (void)state;
    fit_rows(e);
    assert_int_equal(encoder_cell_keys(e, 0, " u ", 3, k, 8), 1);
    assert_true(k[0] == key(e, 0, "u"));
    assert_int_equal(encoder_cell_keys(e, 0, "NA", 2, k, 8), 1);
    assert_true(k[0] == encoder_key_missing(e, 0));
    assert_int_equal(encoder_cell_keys(e, 2, "a^ x ^^NA^zz^a", 14, k, 8), 3); /* ids_max */
    assert_true(k[0] == key(e, 2, "a") && k[1] == key(e, 2, "x") && k[2] == e->vocab[1].oov);
    assert_int_equal(encoder_cell_keys(e, 2, "a^x", 3, k, 1), 1);
    assert_int_equal(encoder_cell_keys(e, 2, "", 0, k, 8), 0);
    assert_null(encoder_cell_float(e, 1, "3", 1, &x));
    assert_true(x == (float)log1p(3));
    assert_null(encoder_cell_float(e, 2, "NA", 2, &x));
    assert_true(x == 0);
    assert_non_null(encoder_cell_float(e, 1, "three", 5, &x));
    encoder_free(e);
}

static void apply_is_by_element(void **state)
{
    struct encoder *e = fresh();
    (void)state;
    fit_rows(e);
    uint64_t k[4] = {key(e, 0, "q"), key(e, 1, "b"), key(e, 2, "a"), key(e, 3, "c")};
    float x[4] = {1, -3, 8, NAN};
    uint32_t offsets[5] = {0, 1, 2, 3, 4};
    uint64_t want[4];
    float want_x[4];
    for (size_t i = 0; i < 4; i++) {
        want[i] = encoder_key_fitted(e, i, k[i]);
        want_x[i] = encoder_float_fitted(e, i, x[i]);
    }
    struct encoder_rows rows = {1, offsets, k, x};
    encoder_apply(e, &rows);
    assert_memory_equal(k, want, sizeof k);
    assert_memory_equal(x, want_x, sizeof x);
    encoder_free(e);
}

static void file_and_back(void **state)
{
    struct encoder *e = fresh(), *f = NULL;
    char path[] = "/tmp/encoder.XXXXXX";
    (void)state;
    fit_rows(e);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(encoder_save(e, path, &err), ST_OK);
    assert_int_equal(encoder_load(path, &f, &err), ST_OK);
    assert_true(e->hash != 0 && e->hash == f->hash);
    assert_int_equal(f->schema.ids_used, 4);
    assert_string_equal(f->schema.field[f->schema.ids[2]].sep, "^");
    assert_true(encoder_key_fitted(f, 1, key(f, 1, "b")) == e->vocab[1].oov);
    assert_true(encoder_key_fitted(f, 1, key(f, 1, "a")) == key(e, 1, "a"));
    assert_true(encoder_float_fitted(f, 2, 8) == encoder_float_fitted(e, 2, 8));
    assert_true(key(f, 3, "anything") == key(e, 3, "anything"));
    assert_true(schema_hash(&e->schema, &job) == schema_hash(&f->schema, &job));
    encoder_free(e);
    encoder_free(f);
    unlink(path);
}

static void any_flipped_bit(void **state)
{
    struct encoder *e = fresh(), *f = NULL;
    struct buffer b = BUFFER_INIT;
    (void)state;
    fit_rows(e);
    assert_int_equal(encoder_write(e, &b, &err), ST_OK);
    for (size_t i = 0; i < b.used * 8; i++) {
        b.data[i / 8] = (uint8_t)(b.data[i / 8] ^ 1u << i % 8);
        assert_int_equal(encoder_parse(b.data, b.used, "enc", &f, &err), ST_BAD_DATA);
        assert_non_null(strstr(err.text, "enc"));
        b.data[i / 8] = (uint8_t)(b.data[i / 8] ^ 1u << i % 8);
    }
    for (size_t n = 0; n < b.used; n++)
        assert_int_equal(encoder_parse(b.data, n, "enc", &f, &err), ST_BAD_DATA);
    assert_int_equal(encoder_parse(b.data, b.used, "enc", &f, &err), ST_OK);
    encoder_free(f);
    buffer_release(&b);
    encoder_free(e);
}

static void refused(const char *fields, const char *word)
{
    char text[1024];
    struct encoder *e = NULL;
    snprintf(text, sizeof text, "data:\n  train: x\n  fields:\n%smodel: {family: lr}\n", fields);
    load(text);
    assert_int_equal(encoder_new(&job, &e, &err), ST_USAGE);
    assert_non_null(strstr(err.text, word));
    job_release(&job);
}

static void bad_schemas(void **state)
{
    (void)state;
    refused("    - {name: a, type: id}\n", "label");
    refused("    - {name: y, type: label}\n    - {name: a, type: time}\n"
            "    - {name: b, type: time}\n    - {name: c, type: id}\n",
            "both of type time");
    refused("    - {name: a, type: label}\n    - {name: b, type: label}\n"
            "    - {name: c, type: label}\n    - {name: d, type: label}\n"
            "    - {name: e, type: label}\n    - {name: f, type: label}\n"
            "    - {name: g, type: label}\n    - {name: h, type: label}\n"
            "    - {name: i, type: label}\n    - {name: z, type: id}\n",
            "more than 8 of type label");
    refused("    - {name: a, type: label}\n", "learn");
    refused("    - {name: y, type: label}\n    - {name: a, type: id, vocab: v, hash: 5}\n"
            "    - {name: b, type: id, vocab: v, hash: 6}\n",
            "share the vocab v");
    load(FIELDS);
}

/* What a cache holds depends on these, so the hash must; on where the files are and bad_max it must not. */
static void schema_hash_covers(void **state)
{
    static const char *const base =
        "data: {train: %s, bad_max: %s, label_above: %s, delimiter: '%s',"
        " fields: [{name: y, type: label}, {name: a, type: id, hash: %s}]}\n"
        "model: {family: lr}\n";
    static const char *const with[][5] = {{"x", ".1", "0", ",", "5"},
                                          {"z", ".2", "0", ",", "5"},
                                          {"x", ".1", "1", ",", "5"},
                                          {"x", ".1", "0", ";", "5"},
                                          {"x", ".1", "0", ",", "6"}};
    uint64_t h[5];
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        char text[400];
        struct schema s;
        snprintf(text, sizeof text, base, with[i][0], with[i][1], with[i][2], with[i][3],
                 with[i][4]);
        load(text);
        assert_int_equal(schema_init(&s, &job, &err), ST_OK);
        h[i] = schema_hash(&s, &job);
        schema_release(&s);
        job_release(&job);
    }
    assert_true(h[0] == h[1]);
    assert_true(h[0] != h[2] && h[0] != h[3] && h[0] != h[4]);
    load(FIELDS);
}

static void counting_keys(void **state)
{
    struct keyset s = {0};
    uint64_t *sorted;
    size_t n;
    (void)state;
    assert_int_equal(keyset_count(&s, 5), 0);
    for (uint64_t i = 0; i < 30000; i++)
        assert_int_equal(keyset_add(&s, i % 10000 * 3, &err), ST_OK);
    assert_int_equal(keyset_add(&s, 0, &err), ST_OK);
    assert_int_equal(keyset_count(&s, 0), 4);
    assert_int_equal(keyset_count(&s, 3), 3);
    assert_int_equal(keyset_count(&s, 4), 0);
    assert_int_equal(keyset_sorted(&s, 3, &sorted, &n, &err), ST_OK);
    assert_int_equal(n, 10000);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(sorted[i], 3 * i);
    free(sorted);
    keyset_release(&s);
    load(FIELDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(order_of_fields, give_back),
        cmocka_unit_test_teardown(keys, give_back),
        cmocka_unit_test_teardown(libsvm_keys_are_a_bijection, give_back),
        cmocka_unit_test_teardown(thresholds, give_back),
        cmocka_unit_test_teardown(norms, give_back),
        cmocka_unit_test_teardown(cells_as_in_serving, give_back),
        cmocka_unit_test_teardown(apply_is_by_element, give_back),
        cmocka_unit_test_teardown(file_and_back, give_back),
        cmocka_unit_test_teardown(any_flipped_bit, give_back),
        cmocka_unit_test_teardown(bad_schemas, give_back),
        cmocka_unit_test_teardown(schema_hash_covers, give_back),
        cmocka_unit_test_teardown(counting_keys, give_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
