/* must_fail.c - the test that must fail, in every way a test can.
 *
 * tests/house/runner_test.sh runs it under tests/support/run_tests.sh and expects failure to be reported: it is
 * the proof that `make test`, and so CI, can fail. The argument says how: fail (an assertion), crash (a
 * signal between two tests), short (exit 0 before the last test), hang (past the deadline, with a child), litter
 * (passes, but leaves a process behind). Without one it is a quiet test that passes: one passes, one is skipped.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void passes(void **state)
{
    (void)state;
    assert_int_equal(1 + 1, 2);
}

static void is_skipped(void **state)
{
    (void)state;
    skip();
}

static void fails(void **state)
{
    (void)state;
    assert_int_equal(1 + 1, 3);
}

/* cmocka catches the signals of a bad program and reports them; KILL it cannot catch. */
static void crashes(void **state)
{
    (void)state;
    raise(SIGKILL);
}

static void leaves_early(void **state)
{
    (void)state;
    _exit(0);
}

static void hangs(void **state)
{
    (void)state;
    fork();
    for (;;)
        pause();
}

static void litters(void **state)
{
    (void)state;
    if (fork() == 0)
        for (;;)
            pause();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void **state);
    } ways[] = {{"fail", fails},
                {"crash", crashes},
                {"short", leaves_early},
                {"hang", hangs},
                {"litter", litters}};
    struct CMUnitTest tests[] = {
        cmocka_unit_test(passes),
        cmocka_unit_test(is_skipped),
        cmocka_unit_test(passes),
    };
    for (size_t i = 0; argc > 1 && i < sizeof ways / sizeof ways[0]; i++) {
        if (strcmp(argv[1], ways[i].name) == 0) {
            tests[1].name = ways[i].name;
            tests[1].test_func = ways[i].run;
        }
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
