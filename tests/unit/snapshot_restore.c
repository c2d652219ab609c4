/* snapshot_restore.c - chains of files back into tables, on any number of shards; verify; diff; damage. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "ps/snapshot/chain.h"
#include "ps/snapshot/cut_file.h"
#include "ps/snapshot/diff.h"
#include "ps/snapshot/fence.h"
#include "ps/snapshot/restore.h"
#include "ps/snapshot/safetensors.h"
#include "tests/support/snapshot_world.h"

static void pushes_between(struct world *w)
{
    world_push(w, 5, 900);
}

static void push_some(struct world *w, int pushes)
{
    for (int i = 0; i < pushes; i++)
        world_push(w, 25, 500);
}

/* Load cut m of w into a new world of `shards`. */
static void load(const struct world *w, const struct manifest *m, struct world *to, uint32_t shards)
{
    struct errbuf err = ERRBUF_INIT;
    world_init(to, shards, 1);
    for (uint32_t i = 0; i < shards; i++) {
        uint64_t rows = 0, have = 0;
        for (uint32_t t = 0; t < to->plan.tables_used; t++)
            table_clear(to->shard[i].store->table[t]);
        if (restore_load(w->dir, m, &to->plan, to->map, i, shards, to->shard[i].store,
                         &to->shard[i].hash, &rows, &err) != ST_OK)
            fail_msg("%s", err.text);
        for (uint32_t t = 0; t < to->plan.tables_used; t++) {
            have += table_rows(to->shard[i].store->table[t]);
            table_check(to->shard[i].store->table[t]);
        }
        assert_int_equal(rows, have);
    }
}

static void check_hashes(const struct world *to, const struct manifest *m)
{
    for (uint32_t t = 0; t < to->plan.tables_used; t++) {
        uint64_t sum = 0, rows = 0;
        for (uint32_t i = 0; i < to->shards; i++) {
            sum += cut_hash_sum(&to->shard[i].hash, t);
            rows += to->shard[i].hash.rows[t];
        }
        assert_int_equal(sum, m->hash[t]);
        assert_int_equal(rows, m->rows[t]);
    }
}

/* A full cut and deltas, some abandoned, all written while pushes went on; restored to 1, 2, 3, 5 shards:
 * the rows as of the take, and the hashes of the manifest. */
static void chains_restore_on_any_number_of_shards(void **state)
{
    static const uint32_t counts[] = {1, 2, 3, 5};
    (void)state;
    for (uint64_t seed = 0; seed < 4; seed++) {
        struct world w;
        struct shot want;
        world_init(&w, 4, seed);
        world_dir(&w);
        for (uint64_t k = 1; k <= 6; k++) {
            push_some(&w, 6);
            world_take(&w);
            if (k == 3) {
                push_some(&w, 2);
                world_abandon(&w);
                world_take(&w);
            }
            shot_rendered(&want, &w, k == 1 || k == 5 ? w.shard[0].taken_step : w.rendered);
            world_write(&w, k, k == 1 || k == 5, pushes_between);
            for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
                struct world to;
                struct shot have;
                load(&w, &w.last, &to, counts[c]);
                shot_world(&have, &to);
                assert_true(shot_equal(&have, &want));
                check_hashes(&to, &w.last);
                shot_release(&have);
                world_release(&to);
            }
            shot_release(&want);
            struct verify_result r;
            struct errbuf err = ERRBUF_INIT;
            if (snapshot_verify(w.dir, k, &w.plan, &r, &err) != ST_OK)
                fail_msg("%s", err.text);
            assert_int_equal(r.files, w.last.files_used);
        }
        world_release(&w);
    }
}

/* Train, cut, restore on another number, train on, cut again as a delta of the same chain. */
static void a_chain_goes_on_over_a_reshard(void **state)
{
    struct world w, to, back;
    struct shot want, have;
    (void)state;
    world_init(&w, 4, 3);
    world_dir(&w);
    push_some(&w, 10);
    world_cut(&w, 1, true, NULL);
    push_some(&w, 5);
    world_cut(&w, 2, false, NULL);
    load(&w, &w.last, &to, 3);
    memcpy(to.dir, w.dir, sizeof to.dir);
    to.last = w.last; /* moved */
    manifest_init(&w.last);
    to.e = 2;
    to.rendered = w.rendered;
    for (uint32_t i = 0; i < to.shards; i++)
        to.shard[i].step = w.shard[0].step;
    push_some(&to, 5);
    world_take(&to);
    shot_world(&want, &to);
    world_write(&to, 3, false, NULL);
    struct verify_result r;
    struct errbuf err = ERRBUF_INIT;
    if (snapshot_verify(to.dir, 3, &to.plan, &r, &err) != ST_OK)
        fail_msg("%s", err.text);
    assert_int_equal(r.files, 11); /* 4 full, 4 and 3 deltas */
    load(&to, &to.last, &back, 5);
    shot_world(&have, &back);
    assert_true(shot_equal(&have, &want));
    check_hashes(&back, &to.last);
    to.dir[0] = '\0';
    shot_release(&have);
    shot_release(&want);
    world_release(&back);
    world_release(&to);
    world_release(&w);
}

/* Evaluation wants weights only. */
static void weights_alone(void **state)
{
    struct world w;
    struct store *s;
    struct errbuf err = ERRBUF_INIT;
    const uint32_t none[PLAN_TABLES_MAX] = {0};
    uint16_t map[BUCKETS] = {0};
    uint64_t rows;
    (void)state;
    world_init(&w, 2, 3);
    world_dir(&w);
    push_some(&w, 10);
    world_cut(&w, 1, true, NULL);
    push_some(&w, 1);
    world_take(&w);
    world_write(&w, 2, false, NULL);
    assert_int_equal(store_new(&w.plan, none, 1 << 30, &s, &err), ST_OK);
    if (restore_load(w.dir, &w.last, &w.plan, map, 0, 1, s, NULL, &rows, &err) != ST_OK)
        fail_msg("%s", err.text);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t cursor = 0, key;
        uint32_t slot, found;
        while (table_scan(w.shard[i].store->table[0], &cursor, 1, &key, &slot) > 0) {
            uint8_t copy[512];
            const struct table *t = w.shard[i].store->table[0];
            memcpy(copy, table_record(t, slot), table_record_bytes(t));
            world_render(NULL, 0, copy, w.rendered);
            table_find(s->table[0], &key, 1, &found);
            assert_int_not_equal(found, SLOT_NONE);
            assert_memory_equal(row_weights(table_record(s->table[0], found)), row_weights(copy),
                                32);
        }
    }
    store_free(s);
    world_release(&w);
}

/* -- what does not fit -- */

static enum status try_load(const struct world *w, const struct plan *plan, const uint32_t *floats,
                            uint64_t bytes_max, struct errbuf *err)
{
    struct store *s;
    uint16_t map[BUCKETS] = {0};
    uint64_t rows;
    assert_int_equal(store_new(plan, floats, bytes_max, &s, err), ST_OK);
    enum status st = restore_load(w->dir, &w->last, plan, map, 0, 1, s, NULL, &rows, err);
    store_free(s);
    return st;
}

static void another_plan_is_told(void **state)
{
    struct world w;
    struct plan other;
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    world_init(&w, 2, 3);
    world_dir(&w);
    push_some(&w, 10);
    world_cut(&w, 1, true, NULL);

    memset(&other, 0, sizeof other);
    plan_add_sparse(&other, "embedding", 8, PLAN_ZERO, 0, &w.plan.tables[0].optim);
    assert_int_equal(try_load(&w, &other, w.state, 1 << 30, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "emb.linear.ids belongs to no table"));
    assert_non_null(strstr(err.text, "data/1.1.0.full.safetensors"));
    struct verify_result r;
    assert_int_equal(snapshot_verify(w.dir, 1, &other, &r, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "it has 4 tables, the plan has 1"));
    plan_release(&other);

    memset(&other, 0, sizeof other);
    plan_add_sparse(&other, "embedding", 9, PLAN_ZERO, 0, &w.plan.tables[0].optim);
    assert_int_equal(try_load(&w, &other, w.state, 1 << 30, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "emb.embedding.rows has a wrong type or shape"));
    plan_release(&other);

    uint32_t floats[PLAN_TABLES_MAX];
    memcpy(floats, w.state, sizeof floats);
    floats[0] = 1; /* another optimizer */
    assert_int_equal(try_load(&w, &w.plan, floats, 1 << 30, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "table embedding"));
    assert_non_null(strstr(err.text, "16 floats of optimizer state"));
    world_release(&w);
}

static void a_budget_that_is_too_small_is_told(void **state)
{
    struct world w;
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    world_init(&w, 1, 3);
    world_dir(&w);
    for (int i = 0; i < 300; i++)
        world_push(&w, 200, 200000);
    world_cut(&w, 1, true, NULL);
    assert_int_equal(try_load(&w, &w.plan, w.state, (uint64_t)5 << 20, &err), ST_AGAIN);
    assert_non_null(strstr(err.text, "table embedding"));
    world_release(&w);
}

static void a_missing_file_is_told(void **state)
{
    struct world w;
    struct errbuf err = ERRBUF_INIT;
    struct verify_result r;
    (void)state;
    world_init(&w, 2, 3);
    world_dir(&w);
    push_some(&w, 3);
    world_cut(&w, 1, true, NULL);
    char *path = file_join(w.dir, w.last.files[1].name);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(try_load(&w, &w.plan, w.state, 1 << 30, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "data/1.1.1.full.safetensors"));
    assert_int_equal(snapshot_verify(w.dir, 1, &w.plan, &r, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "is missing"));
    free(path);
    world_release(&w);
}

static void flip(const char *path, size_t at, int bit)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    int c = fgetc(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    fputc(c ^ (1 << bit), f);
    fclose(f);
}

/* One flipped bit anywhere in any file or manifest is found, and named. */
static void damage_is_found(void **state)
{
    struct world w;
    struct errbuf err = ERRBUF_INIT;
    struct verify_result r;
    (void)state;
    world_init(&w, 2, 3);
    world_dir(&w);
    push_some(&w, 5);
    world_cut(&w, 1, true, NULL);
    push_some(&w, 2);
    world_cut(&w, 2, false, NULL);
    for (size_t i = 0; i < w.last.files_used; i++) {
        const struct manifest_file *f = &w.last.files[i];
        char *path = file_join(w.dir, f->name), *whole;
        size_t n;
        assert_int_equal(file_read(path, 1 << 24, &whole, &n, &err), ST_OK);
        for (int round = 0; round < 100; round++) {
            size_t at = round < 20 ? (size_t)round : (size_t)rng_below(&w.rng, f->bytes);
            int bit = (int)rng_below(&w.rng, 8);
            flip(path, at, bit);
            assert_int_equal(snapshot_verify(w.dir, 2, &w.plan, &r, &err), ST_BAD_DATA);
            assert_non_null(strstr(err.text, f->name));
            assert_int_equal(try_load(&w, &w.plan, w.state, 1 << 30, &err), ST_BAD_DATA);
            assert_non_null(strstr(err.text, f->name));
            flip(path, at, bit);
        }
        assert_int_equal(truncate(path, (off_t)f->bytes - 1), 0);
        assert_int_equal(snapshot_verify(w.dir, 2, &w.plan, &r, &err), ST_BAD_DATA);
        assert_non_null(strstr(err.text, "bytes long"));
        assert_int_equal(file_write_atomic(path, whole, n, &err), ST_OK);
        free(whole);
        free(path);
    }
    world_release(&w);
}

/* A manifest whose words are whole but wrong: the rows themselves are looked at. */
static void wrong_words_are_found(void **state)
{
    struct world w;
    struct errbuf err = ERRBUF_INIT;
    struct verify_result r;
    (void)state;
    world_init(&w, 2, 3);
    world_dir(&w);
    push_some(&w, 5);
    world_cut(&w, 1, true, NULL);
    char *path = file_join(w.dir, "cuts/1.json");
    for (int what = 0; what < 6; what++) {
        struct manifest m;
        assert_int_equal(manifest_read(w.dir, 1, &m, &err), ST_OK);
        struct manifest good = m;
        good.files = mem_alloc(m.files_used * sizeof *m.files);
        memcpy(good.files, m.files, m.files_used * sizeof *m.files);
        if (what == 0)
            m.hash[1]++;
        else if (what == 1)
            m.rows[0]--;
        else if (what == 2)
            m.files[1].rows++;
        else if (what == 3)
            m.files_used = 1; /* a shard is missing */
        else if (what == 5)
            m.weights[0] ^= 1;
        else
            snprintf(m.table_name[1], sizeof m.table_name[1], "linear2");
        static const char *const says[] = {
            "table linear: the hash",        "table embedding: ",
            "data/1.1.1.full.safetensors: ", "table ",
            "its table 1 is linear2",        "table embedding: the hash of its weights"};
        char *text = manifest_text(&m);
        assert_int_equal(file_write_atomic(path, text, strlen(text), &err), ST_OK);
        assert_int_equal(snapshot_verify(w.dir, 1, &w.plan, &r, &err), ST_BAD_DATA);
        if (strstr(err.text, says[what]) == NULL)
            fail_msg("%s", err.text);
        free(text);
        good.splits = NULL;
        good.recipe = NULL;
        text = manifest_text(&good);
        assert_int_equal(file_write_atomic(path, text, strlen(text), &err), ST_OK);
        free(text);
        free(good.files);
        manifest_release(&m);
    }
    assert_int_equal(snapshot_verify(w.dir, 1, &w.plan, &r, &err), ST_OK);
    free(path);
    world_release(&w);
}

/* -- tombs and twice the same row: files no shard writes today, made by hand -- */

static void make_file(struct world *w, uint64_t k, uint32_t shard, const uint64_t *ids, size_t n,
                      const uint64_t *tombs, size_t m, float value, struct manifest_file *out)
{
    struct buffer b = BUFFER_INIT;
    struct cut_file *f;
    struct tensor_info t[] = {
        {.name = "emb.t.ids", .type = TENSOR_U64, .dims = 1, .shape = {n}},
        {.name = "emb.t.tomb", .type = TENSOR_U64, .dims = 1, .shape = {m}},
        {.name = "emb.t.rows", .type = TENSOR_F32, .dims = 2, .shape = {n, 1}},
        {.name = "emb.t.state", .type = TENSOR_F32, .dims = 2, .shape = {n, 0}},
        {.name = "emb.t.meta", .type = TENSOR_U32, .dims = 2, .shape = {n, 2}},
    };
    safetensors_header(t, 5, NULL, 0, &b);
    buffer_put(&b, ids, 8 * n);
    buffer_put(&b, tombs, 8 * m);
    for (size_t i = 0; i < n; i++)
        buffer_f32(&b, value);
    for (size_t i = 0; i < 2 * n; i++)
        buffer_u32(&b, 1);
    assert_int_equal(cut_file_open(w->dir, k, 1, shard, k == 1, false, &f, NULL), ST_OK);
    assert_int_equal(cut_file_add(f, b.data, b.used, NULL), ST_OK);
    assert_int_equal(cut_file_finish(f, out, NULL), ST_OK);
    out->rows = n;
    buffer_release(&b);
}

static void tombs_remove_rows(void **state)
{
    struct world w;
    struct plan plan;
    struct store *s;
    struct errbuf err = ERRBUF_INIT;
    struct manifest_file files[4];
    struct manifest m = {.k = 3, .e = 1, .files = files, .files_used = 3};
    uint16_t map[BUCKETS] = {0};
    uint32_t floats[1] = {0}, slot[5];
    uint64_t rows;
    (void)state;
    world_init(&w, 1, 3);
    world_dir(&w);
    memset(&plan, 0, sizeof plan);
    plan_add_sparse(&plan, "t", 1, PLAN_ZERO, 0, &w.plan.tables[0].optim);
    make_file(&w, 1, 0, (uint64_t[]){1, 2, 3, UINT64_MAX}, 4, NULL, 0, 1.f, &files[0]);
    make_file(&w, 2, 0, (uint64_t[]){4}, 1, (uint64_t[]){2, 3, UINT64_MAX}, 3, 2.f, &files[1]);
    make_file(&w, 3, 0, (uint64_t[]){3}, 1, (uint64_t[]){1}, 1, 3.f, &files[2]);
    assert_int_equal(store_new(&plan, floats, 1 << 30, &s, &err), ST_OK);
    if (restore_load(w.dir, &m, &plan, map, 0, 1, s, NULL, &rows, &err) != ST_OK)
        fail_msg("%s", err.text);
    assert_int_equal(rows, 2); /* 3 came back, 4 was added */
    table_find(s->table[0], (uint64_t[]){1, 2, 3, 4, UINT64_MAX}, 5, slot);
    assert_true(slot[0] == SLOT_NONE && slot[1] == SLOT_NONE && slot[4] == SLOT_NONE);
    assert_true(*row_weights(table_record(s->table[0], slot[2])) == 3.f);
    assert_true(*row_weights(table_record(s->table[0], slot[3])) == 2.f);

    struct chain c; /* the merge says the same */
    struct chain_cursor at;
    const struct part_table *t;
    struct part_row row;
    uint64_t key;
    assert_int_equal(chain_open(w.dir, &m, &plan, &c, &err), ST_OK);
    chain_cursor_init(&at, &c, 0);
    assert_int_equal(chain_next(&at, &key, &t, &row, &err), ST_OK);
    assert_int_equal(key, 3);
    assert_int_equal(chain_next(&at, &key, &t, &row, &err), ST_OK);
    assert_int_equal(key, 4);
    assert_int_equal(chain_next(&at, &key, &t, &row, &err), ST_END);
    chain_cursor_release(&at);
    chain_close(&c);

    make_file(&w, 3, 1, (uint64_t[]){3}, 1, NULL, 0, 3.f, &files[3]); /* a bucket on two shards */
    m.files_used = 4;
    assert_int_equal(chain_open(w.dir, &m, &plan, &c, &err), ST_OK);
    chain_cursor_init(&at, &c, 0);
    assert_int_equal(chain_next(&at, &key, &t, &row, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "row 3 of table t stands in both"));
    chain_cursor_release(&at);
    chain_close(&c);

    make_file(&w, 4, 0, (uint64_t[]){5, 4}, 2, NULL, 0, 3.f, &files[0]); /* out of order */
    m.files_used = 1;
    assert_int_equal(chain_open(w.dir, &m, &plan, &c, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "emb.t.ids: ids are not rising"));
    store_free(s);
    plan_release(&plan);
    world_release(&w);
}

/* What only a file whose sums are right can try: each is refused before a row of it is used. */
static void impossible_tensors_are_refused(void **state)
{
    static const struct {
        const char *from, *to, *says;
    } bad[] = {
        {"dense.w.256\"", "dense.w.128\"", "does not fit the plan's w"},
        {"dense.w.256\"", "dense.w.512\"", "does not fit the plan's w"},
        {"dense.w.256\"", "dense.w.0\"  ", "does not fit the plan's w"},
        {"dense.w.256\"", "dense.w\"    ", "does not fit the plan's w"},
        {"dense.w.256\"", "dense.v.256\"", "belongs to no table"},
        {"dense.w.256.meta", "dense.w.256.mesa", "dense.w.256.meta is missing"},
        {"dense.w.256.state\":{\"dtype\":\"F32\"", "dense.w.256.state\":{\"dtype\":\"U32\"",
         "wrong type"},
        {"\"emb.t.ids\"", "\"emb.u.ids\"", "emb.u.ids belongs to no table"},
        {"\"emb.t.rows\"", "\"emb.t.row_\"", "emb.t.rows is missing"},
        {"\"shape\":[2,2],\"data_offsets\":[16,", "\"shape\":[4,1],\"data_offsets\":[16,",
         "emb.t.rows has a wrong type or shape"},
        {"flags", NULL, "emb.t.meta: impossible flags at 1"},
        {"", "", NULL},
    };
    const struct job_optim optim = {.kind = JOB_SGD};
    struct tensor_info t[] = {
        {.name = "emb.t.ids", .type = TENSOR_U64, .dims = 1, .shape = {2}},
        {.name = "emb.t.rows", .type = TENSOR_F32, .dims = 2, .shape = {2, 2}},
        {.name = "emb.t.state", .type = TENSOR_F32, .dims = 2, .shape = {2, 1}},
        {.name = "emb.t.meta", .type = TENSOR_U32, .dims = 2, .shape = {2, 2}},
        {.name = "dense.w.256", .type = TENSOR_F32, .dims = 1, .shape = {44}},
        {.name = "dense.w.256.state", .type = TENSOR_F32, .dims = 2, .shape = {1, 0}},
        {.name = "dense.w.256.meta", .type = TENSOR_U32, .dims = 2, .shape = {1, 2}},
    };
    struct plan plan;
    (void)state;
    memset(&plan, 0, sizeof plan);
    plan_add_sparse(&plan, "t", 2, PLAN_ZERO, 0, &optim);
    plan_add_tensor(&plan, PLAN_DENSE, "w", 2, (uint64_t[]){3, 100}, PLAN_ZERO, 0, &optim);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct buffer b = BUFFER_INIT;
        struct errbuf err = ERRBUF_INIT;
        struct part p;
        safetensors_header(t, 7, NULL, 0, &b);
        size_t header = b.used;
        buffer_u64(&b, 4);
        buffer_u64(&b, 9);
        for (int f = 0; f < 4 + 2 + 4 + 44 + 2; f++)
            buffer_u32(&b, 1);
        if (bad[i].to == NULL) {
            b.data[header + 16 + 16 + 8 + 8 + 7] = 0x80;
        } else {
            uint8_t *at = memmem(b.data, header, bad[i].from, strlen(bad[i].from));
            assert_non_null(at);
            assert_int_equal(strlen(bad[i].from), strlen(bad[i].to));
            memcpy(at, bad[i].to, strlen(bad[i].to));
        }
        enum status st = part_parse(b.data, b.used, "f", &plan, &p, &err);
        if (bad[i].says == NULL) {
            assert_int_equal(st, ST_OK);
            assert_int_equal(p.table[1].block[0].key, 1);
            part_close(&p);
        } else if (st != ST_BAD_DATA || strstr(err.text, bad[i].says) == NULL) {
            fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].to, err.text, bad[i].says);
        }
        buffer_release(&b);
    }
    plan_release(&plan);
}

/* -- diff -- */

static void diff_counts(void **state)
{
    struct world w;
    struct chain a, b;
    struct manifest first, second;
    struct errbuf err = ERRBUF_INIT;
    struct diff_table d[2 * PLAN_TABLES_MAX];
    size_t n;
    (void)state;
    world_init(&w, 2, 3);
    world_dir(&w);
    push_some(&w, 5);
    world_cut(&w, 1, true, NULL);
    uint64_t rows_before = w.last.rows[0];
    world_push(&w, 30, 1000);
    world_cut(&w, 2, false, NULL);
    assert_int_equal(manifest_read(w.dir, 1, &first, &err), ST_OK);
    assert_int_equal(manifest_read(w.dir, 2, &second, &err), ST_OK);
    assert_int_equal(chain_open(w.dir, &first, &w.plan, &a, &err), ST_OK);
    assert_int_equal(chain_open(w.dir, &second, &w.plan, &b, &err), ST_OK);
    assert_int_equal(diff_chains(&a, &b, d, &n, &err), ST_OK);
    assert_int_equal(n, 4);
    assert_string_equal(d[0].name, "embedding");
    assert_int_equal(d[0].only_a, 0);
    assert_int_equal(d[0].only_b, w.last.rows[0] - rows_before);
    assert_true(d[0].only_b > 0 && d[0].changed > 0 && d[0].weight_max >= 1);
    assert_int_equal(d[0].rows_a, rows_before);
    assert_int_equal(d[0].rows_b, w.last.rows[0]);
    uint64_t only_b = d[0].only_b;
    assert_int_equal(diff_chains(&b, &a, d, &n, &err), ST_OK);
    assert_int_equal(d[0].only_a, only_b);
    assert_int_equal(diff_chains(&b, &b, d, &n, &err), ST_OK);
    for (size_t t = 0; t < n; t++) {
        assert_int_equal(d[t].only_a + d[t].only_b + d[t].changed, 0);
        assert_true(d[t].weight_max == 0);
    }
    chain_close(&a);
    chain_close(&b);
    manifest_release(&first);
    manifest_release(&second);
    world_release(&w);
}

/* Prune, then what is kept still verifies and restores. */
static void pruned_cuts_are_whole(void **state)
{
    struct world w, to;
    struct fence f;
    struct errbuf err = ERRBUF_INIT;
    struct verify_result r;
    uint64_t *k;
    size_t n;
    (void)state;
    world_init(&w, 2, 3);
    world_dir(&w);
    for (uint64_t i = 1; i <= 8; i++) {
        push_some(&w, 2);
        w.last.best = i >= 3 ? 3 : 0;
        world_cut(&w, i, i == 1 || i == 5, NULL);
    }
    assert_int_equal(fence_open(w.dir, 0, false, &f, &err), ST_OK);
    assert_int_equal(fence_prune(&f, 2, &err), ST_OK);
    assert_int_equal(manifest_list(w.dir, &k, &n, NULL, &err), ST_OK);
    assert_int_equal(n, 3);
    assert_true(k[0] == 3 && k[1] == 7 && k[2] == 8);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(snapshot_verify(w.dir, k[i], &w.plan, &r, &err), ST_OK);
    free(k);
    load(&w, &w.last, &to, 3);
    check_hashes(&to, &w.last);
    world_release(&to);
    fence_close(&f);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_restore_on_any_number_of_shards),
        cmocka_unit_test(a_chain_goes_on_over_a_reshard),
        cmocka_unit_test(weights_alone),
        cmocka_unit_test(another_plan_is_told),
        cmocka_unit_test(a_budget_that_is_too_small_is_told),
        cmocka_unit_test(a_missing_file_is_told),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(wrong_words_are_found),
        cmocka_unit_test(tombs_remove_rows),
        cmocka_unit_test(impossible_tensors_are_refused),
        cmocka_unit_test(diff_counts),
        cmocka_unit_test(pruned_cuts_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
