/* serve_versions.c - staging, proving, showing, keeping, folding: every row of every kept version after every cut; and
 * readers in threads that know what they must find. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/serve/stage.h"
#include "tests/support/serve_maker.h"

struct node {
    struct maker m;
    struct versions *vs;
    struct source source;
    struct follow f;
    pthread_mutex_t lock;
    struct errbuf err;
};

static struct node *node_new(uint64_t seed, uint64_t keys, uint32_t keep)
{
    struct node *n = mem_zalloc(sizeof(*n));
    maker_init(&n->m, seed, keys);
    n->vs = versions_new(&n->m.plan, keep);
    n->source = maker_source(&n->m);
    pthread_mutex_init(&n->lock, NULL);
    n->f = (struct follow){
        .vs = n->vs, .source = &n->source, .plan = &n->m.plan, .lock = &n->lock, .job = 99};
    return n;
}

static void node_free(struct node *n)
{
    versions_free(n->vs);
    maker_release(&n->m);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

static enum status take(struct node *n, uint64_t k, uint64_t full)
{
    struct manifest m;
    maker_manifest(&n->m, k, full, &m);
    enum status st = follow_take(&n->f, &m, &n->err);
    manifest_release(&m);
    return st;
}

static void tidy_all(struct node *n)
{
    for (int i = 0; versions_tidy(n->vs, 500); i++) {
        assert_true(i < 100000);
    }
}

static void all_equal(struct node *n)
{
    struct versions_item item[VERSIONS_MAX];
    const size_t used = versions_list(n->vs, item, VERSIONS_MAX);
    for (size_t i = 0; i < used; i++) {
        if (item[i].v != NULL) {
            assert_int_equal(maker_differs(&n->m, item[i].v), 0);
        }
    }
}

static void follows_deltas(void **state)
{
    (void)state;
    struct node *n = node_new(1, 3000, 3);
    n->m.grow = 200; /* new rows at each cut, and removed ones */
    for (uint64_t k = 1; k <= 40; k++) {
        const uint64_t before = n->m.parts;
        assert_int_equal(take(n, k, k < 20 ? 1 : 20), ST_OK);
        if (k > 1 && k != 20) {
            assert_int_equal(n->m.parts - before, maker_shards(k)); /* only what is new was read */
        }
        assert_int_equal(version_cut(versions_shown(n->vs)), k);
        all_equal(n);
        (void)versions_tidy(n->vs, 100); /* in the middle of a fold */
        all_equal(n);
        if (k % 3 == 0) {
            tidy_all(n);
            all_equal(n);
            assert_true(versions_layers(n->vs) <= 3);
        }
    }
    assert_null(versions_get(n->vs, 37));
    assert_non_null(versions_get(n->vs, 38));
    assert_int_equal(n->f.mismatch_total, 0);
    node_free(n);
}

/* A full cut whose files lack what was removed meanwhile, after cuts that were not seen. */
static void removes_what_a_new_chain_lacks(void **state)
{
    (void)state;
    struct node *n = node_new(2, 2000, 3);
    n->m.remove = 100;
    assert_int_equal(take(n, 1, 1), ST_OK);
    assert_int_equal(take(n, 2, 1), ST_OK);
    assert_int_equal(take(n, 9, 7), ST_OK);
    assert_int_equal(n->f.resync_total, 1);
    assert_int_equal(n->f.mismatch_total, 0); /* it was no mismatch: nothing was wrong */
    all_equal(n);
    tidy_all(n);
    all_equal(n);
    node_free(n);
}

static void a_full_file_of_the_same_costs_nothing(void **state)
{
    (void)state;
    struct node *n = node_new(3, 20000, 2);
    n->m.change = n->m.remove = 0;
    uint64_t base;
    assert_int_equal(take(n, 1, 1), ST_OK);
    const uint64_t one = versions_bytes(n->vs, &base);
    assert_int_equal(take(n, 2, 2), ST_OK);
    assert_true(versions_bytes(n->vs, &base) < one + one / 20);
    all_equal(n);
    node_free(n);
}

/* 1 % of the rows at each cut: all of it together stays below 1.1 times one model. */
static void memory_stays(void **state)
{
    (void)state;
    struct node *n = node_new(4, 60000, 3);
    n->m.change = 9;
    n->m.remove = 1;
    uint64_t base, most = 0, first;
    assert_int_equal(take(n, 1, 1), ST_OK);
    first = versions_bytes(n->vs, &base);
    for (uint64_t k = 2; k <= 30; k++) {
        assert_int_equal(take(n, k, k < 15 ? 1 : 15), ST_OK);
        for (bool more = true; more;) {
            const uint64_t now = versions_bytes(n->vs, &base);
            most = now > most ? now : most;
            more = versions_tidy(n->vs, 1000);
        }
    }
    print_message("bytes: %.2f times one model\n", (double)most / (double)first);
    assert_true((double)most <= 1.1 * (double)first);
    node_free(n);
}

static void pins_and_rolls_back(void **state)
{
    (void)state;
    struct node *n = node_new(5, 2000, 3);
    uint64_t back = 0;
    assert_int_equal(versions_rollback(n->vs, &back, &n->err), ST_NOT_FOUND);
    for (uint64_t k = 1; k <= 4; k++) {
        assert_int_equal(take(n, k, 1), ST_OK);
    }
    assert_int_equal(versions_pin(n->vs, 1, &n->err), ST_NOT_FOUND);
    assert_int_equal(versions_pin(n->vs, 2, &n->err), ST_OK);
    for (uint64_t k = 5; k <= 30; k++) {
        assert_int_equal(take(n, k, 1), ST_OK);
        tidy_all(n);
        assert_int_equal(version_cut(versions_shown(n->vs)), 2);
        assert_true(versions_layers(n->vs) <= 4); /* the pinned one, and three */
    }
    all_equal(n);
    assert_non_null(versions_get(n->vs, 2));
    versions_unpin(n->vs);
    assert_int_equal(version_cut(versions_shown(n->vs)), 30);
    assert_null(versions_get(n->vs, 2));
    tidy_all(n);
    assert_int_equal(versions_layers(n->vs), 3);
    all_equal(n);
    assert_int_equal(versions_rollback(n->vs, &back, &n->err), ST_OK);
    assert_int_equal(back, 29);
    assert_int_equal(version_cut(versions_shown(n->vs)), 29);
    assert_int_equal(versions_rollback(n->vs, &back, &n->err), ST_OK);
    assert_int_equal(back, 28);
    assert_int_equal(versions_rollback(n->vs, &back, &n->err), ST_NOT_FOUND);
    assert_int_equal(version_cut(versions_shown(n->vs)), 28);
    node_free(n);
}

static void refuses_what_is_not_finite(void **state)
{
    (void)state;
    struct node *n = node_new(6, 2000, 3);
    n->m.poison_k = 3;
    n->m.change = 300;
    assert_int_equal(take(n, 1, 1), ST_OK);
    assert_int_equal(take(n, 2, 1), ST_OK);
    assert_int_equal(take(n, 3, 1), ST_REFUSED);
    assert_non_null(strstr(n->err.text, "not finite"));
    assert_int_equal(version_cut(versions_shown(n->vs)), 2);
    assert_int_equal(versions_pin(n->vs, 3, &n->err), ST_REFUSED);
    struct versions_item item[8];
    assert_int_equal(versions_list(n->vs, item, 8), 3);
    assert_true(item[2].k == 3 && item[2].v == NULL);
    all_equal(n);
    /* The rows are healed by the cuts after it, sooner or later; until then each is refused. */
    uint64_t k = 4;
    while (take(n, k, 1) == ST_REFUSED) {
        assert_true(++k < 60);
    }
    assert_true(k > 4);
    assert_int_equal(version_cut(versions_shown(n->vs)), k);
    assert_int_equal(n->f.refused_total, k - 3);
    all_equal(n);
    node_free(n);
}

static void a_mismatch_is_counted_and_never_shown(void **state)
{
    (void)state;
    struct node *n = node_new(7, 2000, 3);
    n->m.forge_k = 3;
    assert_int_equal(take(n, 1, 1), ST_OK);
    assert_int_equal(take(n, 2, 1), ST_OK);
    assert_int_equal(take(n, 3, 1), ST_BAD_DATA);
    assert_int_equal(n->f.mismatch_total, 2); /* as an extension, and anew */
    assert_int_equal(n->f.resync_total, 1);
    assert_int_equal(version_cut(versions_shown(n->vs)), 2);
    assert_int_equal(take(n, 4, 1), ST_OK); /* the next is sound */
    all_equal(n);
    assert_int_equal(take(n, 4, 1), ST_END);
    assert_int_equal(take(n, 2, 1), ST_END); /* an older one is nothing new */
    node_free(n);
}

/* A bit of our own memory flips: what was carried along no longer leads to the manifest's hash; reading anew heals it. */
static void heals_its_own_memory(void **state)
{
    (void)state;
    struct node *n = node_new(8, 2000, 1);
    assert_int_equal(take(n, 1, 1), ST_OK);
    uint64_t i = 0;
    float w[8];
    for (;; i++) { /* a row of now that cut 2 changes, and one it does not */
        float later[8];
        if (maker_row(&n->m, 0, i, 1, w) && maker_row(&n->m, 0, i, 2, later) && w[0] != later[0]) {
            break;
        }
    }
    const float *at = NULL;
    struct version *tip = (struct version *)(uintptr_t)versions_tip(n->vs);
    assert_int_equal(
        layer_find(atomic_load(&tip->top), 0, maker_key(i), hash_u64(maker_key(i)), &at),
        ROWS_LIVE);
    ((float *)(uintptr_t)at)[2] += 1;
    assert_int_equal(take(n, 2, 1), ST_OK);
    assert_int_equal(n->f.mismatch_total, 1);
    assert_int_equal(n->f.resync_total, 1);
    tidy_all(n);
    all_equal(n);
    node_free(n);
}

static void a_damaged_file_leaves_the_old_version(void **state)
{
    (void)state;
    struct node *n = node_new(9, 2000, 3);
    n->m.damaged_k = 3;
    n->m.damaged = 2;
    assert_int_equal(take(n, 1, 1), ST_OK);
    assert_int_equal(take(n, 3, 1), ST_BAD_DATA);
    assert_int_equal(take(n, 3, 1), ST_BAD_DATA);
    assert_int_equal(version_cut(versions_shown(n->vs)), 1);
    assert_int_equal(n->f.damaged_total, 2);
    assert_int_equal(n->f.mismatch_total + n->f.resync_total, 0);
    assert_int_equal(take(n, 3, 1), ST_OK);
    all_equal(n);
    struct manifest m;
    maker_manifest(&n->m, 4, 1, &m);
    m.job = 98;
    assert_int_equal(follow_take(&n->f, &m, &n->err), ST_FOREIGN);
    manifest_release(&m);
    assert_int_equal(version_cut(versions_shown(n->vs)), 3);
    node_free(n);
}

/* A reader that stays inside holds up memory, nothing else; beyond a bound of versions the next cut waits. */
static void a_reader_that_stays(void **state)
{
    (void)state;
    struct node *n = node_new(10, 500, 1);
    struct epoch *e = versions_epoch(n->vs);
    struct epoch_reader *rd = epoch_join(e);
    assert_int_equal(take(n, 1, 1), ST_OK);
    epoch_enter(e, rd);
    const struct version *old = versions_shown(n->vs);
    enum status st = ST_OK;
    uint64_t k = 2;
    for (; st == ST_OK && k < 100; k++) {
        st = take(n, k, 1);
        (void)versions_tidy(n->vs, 1000000);
        assert_int_equal(maker_differs(&n->m, old), 0);
    }
    assert_int_equal(st, ST_AGAIN);
    assert_true(k > 30);
    assert_int_equal(maker_differs(&n->m, old), 0);
    epoch_leave(rd);
    tidy_all(n);
    assert_int_equal(take(n, k, 1), ST_OK);
    tidy_all(n);
    assert_int_equal(versions_layers(n->vs), 1);
    all_equal(n);
    epoch_part(rd);
    node_free(n);
}

/* -- the race -- */

enum { READERS = 3, CUTS = 64 };

struct race {
    struct node *n;
    atomic_bool stop;
    _Atomic uint64_t bad, read, backwards;
};

static void *reader(void *arg)
{
    struct race *x = arg;
    struct epoch *e = versions_epoch(x->n->vs);
    struct epoch_reader *rd = epoch_join(e);
    uint64_t at = (uint64_t)(uintptr_t)&at, last = 0, round = 0;
    while (!atomic_load(&x->stop)) {
        epoch_enter(e, rd);
        const struct version *v = versions_shown(x->n->vs);
        if (round++ % 3 == 0 && v != NULL && version_cut(v) > 2) {
            const struct version *older = versions_get(x->n->vs, version_cut(v) - 2);
            v = older != NULL ? older : v;
        } else if (v != NULL) {
            atomic_fetch_add(&x->backwards, version_cut(v) < last);
            last = version_cut(v);
        }
        if (v != NULL) {
            atomic_fetch_add(&x->bad, maker_differs_some(&x->n->m, v, &at, 200));
            atomic_fetch_add(&x->read, 200);
        }
        epoch_leave(rd);
    }
    epoch_part(rd);
    return NULL;
}

static void readers_never_see_a_mixture(void **state)
{
    (void)state;
    struct node *n = node_new(11, 1500, 3);
    struct race x = {.n = n};
    pthread_t thread[READERS];
    n->m.grow = 30;
    n->m.change = 100;
    n->m.remove = 30;
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, reader, &x), 0);
    }
    for (uint64_t k = 1; k <= CUTS; k++) {
        enum status st;
        while ((st = take(n, k, k - k % 16 > 0 ? k - k % 16 : 1)) == ST_AGAIN) {
            (void)versions_tidy(n->vs, 200);
        }
        assert_int_equal(st, ST_OK);
        for (int i = 0; i < 40; i++) {
            (void)versions_tidy(n->vs, 200);
        }
    }
    const uint64_t enough = atomic_load(&x.read) + 20000;
    while (atomic_load(&x.read) < enough) {
        (void)versions_tidy(n->vs, 200);
    }
    atomic_store(&x.stop, true);
    for (int i = 0; i < READERS; i++) {
        pthread_join(thread[i], NULL);
    }
    tidy_all(n);
    all_equal(n);
    assert_int_equal(atomic_load(&x.bad), 0);
    assert_int_equal(atomic_load(&x.backwards), 0);
    node_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_deltas),
        cmocka_unit_test(removes_what_a_new_chain_lacks),
        cmocka_unit_test(a_full_file_of_the_same_costs_nothing),
        cmocka_unit_test(memory_stays),
        cmocka_unit_test(pins_and_rolls_back),
        cmocka_unit_test(refuses_what_is_not_finite),
        cmocka_unit_test(a_mismatch_is_counted_and_never_shown),
        cmocka_unit_test(heals_its_own_memory),
        cmocka_unit_test(a_damaged_file_leaves_the_old_version),
        cmocka_unit_test(a_reader_that_stays),
        cmocka_unit_test(readers_never_see_a_mixture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
