/* data_segments.c - growing logs: torn lines, rotation, truncation, new files, and positions over a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/data/convert.h"
#include "common/data/segments.h"
#include "common/data/tail.h"

static char root[64];

static char *at(const char *name)
{
    return file_join(root, name);
}

static void write_text(const char *name, const char *text, const char *mode)
{
    char *path = at(name);
    FILE *f = fopen(path, mode);
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

static void move(const char *from, const char *to)
{
    char *a = at(from), *b = at(to);
    assert_int_equal(rename(a, b), 0);
    free(a);
    free(b);
}

static void load(struct job *job, const char *more)
{
    struct errbuf err = ERRBUF_INIT;
    char text[1024];
    snprintf(text, sizeof text,
             "data:\n  root: %s\n  train: train.csv\n  follow: live/*.csv\n%s"
             "  fields: [{name: y, type: label}, {name: item, type: item}]\n"
             "model: {family: lr}\n",
             root, more);
    assert_int_equal(job_parse(text, strlen(text), "job.yaml", root, NULL, 0, job, &err), ST_OK);
}

static int setup(void **state)
{
    (void)state;
    strcpy(root, "/tmp/penstock-segments.XXXXXX");
    assert_non_null(mkdtemp(root));
    char *live = at("live");
    mkdir(live, 0755);
    free(live);
    write_text("train.csv", "y,item\n1,a\n0,b\n", "w");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", root);
    return system(cmd);
}

/* -- tail -- */

static enum status look(struct tail *t, char *why)
{
    struct errbuf notes = ERRBUF_INIT, err = ERRBUF_INIT;
    enum status st = tail_look(t, &notes, &err);
    strcpy(why, st == ST_OK ? notes.text : err.text);
    return st;
}

/* The next lines, taken; "" when there is none. */
static const char *take(struct tail *t, uint64_t most)
{
    static char text[4096];
    struct buffer header = BUFFER_INIT, bytes = BUFFER_INIT;
    struct errbuf err = ERRBUF_INIT;
    struct tail_piece p;
    enum status st = tail_take(t, most, &header, &bytes, &p, &err);
    text[0] = '\0';
    if (st == ST_OK) {
        assert_string_equal(buffer_text(&header), "y,item\n");
        assert_true(bytes.used < sizeof text);
        memcpy(text, bytes.data, bytes.used);
        text[bytes.used] = '\0';
        assert_int_equal(p.to - p.from, bytes.used);
        assert_int_equal(tail_took(t, &p, &err), ST_OK);
    } else {
        assert_int_equal(st, ST_END);
    }
    buffer_release(&header);
    buffer_release(&bytes);
    return text;
}

static void test_torn_lines(void **state)
{
    (void)state;
    struct job job;
    struct tail t;
    char why[1024];
    load(&job, "");
    tail_init(&t, &job);
    assert_int_equal(look(&t, why), ST_OK);
    assert_string_equal(take(&t, 10), "");
    write_text("live/a.csv", "y,it", "w");
    assert_int_equal(look(&t, why), ST_OK);
    assert_string_equal(take(&t, 10), "");
    write_text("live/a.csv", "em\n1,a\n0,b", "a");
    assert_int_equal(look(&t, why), ST_OK);
    assert_string_equal(take(&t, 10), "1,a\n");
    assert_int_equal(look(&t, why), ST_OK);
    assert_string_equal(take(&t, 10), "");
    assert_int_equal(tail_waiting(&t, false), 0);
    assert_int_equal(tail_waiting(&t, true), 3);
    write_text("live/a.csv", "b\n1,c\n1,d\n", "a");
    assert_int_equal(look(&t, why), ST_OK);
    assert_string_equal(take(&t, 2), "0,bb\n1,c\n");
    assert_string_equal(take(&t, 2), "1,d\n");
    assert_string_equal(take(&t, 2), "");
    tail_release(&t);
    job_release(&job);
}

/* A renamed file is read to its end, and the one that took its name is another. */
static void test_rotation(void **state)
{
    (void)state;
    struct job job;
    struct tail t;
    char why[1024];
    load(&job, "");
    tail_init(&t, &job);
    write_text("live/a.csv", "y,item\n1,a\n", "w");
    assert_int_equal(look(&t, why), ST_OK);
    assert_string_equal(take(&t, 10), "1,a\n");
    write_text("live/a.csv", "1,b\n", "a");
    move("live/a.csv", "live/a.csv.1");
    write_text("live/a.csv", "y,item\n0,c\n", "w");
    write_text("live/b.csv", "y,item\n0,d\n", "w");
    assert_int_equal(look(&t, why), ST_OK);
    char all[64] = "";
    for (const char *s; *(s = take(&t, 10)) != '\0';)
        strcat(all, s);
    assert_int_equal(strlen(all), 12);
    assert_non_null(strstr(all, "1,b\n"));
    assert_non_null(strstr(all, "0,c\n"));
    assert_non_null(strstr(all, "0,d\n"));
    tail_release(&t);
    job_release(&job);
}

/* Positions are told and taken back; meanwhile one file was rotated, one has grown, one is gone. */
static void test_restart(void **state)
{
    (void)state;
    struct job job;
    struct tail t;
    struct errbuf err = ERRBUF_INIT;
    char why[1024];
    load(&job, "");
    tail_init(&t, &job);
    write_text("live/a.csv", "y,item\n1,a\n", "w");
    write_text("live/b.csv", "y,item\n1,b\n", "w");
    write_text("live/c.csv", "y,item\n1,c\n", "w");
    assert_int_equal(look(&t, why), ST_OK);
    while (*take(&t, 10) != '\0')
        ;
    struct json *positions = tail_json(&t);
    tail_release(&t);
    assert_int_equal(json_len(positions), 3);
    write_text("live/a.csv", "0,a2\n", "a");
    move("live/a.csv", "live/old-a");
    write_text("live/b.csv", "0,b2\n", "a");
    char *gone = at("live/c.csv");
    unlink(gone);
    free(gone);
    tail_init(&t, &job);
    assert_int_equal(tail_parse(&t, positions, &err), ST_OK);
    assert_int_equal(look(&t, why), ST_OK);
    assert_non_null(strstr(why, "c.csv is gone"));
    char all[64] = "";
    for (const char *s; *(s = take(&t, 10)) != '\0';)
        strcat(all, s);
    assert_int_equal(strlen(all), 10);
    assert_non_null(strstr(all, "0,a2\n"));
    assert_non_null(strstr(all, "0,b2\n"));
    json_free(positions);
    tail_release(&t);
    job_release(&job);
}

/* The inode of a log that was deleted while nobody looked is another log's now: that one is new, from its first line. */
static void test_inode_again(void **state)
{
    (void)state;
    struct job job;
    struct tail t;
    struct stat now;
    struct errbuf err = ERRBUF_INIT;
    char why[1024], text[512];
    load(&job, "");
    char *path = at("live/b.csv"), *old = at("live/a.csv");
    for (int bytes = 1; bytes < 1000;
         bytes += 900) { /* it is longer than what was taken, or shorter */
        tail_init(&t, &job);
        write_text("live/b.csv", "y,item\n0,new\n", "w");
        assert_int_equal(stat(path, &now), 0);
        snprintf(text, sizeof text,
                 "[{\"path\": \"%s\", \"inode\": %llu, \"bytes\": %d, \"lines\": 1, "
                 "\"block_bytes\": 1, \"block_xxh3\": 255}]",
                 old, (unsigned long long)now.st_ino, bytes);
        struct json *positions = NULL;
        assert_int_equal(json_parse(text, strlen(text), "positions", &positions, &err), ST_OK);
        assert_int_equal(tail_parse(&t, positions, &err), ST_OK);
        assert_int_equal(look(&t, why), ST_OK);
        assert_non_null(strstr(why, "a.csv is gone"));
        assert_string_equal(take(&t, 10), "0,new\n");
        assert_string_equal(take(&t, 10), "");
        assert_int_equal(look(&t, why), ST_OK);
        assert_string_equal(take(&t, 10), "");
        json_free(positions);
        tail_release(&t);
    }
    free(path);
    free(old);
    job_release(&job);
}

static void test_changed(void **state)
{
    (void)state;
    static const char *const with[] = {"y,item\n", "y,item\n0,z\n1,z\n1,z\n"};
    static const char *const says[] = {"a.csv shrank", "a.csv was written anew"};
    for (int i = 0; i < 2; i++) {
        struct job job;
        struct tail t;
        char why[1024];
        load(&job, "");
        tail_init(&t, &job);
        write_text("live/a.csv", "y,item\n1,a\n", "w");
        assert_int_equal(look(&t, why), ST_OK);
        assert_string_equal(take(&t, 10), "1,a\n");
        write_text("live/a.csv", with[i], "w"); /* the same inode */
        assert_int_equal(look(&t, why), ST_BAD_DATA);
        assert_non_null(strstr(why, says[i]));
        tail_release(&t);
        job_release(&job);
    }
}

static void test_compressed(void **state)
{
    (void)state;
    struct job job;
    struct tail t;
    char why[1024];
    load(&job, "");
    tail_init(&t, &job);
    write_text("live/a.csv", "\x1f\x8b\x08 and so on\n", "w");
    assert_int_equal(look(&t, why), ST_BAD_DATA);
    assert_non_null(strstr(why, "is compressed"));
    tail_release(&t);
    job_release(&job);
}

/* -- segments -- */

static struct segments *open_segments(const struct job *job)
{
    struct errbuf err = ERRBUF_INIT;
    struct segments *s = NULL;
    char *cache = at("cache");
    if (segments_open(job, root, cache, &s, &err) != ST_OK)
        fail_msg("%s", err.text);
    free(cache);
    return s;
}

static enum status add(struct segments *s, char *why)
{
    struct errbuf notes = ERRBUF_INIT, err = ERRBUF_INIT;
    uint64_t bytes = 0;
    enum status st = segments_look(s, &bytes, &notes, &err);
    if (st == ST_OK)
        st = bytes > 0 ? segments_add(s, 77, &err) : ST_END;
    strcpy(why, err.text);
    return st;
}

static void convert(const struct job *job)
{
    struct errbuf err = ERRBUF_INIT;
    struct convert_result result;
    char *cache = at("cache");
    if (convert_job(job, cache, NULL, NULL, &result, &err) != ST_OK)
        fail_msg("%s", err.text);
    free(cache);
}

/* Labels of all records of segments up to n, as text. */
static void labels(const struct job *job, uint64_t n, char *out)
{
    for (uint64_t k = 1; k <= n; k++) {
        struct errbuf err = ERRBUF_INIT;
        struct dataset *d = NULL;
        struct batch b;
        char *path = segments_path(root, k);
        assert_int_equal(dataset_open_segment(job, path, &d, &err), ST_OK);
        free(path);
        batch_init(&b, d, 1);
        for (uint64_t r = 0; r < dataset_rows(d); r++) {
            assert_int_equal(dataset_batch(d, &r, 1, &b, &err), ST_OK);
            *out++ = b.labels[0] > 0 ? '1' : '0';
        }
        *out = '\0';
        batch_release(&b);
        dataset_close(d);
    }
}

static void test_segments(void **state)
{
    (void)state;
    struct job job;
    struct segments_counts c;
    struct errbuf err = ERRBUF_INIT;
    char why[1024], text[64];
    uint64_t records = 0, seen = 0;
    load(&job, "  follow_records: 3\n");
    convert(&job);
    struct segments *s = open_segments(&job);
    write_text("live/a.csv", "y,item\n1,a\nmany,b\n0,c\n1,d\n1,e\n0,", "w");
    assert_int_equal(add(s, why), ST_OK); /* three lines, one of them bad */
    assert_int_equal(add(s, why), ST_OK); /* two more; the torn one waits */
    assert_int_equal(add(s, why), ST_END);
    segments_count(s, &c);
    assert_int_equal(c.segments, 2);
    assert_int_equal(c.records, 4);
    assert_int_equal(c.lines, 5);
    assert_int_equal(c.bad, 1);
    assert_int_equal(segments_header(root, 2, &records, &seen, &err), ST_OK);
    assert_int_equal(records, 2);
    assert_int_equal(seen, 77);
    /* Killed: what is durable is all there is. A leftover of the next segment harms nothing. */
    segments_close(s);
    write_text("live/3.cache", "half of", "w");
    write_text("live/3.cache.tmp.1", "half of", "w");
    s = open_segments(&job);
    write_text("live/a.csv", "f\n1,g\n", "a");
    assert_int_equal(add(s, why), ST_OK);
    assert_int_equal(add(s, why), ST_END);
    assert_int_equal(segments_read(root, &c, &err), ST_OK);
    assert_int_equal(c.segments, 3);
    assert_int_equal(c.records, 6);
    labels(&job, 3, text);
    assert_string_equal(text, "101101");
    char *path = at("live/quarantine.tsv"), *bad = NULL;
    size_t n = 0;
    assert_int_equal(file_read(path, 4096, &bad, &n, &err), ST_OK);
    assert_non_null(strstr(bad, "a.csv\t3\t")); /* by its line in the log, not in the segment */
    free(bad);
    free(path);
    segments_drop(s, 2);
    path = segments_path(root, 2);
    assert_false(file_exists(path));
    free(path);
    segments_close(s);
    job_release(&job);
}

/* Lines of nothing but junk make no segment, and are taken all the same; too many of them are an error. */
static void test_bad_lines(void **state)
{
    (void)state;
    struct job job;
    struct segments_counts c;
    char why[1024];
    load(&job, "");
    convert(&job);
    struct segments *s = open_segments(&job);
    write_text("live/a.csv", "y,item\njunk,a\n", "w");
    assert_int_equal(add(s, why), ST_OK);
    segments_count(s, &c);
    assert_int_equal(c.segments, 0);
    assert_int_equal(c.bad, 1);
    assert_int_equal(add(s, why), ST_END);
    for (int i = 0; i < 999; i++)
        write_text("live/a.csv", i < 20 ? "junk,a\n" : "1,a\n", "a");
    assert_int_equal(add(s, why), ST_BAD_DATA);
    assert_non_null(strstr(why, "21 of 1000 lines are bad"));
    segments_close(s);
    job_release(&job);
}

static void test_missing_column(void **state)
{
    (void)state;
    struct job job;
    char why[1024];
    load(&job, "");
    convert(&job);
    struct segments *s = open_segments(&job);
    write_text("live/a.csv", "y,thing\n1,a\n", "w");
    assert_int_equal(add(s, why), ST_BAD_DATA);
    assert_non_null(strstr(why, "a.csv"));
    assert_non_null(strstr(why, "item"));
    segments_close(s);
    job_release(&job);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_torn_lines),  TEST(test_rotation),  TEST(test_restart),
        TEST(test_inode_again), TEST(test_changed),   TEST(test_compressed),
        TEST(test_segments),    TEST(test_bad_lines), TEST(test_missing_column),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
