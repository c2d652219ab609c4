/* serve_rows.c - the map of rows: against a slow one, through growth, tombs and reuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "ps/serve/rows.h"

enum { KEYS = 20000, DIM = 5 };

struct slow { /* by number of the key */
    enum rows_found is[KEYS];
    float first[KEYS];
};

static uint64_t key_of(uint64_t i)
{
    return hash_u64(i) | 1;
}

static void equal(const struct rows *r, const struct slow *s)
{
    uint64_t live = 0, tombs = 0, cursor = 0, seen = 0;
    struct rows_entry entry[7];
    size_t n;
    for (uint64_t i = 0; i < KEYS; i++) {
        const float *w = NULL;
        const uint64_t key = key_of(i);
        assert_int_equal(rows_find(r, key, hash_u64(key), &w), s->is[i]);
        if (s->is[i] == ROWS_LIVE) {
            assert_true(w[0] == s->first[i] && w[DIM - 1] == s->first[i] + 1);
        }
        live += s->is[i] == ROWS_LIVE;
        tombs += s->is[i] == ROWS_TOMB;
    }
    assert_int_equal(rows_live(r), live);
    assert_int_equal(rows_tombs(r), tombs);
    assert_int_equal(rows_empty(r), live + tombs == 0);
    uint64_t sum = 0, want = 0;
    while ((n = rows_scan(r, &cursor, 7, entry)) > 0) {
        for (size_t i = 0; i < n; i++) {
            sum += hash_u64(entry[i].key + (entry[i].w == NULL));
        }
        seen += n;
    }
    for (uint64_t i = 0; i < KEYS; i++) {
        want += s->is[i] == ROWS_ABSENT ? 0 : hash_u64(key_of(i) + (s->is[i] == ROWS_TOMB));
    }
    assert_int_equal(seen, live + tombs);
    assert_int_equal(sum, want);
}

static void change(struct rows *r, struct slow *s, struct rng *g)
{
    const uint64_t i = rng_below(g, KEYS), what = rng_below(g, 10);
    if (what < 6) {
        const float x = (float)rng_below(g, 1000), w[DIM] = {x, 2, 3, 4, x + 1};
        assert_int_equal(rows_put(r, key_of(i), w, NULL), ST_OK);
        s->is[i] = ROWS_LIVE;
        s->first[i] = x;
    } else if (what < 8) {
        assert_int_equal(rows_put_tomb(r, key_of(i), NULL), ST_OK);
        s->is[i] = ROWS_TOMB;
    } else {
        rows_remove(r, key_of(i));
        s->is[i] = ROWS_ABSENT;
    }
}

static void equals_a_slow_map(void **state)
{
    (void)state;
    struct epoch *e = mem_aligned(64, sizeof(*e));
    epoch_init(e);
    for (uint64_t expect = 0; expect <= 200000; expect += 100000) {
        struct rows *r = rows_new(DIM, expect, expect == 100000, e);
        struct slow *s = mem_zalloc(sizeof(*s));
        struct rng g = {expect + 5, 0};
        equal(r, s);
        for (int round = 0; round < 12; round++) {
            for (int i = 0; i < KEYS; i++) {
                change(r, s, &g);
            }
            equal(r, s);
        }
        free(s);
        rows_free(r);
    }
    free(e);
}

/* Removing and putting for ever takes no more memory than the most that was there at once. */
static void places_are_used_again(void **state)
{
    (void)state;
    struct epoch *e = mem_aligned(64, sizeof(*e));
    epoch_init(e);
    struct rows *r = rows_new(DIM, 1000, false, e);
    const float w[DIM] = {1, 2, 3, 4, 5};
    uint64_t after_one = 0;
    for (uint64_t i = 0; i < 300000; i++) {
        assert_int_equal(rows_put(r, key_of(i), w, NULL), ST_OK);
        if (i >= 1000) {
            rows_remove(r, key_of(i - 1000));
        }
        rows_reclaim(r);
        after_one = i == 10000 ? rows_bytes(r) : after_one;
    }
    assert_int_equal(rows_live(r), 1000);
    assert_true(rows_bytes(r) <= after_one + after_one / 2); /* a segment or two may have doubled */
    rows_free(r);
    free(e);
}

/* Old lanes stay while a reader may look at them, and go when it has left. */
static void lanes_wait_for_readers(void **state)
{
    (void)state;
    struct epoch *e = mem_aligned(64, sizeof(*e));
    epoch_init(e);
    struct rows *r = rows_new(0, 0, false, e);
    struct epoch_reader *rd = epoch_join(e);
    epoch_enter(e, rd);
    for (uint64_t i = 0; i < 50000; i++) {
        assert_int_equal(rows_put(r, key_of(i), NULL, NULL), ST_OK);
    }
    const uint64_t held = rows_bytes(r);
    rows_reclaim(r);
    assert_int_equal(rows_bytes(r), held);
    epoch_leave(rd);
    rows_reclaim(r);
    assert_true(rows_bytes(r) < held);
    rows_free(r);
    free(e);
}

static void is_freed_in_slices(void **state)
{
    (void)state;
    struct epoch *e = mem_aligned(64, sizeof(*e));
    epoch_init(e);
    struct rows *r = rows_new(64, 1000, false, e);
    const float w[64] = {0};
    for (uint64_t i = 0; i < 40000; i++) {
        assert_int_equal(rows_put(r, key_of(i), w, NULL), ST_OK);
    }
    int slices = 0;
    while (!rows_free_some(r, 2)) {
        slices++;
    }
    assert_in_range(slices, 3, 60); /* ten megabytes, four a slice; the small ones at the end */
    free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_a_slow_map),
        cmocka_unit_test(places_are_used_again),
        cmocka_unit_test(lanes_wait_for_readers),
        cmocka_unit_test(is_freed_in_slices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
