/* The supervisor with real children: ends, signals, the lifeline, output taken. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "launch/run.h"

static const struct run_child *wait_bad(struct run *r)
{
    const struct run_child *bad = NULL;
    uint64_t until = clock_now_us() + 10000000u;
    while (run_alive(r) > 0 && bad == NULL && clock_now_us() < until) {
        run_reap(r, &bad);
    }
    return bad;
}

static void start(struct run *r, const char *name, const char *script)
{
    struct errbuf err = ERRBUF_INIT;
    const char *argv[] = {"sh", "-c", script, NULL};
    assert_int_equal(run_start(r, name, (char *const *)argv, true, &err), ST_OK);
}

static void test_bad_end_is_named(void **state)
{
    (void)state;
    struct run r;
    struct errbuf err = ERRBUF_INIT;
    char text[128];
    assert_int_equal(run_init(&r, &err), ST_OK);
    start(&r, "good", "exit 0");
    start(&r, "bad", "exit 7");
    const struct run_child *bad = wait_bad(&r);
    assert_non_null(bad);
    run_child_text(bad, text, sizeof(text));
    assert_string_equal(text, "bad ended with code 7");
    run_end(&r, 1000000);
    assert_int_equal(run_alive(&r), 0);
    run_release(&r);
}

static void test_signal_is_named(void **state)
{
    (void)state;
    struct run r;
    struct errbuf err = ERRBUF_INIT;
    char text[128];
    assert_int_equal(run_init(&r, &err), ST_OK);
    start(&r, "ps-0", "kill -9 $$");
    const struct run_child *bad = wait_bad(&r);
    assert_non_null(bad);
    run_child_text(bad, text, sizeof(text));
    assert_string_equal(text, "ps-0 was ended by signal 9 (Killed)");
    run_end(&r, 1000000);
    run_release(&r);
}

static void test_end_kills_who_ignores_term(void **state)
{
    (void)state;
    struct run r;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(run_init(&r, &err), ST_OK);
    signal(SIGTERM, SIG_IGN); /* inherited: the child is deaf from its first instruction on */
    start(&r, "deaf", "exec sleep 100");
    signal(SIGTERM, SIG_DFL);
    run_end(&r, 100000);
    assert_int_equal(run_alive(&r), 0);
    assert_int_equal(r.child[0].signal, SIGKILL);
    run_release(&r);
}

static void test_lifeline_ends_with_us(void **state)
{
    (void)state;
    struct run r;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(run_init(&r, &err), ST_OK);
    start(&r, "reader", "read x; exit 5");
    close(r.lifeline[1]);
    r.lifeline[1] = dup(r.lifeline[0]); /* run_release closes it */
    const struct run_child *bad = wait_bad(&r);
    assert_non_null(bad);
    assert_int_equal(bad->code, 5);
    run_end(&r, 1000000);
    run_release(&r);
}

static void test_capture(void **state)
{
    (void)state;
    struct errbuf err = ERRBUF_INIT;
    char *text = NULL;
    size_t n = 0;
    int code = 0;
    const char *argv[] = {"sh", "-c", "echo hello; exit 3", NULL};
    assert_int_equal(run_capture((char *const *)argv, 100, 5000000, &text, &n, &code, &err), ST_OK);
    assert_string_equal(text, "hello\n");
    assert_int_equal(code, 3);
    free(text);
    const char *much[] = {"sh", "-c", "head -c 1000 /dev/zero; exec sleep 100", NULL};
    assert_int_equal(run_capture((char *const *)much, 100, 5000000, &text, &n, &code, &err),
                     ST_BAD_DATA);
    const char *slow[] = {"sleep", "100", NULL};
    assert_int_equal(run_capture((char *const *)slow, 100, 100000, &text, &n, &code, &err),
                     ST_TIMEOUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_end_is_named),
        cmocka_unit_test(test_signal_is_named),
        cmocka_unit_test(test_end_kills_who_ignores_term),
        cmocka_unit_test(test_lifeline_ends_with_us),
        cmocka_unit_test(test_capture),
    };
    return cmocka_run_group_tests_name("launch_run", tests, NULL, NULL);
}
