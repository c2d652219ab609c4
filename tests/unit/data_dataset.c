/* data_dataset.c - mapped caches and batches: against a slow obvious batch, and against damage. */
#include "tests/unit/data_case.h"

#include <malloc.h>

#include "common/base/hash.h"
#include "common/base/rng.h"
#include "common/data/cache.h"
#include "common/data/cache_writer.h"
#include "common/data/convert.h"
#include "common/data/dataset.h"
#include "common/feature/encode.h"

enum { ROWS = 150000 };

static struct job bags, flat, svm;
static uint32_t bag_first[ROWS], bag_n[ROWS]; /* the bag of row i: "b<first>" ... */

static uint32_t drawn(uint64_t i, uint64_t what, uint32_t below)
{
    return (uint32_t)(rng_u64(what, i, 0) % below);
}

/* Row i says: label i % 3 == 0, user u<..>, a bag of 0 to 5, floats i and i / 2. */
static int write_logs(void **state)
{
    char *text = malloc(16 << 20);
    size_t n = (size_t)sprintf(text, "y,user,bag,p,q\n");
    struct convert_result r;
    (void)state;
    for (uint32_t i = 0; i < ROWS; i++) {
        bag_first[i] = drawn(i, 1, 500);
        bag_n[i] = drawn(i, 2, 6);
        n += (size_t)sprintf(text + n, "%d,u%u,", i % 3 == 0, drawn(i, 3, 4000));
        for (uint32_t j = 0; j < bag_n[i]; j++)
            n += (size_t)sprintf(text + n, "%sb%u", j > 0 ? "|" : "", (bag_first[i] + j) % 500);
        n += (size_t)sprintf(text + n, ",%u,%g\n", i, (double)i / 2);
    }
    case_write("rows.csv", text, n);
    n = 0;
    for (uint32_t i = 0; i < 3000; i++)
        n += (size_t)sprintf(text + n, "%s 5:%u.5 %u:1\n", i % 2 ? "+1" : "-1", i, i % 50);
    case_write("rows.svm", text, n);
    free(text);
    case_job(&bags, "  train: rows.csv\n  fields:\n    - {name: y, type: label}\n"
                    "    - {name: user, type: user}\n    - {name: bag, type: ids}\n"
                    "    - {name: p, type: float}\n    - {name: q, type: float}\n");
    case_job(&flat, "  train: rows.csv\n  fields:\n    - {name: y, type: label}\n"
                    "    - {name: user, type: user}\n    - {name: p, type: id}\n");
    case_job(&svm, "  train: rows.svm\n  format: libsvm\n");
    return convert_job(&bags, case_path("bags"), NULL, NULL, &r, &err) != ST_OK ||
           convert_job(&flat, case_path("flat"), NULL, NULL, &r, &err) != ST_OK ||
           convert_job(&svm, case_path("svm"), NULL, NULL, &r, &err) != ST_OK;
}

static int give_back(void **state)
{
    job_release(&bags);
    job_release(&flat);
    job_release(&svm);
    return case_cleanup(state);
}

static uint64_t key(const char *vocab, const char *cell)
{
    return hash_bytes(cell, strlen(cell), hash_bytes(vocab, strlen(vocab), 0));
}

/* Each record of the batch, from what was written into the log. */
static void check_bags(const struct batch *b)
{
    char cell[24];
    for (size_t i = 0; i < b->n; i++) {
        uint32_t r = (uint32_t)b->record[i];
        assert_true(b->labels[i] == (r % 3 == 0));
        assert_true(b->floats[2 * i] == (float)r && b->floats[2 * i + 1] == (float)r / 2);
        const uint32_t *o = b->offsets + 2 * i;
        assert_int_equal(o[1] - o[0], 1);
        assert_int_equal(o[2] - o[1], bag_n[r]);
        snprintf(cell, sizeof cell, "u%u", drawn(r, 3, 4000));
        assert_true(b->keys[b->index[o[0]]] == key("user", cell));
        for (uint32_t j = 0; j < bag_n[r]; j++) {
            snprintf(cell, sizeof cell, "b%u", (bag_first[r] + j) % 500);
            assert_true(b->keys[b->index[o[1] + j]] == key("bag", cell));
        }
    }
    assert_null(b->weight);
}

/* Distinct, in order of first occurrence, none too many. */
static void check_unique(const struct batch *b)
{
    uint32_t next = 0;
    for (size_t k = 0; k < b->offsets[b->n * b->fields]; k++) {
        assert_true(b->index[k] <= next);
        next += b->index[k] == next;
    }
    assert_int_equal(next, b->unique);
    for (size_t u = 0; u < b->unique && b->unique < 3000; u++)
        for (size_t v = 0; v < u; v++)
            assert_true(b->keys[u] != b->keys[v]);
}

static void random_batches(void **state)
{
    struct dataset *d;
    struct batch b;
    uint64_t rows[2048];
    (void)state;
    assert_int_equal(dataset_open(&bags, case_path("bags"), PART_TRAIN, &d, &err), ST_OK);
    assert_int_equal(dataset_rows(d), ROWS);
    assert_int_equal(dataset_fields(d), 2);
    assert_int_equal(dataset_floats(d), 2);
    batch_init(&b, d, 2048);
    for (uint64_t k = 0; k + 2048 <= ROWS; k += 2048) {
        for (size_t i = 0; i < 2048; i++)
            rows[i] = rng_permute(5, ROWS, k + i);
        assert_int_equal(dataset_batch(d, rows, 2048, &b, &err), ST_OK);
        assert_int_equal(b.n, 2048);
        check_bags(&b);
        if (k % (2048 * 16) == 0)
            check_unique(&b);
    }
    /* small ones, repeated records, the last one, none */
    rows[0] = ROWS - 1;
    rows[1] = 0;
    rows[2] = ROWS - 1;
    assert_int_equal(dataset_batch(d, rows, 3, &b, &err), ST_OK);
    check_bags(&b);
    check_unique(&b);
    assert_int_equal(dataset_batch(d, rows, 0, &b, &err), ST_OK);
    assert_int_equal(b.unique, 0);
    assert_int_equal(b.offsets[0], 0);
    rows[1] = ROWS;
    assert_int_equal(dataset_batch(d, rows, 3, &b, &err), ST_NOT_FOUND);
    batch_release(&b);
    dataset_close(d);
}

static void flat_fields_all_distinct(void **state)
{
    struct dataset *d;
    struct batch b;
    static uint64_t rows[20000];
    (void)state;
    assert_int_equal(dataset_open(&flat, case_path("flat"), PART_TRAIN, &d, &err), ST_OK);
    batch_init(&b, d, 20000);
    for (size_t i = 0; i < 20000; i++)
        rows[i] = 40000 + i; /* over a block's end */
    assert_int_equal(dataset_batch(d, rows, 20000, &b, &err), ST_OK);
    check_unique(&b);
    assert_true(b.unique > 20000 && b.unique <= 24000);
    for (size_t i = 0; i < 20000; i++) {
        char cell[24];
        snprintf(cell, sizeof cell, "%u", (unsigned)rows[i]);
        assert_int_equal(b.offsets[2 * i + 1], 2 * i + 1);
        assert_true(b.keys[b.index[2 * i + 1]] == key("p", cell));
    }
    batch_release(&b);
    dataset_close(d);
}

static void weights(void **state)
{
    struct dataset *d;
    struct batch b;
    uint64_t rows[100];
    (void)state;
    assert_int_equal(dataset_open(&svm, case_path("svm"), PART_TRAIN, &d, &err), ST_OK);
    batch_init(&b, d, 100);
    for (size_t i = 0; i < 100; i++)
        rows[i] = 2999 - i * 7;
    assert_int_equal(dataset_batch(d, rows, 100, &b, &err), ST_OK);
    uint64_t seed = hash_bytes("features", 8, 0);
    assert_non_null(b.weight);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(b.offsets[i + 1], 2 * (i + 1));
        assert_true(b.keys[b.index[2 * i]] == hash_u64(5 ^ seed));
        assert_true(b.weight[2 * i] == (float)rows[i] + .5f && b.weight[2 * i + 1] == 1);
        assert_true(b.keys[b.index[2 * i + 1]] == hash_u64((rows[i] % 50) ^ seed));
        assert_true(b.labels[i] == (float)(rows[i] % 2));
    }
    size_t F, D;
    schema_counts(&svm, &F, &D);
    assert_true(F == 1 && D == 0);
    schema_counts(&bags, &F, &D);
    assert_true(F == 2 && D == 2);
    batch_release(&b);
    dataset_close(d);
}

/* After warm-up a batch takes no memory. */
static void no_malloc(void **state)
{
    struct dataset *d;
    struct batch b;
    uint64_t rows[1000];
    (void)state;
    assert_int_equal(dataset_open(&bags, case_path("bags"), PART_TRAIN, &d, &err), ST_OK);
    batch_init(&b, d, 1000);
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (uint64_t k = 0; k + 1000 <= ROWS; k += 1000) {
        for (size_t i = 0; i < 1000; i++)
            rows[i] = rng_permute(6, ROWS, k + i);
        assert_int_equal(dataset_batch(d, rows, 1000, &b, &err), ST_OK);
    }
    assert_int_equal(before, mallinfo2().uordblks + mallinfo2().hblkhd);
    batch_release(&b);
    dataset_close(d);
}

static void wrong_opens(void **state)
{
    struct dataset *d = NULL;
    (void)state;
    assert_int_equal(dataset_open(&bags, case_path("bags"), PART_TEST, &d, &err), ST_NOT_FOUND);
    assert_non_null(strstr(err.text, "test"));
    assert_int_equal(dataset_open(&flat, case_path("bags"), PART_TRAIN, &d, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "convert again"));
    mkdir(case_path("swap"), 0755);
    assert_int_equal(link(case_path("bags/train.cache"), case_path("swap/test.cache")), 0);
    assert_int_equal(dataset_open(&bags, case_path("swap"), PART_TEST, &d, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "holds the train part"));
    assert_null(d);
}

/* Read all records once; the first error. */
static enum status read_all(const char *dir)
{
    struct dataset *d;
    struct batch b;
    uint64_t rows[1];
    enum status st = dataset_open(&svm, case_path(dir), PART_TRAIN, &d, &err);
    if (st != ST_OK)
        return st;
    batch_init(&b, d, 1);
    for (rows[0] = 0; st == ST_OK && rows[0] < dataset_rows(d); rows[0] += 50)
        st = dataset_batch(d, rows, 1, &b, &err);
    batch_release(&b);
    dataset_close(d);
    return st;
}

static void any_flipped_bit(void **state)
{
    char *bytes;
    size_t n;
    (void)state;
    assert_int_equal(file_read(case_path("svm/train.cache"), 1 << 24, &bytes, &n, &err), ST_OK);
    mkdir(case_path("flip"), 0755);
    case_write("flip/train.cache", bytes, n);
    assert_int_equal(read_all("flip"), ST_OK);
    FILE *f = fopen(case_path("flip/train.cache"), "r+b");
    assert_non_null(f);
    setvbuf(f, NULL, _IONBF, 0);
    struct rng rng = {11, 0};
    for (int i = 0; i < 3000; i++) {
        /* every bit of the header and of the tail's end, and many of the rest */
        size_t bit = i < 2048   ? (size_t)i
                     : i < 2400 ? 8 * n - 1 - (size_t)(i - 2048) * 7
                                : (size_t)rng_below(&rng, 8 * n);
        fseek(f, (long)(bit / 8), SEEK_SET);
        fputc((unsigned char)bytes[bit / 8] ^ 1 << bit % 8, f);
        enum status st = read_all("flip");
        if (st != ST_BAD_DATA)
            print_error("bit %zu of byte %zu: %d\n", bit % 8, bit / 8, (int)st);
        assert_int_equal(st, ST_BAD_DATA);
        assert_non_null(strstr(err.text, "flip/train.cache"));
        fseek(f, (long)(bit / 8), SEEK_SET);
        fputc((unsigned char)bytes[bit / 8], f);
    }
    fclose(f);
    assert_int_equal(read_all("flip"), ST_OK);
    for (size_t cut = 1; cut < n; cut += n / 50) {
        case_write("flip/train.cache", bytes, n - cut);
        assert_int_equal(read_all("flip"), ST_BAD_DATA);
    }
    free(bytes);
}

/* A damaged block is named, and the others still serve. */
static void one_damaged_block(void **state)
{
    char *bytes;
    size_t n;
    struct dataset *d;
    struct batch b;
    (void)state;
    assert_int_equal(file_read(case_path("bags/train.cache"), 1 << 26, &bytes, &n, &err), ST_OK);
    bytes[n / 2] ^= 1;
    mkdir(case_path("one"), 0755);
    case_write("one/train.cache", bytes, n);
    free(bytes);
    assert_int_equal(dataset_open(&bags, case_path("one"), PART_TRAIN, &d, &err), ST_OK);
    batch_init(&b, d, 4);
    uint64_t good[] = {0, 65535, 131072, 149999}, bad[] = {1, 65536};
    assert_int_equal(dataset_batch(d, good, 4, &b, &err), ST_OK);
    check_bags(&b);
    assert_int_equal(dataset_batch(d, bad, 2, &b, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "block 1 of 3"));
    assert_non_null(strstr(err.text, "delete it to convert again"));
    assert_int_equal(b.n, 4); /* outputs change only on success */
    assert_int_equal(dataset_batch(d, good, 4, &b, &err), ST_OK);
    batch_release(&b);
    dataset_close(d);
}

/* Blocks that ended early, because their keys filled them, are found by search. */
static void uneven_blocks(void **state)
{
    struct encoder *e = NULL;
    struct cache_writer w;
    struct cache_header h = {.part = PART_TRAIN};
    struct sources sources = {0};
    struct cache_shape shape;
    char *path = file_join(case_path("uneven"), "train.cache"),
         *item = (char *)(uintptr_t)case_path("rows.csv");
    struct texts files = {&item, 1};
    (void)state;
    assert_int_equal(sources_add(&sources, &files, 0, "data.train", &err), ST_OK);
    assert_int_equal(file_mkdirs(case_path("uneven"), &err), ST_OK);
    assert_int_equal(encoder_new(&bags, &e, &err), ST_OK);
    shape = cache_shape_of(&e->schema, false);
    assert_int_equal(cache_writer_open(&w, path, &shape, e, &err), ST_OK);
    w.keys_max = 100;
    for (uint64_t i = 0; i < 1000; i++) {
        cache_writer_key(&w, i);
        cache_writer_bag_end(&w);
        for (uint64_t j = 0; j < i % 40; j++)
            cache_writer_key(&w, 1000000 + i * 100 + j);
        cache_writer_bag_end(&w);
        cache_writer_num(&w, (float)i);
        cache_writer_num(&w, 0);
        assert_int_equal(
            cache_writer_row_end(
                &w, &(struct cache_row){.label = (const float[]){1}, .offset = i * 3}, &err),
            ST_OK);
    }
    assert_int_equal(cache_writer_end_rows(&w, &err), ST_OK);
    h.schema_hash = schema_hash(&e->schema, &bags);
    assert_int_equal(cache_writer_finish(&w, &h, &sources, &err), ST_OK);
    assert_int_equal(cache_writer_commit(&w, &err), ST_OK);
    assert_true(h.blocks > 100);
    cache_writer_close(&w);
    encoder_free(e);
    sources_release(&sources);

    struct dataset *d;
    struct batch b;
    assert_int_equal(dataset_open(&bags, case_path("uneven"), PART_TRAIN, &d, &err), ST_OK);
    batch_init(&b, d, 1000);
    uint64_t rows[1000];
    for (size_t i = 0; i < 1000; i++)
        rows[i] = rng_permute(1, 1000, i);
    assert_int_equal(dataset_batch(d, rows, 1000, &b, &err), ST_OK);
    for (size_t i = 0; i < 1000; i++) {
        const uint32_t *o = b.offsets + 2 * i;
        const char *from;
        uint64_t offset;
        assert_true(b.floats[2 * i] == (float)rows[i]);
        assert_true(b.keys[b.index[o[0]]] == rows[i]);
        assert_int_equal(o[2] - o[1], rows[i] % 40);
        dataset_source(d, rows[i], &from, &offset);
        assert_int_equal(offset, rows[i] * 3);
    }
    batch_release(&b);
    dataset_close(d);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_batches),    cmocka_unit_test(flat_fields_all_distinct),
        cmocka_unit_test(weights),           cmocka_unit_test(no_malloc),
        cmocka_unit_test(wrong_opens),       cmocka_unit_test(any_flipped_bit),
        cmocka_unit_test(one_damaged_block), cmocka_unit_test(uneven_blocks),
    };
    return cmocka_run_group_tests(tests, write_logs, give_back);
}
