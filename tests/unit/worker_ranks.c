/* worker_ranks.c - what only next-item models need of a worker: candidates of a batch, and EASE beside the result.
 *
 * A small random log is converted; EASE is worked out again in double by elimination, item by item.
 */
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

#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/data/convert.h"
#include "worker/candidates.h"
#include "worker/ease.h"

enum { USERS = 60, ITEMS = 40, N = 20 };

static char dir[64], *cache;
static struct job job;
static struct dataset *train, *test;

static void parse(const char *more, struct job *out)
{
    char text[1024];
    struct errbuf err = ERRBUF_INIT;
    snprintf(text, sizeof text,
             "data:\n  train: log\n  delimiter: ' '\n  header: false\n  records: sequences\n"
             "  sequence: {max: 6}\n"
             "  fields: [{name: user, type: user}, {name: item, type: item}]\n"
             "model: {family: gru, embedding: 4%s}\n",
             more);
    if (job_parse(text, strlen(text), "job.yaml", dir, NULL, 0, out, &err) != ST_OK)
        fail_msg("%s", err.text);
}

static int setup(void **state)
{
    struct buffer log = BUFFER_INIT;
    struct errbuf err = ERRBUF_INIT;
    struct convert_result result;
    struct rng r = {.key = 7};
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/worker_ranks.XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    for (size_t u = 0; u < USERS; u++)
        for (size_t n = 3 + rng_below(&r, 12); n > 0; n--) /* some items twice, and more than max */
            buffer_printf(&log, "u%zu i%llu\n", u,
                          (unsigned long long)(rng_below(&r, ITEMS) * rng_below(&r, 2) +
                                               rng_below(&r, ITEMS / 4)) %
                              ITEMS);
    char *path = file_join(dir, "log");
    cache = file_join(dir, "cache");
    assert_int_equal(file_write_atomic(path, log.data, log.used, &err), ST_OK);
    free(path);
    buffer_release(&log);
    parse("", &job);
    if (convert_job(&job, cache, NULL, NULL, &result, &err) != ST_OK)
        fail_msg("%s", err.text);
    assert_int_equal(dataset_open(&job, cache, PART_TRAIN, &train, &err), ST_OK);
    assert_int_equal(dataset_open(&job, cache, PART_TEST, &test, &err), ST_OK);
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    dataset_close(train);
    dataset_close(test);
    job_release(&job);
    free(cache);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

/* The batch of records [0, N), with the keys that were drawn for it. */
static size_t draw(const char *more, uint64_t epoch, uint64_t first, uint64_t keys[ITEMS])
{
    struct errbuf err = ERRBUF_INIT;
    struct candidates c;
    struct job with;
    struct batch b;
    uint64_t rows[N];
    bool seen[ITEMS * 2] = {false};
    for (size_t i = 0; i < N; i++)
        rows[i] = i;
    parse(more, &with);
    assert_int_equal(candidates_open(&c, &with, cache, &err), ST_OK);
    batch_init(&b, train, N);
    assert_int_equal(dataset_batch(train, rows, N, &b, &err), ST_OK);
    const size_t own = b.unique;
    candidates_train(&c, &b, epoch, first);
    assert_true(b.candidates <= c.catalog.n && b.unique >= own && b.unique <= c.catalog.n);
    for (size_t i = 0; i < b.candidates; i++) {
        assert_true(b.candidate[i] < b.unique && !seen[b.candidate[i]]); /* distinct */
        seen[b.candidate[i]] = true;
        keys[i] = b.keys[b.candidate[i]];
        assert_true(catalog_find(&c.catalog, keys[i]) != CATALOG_NONE);
    }
    const size_t n = b.candidates;
    candidates_all(&c, &b);
    assert_int_equal(b.candidates, c.catalog.n);
    assert_int_equal(b.unique, c.catalog.n);
    batch_release(&b);
    candidates_close(&c);
    job_release(&with);
    return n;
}

static void test_candidates(void **state)
{
    uint64_t a[ITEMS], b[ITEMS];
    struct catalog whole;
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    assert_int_equal(catalog_load(cache, &whole, &err), ST_OK);
    assert_int_equal(draw("", 0, 0, a), whole.n); /* loss ce */
    assert_memory_equal(a, whole.key, whole.n * sizeof *a);
    static const char sampled[] = ", loss: sampled, negatives: 9";
    assert_int_equal(draw(sampled, 1, 40, a), 9);
    assert_int_equal(draw(sampled, 1, 40, b), 9);
    assert_memory_equal(a, b, 9 * sizeof *a);
    assert_int_equal(draw(sampled, 2, 40, b), 9);
    assert_memory_not_equal(a, b, 9 * sizeof *a);
    assert_int_equal(draw(sampled, 1, 60, b), 9);
    assert_memory_not_equal(a, b, 9 * sizeof *a);
    assert_int_equal(draw(", loss: sampled, negatives: 5000", 1, 40, a), whole.n);
    const size_t places = draw(", loss: bce", 1, 40, a); /* 20 records of up to 7 items */
    assert_true(places > N && places <= whole.n);
    catalog_release(&whole);
}

/* Every item is drawn, and about as often as another. */
static void test_draw_is_uniform(void **state)
{
    uint64_t keys[ITEMS];
    struct errbuf err = ERRBUF_INIT;
    struct catalog whole;
    size_t times[ITEMS] = {0};
    (void)state;
    assert_int_equal(catalog_load(cache, &whole, &err), ST_OK);
    for (uint64_t first = 0; first < 1000; first++) {
        const size_t n = draw(", loss: sampled, negatives: 8", 3, first, keys);
        for (size_t i = 0; i < n; i++)
            times[catalog_find(&whole, keys[i])]++;
    }
    const double mean = 8000.0 / (double)whole.n;
    for (size_t i = 0; i < whole.n; i++)
        assert_true(fabs((double)times[i] - mean) < 6 * sqrt(mean));
    catalog_release(&whole);
}

/* A model of records has none, and no catalog is looked for. */
static void test_no_candidates(void **state)
{
    static const char text[] = "data: {train: [l], fields: [{name: y, type: label}, "
                               "{name: a, type: id}]}\nmodel: {family: lr}\n";
    struct errbuf err = ERRBUF_INIT;
    struct job click;
    struct candidates c;
    struct batch b = {.n = 1};
    (void)state;
    assert_int_equal(job_parse(text, strlen(text), "j", "/", NULL, 0, &click, &err), ST_OK);
    assert_int_equal(candidates_open(&c, &click, "/nowhere", &err), ST_OK);
    candidates_all(&c, &b);
    candidates_train(&c, &b, 0, 0);
    assert_int_equal(b.candidates, 0);
    candidates_close(&c);
    job_release(&click);
    assert_int_equal(candidates_open(&c, &job, "/nowhere", &err), ST_NOT_FOUND);
    candidates_close(&c);
}

/* -- EASE once more -- */

static double x[USERS][ITEMS], p[ITEMS][ITEMS]; /* what users have seen; the inverse */
static size_t target[USERS];

static void load(const struct catalog *c)
{
    struct errbuf err = ERRBUF_INIT;
    struct batch b;
    memset(x, 0, sizeof x);
    batch_init(&b, test, 1);
    for (uint64_t u = 0; u < dataset_rows(test); u++) {
        assert_int_equal(dataset_batch(test, &u, 1, &b, &err), ST_OK);
        for (size_t at = 0; at < b.offsets[3]; at++) {
            const size_t item = catalog_find(c, b.keys[b.index[at]]);
            if (at == b.offsets[1])
                target[u] = item;
            else
                x[u][item] = 1;
        }
    }
    batch_release(&b);
}

/* Gauss and Jordan, without pivots: the matrix is positive definite. */
static void invert(size_t n, double lambda)
{
    static double g[ITEMS][ITEMS];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            g[i][j] = i == j ? lambda : 0;
            p[i][j] = i == j;
            for (size_t u = 0; u < USERS; u++)
                g[i][j] += x[u][i] * x[u][j];
        }
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < n; i++) {
            const double by = i == k ? 1 - 1 / g[k][k] : g[i][k] / g[k][k];
            for (size_t j = 0; j < n && i != k; j++) {
                g[i][j] -= by * g[k][j];
                p[i][j] -= by * p[k][j];
            }
            if (i != k)
                continue;
            const double pivot = g[k][k];
            for (size_t j = 0; j < n; j++) {
                g[k][j] /= pivot;
                p[k][j] /= pivot;
            }
        }
}

static double rank_slowly(size_t u, size_t n)
{
    double score[ITEMS], rank = 1;
    for (size_t j = 0; j < n; j++) {
        score[j] = 0;
        for (size_t i = 0; i < n; i++)
            score[j] += i == j ? 0 : x[u][i] * -p[i][j] / p[j][j];
    }
    for (size_t j = 0; j < n; j++)
        rank += j != target[u] && x[u][j] == 0 && score[j] > score[target[u]];
    return rank;
}

static void test_ease(void **state)
{
    struct errbuf err = ERRBUF_INIT;
    struct catalog whole;
    struct ranking got, want = {.count = 0};
    (void)state;
    assert_int_equal(catalog_load(cache, &whole, &err), ST_OK);
    load(&whole);
    invert(whole.n, 5);
    for (size_t u = 0; u < dataset_rows(test); u++)
        ranking_add(&want, rank_slowly(u, whole.n));
    if (ease_rank(&job, cache, PART_TEST, 5, &got, &err) != ST_OK)
        fail_msg("%s", err.text);
    assert_int_equal(got.count, dataset_rows(test));
    assert_true(want.mrr > 0 && fabs(got.mrr - want.mrr) < 1e-3 * want.mrr);
    assert_true(got.hr[RANKING_5] == want.hr[RANKING_5]);
    catalog_release(&whole);
}

static void test_ease_refuses(void **state)
{
    struct errbuf err = ERRBUF_INIT;
    struct ranking got = {.count = 77};
    (void)state;
    assert_int_equal(ease_rank(&job, "/nowhere", PART_TEST, 5, &got, &err), ST_NOT_FOUND);
    assert_int_equal(ease_rank(&job, cache, PART_TEST, -1e9, &got, &err), ST_REFUSED);
    assert_int_equal(got.count, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_candidates),    cmocka_unit_test(test_draw_is_uniform),
        cmocka_unit_test(test_no_candidates), cmocka_unit_test(test_ease),
        cmocka_unit_test(test_ease_refuses),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
