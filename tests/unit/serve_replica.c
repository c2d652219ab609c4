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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_what_the_shards_hold),
        cmocka_unit_test(says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
