/* snapshot_manifest.c - manifests: round trip, damage anywhere, every field's bounds, which one is newest. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "ps/snapshot/manifest.h"
#include "tests/support/snapshot_world.h"

static struct manifest example(uint64_t k)
{
    struct manifest m;
    manifest_init(&m);
    m.job = UINT64_MAX;
    m.e = 3;
    m.k = k;
    m.prev = k - 1;
    m.shards = 4;
    for (uint32_t b = 0; b < BUCKETS; b++)
        m.map[b] = (uint16_t)(b < 10 ? b % 4 : b / 1024);
    m.files_used = 2;
    m.files = mem_array(2, sizeof *m.files);
    m.files[0] = (struct manifest_file){.k = k - 1, .e = 2, .full = true, .bytes = 100, .xxh3 = 1};
    m.files[1] = (struct manifest_file){.k = k, .e = 3, .shard = 3, .rows = 5, .xxh3 = UINT64_MAX};
    for (size_t i = 0; i < 2; i++)
        snprintf(m.files[i].name, sizeof m.files[i].name,
                 "data/%" PRIu64 ".%" PRIu64 ".%u.%s.safetensors", m.files[i].k, m.files[i].e,
                 m.files[i].shard, m.files[i].full ? "full" : "delta");
    m.tables = 2;
    snprintf(m.table_name[0], PLAN_NAME_MAX, "embedding");
    snprintf(m.table_name[1], PLAN_NAME_MAX, "dense");
    m.hash[0] = (uint64_t)1 << 63;
    m.hash[1] = ((uint64_t)1 << 63) - 1;
    m.weights[0] = UINT64_MAX;
    m.weights[1] = 77;
    m.rows[0] = 12;
    m.step = 1000;
    m.rendered = 900;
    m.epoch = 2;
    m.records = 1000;
    m.split_records = 300;
    m.splits_used = 2;
    m.splits = mem_array(2, sizeof *m.splits);
    m.splits[0] = (struct manifest_split){0, 300};
    m.splits[1] = (struct manifest_split){3, 950};
    m.applied = 2250;
    m.best = k - 1;
    m.seed = 11;
    m.config_hash = 12;
    m.plan_hash = 13;
    m.encoder_hash = 14;
    m.wall_us = 1700000000000000u;
    m.recipe =
        mem_strdup("{\"best_auc\":0.98123456789012345,\"stalls\":2,\"history\":[{\"auc\":0.5}]}");
    return m;
}

static void round_trip(void **state)
{
    struct manifest m = example(7), back;
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    char *text = manifest_text(&m);
    assert_int_equal(manifest_parse(text, strlen(text), "7.json", &back, &err), ST_OK);
    assert_int_equal(back.job, UINT64_MAX);
    assert_memory_equal(back.map, m.map, sizeof m.map);
    assert_int_equal(back.files_used, 2);
    assert_memory_equal(&back.files[0], &m.files[0], sizeof m.files[0]);
    assert_memory_equal(&back.files[1], &m.files[1], sizeof m.files[1]);
    assert_int_equal(back.splits_used, 2);
    assert_memory_equal(back.splits, m.splits, 2 * sizeof m.splits[0]);
    assert_memory_equal(back.hash, m.hash, sizeof m.hash);
    assert_memory_equal(back.rows, m.rows, sizeof m.rows);
    assert_string_equal(back.table_name[1], "dense");
    char *again = manifest_text(&back); /* every other field */
    assert_string_equal(again, text);
    const char *auc = strstr(back.recipe, "best_auc") + strlen("best_auc\":");
    assert_true(strtod(auc, NULL) == 0.98123456789012345); /* every bit */
    free(again);
    free(text);
    manifest_release(&back);

    free(m.recipe);
    m.recipe = NULL;
    m.splits_used = 0;
    for (uint32_t b = 0; b < BUCKETS; b++)
        m.map[b] = (uint16_t)(b % 4); /* no runs at all */
    text = manifest_text(&m);
    assert_int_equal(manifest_parse(text, strlen(text), "7.json", &back, &err), ST_OK);
    assert_memory_equal(back.map, m.map, sizeof m.map);
    assert_null(back.recipe);
    free(text);
    manifest_release(&back);
    manifest_release(&m);
}

static void any_damaged_byte_is_found(void **state)
{
    struct manifest m = example(7), back;
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    char *text = manifest_text(&m);
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            text[i] = (char)(text[i] ^ (1 << bit));
            assert_int_equal(manifest_parse(text, n, "7.json", &back, &err), ST_BAD_DATA);
            assert_non_null(strstr(err.text, "7.json: damaged"));
            text[i] = (char)(text[i] ^ (1 << bit));
        }
    }
    for (size_t i = 0; i < n; i++) {
        char *shorter = mem_alloc(i + 1);
        memcpy(shorter, text, i);
        assert_int_equal(manifest_parse(shorter, i, "7.json", &back, &err), ST_BAD_DATA);
        free(shorter);
    }
    free(text);
    manifest_release(&m);
}

/* The text with `from` replaced by `to` and its checksum made right again. */
static char *edited(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    assert_non_null(at);
    struct buffer b = BUFFER_INIT;
    buffer_put(&b, text, (size_t)(at - text));
    buffer_put(&b, to, strlen(to));
    buffer_put(&b, at + strlen(from), strlen(at + strlen(from)));
    char *copy = mem_strdup(buffer_text(&b));
    buffer_release(&b);
    char digits[17];
    char *sum = strstr(copy, "\"xxh3\": \"") + 9;
    memcpy(sum, "0000000000000000", 16);
    snprintf(digits, sizeof digits, "%016" PRIx64, hash_bytes(copy, strlen(copy), 0));
    memcpy(sum, digits, 16);
    return copy;
}

static const struct {
    const char *from, *to, *says;
} bad[] = {
    {"penstock-cut-1", "penstock-cut-2", "format"},
    {"\"k\": 7,\n \"e\"", "\"k\": 0,\n \"e\"", "k or e is 0"},
    {"\"k\": 7,\n \"e\"", "\"k\": -7,\n \"e\"", "k is not a whole number"},
    {"\"prev\": 6", "\"prev\": 7", "prev 7 is not below"},
    {"\"best\": 6", "\"best\": 8", "best 8"},
    {"\"rendered\": 900", "\"rendered\": 1001", "rendered"},
    {"\"job\": \"18446744073709551615\"", "\"job\": \"18446744073709551616\"", "job is not"},
    {"\"seed\": 11", "\"seeds\": 11", "seed is missing"},
    {"\"shards\": 4", "\"shards\": 0", "shards is 0"},
    {"\"shards\": 4", "\"shards\": 4097", "shards is 4097"},
    {"\"shards\": 4", "\"shards\": 3", "map names shard 3 of 3"},
    {"3*1024", "3*1023", "4095 buckets"},
    {"3*1024", "3*1025", "4096 buckets"},
    {"3*1024", "3*0", "4096 buckets"},
    {"3*1024", "3 *1024", "no list"},
    {"3*1024", "3*1024 ", "no list"},
    {"3*1024", "3*18446744073709551615", "4096 buckets"},
    {"data/6.2.0.full", "data/../../etc/passwd", "name is no data file"},
    {"data/6.2.0.full.safetensors", "/6.2.0.full.safetensors", "name is no data file"},
    {"data/6.2.0.full.safetensors", "data/6.2.0.full.safetensors.tmp", "name is no data file"},
    {"data/6.2.0.full", "data/06.2.0.full", "name is no data file"},
    {"data/6.2.0.full", "data/6.2.1.full", "differs from its k, e, shard or full"},
    {"data/6.2.0.full", "data/6.2.0.delta", "differs"},
    {"\"e\": 2,", "\"e\": 1,", "differs"},
    {"\"bytes\": 100", "\"bytes\": 1.5", "bytes is not"},
    {"data/7.3.3.delta.safetensors\",\n   \"k\": 7,\n   \"e\": 3",
     "data/8.3.3.delta.safetensors\",\n   \"k\": 8,\n   \"e\": 3", "can't be part of cut 7"},
    {"data/7.3.3.delta.safetensors\",\n   \"k\": 7,\n   \"e\": 3",
     "data/7.4.3.delta.safetensors\",\n   \"k\": 7,\n   \"e\": 4", "can't be part of cut 7"},
    {"data/7.3.3.delta.safetensors\",\n   \"k\": 7", "data/5.3.3.delta.safetensors\",\n   \"k\": 5",
     "stands behind a newer one"},
    {"data/7.3.3.delta.safetensors\",\n   \"k\": 7", "data/6.3.3.delta.safetensors\",\n   \"k\": 6",
     "none is of cut 7"},
    {"data/7.3.3.delta.safetensors\",\n   \"k\": 7,\n   \"e\": 3,\n   \"shard\": 3",
     "data/7.3.9999.delta.safetensors\",\n   \"k\": 7,\n   \"e\": 3,\n   \"shard\": 9999",
     "can't be part"},
    {"\"name\": \"dense\"", "\"name\": \"embedding\"", "embedding stands there twice"},
    {"\"name\": \"dense\"", "\"name\": \"\"", "name is not"},
    {"\"name\": \"dense\"", "\"name\": \"a b\"", "name is not"},
    {"0:300", "0:301", "outside its [0, 300]"},
    {"3:950", "3:899", "outside its [900, 1000]"},
    {"3:950", "4:1000", "no split 4"},
    {"3:950", "0:300", "out of order"},
    {"3:950", "3:", "no list"},
    {"\"split_records\": 300", "\"split_records\": 0", "no split 0"},
    {"\"files\": [", "\"files\": 7, \"x\": [", "files: 0 entries"},
    {"\"tables\": [", "\"tables\": {}, \"x\": [", "tables: 0 entries"},
    {"{\n \"xxh3\"", "{\n \"xxh3\"", NULL},
};

static void every_field_is_checked(void **state)
{
    struct manifest m = example(7), back;
    (void)state;
    char *text = manifest_text(&m);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct errbuf err = ERRBUF_INIT;
        char *wrong = edited(text, bad[i].from, bad[i].to);
        enum status st = manifest_parse(wrong, strlen(wrong), "7.json", &back, &err);
        if (bad[i].says == NULL) {
            assert_int_equal(st, ST_OK);
            manifest_release(&back);
        } else if (st != ST_BAD_DATA || strstr(err.text, bad[i].says) == NULL ||
                   strncmp(err.text, "7.json: ", 8) != 0) {
            fail_msg("%s -> %s: \"%s\" does not say \"%s\"", bad[i].from, bad[i].to, err.text,
                     bad[i].says);
        }
        free(wrong);
    }
    free(text);
    manifest_release(&m);
}

static void a_file_listed_twice_is_refused(void **state)
{
    struct manifest m = example(7), back;
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    m.files[0] = m.files[1];
    char *text = manifest_text(&m);
    assert_int_equal(manifest_parse(text, strlen(text), "f", &back, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "data/7.3.3.delta.safetensors stands there twice"));
    free(text);
    manifest_release(&m);
}

/* -- folders -- */

static void put_text(const char *dir, const char *name, const char *text, size_t n)
{
    char *path = file_join(dir, name);
    struct errbuf err = ERRBUF_INIT;
    if (file_write_atomic(path, text, n, &err) != ST_OK)
        fail_msg("%s", err.text);
    free(path);
}

static void put_manifest(const char *dir, uint64_t k, uint64_t best)
{
    struct manifest m = example(k);
    char name[64];
    m.best = best;
    char *text = manifest_text(&m);
    snprintf(name, sizeof name, "cuts/%" PRIu64 ".json", k);
    put_text(dir, name, text, strlen(text));
    free(text);
    manifest_release(&m);
}

static void make_folder(struct world *w)
{
    world_init(w, 1, 1);
    char *cuts = file_join(world_dir(w), "cuts"), *data = file_join(w->dir, "data");
    assert_int_equal(file_mkdirs(cuts, NULL), ST_OK);
    assert_int_equal(file_mkdirs(data, NULL), ST_OK);
    free(cuts);
    free(data);
}

static void list_and_highest(void **state)
{
    struct world w;
    uint64_t *k, highest;
    size_t n;
    (void)state;
    make_folder(&w);
    assert_int_equal(manifest_list(w.dir, &k, &n, &highest, NULL), ST_OK);
    assert_int_equal(n, 0);
    assert_int_equal(highest, 0);
    free(k);
    put_manifest(w.dir, 10, 0);
    put_manifest(w.dir, 9, 0);
    put_manifest(w.dir, 100, 0);
    put_text(w.dir, "cuts/101.json.bad", "x", 1);
    put_text(w.dir, "cuts/0102.json", "x", 1);
    put_text(w.dir, "cuts/103.json~", "x", 1);
    assert_int_equal(manifest_list(w.dir, &k, &n, &highest, NULL), ST_OK);
    assert_int_equal(n, 3);
    assert_int_equal(k[0], 9);
    assert_int_equal(k[1], 10);
    assert_int_equal(k[2], 100);
    assert_int_equal(highest, 101);
    free(k);
    put_text(w.dir, "data/200.1.0.full.safetensors.tmp", "x", 1);
    assert_int_equal(manifest_list(w.dir, &k, &n, &highest, NULL), ST_OK);
    assert_int_equal(highest, 200);
    free(k);
    assert_int_equal(manifest_list("/nowhere", &k, &n, &highest, NULL), ST_OK);
    assert_int_equal(n, 0);
    free(k);
    world_release(&w);
}

static void the_newest_whole_one(void **state)
{
    struct world w;
    struct manifest m;
    struct errbuf err = ERRBUF_INIT, notes = ERRBUF_INIT;
    (void)state;
    make_folder(&w);
    assert_int_equal(manifest_newest(w.dir, &m, &notes, &err), ST_NOT_FOUND);
    assert_non_null(strstr(err.text, "no complete cut"));
    put_manifest(w.dir, 7, 0);
    put_manifest(w.dir, 8, 0);
    put_text(w.dir, "cuts/9.json", "{}", 2);
    put_text(w.dir, "cuts/10.json", "", 0);
    assert_int_equal(manifest_newest(w.dir, &m, &notes, &err), ST_OK);
    assert_int_equal(m.k, 8);
    assert_non_null(strstr(notes.text, "cuts/9.json"));
    assert_non_null(strstr(notes.text, "cuts/10.json"));
    manifest_release(&m);

    /* A whole manifest under another number is no manifest of that number. */
    struct manifest other = example(5);
    char *text = manifest_text(&other);
    put_text(w.dir, "cuts/11.json", text, strlen(text));
    assert_int_equal(manifest_read(w.dir, 11, &m, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "manifest of cut 5"));
    free(text);
    manifest_release(&other);
    put_text(w.dir, "cuts/7.json", "x", 1);
    put_text(w.dir, "cuts/8.json", "x", 1);
    assert_int_equal(manifest_newest(w.dir, &m, NULL, &err), ST_NOT_FOUND);
    assert_non_null(strstr(err.text, "none of its 5 manifests is whole"));
    world_release(&w);
}

static void specs(void **state)
{
    struct world w;
    struct manifest m;
    struct errbuf err = ERRBUF_INIT;
    char spec[400], dir[300];
    (void)state;
    make_folder(&w);
    assert_int_equal(manifest_resolve(w.dir, dir, sizeof dir, &m, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "no complete cut"));
    put_manifest(w.dir, 7, 0);
    put_manifest(w.dir, 8, 7);
    assert_int_equal(manifest_resolve(w.dir, dir, sizeof dir, &m, &err), ST_OK);
    assert_int_equal(m.k, 7); /* the best of the newest */
    assert_string_equal(dir, w.dir);
    manifest_release(&m);
    snprintf(spec, sizeof spec, "%s@8", w.dir);
    assert_int_equal(manifest_resolve(spec, dir, sizeof dir, &m, &err), ST_OK);
    assert_int_equal(m.k, 8);
    assert_string_equal(dir, w.dir);
    manifest_release(&m);
    snprintf(spec, sizeof spec, "%s@9", w.dir);
    assert_int_equal(manifest_resolve(spec, dir, sizeof dir, &m, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "there is no cut 9"));
    put_text(w.dir, "cuts/7.json", "x", 1);
    assert_int_equal(manifest_resolve(w.dir, dir, sizeof dir, &m, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "cut 7, which the recipe restores"));
    assert_int_equal(manifest_resolve("/nowhere@x", dir, sizeof dir, &m, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "no such folder"));
    assert_int_equal(manifest_resolve("", dir, sizeof dir, &m, &err), ST_USAGE);

    snprintf(spec, sizeof spec, "%s/run@3", w.dir); /* a folder that looks like a spec */
    char *cuts = file_join(spec, "cuts");
    assert_int_equal(file_mkdirs(cuts, NULL), ST_OK);
    put_manifest(spec, 4, 0);
    assert_int_equal(manifest_resolve(spec, dir, sizeof dir, &m, &err), ST_OK);
    assert_int_equal(m.k, 4);
    manifest_release(&m);
    free(cuts);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(any_damaged_byte_is_found),
        cmocka_unit_test(every_field_is_checked),
        cmocka_unit_test(a_file_listed_twice_is_refused),
        cmocka_unit_test(list_and_highest),
        cmocka_unit_test(the_newest_whole_one),
        cmocka_unit_test(specs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
