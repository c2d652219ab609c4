/* store_table.c - the table against a model so plain that it can't be wrong, and its promises one by one:
 * slots and records never move, lookups change nothing, the budget holds, bad keys don't break it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "ps/store/table.h"

#define DIM  4u
#define STAT 2u /* floats of state */

static struct plan plan;

static struct table *new_table(uint64_t bytes_max)
{
    if (plan.tables_used == 0) {
        struct job_optim optim = {.kind = JOB_SGD};
        plan.seed = 11;
        plan_add_sparse(&plan, "embedding", DIM, PLAN_NORMAL, 0.5, &optim);
    }
    const struct table_conf conf = {
        .plan = &plan, .index = 0, .state_floats = STAT, .bytes_max = bytes_max};
    struct table *t = NULL;
    assert_int_equal(table_new(&conf, &t, NULL), ST_OK);
    return t;
}

static uint32_t find(const struct table *t, uint64_t key)
{
    uint32_t slot = 77;
    table_find(t, &key, 1, &slot);
    return slot;
}

static uint32_t add(struct table *t, uint64_t key)
{
    uint32_t slot = SLOT_NONE;
    assert_int_equal(table_add(t, key, &slot, NULL), ST_OK);
    return slot;
}

/* -- the model: an array over a small universe of keys -- */

struct model_row {
    uint32_t slot; /* SLOT_NONE = absent */
    void *record;
    float mark; /* what the test wrote into the row's last float */
};

struct model {
    struct table *table;
    struct model_row *row;
    size_t universe, rows;
};

static uint64_t key_at(size_t i)
{
    return i == 0 ? 0 : i == 1 ? UINT64_MAX : rng_mix(3, i);
}

static void model_add(struct model *m, size_t i, float mark)
{
    struct model_row *r = &m->row[i];
    float w[DIM];
    r->slot = add(m->table, key_at(i));
    r->record = table_record(m->table, r->slot);
    r->mark = mark;
    const struct row_meta *meta = r->record;
    const struct row_meta fresh = {0};
    assert_memory_equal(meta, &fresh, sizeof fresh);
    plan_init_row(&plan, 0, key_at(i), w);
    assert_memory_equal(row_weights(r->record), w, sizeof w);
    for (uint32_t j = 0; j < STAT; j++)
        assert_true(row_weights(r->record)[DIM + j] == 0);
    row_weights(r->record)[DIM + STAT - 1] = mark;
    m->rows++;
}

static void model_look(const struct model *m, size_t i)
{
    const struct model_row *r = &m->row[i];
    assert_int_equal(find(m->table, key_at(i)), r->slot);
    if (r->slot == SLOT_NONE)
        return;
    assert_ptr_equal(table_record(m->table, r->slot), r->record);
    assert_true(row_weights(r->record)[DIM + STAT - 1] == r->mark);
    assert_true(table_holds(m->table, key_at(i), r->slot));
}

static void model_compare(const struct model *m)
{
    uint64_t keys[100], cursor = 0;
    uint32_t slots[100];
    size_t n, seen = 0;
    table_check(m->table);
    assert_int_equal(table_rows(m->table), m->rows);
    while ((n = table_scan(m->table, &cursor, 100, keys, slots)) > 0) {
        for (size_t j = 0; j < n; j++)
            assert_int_equal(find(m->table, keys[j]), slots[j]);
        seen += n;
    }
    assert_int_equal(seen, m->rows);
    for (size_t i = 0; i < m->universe; i++)
        model_look(m, i);
}

static void model_init(struct model *m, size_t universe)
{
    m->table = new_table(UINT64_MAX);
    m->row = mem_array(universe, sizeof *m->row);
    m->universe = universe;
    m->rows = 0;
    for (size_t i = 0; i < universe; i++)
        m->row[i].slot = SLOT_NONE;
}

static void model_release(struct model *m)
{
    table_free(m->table);
    free(m->row);
}

/* A million operations; the table swells and shrinks three times, across doublings and splits. */
static void test_like_the_model(void **state)
{
    (void)state;
    struct model m;
    struct rng rng = {.key = 1};
    model_init(&m, 150000);
    for (uint32_t op = 0; op < 1000000; op++) {
        const bool swell = op / 160000 % 2 == 0;
        const size_t i = (size_t)rng_below(&rng, m.universe);
        struct model_row *r = &m.row[i];
        const uint64_t what = rng_below(&rng, 10);
        if (what < 3)
            model_look(&m, i);
        else if (r->slot == SLOT_NONE && (swell || what == 3))
            model_add(&m, i, (float)op);
        else if (r->slot != SLOT_NONE && (!swell || what == 3)) {
            table_remove(m.table, key_at(i), r->slot);
            assert_false(table_holds(m.table, key_at(i), r->slot));
            r->slot = SLOT_NONE;
            m.rows--;
        }
        if (op % 160000 == 159999)
            model_compare(&m);
    }
    model_compare(&m);
    model_release(&m);
}

static void test_records_stay_while_it_grows(void **state)
{
    (void)state;
    struct model m;
    model_init(&m, 400000);
    for (size_t i = 0; i < m.universe; i++)
        model_add(&m, i, (float)(i % 1000));
    model_compare(&m);
    double mean;
    uint32_t longest;
    table_probe_stats(m.table, &mean, &longest);
    assert_true(mean >= 1 && mean < 1.2);
    assert_in_range(longest, 1, 32); /* of all times: small segments have few ways to go */
    table_clear(m.table);
    assert_int_equal(table_rows(m.table), 0);
    table_check(m.table);
    assert_int_equal(find(m.table, key_at(5)), SLOT_NONE);
    for (size_t i = 0; i < m.universe; i++)
        m.row[i].slot = SLOT_NONE;
    m.rows = 0;
    for (size_t i = 0; i < 1000; i++)
        model_add(&m, i, 1);
    model_compare(&m);
    model_release(&m);
}

/* -- lookups -- */

static uint64_t bytes_of(const struct table *t)
{
    uint64_t keys[100], cursor = 0, sum = 0;
    uint32_t slots[100];
    size_t n;
    while ((n = table_scan(t, &cursor, 100, keys, slots)) > 0)
        for (size_t i = 0; i < n; i++)
            sum += hash_bytes(table_record(t, slots[i]), table_record_bytes(t), keys[i]);
    return sum;
}

static void protect(const struct table *t, int how)
{
    uint64_t key, cursor = 0;
    uint32_t slot;
    while (table_scan(t, &cursor, 1, &key, &slot) > 0) {
        uintptr_t slab = (uintptr_t)table_record(t, slot) & ~(((uintptr_t)2 << 20) - 1);
        if (cursor % 1000 == 1)
            assert_int_equal(mprotect((void *)slab, (size_t)2 << 20, how), 0);
    }
}

static void test_lookups_change_nothing(void **state)
{
    (void)state;
    struct table *t = new_table(UINT64_MAX);
    uint64_t keys[2000];
    uint32_t slots[2000];
    for (size_t i = 0; i < 100000; i++)
        (void)add(t, key_at(i));
    const uint64_t before = bytes_of(t), bytes = table_bytes(t);
    double mean, mean_after;
    uint32_t longest, longest_after;
    table_probe_stats(t, &mean, &longest);
    protect(t, PROT_READ); /* a write to a record would not pass unseen */
    for (size_t i = 0; i < 200000; i += 2000) {
        for (size_t j = 0; j < 2000; j++)
            keys[j] = key_at(i + j);
        table_find(t, keys, 2000, slots);
        table_prefetch(t, slots, 2000);
        table_resolve(t, keys, 2000, slots);
        for (size_t j = 0; j < 2000; j++)
            assert_int_equal(slots[j] != SLOT_NONE, i + j < 100000);
    }
    protect(t, PROT_READ | PROT_WRITE);
    table_probe_stats(t, &mean_after, &longest_after);
    assert_true(mean == mean_after && longest == longest_after);
    assert_int_equal(table_bytes(t), bytes);
    assert_int_equal(bytes_of(t), before);
    table_check(t);
    table_free(t);
}

static void test_batches_of_every_size(void **state)
{
    (void)state;
    struct table *t = new_table(UINT64_MAX);
    uint64_t keys[200];
    uint32_t slots[201], want[200];
    for (size_t i = 0; i < 5000; i++)
        if (i % 3 != 0)
            (void)add(t, key_at(i));
    for (size_t n = 0; n <= 200; n++) {
        for (size_t j = 0; j < n; j++) {
            keys[j] = key_at((n * 31 + j * 7) % 6000);
            want[j] = find(t, keys[j]);
        }
        slots[n] = 12345;
        table_find(t, keys, n, slots);
        assert_memory_equal(slots, want, n * sizeof *slots);
        assert_int_equal(slots[n], 12345);
    }
    table_free(t);
}

static void test_guesses_are_checked(void **state)
{
    (void)state;
    struct table *t = new_table(UINT64_MAX);
    struct rng rng = {.key = 4};
    uint64_t keys[300];
    uint32_t slots[300], want[300];
    for (size_t i = 0; i < 40000; i++)
        (void)add(t, key_at(i));
    for (int round = 0; round < 200; round++) {
        for (size_t j = 0; j < 300; j++) {
            keys[j] = key_at((size_t)rng_below(&rng, 50000));
            want[j] = find(t, keys[j]);
            switch (rng_below(&rng, 4)) {
            case 0: slots[j] = SLOT_NONE; break;
            case 1: slots[j] = (uint32_t)rng_next(&rng); break; /* any number at all */
            case 2: slots[j] = (uint32_t)rng_below(&rng, 40000); break;
            default: slots[j] = want[j]; break;
            }
        }
        table_prefetch(t, slots, 300);
        table_resolve(t, keys, 300, slots);
        assert_memory_equal(slots, want, sizeof want);
    }
    table_free(t);
}

static void test_a_freed_slot_is_used_again(void **state)
{
    (void)state;
    struct table *t = new_table(UINT64_MAX);
    const uint32_t a = add(t, 10), b = add(t, 20);
    const uint64_t bytes = table_bytes(t);
    struct row_meta *meta = table_record(t, a);
    meta->last_step = 9;
    meta->stamp = 8;
    table_remove(t, 10, a);
    assert_int_equal(find(t, 10), SLOT_NONE);
    assert_false(table_holds(t, 10, a)); /* its bytes still say 10 */
    table_remove(t, 20, b);
    table_check(t);
    assert_int_equal(add(t, 30), b); /* the last one freed comes first: it is warm */
    assert_int_equal(add(t, 10), a);
    meta = table_record(t, a);
    assert_int_equal(meta->last_step + meta->stamp + meta->flags, 0);
    uint64_t keys[2] = {20, 10};
    uint32_t slots[2] = {b, b}; /* guesses of a push whose pull was before all this */
    table_resolve(t, keys, 2, slots);
    assert_int_equal(slots[0], SLOT_NONE);
    assert_int_equal(slots[1], a);
    assert_int_equal(table_bytes(t), bytes);
    table_check(t);
    table_free(t);
}

/* -- budget -- */

static void test_budget(void **state)
{
    (void)state;
    const uint64_t budgets[] = {0, 100, 4096, 5000, 20000, 1 << 20, 3 << 20, 9000000, 40 << 20};
    for (size_t b = 0; b < sizeof budgets / sizeof *budgets; b++) {
        struct table *t = new_table(budgets[b]);
        struct errbuf err = ERRBUF_INIT;
        uint32_t slot = 5;
        enum status st = ST_OK;
        size_t n = 0;
        while (st == ST_OK) {
            st = table_add(t, key_at(n), &slot, &err);
            n += st == ST_OK;
            assert_true(table_bytes(t) <= budgets[b]);
        }
        assert_int_equal(st, ST_AGAIN);
        assert_non_null(strstr(err.text, "budget"));
        const uint64_t before = bytes_of(t);
        assert_int_equal(table_add(t, key_at(n), &slot, NULL), ST_AGAIN);
        assert_int_equal(bytes_of(t), before);
        assert_int_equal(table_rows(t), n);
        for (size_t i = 0; i <= n; i++)
            assert_int_equal(find(t, key_at(i)) == SLOT_NONE, i == n);
        if (budgets[b] >= 3 << 20) /* from a few MiB on at least two thirds of it are rows */
            assert_true(n * table_record_bytes(t) * 3 >= budgets[b] * 3 / 2);
        if (n > 0) {
            table_remove(t, key_at(0), find(t, key_at(0)));
            assert_int_equal(table_add(t, key_at(n), &slot, &err), ST_OK);
        }
        table_check(t);
        table_free(t);
    }
}

static void test_small_tables_are_small(void **state)
{
    (void)state;
    struct table *t = new_table(UINT64_MAX);
    assert_int_equal(table_bytes(t), 0);
    for (size_t i = 0; i < 123; i++)
        (void)add(t, key_at(i));
    assert_in_range(table_bytes(t), 123 * table_record_bytes(t), 12000);
    table_free(t);
}

static void test_store_shares_its_budget(void **state)
{
    (void)state;
    struct plan p = {.seed = 1};
    const struct job_optim optim = {.kind = JOB_ADAM, .beta1 = .9, .beta2 = .999, .eps = 1e-8};
    const uint64_t shape[2] = {300, 10};
    plan_add_sparse(&p, "a", 8, PLAN_ZERO, 0, &optim);
    plan_add_sparse(&p, "b", 1, PLAN_ZERO, 0, &optim);
    plan_add_tensor(&p, PLAN_DENSE, "w", 2, shape, PLAN_ONE, 0, &optim);
    const uint32_t floats[PLAN_TABLES_MAX] = {16, 2, 512};
    const uint64_t max = 1 << 20;
    struct store *s = NULL;
    assert_int_equal(store_new(&p, floats, max, &s, NULL), ST_OK);
    assert_int_equal(s->tables, 3);
    for (uint64_t b = 0; b < p.tables[2].blocks; b++)
        (void)add(s->table[2], b);
    uint32_t slot;
    uint64_t rows[2] = {0, 0};
    for (size_t t = 0; t < 2; t++) /* whoever comes first */
        while (rows[t] < (t == 0 ? 1000 : UINT64_MAX) &&
               table_add(s->table[t], rows[t], &slot, NULL) == ST_OK)
            rows[t]++;
    assert_int_equal(rows[0], 1000);
    assert_true(rows[1] > 5000);
    assert_in_range(store_bytes(s), max - (max >> 2), max);
    for (size_t t = 0; t < 3; t++)
        table_check(s->table[t]);
    store_free(s);
    const uint32_t wide[PLAN_TABLES_MAX] = {16, 2000000, 512};
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(store_new(&p, wide, max, &s, &err), ST_USAGE);
    plan_release(&p);
}

/* -- keys made to collide -- */

static uint64_t inverse(uint64_t odd)
{
    uint64_t x = odd;
    for (int i = 0; i < 6; i++)
        x *= 2 - odd * x;
    return x;
}

static uint64_t unshift(uint64_t y, unsigned by)
{
    uint64_t x = y;
    for (unsigned i = 0; i < 64 / by + 1; i++)
        x = y ^ (x >> by);
    return x;
}

/* The key whose hash_u64 is h. */
static uint64_t unhash(uint64_t h)
{
    uint64_t x = unshift(h, 31) * inverse(0x94D049BB133111EBu);
    x = unshift(x, 27) * inverse(0xBF58476D1CE4E5B9u);
    x = unshift(x, 30) - 0x9E3779B97F4A7C15u;
    assert_int_equal(hash_u64(x), h);
    return x;
}

static void test_one_group_for_all(void **state)
{
    (void)state;
    struct table *t = new_table(64 << 20);
    const uint32_t n = 4000; /* beyond what an overflow count can count */
    for (uint64_t i = 0; i < n; i++)
        (void)add(t, unhash(i << 20 | 0x12345));
    table_check(t);
    for (uint64_t i = 0; i < n; i++)
        assert_true(find(t, unhash(i << 20 | 0x12345)) != SLOT_NONE);
    for (uint64_t i = 0; i < n; i += 2)
        table_remove(t, unhash(i << 20 | 0x12345), find(t, unhash(i << 20 | 0x12345)));
    table_check(t);
    for (uint64_t i = 0; i < n; i++)
        assert_int_equal(find(t, unhash(i << 20 | 0x12345)) != SLOT_NONE, i % 2);
    table_free(t);
}

static void test_one_segment_for_all(void **state)
{
    (void)state;
    struct table *t = new_table(64 << 20);
    struct errbuf err = ERRBUF_INIT;
    uint32_t slot;
    uint64_t n = 0;
    while (n < 200000 &&
           table_add(t, unhash(n), &slot, &err) == ST_OK) /* all directory bits are 0 */
        n++;
    assert_in_range(n, 40000, 50000);       /* one full segment; splitting it is in vain */
    assert_true(table_bytes(t) <= 8 << 20); /* and gives up before the directory grows large */
    assert_non_null(strstr(err.text, "agree"));
    assert_int_equal(find(t, unhash(n - 1)) != SLOT_NONE, 1);
    assert_int_equal(find(t, unhash(n)), SLOT_NONE);
    table_check(t);
    table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_the_model),
        cmocka_unit_test(test_records_stay_while_it_grows),
        cmocka_unit_test(test_lookups_change_nothing),
        cmocka_unit_test(test_batches_of_every_size),
        cmocka_unit_test(test_guesses_are_checked),
        cmocka_unit_test(test_a_freed_slot_is_used_again),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_small_tables_are_small),
        cmocka_unit_test(test_store_shares_its_budget),
        cmocka_unit_test(test_one_group_for_all),
        cmocka_unit_test(test_one_segment_for_all),
    };
    return cmocka_run_group_tests_name("store_table", tests, NULL, NULL);
}
