/* train_stream.c - what the head's process tells followers: which files, which cuts, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/train/stream.h"

static void cuts(struct stream *s, uint64_t first, uint64_t last)
{
    struct manifest list[20] = {0};
    size_t n = 0;
    for (uint64_t k = first; k <= last; k++, n++) {
        list[n].k = k;
        list[n].files_used = 2;
        list[n].files = mem_array(2, sizeof(*list[n].files));
        snprintf(list[n].files[0].name, sizeof(list[n].files[0].name),
                 "data/1.1.0.full.safetensors");
        snprintf(list[n].files[1].name, sizeof(list[n].files[1].name),
                 "data/%d.1.0.delta.safetensors", (int)k);
    }
    stream_cuts(s, "/run", list, n);
    for (size_t i = 0; i < n; i++) {
        manifest_release(&list[i]);
    }
}

static void names_are_looked_up(void **state)
{
    (void)state;
    struct stream *s = stream_new();
    assert_null(stream_path(s, "plan.json"));
    stream_fix(s, "plan.json", "/run/plan.json");
    stream_fix(s, "cache/encoder.bin", "/elsewhere/encoder.bin");
    assert_string_equal(stream_path(s, "cache/encoder.bin"), "/elsewhere/encoder.bin");
    cuts(s, 3, 5);
    assert_string_equal(stream_path(s, "plan.json"), "/run/plan.json");
    assert_string_equal(stream_path(s, "cuts/4.json"), "/run/cuts/4.json");
    assert_string_equal(stream_path(s, "data/1.1.0.full.safetensors"),
                        "/run/data/1.1.0.full.safetensors");
    assert_string_equal(stream_path(s, "data/3.1.0.delta.safetensors"),
                        "/run/data/3.1.0.delta.safetensors");
    static const char *const none[] = {"",
                                       "cuts/2.json",
                                       "cuts/6.json",
                                       "data/6.1.0.delta.safetensors",
                                       "/etc/passwd",
                                       "data/../plan.json",
                                       "resolved.yaml",
                                       "run/1/m",
                                       "data",
                                       "plan.json/"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        assert_null(stream_path(s, none[i]));
    }
    cuts(s, 5, 6); /* what no manifest lists any more can't be had */
    assert_null(stream_path(s, "cuts/4.json"));
    assert_null(stream_path(s, "data/3.1.0.delta.safetensors"));
    assert_non_null(stream_path(s, "data/6.1.0.delta.safetensors"));
    cuts(s, 1, 20); /* more than it remembers: the newest */
    assert_null(stream_path(s, "cuts/12.json"));
    assert_non_null(stream_path(s, "cuts/13.json"));
    assert_int_equal(stream_newest(s, 0, 0), 20);
    stream_free(s);
}

static void a_watch_waits_for_the_next_cut(void **state)
{
    (void)state;
    struct stream *s = stream_new();
    struct stream_answer a[4];
    struct msg_watch w = {.request = 7, .after = 0, .wait_us = 100};
    stream_watch(s, 1, &w, 1000);
    assert_int_equal(stream_due(s, 1099, a, 4), 0);
    assert_int_equal(stream_due(s, 1100, a, 4), 1); /* its time is up */
    assert_true(a[0].route == 1 && a[0].request == 7 && a[0].k == 0);
    assert_int_equal(stream_due(s, 1100, a, 4), 0); /* once */
    cuts(s, 3, 5);
    stream_watch(s, 1, &w, 2000);
    assert_int_equal(stream_due(s, 2000, a, 4), 1); /* at once */
    assert_int_equal(a[0].k, 5);
    w.after = 5;
    stream_watch(s, 1, &w, 2000);
    stream_watch(s, 1, &w, 2050); /* asked again: one question still */
    stream_watch(s, 2, &w, 2050);
    assert_int_equal(s->waits, 2);
    assert_int_equal(stream_due(s, 2100, a, 4), 0);
    cuts(s, 4, 6);
    assert_int_equal(stream_due(s, 2101, a, 1),
                     1); /* as many as there is room for, the rest later */
    assert_int_equal(stream_due(s, 2101, a, 4), 1);
    assert_true(a[0].route == 2 && a[0].k == 6);
    w = (struct msg_watch){.request = 8, .after = 0, .below = 6};
    stream_watch(s, 1, &w, 3000);
    assert_int_equal(stream_due(s, 3000, a, 4), 1);
    assert_int_equal(a[0].k, 5);
    w.below = 4;
    stream_watch(s, 1, &w, 3000);
    assert_int_equal(stream_due(s, 3000, a, 4), 1);
    assert_int_equal(a[0].k, 0);
    stream_free(s);
}

static void questions_are_bounded(void **state)
{
    (void)state;
    struct stream *s = stream_new();
    struct stream_answer a[4];
    struct msg_watch w = {.request = 1,
                          .wait_us = UINT64_MAX}; /* no longer than the server likes */
    for (uint64_t i = 0; i < STREAM_WAITING + 3; i++) {
        stream_watch(s, i, &w, 1000);
    }
    assert_int_equal(s->waits, STREAM_WAITING);
    assert_int_equal(stream_due(s, 1000, a, 4), 1); /* the oldest made room */
    assert_true(a[0].route == 0 && a[0].k == 0);
    stream_watch(s, 5000, &w, 1000);
    assert_int_equal(s->waits, STREAM_WAITING);
    assert_int_equal(stream_due(s, 1000 + 30000000, a, 4), 4);
    stream_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_looked_up),
        cmocka_unit_test(a_watch_waits_for_the_next_cut),
        cmocka_unit_test(questions_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
