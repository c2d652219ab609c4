/* snapshot_cut.c - a cut's bytes: what a foreign reader finds, values as of the take while training goes on
 * (I5), the hash kept up to date (I13), rendering, and files that fail half-way. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "ps/snapshot/cut.h"
#include "ps/snapshot/cut_file.h"
#include "ps/snapshot/cut_list.h"
#include "tests/support/snapshot_world.h"

/* -- a reader that knows the safetensors rule and nothing else -- */

struct plain {
    const char *header; /* JSON, header_n bytes */
    size_t header_n;
    const uint8_t *data;
    size_t data_n;
};

static struct plain plain_open(const struct buffer *file)
{
    uint64_t n;
    memcpy(&n, file->data, 8);
    assert_true(file->used >= 8 + n && n % 8 == 0 && file->data[8] == '{');
    return (struct plain){(const char *)file->data + 8, n, file->data + 8 + n, file->used - 8 - n};
}

/* The bytes of a tensor and its shape; NULL if there is no tensor of this name. */
static const void *plain_get(const struct plain *f, const char *name, const char *dtype,
                             uint64_t shape[2])
{
    char key[160], entry[256];
    uint64_t begin, end, bytes = dtype[1] == '6' ? 8 : 4;
    snprintf(key, sizeof key, "\"%s\":{\"dtype\":\"%s\",\"shape\":[", name, dtype);
    const char *at = memmem(f->header, f->header_n, key, strlen(key));
    if (at == NULL)
        return NULL;
    snprintf(entry, sizeof entry, "%.200s", at + strlen(key));
    shape[0] = shape[1] = 1;
    sscanf(entry, "%lu,%lu", &shape[0], &shape[1]);
    const char *span = strstr(entry, "\"data_offsets\":[");
    assert_non_null(span);
    assert_int_equal(sscanf(span + 16, "%lu,%lu", &begin, &end), 2);
    assert_true(end <= f->data_n && end - begin == shape[0] * shape[1] * bytes);
    assert_int_equal(begin % bytes, 0); /* aligned, since the data section is */
    return f->data + begin;
}

/* -- making cuts -- */

static void collect(struct cut *c, size_t max, struct buffer *out)
{
    bool done = false;
    while (!done) {
        size_t before = out->used;
        cut_next(c, max, out, &done);
        assert_true(out->used - before <= max);
        assert_true(done || out->used > before);
    }
    assert_int_equal(out->used, cut_total_bytes(c));
}

static struct cut *begin(struct world *w, uint32_t shard, uint64_t k, bool full)
{
    struct cut *c;
    struct errbuf err = ERRBUF_INIT;
    struct cut_conf conf = world_cut_conf(w, shard, k, full);
    if (cut_begin(&conf, &c, &err) != ST_OK)
        fail_msg("%s", err.text);
    return c;
}

static void check_sparse(const struct world *w, uint32_t table, const struct plain *f,
                         const char *name, uint64_t want_rows)
{
    char key[96];
    uint64_t n[2], s[2];
    const struct table *t = w->shard[0].store->table[table];
    uint32_t dim = table_dim(t), state_floats = table_state_floats(t);
    snprintf(key, sizeof key, "emb.%s.ids", name);
    const uint64_t *ids = plain_get(f, key, "U64", n);
    assert_int_equal(n[0], want_rows);
    snprintf(key, sizeof key, "emb.%s.rows", name);
    const float *rows = plain_get(f, key, "F32", s);
    assert_true(s[0] == n[0] && s[1] == dim);
    snprintf(key, sizeof key, "emb.%s.state", name);
    const float *state = plain_get(f, key, "F32", s);
    assert_true(s[0] == n[0] && s[1] == state_floats);
    snprintf(key, sizeof key, "emb.%s.meta", name);
    const uint32_t *meta = plain_get(f, key, "U32", s);
    assert_true(s[0] == n[0] && s[1] == 2);
    snprintf(key, sizeof key, "emb.%s.tomb", name);
    assert_non_null(plain_get(f, key, "U64", s));
    assert_int_equal(s[0], 0);
    for (uint64_t i = 0; i < n[0]; i++) {
        uint32_t slot;
        assert_true(i == 0 || ids[i] > ids[i - 1]);
        table_find(t, &ids[i], 1, &slot);
        assert_int_not_equal(slot, SLOT_NONE);
        const struct row_meta *have = table_record(t, slot);
        assert_int_equal(meta[2 * i], have->last_step);
        assert_int_equal(meta[2 * i + 1], have->freq | (uint32_t)have->flags << 16);
        const float *floats = row_weights((void *)(uintptr_t)have);
        assert_memory_equal(rows + i * dim, floats, 4 * dim);
        assert_memory_equal(state + i * state_floats, floats + dim, 4 * state_floats);
    }
}

static void a_plain_reader_finds_all_rows(void **state)
{
    struct world w;
    struct buffer bytes = BUFFER_INIT;
    uint64_t shape[2];
    (void)state;
    world_init(&w, 1, 5);
    for (int i = 0; i < 20; i++)
        world_push(&w, 50, 300);
    world_take(&w);
    struct cut_conf conf = world_cut_conf(&w, 0, 1, true);
    conf.render = NULL;
    struct cut *c;
    assert_int_equal(cut_begin(&conf, &c, NULL), ST_OK);
    collect(c, 1000, &bytes);
    struct plain f = plain_open(&bytes);
    check_sparse(&w, 0, &f, "embedding", table_rows(w.shard[0].store->table[0]));
    check_sparse(&w, 1, &f, "linear", table_rows(w.shard[0].store->table[1]));

    const float *v = plain_get(&f, "dense.mlp.0.weight", "F32", shape); /* whole, as a matrix */
    assert_true(shape[0] == 40 && shape[1] == 17);
    for (uint64_t block = 0; block < 3; block++) {
        uint32_t slot;
        table_find(w.shard[0].store->table[2], &block, 1, &slot);
        const float *have = row_weights(table_record(w.shard[0].store->table[2], slot));
        assert_memory_equal(v + 256 * block, have, 4 * (block < 2 ? 256 : 680 - 512));
    }
    assert_non_null(plain_get(&f, "dense.mlp.0.weight.state", "F32", shape));
    assert_true(shape[0] == 3 && shape[1] == 512);
    assert_non_null(plain_get(&f, "dense.mlp.0.weight.meta", "U32", shape));
    assert_true(shape[0] == 3 && shape[1] == 2);
    assert_non_null(plain_get(&f, "dense.mlp.1.weight", "F32", shape));
    assert_non_null(plain_get(&f, "stat.bn.mean", "F32", shape));
    assert_int_equal(shape[0], 300);
    assert_non_null(plain_get(&f, "stat.bn.mean.state", "F32", shape));
    assert_true(shape[0] == 2 && shape[1] == 0);
    assert_non_null(memmem(f.header, f.header_n, "\"kind\":\"full\"", 13));
    cut_free(c);
    buffer_release(&bytes);
    world_release(&w);
}

static void any_room_gives_the_same_bytes(void **state)
{
    static const size_t rooms[] = {1, 7, 33, 1000, 4097, 1 << 20};
    struct world w;
    (void)state;
    world_init(&w, 2, 6);
    for (int i = 0; i < 10; i++)
        world_push(&w, 40, 300);
    world_take(&w);
    for (int full = 0; full < 2; full++) {
        struct buffer first = BUFFER_INIT;
        for (size_t r = 0; r < sizeof rooms / sizeof rooms[0]; r++) {
            struct buffer bytes = BUFFER_INIT;
            struct cut *c = begin(&w, 1, 1, full != 0);
            collect(c, rooms[r], r == 0 ? &first : &bytes);
            if (r > 0) {
                assert_int_equal(bytes.used, first.used);
                assert_memory_equal(bytes.data, first.data, first.used);
            }
            cut_free(c);
            buffer_release(&bytes);
        }
        buffer_release(&first);
    }
    world_release(&w);
}

/* Dense tensors over several shards: runs, named by their first element, that together are the tensor. */
static void runs_of_dense_tensors(void **state)
{
    struct world w;
    float whole[2560];
    size_t seen = 0;
    (void)state;
    world_init(&w, 3, 6);
    world_push(&w, 1, 10);
    world_take(&w);
    for (uint32_t i = 0; i < w.shards; i++) {
        struct buffer bytes = BUFFER_INIT;
        struct cut *c = begin(&w, i, 1, true);
        collect(c, 4096, &bytes);
        struct plain f = plain_open(&bytes);
        for (uint64_t element = 0; element < 2560; element += 256) {
            char name[64];
            uint64_t shape[2];
            snprintf(name, sizeof name, "dense.mlp.1.weight.%lu", element);
            const void *run = plain_get(&f, name, "F32", shape);
            if (run == NULL)
                continue;
            memcpy(whole + element, run, shape[0] * 4);
            seen += shape[0];
        }
        cut_free(c);
        buffer_release(&bytes);
    }
    assert_int_equal(seen, 2560);
    for (uint32_t i = 0; i < w.shards; i++) {
        uint64_t first, end;
        plan_blocks_of(&w.plan.tables[2], i, w.shards, &first, &end);
        for (uint64_t b = first > 4 ? first : 4; b < end; b++) { /* its blocks begin at 4 */
            uint32_t slot;
            table_find(w.shard[i].store->table[2], &b, 1, &slot);
            assert_memory_equal(whole + 256 * (b - 4),
                                row_weights(table_record(w.shard[i].store->table[2], slot)), 1024);
        }
    }
    world_release(&w);
}

static void empty_shards_write_valid_files(void **state)
{
    struct world w;
    struct buffer bytes = BUFFER_INIT;
    uint64_t shape[2];
    (void)state;
    world_init(&w, 8, 6); /* more shards than some tables have blocks, and no rows at all */
    world_take(&w);
    for (int full = 0; full < 2; full++) {
        for (uint32_t i = 0; i < w.shards; i++) {
            struct cut *c = begin(&w, i, 1, full != 0);
            buffer_reset(&bytes);
            collect(c, 512, &bytes);
            struct plain f = plain_open(&bytes);
            assert_non_null(plain_get(&f, "emb.embedding.ids", "U64", shape));
            assert_int_equal(shape[0], 0);
            assert_non_null(plain_get(&f, "emb.embedding.rows", "F32", shape));
            assert_true(shape[0] == 0 && shape[1] == 8);
            cut_free(c);
        }
    }
    buffer_release(&bytes);
    world_release(&w);
}

/* -- I5: training goes on while the file is written -- */

/* The same cut written at once, and in slices with pushes between: byte for byte equal, for deltas and full
 * ones, with rows added and touched during the writing (planted bugs 3, 20). */
static void writing_while_training_goes_on(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct world w;
        struct buffer at_once = BUFFER_INIT, sliced = BUFFER_INIT;
        bool full = seed % 2 == 1, done = false;
        world_init(&w, 1, seed);
        for (int i = 0; i < 10; i++)
            world_push(&w, 30, 300);
        world_take(&w);
        struct cut *quiet = begin(&w, 0, 1, full);
        collect(quiet, 1 << 20, &at_once);

        if (seed % 3 == 0) /* rows are added before the cut begins, too */
            world_push(&w, 50, 600);
        struct cut *busy = begin(&w, 0, 1, full);
        while (!done) {
            cut_next(busy, 1 + rng_below(&w.rng, 3000), &sliced, &done);
            world_push(&w, 20, 600);
        }
        assert_int_equal(at_once.used, sliced.used);
        assert_memory_equal(at_once.data, sliced.data, sliced.used);
        for (uint32_t t = 0; t < w.plan.tables_used; t++) {
            assert_int_equal(cut_hash_sum(cut_new_hash(quiet), t),
                             cut_hash_sum(cut_new_hash(busy), t));
            assert_int_equal(cut_new_hash(quiet)->rows[t], cut_new_hash(busy)->rows[t]);
        }
        cut_free(quiet);
        cut_free(busy);
        buffer_release(&at_once);
        buffer_release(&sliced);
        world_release(&w);
    }
}

/* -- I13: hash kept up to date = hash computed anew -- */

static void check_hash(const struct world *w)
{
    for (uint32_t i = 0; i < w->shards; i++) {
        for (uint32_t t = 0; t < w->plan.tables_used; t++) {
            /* Rows that no delta wrote since the last full cut stand in the files as rendered then. */
            uint64_t anew = world_full_hash(w, i, t, w->rendered);
            assert_int_equal(cut_hash_sum(&w->shard[i].hash, t), anew);
            assert_int_equal(w->shard[i].hash.rows[t], table_rows(w->shard[i].store->table[t]));
        }
    }
}

static void hash_is_kept_up_to_date(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct world w;
        world_init(&w, 3, seed);
        world_dir(&w);
        uint64_t k = 0;
        for (int round = 0; round < 12; round++) {
            for (int i = 0; i < 5; i++)
                world_push(&w, 20, 400);
            world_take(&w);
            if (round > 0 && rng_below(&w.rng, 3) == 0) { /* abandoned: folded into the next one */
                k++;
                for (int i = 0; i < 3; i++)
                    world_push(&w, 20, 500);
                world_abandon(&w);
                world_take(&w);
            }
            world_write(&w, ++k, round % 5 == 0, NULL);
            check_hash(&w);
        }
        world_release(&w);
    }
}

/* Cuts abandoned again and again: hot rows stand in the log many times, and only their oldest entry counts. */
static void a_log_folded_many_times(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 2, 11);
    world_dir(&w);
    world_push(&w, 400, 100);
    world_cut(&w, 1, true, NULL);
    for (int i = 0; i < 7; i++) {
        world_push(&w, 400, 120);
        world_take(&w);
        world_push(&w, 400, 120);
        world_abandon(&w);
    }
    world_push(&w, 100, 300); /* rows whose only entry is the last of a long log */
    world_take(&w);
    struct cut *c = begin(&w, 0, 9, false);
    assert_true(undo_entries(w.shard[0].taken) > 3 * cut_rows(c));
    cut_free(c);
    world_write(&w, 9, false, NULL);
    check_hash(&w);
    world_release(&w);
}

/* One float changed behind the log's back: an audited full cut knows the table, whether or not the row was
 * pushed to since, and nobody else is accused. */
static void a_silent_change_is_found(void **state)
{
    (void)state;
    for (uint32_t table = 0; table < 2; table++) {
        struct world w;
        uint64_t cursor = 0, key;
        uint32_t slot, found = 99;
        bool done = false;
        struct buffer out = BUFFER_INIT;
        world_init(&w, 1, 3 + table);
        world_dir(&w);
        for (int i = 0; i < 9; i++)
            world_push(&w, 50, 300);
        world_cut(&w, 1, true, NULL);
        world_push(&w, 20, 300);
        world_cut(&w, 2, false, NULL);
        assert_int_equal(table_scan(w.shard[0].store->table[table], &cursor, 1, &key, &slot), 1);
        row_weights(table_record(w.shard[0].store->table[table], slot))[0] += 1e-3f;
        world_push(&w, 20, 300);
        world_take(&w);
        struct cut *c = begin(&w, 0, 3, true);
        while (!done)
            cut_next(c, 1000, &out, &done);
        assert_false(cut_sound(c, &found));
        assert_int_equal(found, table);
        buffer_release(&out);
        cut_free(c);
        world_release(&w);
    }
}

/* A full cut renders copies: the live rows stay, so a run with cuts is a run without. */
static void a_full_cut_leaves_live_rows_alone(void **state)
{
    struct world w;
    struct shot before, after, want, have;
    (void)state;
    world_init(&w, 2, 9);
    world_dir(&w);
    for (int i = 0; i < 30; i++)
        world_push(&w, 10, 300);
    shot_world(&before, &w);
    shot_rendered(&want, &w, 30);
    assert_false(shot_equal(&before, &want)); /* there is something to render */
    world_cut(&w, 1, true, NULL);
    shot_world(&after, &w);
    assert_true(shot_equal(&before, &after));
    check_hash(&w);
    shot_rendered(&have, &w, 30);
    assert_true(shot_equal(&have, &want));
    shot_release(&before);
    shot_release(&after);
    shot_release(&want);
    shot_release(&have);
    world_release(&w);
}

/* -- sorting -- */

static void sort_is_stable(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        enum { N = 5000 };
        struct rng r = {.key = (uint64_t)kind};
        struct cut_row *rows = mem_array(N, sizeof *rows), *tmp = mem_array(N, sizeof *rows);
        for (uint32_t i = 0; i < N; i++) {
            uint64_t key = rng_next(&r);
            if (kind == 1)
                key %= 700; /* equal keys */
            else if (kind == 2)
                key = key << 56;
            else if (kind == 3)
                key = 5;
            rows[i] = (struct cut_row){key, i, i};
        }
        cut_list_sort(rows, tmp, N);
        for (uint32_t i = 1; i < N; i++) {
            assert_true(rows[i - 1].key <= rows[i].key);
            assert_true(rows[i - 1].key < rows[i].key || rows[i - 1].old < rows[i].old);
        }
        free(rows);
        free(tmp);
    }
}

/* -- files that can't be written -- */

static size_t files_in(const char *dir, const char *sub)
{
    size_t n = 0;
    char *path = file_join(dir, sub);
    DIR *d = opendir(path);
    free(path);
    if (d == NULL)
        return 0;
    const struct dirent *entry;
    while ((entry = readdir(d)) != NULL)
        n += entry->d_name[0] != '.';
    closedir(d);
    return n;
}

static void a_full_disk_leaves_no_file(void **state)
{
    struct world w;
    struct cut_file *f;
    struct errbuf err = ERRBUF_INIT;
    struct rlimit old, little;
    char block[4096] = {1};
    (void)state;
    world_init(&w, 1, 1);
    world_dir(&w);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    little = old;
    little.rlim_cur = 10000;
    assert_int_equal(cut_file_open(w.dir, 3, 2, 1, false, true, &f, &err), ST_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    enum status st = ST_OK;
    for (int i = 0; i < 4 && st == ST_OK; i++)
        st = cut_file_add(f, block, sizeof block, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(st, ST_IO);
    assert_non_null(strstr(err.text, "data/3.2.1.delta.safetensors.tmp"));
    assert_int_equal(files_in(w.dir, "data"), 1);
    cut_file_abort(f);
    assert_int_equal(files_in(w.dir, "data"), 0);
    world_release(&w);
}

static void a_finished_file_is_named_and_summed(void **state)
{
    struct world w;
    struct cut_file *f;
    struct manifest_file m;
    struct errbuf err = ERRBUF_INIT;
    struct buffer all = BUFFER_INIT;
    (void)state;
    world_init(&w, 1, 1);
    world_dir(&w);
    assert_int_equal(cut_file_open(w.dir, 3, 2, 1, true, true, &f, &err), ST_OK);
    for (uint32_t i = 0; i < 3000; i++) {
        buffer_u32(&all, i);
        assert_int_equal(cut_file_add(f, &i, 4, &err), ST_OK);
    }
    assert_int_equal(cut_file_finish(f, &m, &err), ST_OK);
    assert_string_equal(m.name, "data/3.2.1.full.safetensors");
    assert_int_equal(m.bytes, 12000);
    assert_int_equal(m.xxh3, hash_bytes(all.data, all.used, 0));
    assert_true(m.k == 3 && m.e == 2 && m.shard == 1 && m.full && m.rows == 0);
    assert_int_equal(files_in(w.dir, "data"), 1);

    /* The contents of a finished file never change. */
    assert_int_equal(cut_file_open(w.dir, 3, 2, 1, true, true, &f, &err), ST_OK);
    assert_int_equal(cut_file_add(f, "x", 1, &err), ST_OK);
    assert_int_equal(cut_file_finish(f, &m, &err), ST_IO);
    assert_int_equal(files_in(w.dir, "data"), 1);
    char *path = file_join(w.dir, "data/3.2.1.full.safetensors"), *bytes;
    size_t n;
    assert_int_equal(file_read(path, 1 << 20, &bytes, &n, &err), ST_OK);
    assert_int_equal(n, 12000);
    free(bytes);
    free(path);
    buffer_release(&all);
    world_release(&w);
}

static void a_missing_block_is_told(void **state)
{
    struct world w;
    struct cut *c;
    struct errbuf err = ERRBUF_INIT;
    uint32_t slot;
    uint64_t block = 1;
    (void)state;
    world_init(&w, 1, 1);
    table_find(w.shard[0].store->table[2], &block, 1, &slot);
    table_remove(w.shard[0].store->table[2], block, slot);
    world_take(&w);
    struct cut_conf conf = world_cut_conf(&w, 0, 1, true);
    assert_int_equal(cut_begin(&conf, &c, &err), ST_INTERNAL);
    assert_non_null(strstr(err.text, "block 1 of table dense"));
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_reader_finds_all_rows),
        cmocka_unit_test(any_room_gives_the_same_bytes),
        cmocka_unit_test(runs_of_dense_tensors),
        cmocka_unit_test(empty_shards_write_valid_files),
        cmocka_unit_test(writing_while_training_goes_on),
        cmocka_unit_test(hash_is_kept_up_to_date),
        cmocka_unit_test(a_silent_change_is_found),
        cmocka_unit_test(a_log_folded_many_times),
        cmocka_unit_test(a_full_cut_leaves_live_rows_alone),
        cmocka_unit_test(sort_is_stable),
        cmocka_unit_test(a_full_disk_leaves_no_file),
        cmocka_unit_test(a_finished_file_is_named_and_summed),
        cmocka_unit_test(a_missing_block_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
