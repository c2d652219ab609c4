/* quiet.c - one cut in order, message by message: tests/golden/cut_trace.txt is the protocol's own picture.
 *
 * Two workers, two shards, a network that delays every message by .3 ms and loses none. The trace runs from
 * the HOLD of the second cut to the order that calls it complete, with milliseconds since that HOLD; a line
 * stands where a message arrives. Pulls and rows are left out. With GOLDEN=write in the environment the file
 * is written instead of compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/options.h"
#include "tests/support/sim_world.h"

#define GOLDEN_PATH "tests/golden/cut_trace.txt"

enum { TIME_WIDTH = 9 }; /* of sim_line's first column */

/* The lines of the second cut: the first is the full one. */
static void pick(const struct sim_world *w, struct buffer *out)
{
    uint64_t first = w->lines > SIM_TRACE_LINES ? w->lines - SIM_TRACE_LINES : 0;
    double begun = 0;
    for (uint64_t i = first; i < w->lines; i++) {
        const char *line = w->line[i % SIM_TRACE_LINES];
        if (begun == 0 && strstr(line, "HOLD open=2") == NULL)
            continue;
        if (begun == 0)
            begun = strtod(line, NULL);
        if (strstr(line, "PULL") == NULL && strstr(line, "ROWS") == NULL)
            buffer_printf(out, "%6.1f%s\n", strtod(line, NULL) - begun, line + TIME_WIDTH);
        if (strstr(line, "worker 1 e=1 ORDER") != NULL && strstr(line, "resolved=2") != NULL)
            return;
    }
}

static void one_cut_is_as_drawn(void **state)
{
    (void)state;
    struct sim_conf conf = sim_conf_quiet(5);
    struct errbuf err = ERRBUF_INIT;
    struct buffer got = BUFFER_INIT;
    char *want;
    size_t want_n;
    conf.records = 480;
    conf.cut_every_us = 5000;
    conf.kill_us = 46000; /* soon after it: the trace keeps the last lines only */
    struct sim_world *w = sim_new(&conf, NULL);
    assert_true(sim_run(w));
    assert_false(w->failed);
    pick(w, &got);
    sim_free(w);
    const char *mode = option_env("GOLDEN");
    if (mode != NULL && strcmp(mode, "write") == 0)
        assert_int_equal(file_write_atomic(GOLDEN_PATH, got.data, got.used, &err), ST_OK);
    assert_int_equal(file_read(GOLDEN_PATH, 1 << 20, &want, &want_n, &err), ST_OK);
    assert_string_equal(buffer_text(&got), want);
    free(want);
    buffer_release(&got);
}

static void quiet_histories_end_well(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim_conf conf = sim_conf_quiet(seed);
        conf.epochs = 1 + seed % 2;
        conf.has_valid = seed % 3 == 0;
        conf.replay = seed % 5 == 0;
        struct sim_world *w = sim_new(&conf, NULL);
        sim_run(w);
        sim_check_end(w);
        if (w->failed) {
            fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
            sim_print_tail(w, 100);
        }
        assert_false(w->failed);
        assert_int_equal(w->abandoned, 0);
        sim_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_cut_is_as_drawn),
        cmocka_unit_test(quiet_histories_end_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
