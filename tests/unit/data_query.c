/* data_query.c - rows of SQL and Parquet as records, with DuckDB's own library; and what is said where it is missing. */
#include "tests/unit/data_case.h"
#include "tests/unit/data_duckdb.h"

#include "common/base/hash.h"
#include "common/data/convert.h"
#include "common/data/dataset.h"
#include "common/data/reader_query.h"

static struct job job;
static struct convert_result r;

static int release(void **state)
{
    (void)state;
    job_release(&job);
    memset(&job, 0, sizeof job);
    return 0;
}

static enum status convert(const char *cache)
{
    return convert_job(&job, case_path(cache), NULL, NULL, &r, &err);
}

static uint64_t key(const char *vocab, const char *cell)
{
    return hash_bytes(cell, strlen(cell), hash_bytes(vocab, strlen(vocab), 0));
}

/* First of all: a library that is loaded stays. */
static void missing(void **state)
{
    (void)state;
    case_job(&job, "  format: query\n  query: \"SELECT 1 AS y, 2 AS a\"\n"
                   "  duckdb: /no/such/library.so\n"
                   "  fields: [{name: y, type: label}, {name: a, type: id}]\n");
    assert_int_equal(convert("none"), ST_NOT_FOUND);
    assert_non_null(strstr(err.text, "data.duckdb or $PENSTOCK_DUCKDB"));
    assert_non_null(strstr(err.text, "/no/such/library.so"));
}

/* Every type that has a text: NULLs, lists, truths, times with and without a zone, more rows than a chunk. */
static void rows_of_sql(void **state)
{
    struct dataset *d;
    struct batch b;
    static const uint64_t ROWS[] = {0, 1, 2, 3, 4999};
    (void)state;
    NEED_DUCKDB();
    case_job(&job,
             "  format: query\n  bad_max: 0\n  query: |\n"
             "    SELECT i % 2 = 1 AS y, i AS a, 'it''s ' || i AS name,\n"
             "      CASE WHEN i % 3 = 0 THEN NULL ELSE [i, NULL, i + 1] END AS bag,\n"
             "      i / 4 AS x, TIMESTAMP '2024-01-02 03:04:05.5' + to_days(i::INT) AS t,\n"
             "      [true, false] AS truths, 'a text of more than twelve bytes' AS long_text\n"
             "    FROM range(5000) r(i) -- the end\n"
             "  fields:\n    - {name: y, type: label}\n    - {name: a, type: user}\n"
             "    - {name: name, type: id}\n    - {name: bag, type: ids}\n"
             "    - {name: x, type: float}\n    - {name: t, type: time}\n"
             "    - {name: truths, type: ids}\n    - {name: long_text, type: id}\n"
             "    - {name: second, type: id, column: \"bag[1]\"}\n");
    enum status st = convert("sql");
    if (st != ST_OK)
        print_error("%s\n", err.text);
    assert_int_equal(st, ST_OK);
    assert_int_equal(r.rows[PART_TRAIN], 5000);
    assert_int_equal(r.positives[PART_TRAIN], 2500);
    assert_int_equal(dataset_open(&job, case_path("sql"), PART_TRAIN, &d, &err), ST_OK);
    batch_init(&b, d, 5);
    assert_int_equal(dataset_batch(d, ROWS, 5, &b, &err), ST_OK);
    const uint32_t *at = b.offsets + 4 * 6; /* record 4999 */
    assert_true(b.keys[b.index[at[0]]] == key("a", "4999"));
    assert_true(b.keys[b.index[at[1]]] == key("name", "it's 4999"));
    assert_int_equal(at[3] - at[2], 2);
    assert_true(b.keys[b.index[at[2]]] == key("bag", "4999"));
    assert_int_equal(at[4] - at[3], 2);
    assert_true(b.keys[b.index[at[3]]] == key("truths", "1"));
    assert_true(b.keys[b.index[at[4]]] == key("long_text", "a text of more than twelve bytes"));
    assert_true(b.floats[1] == .25f);
    assert_int_equal(b.offsets[3] - b.offsets[2], 0); /* record 0: a NULL bag */
    batch_release(&b);
    dataset_close(d);
    /* Nobody can tell whether a query's rows are the same: it is asked again. */
    assert_int_equal(convert("sql"), ST_OK);
    assert_false(r.reused);
}

static void file_in_a_query(void **state)
{
    (void)state;
    NEED_DUCKDB();
    case_text("it's.csv", "y,a\n1,10\n0,11\n1,12\n");
    case_text("v.csv", "y,a\n1,10\n");
    case_job(&job, "  format: query\n  train: it's.csv\n  valid: v.csv\n"
                   "  query: \"SELECT y, a FROM read_csv({file}) WHERE a <> 11;\"\n"
                   "  fields: [{name: y, type: label}, {name: a, type: id}]\n");
    enum status st = convert("file");
    if (st != ST_OK)
        print_error("%s\n", err.text);
    assert_int_equal(st, ST_OK);
    assert_int_equal(r.rows[PART_TRAIN], 2);
    assert_int_equal(r.rows[PART_VALID], 1);
    assert_int_equal(convert("file"), ST_OK);
    assert_true(r.reused);
}

static void mistakes(void **state)
{
    static const struct {
        const char *query, *why;
    } cases[] = {
        {"SELEC 1", "the query failed: Parser Error"},
        {"SELECT 1 AS y", "no column \"a\"; the query has 1: y"},
        {"SELECT 1 AS y, {'k': 1} AS a", "is a STRUCT(k INTEGER), which can't be one cell"},
        {"SELECT 1 AS y, error('in the middle') AS a", "in the middle"},
    };
    (void)state;
    NEED_DUCKDB();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char data[1024];
        snprintf(data, sizeof data,
                 "  format: query\n  query: \"%s\"\n"
                 "  fields: [{name: y, type: label}, {name: a, type: id}]\n",
                 cases[i].query);
        case_job(&job, data);
        assert_int_equal(convert("bad"), ST_BAD_DATA);
        if (strstr(err.text, cases[i].why) == NULL)
            print_error("%s\n", err.text);
        assert_non_null(strstr(err.text, cases[i].why));
        release(NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(missing, release),
        cmocka_unit_test_teardown(rows_of_sql, release),
        cmocka_unit_test_teardown(file_in_a_query, release),
        cmocka_unit_test_teardown(mistakes, release),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
