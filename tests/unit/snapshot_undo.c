/* snapshot_undo.c - the undo log: first touches, rollback, fold, and what memory it keeps (I8, I12). */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include <malloc.h>
#include <string.h>

#include "ps/snapshot/undo.h"
#include "tests/support/snapshot_world.h"

static void one_image_a_row_and_interval(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 1, 1);
    struct world_shard *s = &w.shard[0];
    uint32_t slot;
    uint64_t key = 42;
    assert_int_equal(table_add(s->store->table[0], key, &slot, NULL), ST_OK);
    undo_added(s->open, s->store, 0, slot, key, 5);
    assert_int_equal(undo_entries(s->open), 1);
    assert_null(undo_at(s->open, 0)->image);
    undo_touch(s->open, s->store, 0, slot, key, 5); /* already carries the stamp */
    assert_int_equal(undo_entries(s->open), 1);

    struct row_meta *meta = table_record(s->store->table[0], slot);
    row_weights(meta)[3] = 7.5f;
    undo_touch(s->open, s->store, 0, slot, key, 6);
    row_weights(meta)[3] = 8.5f;
    assert_int_equal(undo_entries(s->open), 2);
    assert_int_equal(meta->stamp, 6);
    assert_int_equal(meta->image, 1);
    const struct undo_entry *e = undo_at(s->open, 1);
    assert_int_equal(e->key, key);
    assert_int_equal(e->slot, slot);
    assert_true(row_weights(e->image)[3] == 7.5f);
    assert_int_equal(((struct row_meta *)e->image)->stamp, 5); /* the old meta */
    assert_true(undo_bytes(s->open) >= 2 * sizeof *e + table_record_bytes(s->store->table[0]));
    undo_check(s->open, s->store, 6);
    world_release(&w);
}

static void rollback_is_the_take_then_the_base(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct world w;
        struct shot base, take, now;
        world_init(&w, 1, seed);
        for (int i = 0; i < 10; i++)
            world_push(&w, 30, 200);
        undo_reset(w.shard[0].open);
        w.shard[0].stamp++;
        shot_world(&base, &w);
        for (int i = 0; i < 10; i++)
            world_push(&w, 30, 400);
        world_take(&w);
        shot_world(&take, &w);
        for (int i = 0; i < 10; i++)
            world_push(&w, 30, 800);
        undo_check(w.shard[0].open, w.shard[0].store, w.shard[0].stamp);

        undo_rollback(w.shard[0].open, w.shard[0].store);
        shot_world(&now, &w);
        assert_true(shot_equal(&now, &take));
        shot_release(&now);
        undo_rollback(w.shard[0].taken, w.shard[0].store);
        shot_world(&now, &w);
        assert_true(shot_equal(&now, &base));
        assert_int_equal(undo_entries(w.shard[0].open), 0);
        table_check(w.shard[0].store->table[0]);
        shot_release(&now);
        shot_release(&take);
        shot_release(&base);
        world_release(&w);
    }
}

/* Pushes, takes and folds in a random order: whatever happened since the base, walking back all there is
 * leads to it (planted bugs 15, 16, 18, 19). */
static void folds_keep_the_oldest_image(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct world w;
        struct shot base, now;
        world_init(&w, 2, seed);
        world_push(&w, 100, 300);
        for (uint32_t i = 0; i < w.shards; i++) {
            undo_reset(w.shard[i].open);
            w.shard[i].stamp++;
        }
        shot_world(&base, &w);
        for (int i = 0; i < 30; i++) {
            world_push(&w, 1 + (uint32_t)rng_below(&w.rng, 40), 500);
            bool taken = undo_entries(w.shard[0].taken) > 0;
            if (rng_below(&w.rng, 4) == 0) {
                if (taken)
                    world_abandon(&w);
                else
                    world_take(&w);
            }
            for (uint32_t s = 0; s < w.shards; s++)
                undo_check(w.shard[s].open, w.shard[s].store, w.shard[s].stamp);
        }
        for (uint32_t i = 0; i < w.shards; i++) {
            undo_rollback(w.shard[i].open, w.shard[i].store);
            undo_rollback(w.shard[i].taken, w.shard[i].store);
        }
        shot_world(&now, &w);
        assert_true(shot_equal(&now, &base));
        shot_release(&now);
        shot_release(&base);
        world_release(&w);
    }
}

static void fold_moves_the_index_of_images(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 1, 3);
    struct world_shard *s = &w.shard[0];
    world_push(&w, 50, 100);
    world_take(&w);
    world_push(&w, 50, 100);
    size_t before = undo_entries(s->taken), more = undo_entries(s->open);
    uint64_t bytes = undo_bytes(s->taken) + undo_bytes(s->open);
    undo_fold(s->taken, s->open, s->store, s->stamp);
    assert_int_equal(undo_entries(s->taken), before + more);
    assert_int_equal(undo_entries(s->open), 0);
    assert_int_equal(undo_bytes(s->taken), bytes);
    assert_int_equal(undo_bytes(s->open), 0);
    for (size_t i = before; i < before + more; i++) {
        const struct undo_entry *e = undo_at(s->taken, i);
        const struct row_meta *meta = table_record(s->store->table[e->table], e->slot);
        assert_int_equal(meta->stamp, s->stamp);
        assert_int_equal(meta->image, i);
    }
    world_release(&w);
}

/* In the steady state a log asks malloc for nothing, and a wild interval does not stay in memory. */
static void memory_is_kept_and_given_back(void **state)
{
    struct world w;
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* their malloc keeps no account */
#endif
    world_init(&w, 1, 3);
    struct world_shard *s = &w.shard[0];
    world_push(&w, 60000, 20000);
    undo_reset(s->open);
    size_t held = 0;
    for (int round = 0; round < 8; round++) {
        s->stamp++;
        world_push(&w, 50000, 15000);
        if (round == 3)
            held = mallinfo2().uordblks + mallinfo2().hblkhd;
        undo_reset(s->open);
    }
    s->stamp++;
    world_push(&w, 50000, 15000);
    assert_int_equal(mallinfo2().uordblks + mallinfo2().hblkhd, held);
    undo_reset(s->open); /* nothing was given back either, only to be asked for again */
    assert_int_equal(mallinfo2().uordblks + mallinfo2().hblkhd, held);
    world_push(&w, 400000, 200000);
    size_t wild = mallinfo2().uordblks + mallinfo2().hblkhd;
    assert_true(wild > held + (1u << 20));
    for (int round = 0; round < 3; round++)
        undo_reset(s->open);
    assert_true(mallinfo2().uordblks + mallinfo2().hblkhd < held);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_image_a_row_and_interval),
        cmocka_unit_test(rollback_is_the_take_then_the_base),
        cmocka_unit_test(folds_keep_the_oldest_image),
        cmocka_unit_test(fold_moves_the_index_of_images),
        cmocka_unit_test(memory_is_kept_and_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
