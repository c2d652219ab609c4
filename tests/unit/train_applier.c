/* train_applier.c - pulls and pushes on a shard's tables: what changes, what must not, and the way back. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "ps/optim/optim.h"
#include "ps/train/applier.h"

enum { EMB, LIN, DENSE, AVERAGED, TABLES };

#define DIM    10u
#define BLOCKS 3u
#define MANY   300u

/* Calls of malloc and its like, by this process. Sanitizers bring their own. */
static uint64_t mallocs;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_MALLOC 0
#else
#define COUNTS_MALLOC 1
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t each);
void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
    mallocs++;
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t each)
{
    mallocs++;
    return __libc_calloc(n, each);
}

void *realloc(void *p, size_t n)
{
    mallocs++;
    return __libc_realloc(p, n);
}
#endif

struct world {
    struct plan plan;
    struct store *store;
    struct applier *ap;
    struct undo *log;
    struct rng rng;
    uint64_t step;
    uint32_t stamp;
    uint64_t keys[MANY];
    uint32_t slots[MANY];
    float grads[MANY * DENSE_BLOCK], out[MANY * DENSE_BLOCK];
};

static int kind = JOB_ADAM; /* of embedding; of dense, too, unless it is a row-wise one */

static struct world *world_new(double clip_row, double grad_max, uint64_t bytes_max)
{
    struct world *w = mem_zalloc(sizeof *w);
    struct job_optim adam = {.kind = kind,
                             .rate = 1e-2,
                             .l2 = 1e-2,
                             .l2_mode = JOB_L2_EXACT,
                             .beta1 = .9,
                             .beta2 = .999,
                             .eps = 1e-8,
                             .momentum = .9,
                             .beta = 1,
                             .l1 = 1e-2};
    struct job_optim dense = adam;
    struct job_optim touched = {
        .kind = JOB_ROWWISE_ADAGRAD, .rate = 0.1, .l2 = 1e-2, .l2_mode = JOB_L2_TOUCHED};
    const uint64_t shape[2] = {2, 300}, one[2] = {8, 1};
    touched.eps = 1e-8;
    dense.l1 = 0;
    if (kind == JOB_ROWWISE_ADAGRAD || kind == JOB_ROWWISE_ADAM)
        dense.kind = JOB_ADAM;
    w->plan.seed = 5;
    plan_add_sparse(&w->plan, "embedding", DIM, PLAN_NORMAL, 0.1, &adam);
    plan_add_sparse(&w->plan, "linear", 1, PLAN_ZERO, 0, &touched);
    plan_add_tensor(&w->plan, PLAN_DENSE, "w", 2, shape, PLAN_UNIFORM, 0.3, &dense);
    plan_add_tensor(&w->plan, PLAN_STAT, "mean", 1, one, PLAN_ZERO, 0, &adam);
    uint32_t floats[PLAN_TABLES_MAX] = {0};
    for (size_t t = 0; t < TABLES; t++)
        floats[t] = optim_state_floats(&w->plan.tables[t]);
    assert_int_equal(store_new(&w->plan, floats, bytes_max, &w->store, NULL), ST_OK);
    w->ap = applier_new(&w->plan, w->store, clip_row, grad_max);
    w->log = undo_new();
    w->stamp = 1;
    w->rng.key = 77;
    return w;
}

static void world_free(struct world *w)
{
    for (size_t t = 0; t < TABLES; t++)
        table_check(w->store->table[t]);
    undo_free(w->log);
    applier_free(w->ap);
    store_free(w->store);
    plan_release(&w->plan);
    free(w);
}

/* n distinct keys below `below`, rising or not, no guesses, gradients of order 1. */
static void world_batch(struct world *w, uint32_t table, size_t n, uint64_t below, bool sorted)
{
    const uint64_t first = rng_below(&w->rng, below), key = rng_next(&w->rng);
    for (size_t i = 0; i < n; i++) {
        const uint64_t at = sorted ? i : rng_permute(key, n, i);
        w->keys[i] = table >= DENSE ? at : first + at * 7;
        w->slots[i] = SLOT_NONE;
    }
    for (size_t i = 0; i < n * table_dim(w->store->table[table]); i++)
        w->grads[i] = (float)rng_next_normal(&w->rng);
}

static enum status push_at(struct world *w, uint32_t table, size_t n, uint64_t step,
                           struct applier_result *r)
{
    memset(r, 0, sizeof *r);
    return applier_push(w->ap, table, w->keys, w->slots, n, w->grads, step, w->log, w->stamp, r,
                        NULL);
}

static struct applier_result push(struct world *w, uint32_t table, size_t n)
{
    struct applier_result r;
    assert_int_equal(push_at(w, table, n, ++w->step, &r), ST_OK);
    assert_int_equal(r.rows, n);
    return r;
}

static uint64_t world_hash(const struct world *w)
{
    uint64_t sum = 0, key, cursor;
    uint32_t slot;
    for (uint32_t t = 0; t < TABLES; t++) {
        const struct table *table = w->store->table[t];
        cursor = 0;
        while (table_scan(table, &cursor, 1, &key, &slot) > 0)
            sum += hash_bytes(table_record(table, slot), table_record_bytes(table), key ^ t);
        sum = sum * 31 + table_rows(table) * 7 + table_bytes(table);
    }
    return sum + undo_entries(w->log);
}

/* Without stamp and image, which a rollback leaves as they were or as they are. */
static uint64_t values_hash(const struct world *w)
{
    uint64_t sum = 0, key, cursor;
    uint32_t slot;
    for (uint32_t t = 0; t < TABLES; t++) {
        const struct table *table = w->store->table[t];
        cursor = 0;
        while (table_scan(table, &cursor, 1, &key, &slot) > 0) {
            const char *record = table_record(table, slot);
            const size_t head = offsetof(struct row_meta, stamp), skip = sizeof(struct row_meta);
            sum += hash_bytes(record, head, key ^ t) +
                   hash_bytes(record + skip, table_record_bytes(table) - skip, key ^ t);
        }
    }
    return sum;
}

static void many_pushes(struct world *w, int n)
{
    for (int i = 0; i < n; i++) {
        const uint32_t table = (uint32_t)rng_below(&w->rng, TABLES);
        const size_t rows =
            table >= DENSE ? w->plan.tables[table].blocks : 1 + rng_below(&w->rng, 200);
        world_batch(w, table, rows, 3000, i % 2 == 0);
        (void)push(w, table, rows);
    }
}

/* -- pull -- */

static void test_a_pull_changes_nothing(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0, 64 << 20);
    many_pushes(w, 200);
    const uint64_t before = world_hash(w);
    for (int i = 0; i < 100; i++) {
        const uint32_t table = (uint32_t)i % TABLES;
        world_batch(w, table, table >= DENSE ? 1 : 250, 6000, false);
        applier_pull(w->ap, table, w->keys, table >= DENSE ? 1 : 250, w->slots, w->step, w->out);
        assert_int_equal(world_hash(w), before);
    }
    world_free(w);
}

static void test_an_unknown_key_is_the_row_it_will_be(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0, 64 << 20);
    for (uint32_t table = EMB; table < DENSE; table++) {
        const uint32_t dim = table_dim(w->store->table[table]);
        float absent[DIM], there[DIM];
        uint32_t slot;
        many_pushes(w, 30);
        world_batch(w, table, 1, 100, true);
        w->keys[0] += 1 << 30;
        applier_pull(w->ap, table, w->keys, 1, w->slots, w->step, absent);
        assert_int_equal(w->slots[0], SLOT_NONE);
        assert_int_equal(table_add(w->store->table[table], w->keys[0], &slot, NULL), ST_OK);
        applier_pull(w->ap, table, w->keys, 1, w->slots, w->step, there);
        assert_int_equal(w->slots[0], slot);
        assert_memory_equal(absent, there, dim * sizeof(float));
        plan_init_row(&w->plan, table, w->keys[0], there);
        assert_int_equal(memcmp(absent, there, dim * sizeof(float)) != 0,
                         table == EMB); /* L2 moved it */
    }
    world_free(w);
}

/* Pull at s, then push: the row moves from exactly what was pulled. */
static void test_pull_then_push(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0, 64 << 20);
    for (int i = 0; i < 60; i++) {
        float w0[MANY * DIM];
        const struct plan_table *pt = &w->plan.tables[EMB];
        struct optim *o = optim_new(pt);
        many_pushes(w, 5);
        world_batch(w, EMB, MANY, 5000, i % 2 == 0);
        applier_pull(w->ap, EMB, w->keys, MANY, w->slots, w->step, w0);
        float m[2 * DIM];
        for (size_t r = 0; r < MANY; r += 37) { /* by hand, from a rendered copy */
            memset(m, 0, sizeof m);
            if (w->slots[r] != SLOT_NONE) {
                struct {
                    struct row_meta meta;
                    float f[3 * DIM];
                } copy;
                memcpy(&copy, table_record(w->store->table[EMB], w->slots[r]), sizeof copy);
                applier_render(w->ap, EMB, &copy, w->step);
                assert_int_equal(copy.meta.last_step, w->step);
                assert_memory_equal(copy.f, &w0[r * DIM], DIM * sizeof(float));
                memcpy(m, copy.f + DIM, sizeof m);
            } else {
                float init[DIM];
                plan_init_row(&w->plan, EMB, w->keys[r], init);
                optim_replay(o, init, m, 0, w->step);
                assert_memory_equal(init, &w0[r * DIM], sizeof init);
            }
            optim_apply(o, &w0[r * DIM], m, &w->grads[r * DIM], w->step, w->step + 1);
        }
        (void)push(w, EMB, MANY); /* with the pull's slots */
        applier_pull(w->ap, EMB, w->keys, MANY, w->slots, w->step, w->out);
        for (size_t r = 0; r < MANY; r += 37)
            assert_memory_equal(&w->out[r * DIM], &w0[r * DIM], DIM * sizeof(float));
        optim_free(o);
    }
    world_free(w);
}

static void test_render_leaves_rows_that_stand_still(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0, 64 << 20);
    struct {
        struct row_meta meta;
        float f[2];
    } copy, was;
    world_batch(w, LIN, 1, 10, true);
    (void)push(w, LIN, 1);
    memcpy(&copy, table_record(w->store->table[LIN], w->slots[0]), sizeof copy);
    was = copy;
    applier_render(w->ap, LIN, &copy, 1000);
    assert_memory_equal(&copy, &was, sizeof copy);
    world_free(w);
}

/* -- push -- */

static void test_meta(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0, 64 << 20);
    world_batch(w, LIN, 1, 10, true);
    for (uint32_t i = 1; i <= 70000; i++) {
        const struct applier_result r = push(w, LIN, 1);
        assert_int_equal(r.added, i == 1);
        const struct row_meta *meta = table_record(w->store->table[LIN], w->slots[0]);
        assert_int_equal(meta->last_step, i);
        assert_int_equal(meta->freq, i < 65535 ? i : 65535);
        assert_int_equal(meta->stamp, w->stamp);
    }
    struct applier_result r;
    const uint64_t before = world_hash(w);
    assert_int_equal(push_at(w, LIN, 1, (uint64_t)UINT32_MAX + 1, &r), ST_REFUSED);
    assert_int_equal(world_hash(w), before);
    assert_int_equal(push_at(w, LIN, 1, UINT32_MAX, &r), ST_OK);
    world_free(w);
}

static void test_bad_gradients_are_refused(void **state)
{
    (void)state;
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY, 1e6f * 1.0001f, -2e6f, 3e38f};
    for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
        for (size_t at = 0; at < DIM; at++) {
            struct world *w = world_new(0, 1e6, 64 << 20);
            world_batch(w, EMB, 20, 100, false);
            (void)push(w, EMB, 10); /* half of the keys are known */
            float was[20 * DIM], is[20 * DIM];
            for (size_t i = 0; i < 20 * DIM; i++)
                w->grads[i] = 1e6f; /* as large as is allowed */
            w->grads[3 * DIM + at] = bad[b];
            w->grads[15 * DIM + at] = bad[b];
            applier_pull(w->ap, EMB, w->keys, 20, w->slots, w->step + 1, was);
            const uint64_t last =
                ((struct row_meta *)table_record(w->store->table[EMB], w->slots[3]))->last_step;
            const struct applier_result r = push(w, EMB, 20);
            assert_int_equal(r.refused, 2);
            assert_int_equal(r.refused_key, w->keys[3]);
            assert_int_equal(r.added, 9);
            assert_int_equal(w->slots[15], SLOT_NONE); /* not even made */
            const struct row_meta *meta = table_record(w->store->table[EMB], w->slots[3]);
            assert_int_equal(meta->last_step, last);
            applier_pull(w->ap, EMB, w->keys, 20, w->slots, w->step, is);
            for (size_t i = 0; i < 20; i++)
                assert_int_equal(memcmp(was + i * DIM, is + i * DIM, DIM * 4) == 0,
                                 i == 3 || i == 15);
            world_free(w);
        }
    }
}

static void test_without_a_bound(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0, 64 << 20);
    world_batch(w, LIN, 3, 100, true);
    w->grads[0] = 1e10f;
    w->grads[1] = INFINITY;
    w->grads[2] = NAN;
    assert_int_equal(push(w, LIN, 3).refused, 2);
    world_free(w);
}

static void test_clip_row(void **state)
{
    (void)state;
    struct world *w = world_new(2.0, 1e6, 64 << 20), *same = world_new(0, 1e6, 64 << 20);
    world_batch(w, EMB, 2, 100, true);
    for (size_t j = 0; j < DIM; j++) {
        w->grads[j] = j == 4 ? -8.0f : 0.0f;      /* norm 8 */
        w->grads[DIM + j] = j == 0 ? 1.9f : 0.0f; /* norm below 2 */
    }
    memcpy(same->keys, w->keys, sizeof w->keys);
    memcpy(same->slots, w->slots, sizeof w->slots);
    memcpy(same->grads, w->grads, sizeof w->grads);
    same->grads[4] = -2.0f;
    const struct applier_result r = push(w, EMB, 2), s = push(same, EMB, 2);
    assert_int_equal(r.clipped, 1);
    assert_int_equal(r.refused + s.refused + s.clipped, 0);
    assert_int_equal(values_hash(w), values_hash(same));
    for (size_t j = 0; j < DENSE_BLOCK; j++)
        w->grads[j] = 100; /* a dense block is not a row */
    w->keys[0] = 0;
    w->slots[0] = SLOT_NONE;
    assert_int_equal(push(w, DENSE, 1).clipped, 0);
    world_free(w);
    world_free(same);
}

static void test_doubled_keys(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0, 64 << 20);
    many_pushes(w, 30);
    for (int i = 0; i < 200; i++) {
        const size_t n = 2 + rng_below(&w->rng, MANY - 2);
        const uint32_t table = (uint32_t)i % 2;
        world_batch(w, table, n, 3000, i % 3 == 0);
        const size_t a = rng_below(&w->rng, n), b = (a + 1 + rng_below(&w->rng, n - 1)) % n;
        const uint64_t key = w->keys[a], before = world_hash(w);
        struct applier_result r;
        struct errbuf err = ERRBUF_INIT;
        memset(&r, 0, sizeof r);
        w->keys[a] = w->keys[b];
        assert_int_equal(applier_push(w->ap, table, w->keys, w->slots, n, w->grads, w->step + 1,
                                      w->log, w->stamp, &r, &err),
                         ST_BAD_PEER);
        assert_non_null(strstr(err.text, "twice"));
        assert_int_equal(r.rows, 0);
        assert_int_equal(world_hash(w), before);
        w->keys[a] = key;
        for (size_t j = 0; j < n; j++)
            w->slots[j] = SLOT_NONE;
        (void)push(w, table, n);
    }
    world_free(w);
}

/* Any guess at all, right, stale or mad, gives the same tables. */
static void test_guesses_decide_nothing(void **state)
{
    (void)state;
    struct world *a = world_new(0, 0, 64 << 20), *b = world_new(0, 0, 64 << 20);
    for (int i = 0; i < 100; i++) {
        world_batch(a, EMB, MANY, 3000, i % 2 == 0);
        world_batch(b, EMB, MANY, 3000, i % 2 == 0);
        assert_memory_equal(a->keys, b->keys, sizeof a->keys);
        applier_pull(a->ap, EMB, a->keys, MANY, a->slots, a->step, a->out);
        for (size_t j = 0; j < MANY; j++)
            b->slots[j] = (uint32_t)rng_next(&b->rng) >> rng_below(&b->rng, 32);
        b->rng = a->rng;
        (void)push(a, EMB, MANY);
        (void)push(b, EMB, MANY);
        assert_memory_equal(a->slots, b->slots, sizeof a->slots);
    }
    assert_int_equal(world_hash(a), world_hash(b));
    world_free(a);
    world_free(b);
}

static void test_no_room(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0, 100000);
    uint64_t full = 0, added = 0;
    for (int i = 0; i < 20; i++) {
        world_batch(w, EMB, MANY, 1, true);
        for (size_t j = 0; j < MANY; j++)
            w->keys[j] += (uint64_t)i * 100000;
        const struct applier_result r = push(w, EMB, MANY);
        if (full == 0 && r.full > 0)
            assert_int_equal(r.full_key, w->keys[MANY - r.full]);
        full += r.full;
        added += r.added;
        assert_int_equal(r.full + r.added, MANY);
        assert_true(store_bytes(w->store) <= 100000);
    }
    assert_true(full > 0);
    assert_int_equal(added, table_rows(w->store->table[EMB]));
    world_free(w);
}

static void test_averages(void **state)
{
    (void)state;
    struct world *w = world_new(0, 1, 64 << 20);
    float want = 0;
    for (int i = 0; i < 10; i++) {
        world_batch(w, AVERAGED, 1, 1, true);
        for (size_t j = 0; j < DENSE_BLOCK; j++)
            w->grads[j] = 50; /* a value, not a gradient: grad_max is not for it */
        assert_int_equal(push(w, AVERAGED, 1).refused, 0);
        want += (50 - want) * 0.1f;
        applier_pull(w->ap, AVERAGED, w->keys, 1, w->slots, w->step, w->out);
        assert_true(w->out[0] == want && w->out[7] == want);
    }
    world_free(w);
}

static void test_the_schedule_arrives(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0, 64 << 20);
    const struct schedule s = {.warmup = 4};
    applier_schedule(w->ap, &s);
    world_batch(w, LIN, 1, 1, true);
    w->grads[0] = 3;
    (void)push(w, LIN, 1);
    applier_pull(w->ap, LIN, w->keys, 1, w->slots, w->step, w->out);
    assert_true(fabsf(w->out[0] + 0.025f) <
                1e-6f); /* rate 0.1 / 4, Adagrad's first step is its sign */
    world_free(w);
}

/* -- the way back -- */

static void test_rollback(void **state)
{
    (void)state;
    struct world *w = world_new(0, 1e6, 64 << 20);
    for (int i = 0; i < 20; i++) {
        many_pushes(w, 20);
        undo_reset(w->log);
        w->stamp++;
        const uint64_t before = values_hash(w), rows = table_rows(w->store->table[EMB]),
                       step = w->step;
        many_pushes(w, 20);
        w->grads[0] = NAN;
        (void)push(w, LIN, 1);
        undo_check(w->log, w->store, w->stamp);
        const uint64_t after = values_hash(w);
        assert_true(after != before);
        undo_rollback(w->log, w->store);
        w->stamp++;
        w->step = step;
        assert_int_equal(values_hash(w), before);
        assert_int_equal(table_rows(w->store->table[EMB]), rows);
    }
    world_free(w);
}

/* A history with rollbacks in it ends where the one without ends. */
static void test_replayed_history(void **state)
{
    (void)state;
    struct world *a = world_new(1.0, 1e6, 64 << 20), *b = world_new(1.0, 1e6, 64 << 20);
    for (int i = 0; i < 20; i++) {
        many_pushes(a, 10);
        undo_reset(b->log);
        const struct rng rng = b->rng;
        const uint64_t step = b->step;
        b->stamp++;
        many_pushes(b, 7);
        undo_rollback(b->log, b->store);
        b->stamp++;
        b->rng = rng;
        b->step = step;
        many_pushes(b, 10);
        assert_int_equal(values_hash(a), values_hash(b));
    }
    world_free(a);
    world_free(b);
}

static void test_no_images_without_a_log(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0, 64 << 20);
    struct applier_result r = {0};
    many_pushes(w, 10);
    const size_t entries = undo_entries(w->log);
    world_batch(w, EMB, MANY, 3000, true);
    assert_int_equal(applier_push(w->ap, EMB, w->keys, w->slots, MANY, w->grads, ++w->step, NULL,
                                  ++w->stamp, &r, NULL),
                     ST_OK);
    assert_int_equal(undo_entries(w->log), entries);
    world_free(w);
}

static void test_no_malloc_when_warm(void **state)
{
    (void)state;
    if (!COUNTS_MALLOC)
        skip();
    struct world *w = world_new(1.0, 1e6, 64 << 20);
    for (int round = 0; round < 6; round++) {
        w->rng.key = 3; /* the same pushes again and again */
        w->rng.n = 0;
        undo_reset(w->log);
        w->stamp++;
        mallocs = 0;
        many_pushes(w, 50);
        for (uint32_t t = 0; t < TABLES; t++) {
            world_batch(w, t, 1, 5000, false);
            applier_pull(w->ap, t, w->keys, 1, w->slots, w->step, w->out);
        }
        if (round >= 4)
            assert_int_equal(mallocs, 0);
    }
    world_free(w);
}

/* -- every optimizer -- */

/* What the table says of a row, what a cut writes of it and what a pull answers are one thing. */
static void pulled_is_rendered(struct world *w, uint32_t table)
{
    const struct table *t = w->store->table[table];
    char copy[4 * DENSE_BLOCK * sizeof(float) + sizeof(struct row_meta)];
    uint64_t key, cursor = 0;
    uint32_t slot;
    while (table_scan(t, &cursor, 1, &key, &slot) > 0) {
        assert_in_range(table_record_bytes(t), 1, sizeof copy);
        memcpy(copy, table_record(t, slot), table_record_bytes(t));
        applier_render(w->ap, table, copy, w->step);
        slot = SLOT_NONE;
        applier_pull(w->ap, table, &key, 1, &slot, w->step, w->out);
        assert_memory_equal(row_weights(copy), w->out, table_dim(t) * sizeof(float));
    }
}

/* Back and forth, as after a death, and the same again; with rates that change on the way. */
static void test_every_optimizer(void **state)
{
    (void)state;
    const struct schedule s = {.warmup = 5, .rate_min = 1e-6, .changes = 1, .change = {{60, 0.1}}};
    for (kind = JOB_SGD; kind <= JOB_FTRL; kind++) {
        struct world *w = world_new(5, 1e6, 64 << 20);
        applier_schedule(w->ap, &s);
        for (int i = 0; i < 8; i++) {
            const struct rng rng = w->rng;
            const uint64_t step = w->step, before = values_hash(w);
            undo_reset(w->log);
            w->stamp++;
            many_pushes(w, 12);
            undo_check(w->log, w->store, w->stamp);
            const uint64_t after = values_hash(w);
            undo_rollback(w->log, w->store);
            assert_int_equal(values_hash(w), before);
            w->stamp++;
            w->step = step;
            w->rng = rng;
            undo_reset(w->log);
            many_pushes(w, 12);
            assert_int_equal(values_hash(w), after);
        }
        pulled_is_rendered(w, EMB);
        pulled_is_rendered(w, DENSE);
        world_batch(w, EMB, 1, 1, true);
        w->grads[DIM - 1] = NAN;
        assert_int_equal(push(w, EMB, 1).refused, 1);
        world_free(w);
    }
    kind = JOB_ADAM;
}

/* A late push of plain SGD moves by its part; the next one, in time, by all. */
static void test_damped(void **state)
{
    (void)state;
    kind = JOB_SGD;
    struct world *w = world_new(0, 0, 64 << 20);
    float was[DIM];
    world_batch(w, EMB, 1, 1, true);
    (void)push(w, EMB, 1);
    for (int i = 0; i < 3; i++) {
        const double factor = i == 1 ? 0.25 : 1;
        applier_pull(w->ap, EMB, w->keys, 1, w->slots, w->step, was);
        applier_damp(w->ap, factor);
        (void)push(w, EMB, 1);
        applier_pull(w->ap, EMB, w->keys, 1, w->slots, w->step, w->out);
        for (size_t j = 0; j < DIM; j++) {
            const double g = (double)w->grads[j] + 1e-2 * (double)was[j];
            assert_true(fabs((double)(was[j] - w->out[j]) - factor * 1e-2 * g) < 1e-6);
        }
    }
    world_free(w);
    kind = JOB_ADAM;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pull_changes_nothing),
        cmocka_unit_test(test_an_unknown_key_is_the_row_it_will_be),
        cmocka_unit_test(test_pull_then_push),
        cmocka_unit_test(test_render_leaves_rows_that_stand_still),
        cmocka_unit_test(test_meta),
        cmocka_unit_test(test_bad_gradients_are_refused),
        cmocka_unit_test(test_without_a_bound),
        cmocka_unit_test(test_clip_row),
        cmocka_unit_test(test_doubled_keys),
        cmocka_unit_test(test_guesses_decide_nothing),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_averages),
        cmocka_unit_test(test_the_schedule_arrives),
        cmocka_unit_test(test_rollback),
        cmocka_unit_test(test_replayed_history),
        cmocka_unit_test(test_no_images_without_a_log),
        cmocka_unit_test(test_no_malloc_when_warm),
        cmocka_unit_test(test_every_optimizer),
        cmocka_unit_test(test_damped),
    };
    return cmocka_run_group_tests_name("train_applier", tests, NULL, NULL);
}
