/* The front's thread over a growing log: segments of what waits, and an end where live/ is not what was trained on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/data/convert.h"
#include "launch/follower.h"

static char root[64];

static void write_text(const char *name, const char *text)
{
    char *path = file_join(root, name);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

static int setup(void **state)
{
    (void)state;
    strcpy(root, "/tmp/penstock-follower.XXXXXX");
    assert_non_null(mkdtemp(root));
    write_text("train.csv", "y,item\n1,a\n0,b\n");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char cmd[128];
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", root);
    return system(cmd);
}

static struct follower *start(struct job *job)
{
    struct errbuf err = ERRBUF_INIT;
    struct convert_result result;
    struct follower *f = NULL;
    char text[1024], *cache = file_join(root, "cache");
    snprintf(text, sizeof(text),
             "data:\n  root: %s\n  train: train.csv\n  follow: log.csv\n  follow_every: 10ms\n"
             "  follow_records: 2\n"
             "  fields: [{name: y, type: label}, {name: item, type: item}]\n"
             "model: {family: lr}\n",
             root);
    assert_int_equal(job_parse(text, strlen(text), "job.yaml", root, NULL, 0, job, &err), ST_OK);
    if (convert_job(job, cache, NULL, NULL, &result, &err) != ST_OK ||
        follower_start(job, root, cache, &f, &err) != ST_OK) {
        fail_msg("%s", err.text);
    }
    free(cache);
    return f;
}

/* What it says once it has so many segments, or has given up. */
static struct follower_status wait_for(struct follower *f, uint64_t segments)
{
    struct follower_status s;
    const uint64_t until = clock_now_us() + 10000000u;
    do {
        follower_status(f, &s);
    } while (s.counts.segments < segments && s.status == ST_OK && clock_now_us() < until);
    return s;
}

/* live/ was removed, or is another run's: told, for the head would wait for ever for the next segment. */
static void test_behind_the_cut(void **state)
{
    (void)state;
    struct job job;
    struct follower *f = start(&job);
    write_text("log.csv", "y,item\n1,a\n");
    struct follower_status s = wait_for(f, 1);
    assert_int_equal(s.status, ST_OK);
    assert_int_equal(s.counts.segments, 1);
    follower_tell(f, 1, 1, 1); /* trained on: all is well */
    write_text("log.csv", "0,b\n");
    s = wait_for(f, 2);
    assert_int_equal(s.status, ST_OK);
    assert_int_equal(s.counts.segments, 2);
    follower_tell(f, 7, 7, 7);
    s = wait_for(f, 8);
    assert_int_equal(s.status, ST_BAD_DATA);
    assert_non_null(strstr(s.why, "7 segments were trained on"));
    assert_non_null(strstr(s.why, "knows of 2"));
    follower_stop(f);
    job_release(&job);
}

/* A segment that took all that it may and all that there was: the next line is seen when it comes, not before. */
static void test_seen(void **state)
{
    (void)state;
    struct job job;
    struct errbuf err = ERRBUF_INIT;
    struct follower *f = start(&job);
    write_text("log.csv", "y,item\n");
    for (uint64_t k = 1; k < 10; k += 2) {
        uint64_t records = 0, seen_us = 0;
        write_text("log.csv", "1,a\n0,b\n");
        assert_int_equal(wait_for(f, k).counts.segments, k);
        follower_tell(f, k, 0, k);
        const uint64_t now_us = clock_wall_us();
        write_text("log.csv", "1,c\n");
        assert_int_equal(wait_for(f, k + 1).counts.segments, k + 1);
        follower_tell(f, k + 1, 0, k + 1);
        assert_int_equal(segments_header(root, k + 1, &records, &seen_us, &err), ST_OK);
        assert_int_equal(records, 1);
        assert_true(seen_us >= now_us);
    }
    follower_stop(f);
    job_release(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_behind_the_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_seen, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
