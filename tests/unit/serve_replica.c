/* A replica opened from folders: what it shows is, row by row, what the shards hold; what is wrong is said, and nothing
 * is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "ps/serve/replica.h"
#include "ps/serve/source_dir.h"
#include "tests/support/serve_run.h"

static struct replica *open_spec(const char *spec)
{
    struct replica_conf conf = {.snapshot = spec, .quiet = true};
    struct replica *r = NULL;
    struct errbuf err = ERRBUF_INIT;
    enum status st = replica_open(&conf, &r, &err);
    if (st != ST_OK) {
        print_message("%s\n", err.text);
    }
    assert_int_equal(st, ST_OK);
    return r;
}

static void refuses(const char *spec, enum status st, const char *says)
{
    struct replica_conf conf = {.snapshot = spec, .quiet = true};
    struct replica *r = NULL;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(replica_open(&conf, &r, &err), st);
    if (strstr(err.text, says) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, says);
    }
    assert_null(r);
}

static void shows_what_the_shards_hold(void **state)
{
    (void)state;
    struct world *w = serve_run_new(2, 7);
    for (int i = 0; i < 20; i++) {
        world_push(w, 40, 500);
    }
    serve_run_cut(w, 1, true);
    for (int i = 0; i < 5; i++) {
        world_push(w, 40, 500);
    }
    serve_run_cut(w, 2, false);
    char spec[300];
    snprintf(spec, sizeof(spec), "%s@2", w->dir);
    struct replica *r = open_spec(spec);
    struct replica_reader *rd = replica_join(r);
    const struct version *v = replica_enter(rd, 0);
    assert_non_null(v);
    assert_int_equal(version_cut(v), 2);
    serve_run_equal(w, v);
    replica_leave(rd);
    assert_null(replica_enter(rd, 1));
    replica_leave(rd);
    replica_part(rd);
    struct replica_version list[4];
    assert_int_equal(replica_list(r, list, 4), 1);
    assert_true(list[0].shown && !list[0].pinned && list[0].k == 2);
    assert_int_equal(replica_model(r)->plan.tables_used, w->plan.tables_used);
    assert_non_null(replica_model(r)->encoder);
    struct replica_stats stats;
    replica_stats(r, &stats);
    assert_int_equal(stats.shown_k, 2);
    assert_true(stats.rows > 0 && stats.bytes >= stats.base_bytes && stats.layers == 1);
    replica_close(r);
    serve_run_free(w);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    struct world *w = serve_run_new(2, 8);
    char spec[300], path[400];
    world_push(w, 40, 500);
    serve_run_cut(w, 1, true);
    snprintf(spec, sizeof(spec), "%s@9", w->dir);
    refuses(spec, ST_BAD_DATA, "there is no cut 9");
    refuses("/nowhere/at/all", ST_BAD_DATA, "no such folder");
    struct replica_conf none = {.quiet = true};
    struct replica *r = NULL;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(replica_open(&none, &r, &err), ST_USAGE);
    /* A weight that is not a number: proved, and refused. */
    serve_run_poison(w);
    serve_run_cut(w, 2, false);
    snprintf(spec, sizeof(spec), "%s@2", w->dir);
    refuses(spec, ST_BAD_DATA, "not finite");
    /* A hash of weights that is not that of the rows. */
    serve_run_forge(w, 1);
    snprintf(spec, sizeof(spec), "%s@1", w->dir);
    refuses(spec, ST_BAD_DATA, "the hash of its weights is");
    /* A flipped bit. */
    snprintf(path, sizeof(path), "%s/data/1.1.0.full.safetensors", w->dir);
    serve_run_flip(path);
    refuses(spec, ST_BAD_DATA, "damaged");
    unlink(path);
    refuses(spec, ST_BAD_DATA, "missing");
    serve_run_free(w);
}

/* -- following -- */

static void wait_shown(struct replica *r, uint64_t k)
{
    struct replica_stats s;
    const uint64_t until = clock_now_us() + 20000000;
    for (;;) {
        replica_stats(r, &s);
        if (s.shown_k == k) {
            return;
        }
        if (clock_now_us() > until) {
            fail_msg("cut %" PRIu64 " is shown, not %" PRIu64 ": %s", s.shown_k, k, s.why);
        }
        clock_sleep_us(2000);
    }
}

static void wait_why(struct replica *r, const char *says)
{
    struct replica_stats s;
    const uint64_t until = clock_now_us() + 20000000;
    do {
        replica_stats(r, &s);
        clock_sleep_us(2000);
    } while (strstr(s.why, says) == NULL && clock_now_us() < until);
    if (strstr(s.why, says) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", s.why, says);
    }
}

static void shows_equal(struct replica *r, struct replica_reader *rd, const struct world *w,
                        uint64_t k)
{
    wait_shown(r, k);
    const struct version *v = replica_enter(rd, 0);
    assert_int_equal(version_cut(v), k);
    serve_run_equal(w, v);
    replica_leave(rd);
}

static void shows_still(struct replica_reader *rd, uint64_t k)
{
    assert_int_equal(version_cut(replica_enter(rd, 0)), k);
    replica_leave(rd);
}

static void push_some(struct world *w, int n)
{
    for (int i = 0; i < n; i++) {
        world_push(w, 40, 800);
    }
}

static void follows_a_folder(void **state)
{
    (void)state;
    struct world *w = serve_run_new(2, 9);
    struct replica_conf conf = {.follow = w->dir, .quiet = true, .wait_us = 1000};
    struct replica *r = NULL;
    struct errbuf err = ERRBUF_INIT;
    char path[400];
    if (replica_open(&conf, &r, &err) != ST_OK) {
        fail_msg("%s", err.text);
    }
    struct replica_reader *rd = replica_join(r);
    assert_null(replica_enter(rd, 0)); /* nothing is there yet, and that is no error */
    replica_leave(rd);
    for (uint64_t k = 1; k <= 6; k++) {
        push_some(w, 5);
        serve_run_cut(w, k, k % 4 == 1);
        shows_equal(r, rd, w, k);
    }
    /* A damaged manifest: told, and the next one is taken. */
    snprintf(path, sizeof(path), "%s/cuts/7.json", w->dir);
    assert_int_equal(file_write_atomic(path, "{}", 2, &err), ST_OK);
    wait_why(r, "7.json");
    shows_still(rd, 6);
    /* Weights that are not finite, then a full cut of another incarnation on another number of shards, without them. */
    serve_run_poison(w);
    serve_run_cut(w, 8, false);
    wait_why(r, "not finite");
    shows_still(rd, 6);
    assert_int_equal(replica_pin(r, 8, &err), ST_REFUSED);
    serve_run_heal(w);
    w = serve_run_reshard(w, 5);
    push_some(w, 5);
    serve_run_cut(w, 9, true);
    shows_equal(r, rd, w, 9);
    push_some(w, 5);
    serve_run_cut(w, 10, false);
    shows_equal(r, rd, w, 10);
    uint64_t back = 0;
    assert_int_equal(replica_rollback(r, &back, &err), ST_OK);
    assert_int_equal(back, 9);
    shows_still(rd, 9);
    push_some(w, 5);
    serve_run_cut(w, 11, false);
    struct replica_version list[8];
    while (replica_list(r, list, 8) < 5) { /* 9 pinned, 10, 11, and refused 8; and 6 or not */
        struct replica_stats s;
        replica_stats(r, &s);
        if (s.newest_k == 11 && s.shown_total >= 9) {
            break;
        }
        clock_sleep_us(2000);
    }
    shows_still(rd, 9);
    replica_unpin(r);
    shows_equal(r, rd, w, 11);
    replica_part(rd);
    replica_close(r);
    serve_run_free(w);
}

/* A node that starts when the newest cut has a damaged file shows the one before, then goes on. */
static void starts_with_an_older_whole_cut(void **state)
{
    (void)state;
    struct world *w = serve_run_new(2, 10);
    struct errbuf err = ERRBUF_INIT;
    struct replica *r = NULL;
    char path[400];
    push_some(w, 5);
    serve_run_cut(w, 1, true);
    push_some(w, 5);
    serve_run_cut(w, 2, true);
    snprintf(path, sizeof(path), "%s/data/2.1.1.full.safetensors", w->dir);
    serve_run_flip(path);
    struct replica_conf conf = {.follow = w->dir, .quiet = true, .wait_us = 20000000};
    assert_int_equal(replica_open(&conf, &r, &err), ST_OK);
    wait_shown(r, 1);
    struct replica_reader *rd = replica_join(r);
    push_some(w, 5);
    serve_run_cut(w, 3, true);
    shows_equal(r, rd, w, 3);
    replica_part(rd);
    replica_close(r);
    serve_run_free(w);
}

/* A data file that is not there: its cut is damaged, or it was pruned while it was read, which is nobody's fault. */
static void pruned_is_not_damaged(void **state)
{
    (void)state;
    struct world *w = serve_run_new(2, 10);
    struct errbuf err = ERRBUF_INIT;
    struct manifest m;
    struct part p;
    char path[400];
    push_some(w, 5);
    serve_run_cut(w, 1, true);
    struct source s = source_dir_open(w->dir);
    assert_int_equal(s.watch(s.ctx, 0, 0, &m, &err), ST_OK);
    snprintf(path, sizeof(path), "%s/%s", w->dir, m.files[0].name);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(s.part(s.ctx, &m, 0, NULL, &p, &err), ST_BAD_DATA);
    snprintf(path, sizeof(path), "%s/cuts/1.json", w->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(s.part(s.ctx, &m, 0, NULL, &p, &err), ST_NOT_FOUND);
    assert_non_null(strstr(err.text, "cut 1 was pruned while it was read"));
    s.close(s.ctx);
    manifest_release(&m);
    serve_run_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_what_the_shards_hold),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(follows_a_folder),
        cmocka_unit_test(starts_with_an_older_whole_cut),
        cmocka_unit_test(pruned_is_not_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
