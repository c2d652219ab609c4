/* serve_fetcher.c - the follower's questions over a network that loses, doubles, delays and damages 1 % each, and a server
 * that is killed and comes back: what arrives is the file, byte by byte, or word that it is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/wire/limits.h"
#include "ps/serve/fetcher.h"

enum { FLYING_MAX = 256, TRIP_US = 2000 };

struct flying {
    uint64_t at_us; /* arrives */
    bool to_server;
    struct fetcher_question q;
    struct msg_piece piece;
    struct msg_cut cut;
    bool is_cut;
    uint8_t *bytes; /* owned */
    size_t n;
};

struct net {
    struct rng rng;
    uint64_t now_us, loss; /* of 1000 */
    struct flying fly[FLYING_MAX];
    size_t used;
    const uint8_t *file;
    uint64_t file_bytes, newest;
    uint64_t down_from, down_until; /* the server is dead in between */
    uint64_t gone_at;               /* then the file is pruned; 0: never */
    uint64_t sent;
};

static bool chance(struct net *n)
{
    return rng_below(&n->rng, 1000) < n->loss;
}

/* Takes f.bytes over. */
static void put(struct net *n, struct flying f)
{
    n->sent++;
    if (chance(n) || n->used == FLYING_MAX) {
        free(f.bytes);
        return;
    }
    f.at_us =
        n->now_us + TRIP_US + rng_below(&n->rng, TRIP_US); /* neighbours overtake each other */
    if (chance(n)) {
        f.at_us += 3000000; /* very late: it was asked for again long since */
    }
    if (f.n > 0 && chance(n)) {
        f.bytes[rng_below(&n->rng, f.n)] ^= 4;
    }
    if (chance(n) && n->used + 2 < FLYING_MAX) {
        struct flying twin = f;
        if (f.n > 0) {
            twin.bytes = mem_alloc(f.n);
            memcpy(twin.bytes, f.bytes, f.n);
        }
        twin.at_us += TRIP_US;
        n->fly[n->used++] = twin;
    }
    n->fly[n->used++] = f;
}

static void serve(struct net *n, const struct fetcher_question *q)
{
    struct flying f = {0};
    if (n->now_us >= n->down_from && n->now_us < n->down_until) {
        return;
    }
    if (q->is_watch) {
        f.is_cut = true;
        f.cut = (struct msg_cut){q->watch.request, n->newest > q->watch.after ? n->newest : 0};
    } else if (n->gone_at != 0 && n->now_us >= n->gone_at) {
        f.piece = (struct msg_piece){.request = q->fetch.request, .gone = true};
    } else {
        const uint64_t left = q->fetch.offset < n->file_bytes ? n->file_bytes - q->fetch.offset : 0;
        f.n = (size_t)(left < q->fetch.bytes ? left : q->fetch.bytes);
        f.bytes = mem_alloc(f.n + 1);
        memcpy(f.bytes, n->file + q->fetch.offset, f.n);
        f.piece = (struct msg_piece){.request = q->fetch.request,
                                     .offset = q->fetch.offset,
                                     .total = n->file_bytes,
                                     .xxh3 = hash_bytes(f.bytes, f.n, 0)};
    }
    put(n, f);
}

static void arrive(struct net *n, struct fetcher *f, struct flying *x)
{
    if (x->to_server) {
        serve(n, &x->q);
    } else if (x->is_cut) {
        (void)fetcher_take_cut(f, &x->cut);
    } else {
        (void)fetcher_take_piece(f, &x->piece, x->bytes, x->n);
    }
    free(x->bytes);
}

/* Until the task has ended; false: virtual time is up. */
static bool run(struct net *n, struct fetcher *f, uint64_t us)
{
    const uint64_t until = n->now_us + us;
    while (f->state == FETCHER_BUSY && n->now_us < until) {
        struct fetcher_question q;
        while (fetcher_next(f, n->now_us, &q)) {
            put(n, (struct flying){.to_server = true, .q = q});
        }
        size_t first = 0;
        for (size_t i = 1; i < n->used; i++) {
            first = n->fly[i].at_us < n->fly[first].at_us ? i : first;
        }
        const uint64_t wake = fetcher_wake_us(f);
        if (n->used == 0 || n->fly[first].at_us > wake) {
            n->now_us = wake > n->now_us ? wake : n->now_us;
            continue;
        }
        struct flying x = n->fly[first];
        n->fly[first] = n->fly[--n->used];
        n->now_us = x.at_us > n->now_us ? x.at_us : n->now_us;
        arrive(n, f, &x);
    }
    return f->state != FETCHER_BUSY;
}

static void empty(struct net *n)
{
    for (size_t i = 0; i < n->used; i++) {
        free(n->fly[i].bytes);
    }
    n->used = 0;
}

static uint8_t *make_file(uint64_t seed, size_t n)
{
    uint8_t *file = mem_alloc(n);
    for (size_t i = 0; i < n; i += 8) {
        const uint64_t x = hash_u64(seed + i);
        memcpy(file + i, &x, n - i < 8 ? n - i : 8);
    }
    return file;
}

/* Ranges with holes between, some longer than a piece. */
static void a_file_arrives_whole(void **state)
{
    (void)state;
    const size_t bytes = 20 * WIRE_PIECE_MAX / 4 + 333;
    uint8_t *file = make_file(1, bytes), *to = mem_alloc(bytes);
    const struct fetcher_range range[] = {
        {0, 77}, {100, WIRE_PIECE_MAX + 3}, {bytes - 2000001, 2000001}};
    uint64_t retried = 0, refused = 0;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct net n = {
            .rng = {seed, 0}, .now_us = 5, .loss = 10, .file = file, .file_bytes = bytes};
        struct fetcher f;
        if (seed % 3 == 0) { /* killed in the middle of the transfer, back seconds later */
            n.down_from = 4000 + rng_below(&n.rng, 9000);
            n.down_until = n.down_from + 4000000;
        }
        fetcher_init(&f, rng_next(&n.rng) >> 1, 0);
        memset(to, 0, bytes);
        fetcher_file(&f, "data/1.1.0.full.safetensors", to, range, 3);
        assert_true(run(&n, &f, 100000000));
        assert_int_equal(f.state, FETCHER_DONE);
        assert_int_equal(f.total, bytes);
        for (size_t i = 0; i < 3; i++) {
            assert_memory_equal(to + range[i].offset, file + range[i].offset, range[i].bytes);
        }
        assert_true(to[80] == 0 && to[bytes - 2000002] == 0); /* holes are not asked for */
        /* The next task is not disturbed by what is still flying. */
        n.newest = 9;
        fetcher_watch(&f, 8, 0, 1000000);
        assert_true(run(&n, &f, 100000000));
        assert_int_equal(f.cut.k, 9);
        retried += f.retried;
        refused += f.refused;
        fetcher_release(&f);
        empty(&n);
    }
    print_message("asked again %d times, %d answers refused\n", (int)retried, (int)refused);
    assert_true(retried > 50 && refused > 5); /* the network did what it was told to */
    free(file);
    free(to);
}

static void a_file_that_is_gone(void **state)
{
    (void)state;
    const size_t bytes = 9 * WIRE_PIECE_MAX;
    uint8_t *file = make_file(2, bytes), *to = mem_alloc(bytes);
    const struct fetcher_range all = {0, bytes};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct net n = {.rng = {seed, 0},
                        .now_us = 5,
                        .loss = 10,
                        .file = file,
                        .file_bytes = bytes,
                        .gone_at = 6000};
        struct fetcher f;
        fetcher_init(&f, 1, 0);
        fetcher_file(&f, "x", to, &all, 1);
        assert_true(run(&n, &f, 100000000));
        assert_int_equal(f.state, FETCHER_GONE);
        fetcher_release(&f);
        empty(&n);
    }
    free(file);
    free(to);
}

/* A file that is shorter than the manifest says is not the file. */
static void a_file_that_is_shorter(void **state)
{
    (void)state;
    uint8_t *file = make_file(3, 1000), *to = mem_alloc(2000);
    const struct fetcher_range all = {0, 2000};
    struct net n = {.rng = {1, 0}, .now_us = 5, .file = file, .file_bytes = 1000};
    struct fetcher f;
    fetcher_init(&f, 1, 0);
    fetcher_file(&f, "x", to, &all, 1);
    assert_true(run(&n, &f, 100000000));
    assert_int_equal(f.state, FETCHER_GONE);
    assert_int_equal(f.total, 1000);
    fetcher_release(&f);
    free(file);
    free(to);
}

/* Nobody there: asked again and again, but later and later. */
static void nobody_answers(void **state)
{
    (void)state;
    struct net n = {.rng = {1, 0}, .now_us = 5, .loss = 1000};
    struct fetcher f;
    fetcher_init(&f, 1, 0);
    fetcher_watch(&f, 8, 0, 1000000);
    assert_false(run(&n, &f, 60000000));
    assert_in_range(n.sent, 30, 41);
    const struct fetcher_range one = {0, 10};
    uint8_t to[10];
    n.sent = 0;
    fetcher_file(&f, "x", to, &one, 1);
    assert_false(run(&n, &f, 60000000));
    assert_in_range(n.sent, 8, 14);
    fetcher_release(&f);
}

static void takes_nothing_that_was_not_asked_for(void **state)
{
    (void)state;
    struct fetcher f;
    struct fetcher_question q;
    uint8_t to[100] = {0}, bytes[100];
    memset(bytes, 7, sizeof(bytes));
    const struct fetcher_range one = {10, 50};
    fetcher_init(&f, 41, 0);
    struct msg_piece p = {
        .request = 42, .offset = 10, .total = 100, .xxh3 = hash_bytes(bytes, 50, 0)};
    assert_false(fetcher_take_piece(&f, &p, bytes, 50)); /* idle */
    fetcher_file(&f, "x", to, &one, 1);
    assert_false(fetcher_take_piece(&f, &p, bytes, 50)); /* not asked yet */
    assert_true(fetcher_next(&f, 0, &q));
    assert_int_equal(q.fetch.request, 42);
    assert_false(fetcher_next(&f, 0, &q));
    struct msg_piece wrong = p;
    wrong.offset = 11;
    assert_false(fetcher_take_piece(&f, &wrong, bytes, 50));
    assert_false(fetcher_take_piece(&f, &p, bytes, 49));
    assert_false(fetcher_take_piece(&f, &p, bytes, 51));
    wrong = p;
    wrong.xxh3++;
    assert_false(fetcher_take_piece(&f, &wrong, bytes, 50));
    wrong = p;
    wrong.request = 43;
    assert_false(fetcher_take_piece(&f, &wrong, bytes, 50));
    wrong.gone = true;
    assert_false(fetcher_take_piece(&f, &wrong, bytes, 0));
    struct msg_cut cut = {42, 3};
    assert_false(fetcher_take_cut(&f, &cut));
    assert_int_equal(f.state, FETCHER_BUSY);
    for (size_t i = 0; i < sizeof(to); i++) {
        assert_int_equal(to[i], 0);
    }
    assert_true(fetcher_take_piece(&f, &p, bytes, 50));
    assert_int_equal(f.state, FETCHER_DONE);
    assert_false(fetcher_take_piece(&f, &p, bytes, 50)); /* twice */
    assert_true(to[9] == 0 && to[10] == 7 && to[59] == 7 && to[60] == 0);
    fetcher_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_arrives_whole),
        cmocka_unit_test(a_file_that_is_gone),
        cmocka_unit_test(a_file_that_is_shorter),
        cmocka_unit_test(nobody_answers),
        cmocka_unit_test(takes_nothing_that_was_not_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
