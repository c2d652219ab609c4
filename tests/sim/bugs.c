/* bugs.c - every planted bug must be found, within its seeds, by the invariant that is there for it.
 *
 * The cores hold small bugs behind SIM_BUG(n) (common/wire/sim_bug.h). For each one histories run, each in a
 * child process, until one fails: once as shipped, where production's own checks (I7* and the like) mostly are
 * the first to see it, and once blind, with these looking away, so that the oracle must. What it is found by
 * is compared with the table below. The same seeds without a bug, and blind without a bug, must find nothing.
 *
 *   BUG=n         this one only
 *   SEEDS=n       at most so many seeds for each, instead of what the table says
 *   BUG=n SEED=m  that history, with its last lines (BLIND=1: blind)
 */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/file.h"
#include "common/base/options.h"
#include "tests/support/sim_world.h"

enum history { LOSSY, RESUME, STALE, SCRIPT, BSP, SSP, HISTORIES };

static const char *const history_name[HISTORIES] = {"lossy",  "resume", "stale",
                                                    "script", "bsp",    "ssp"};

/* found: by one of these, first words. before: others that may see it first; then the search goes on. blind: as
 * `found` with production's checks off; NULL: they have no part in it. */
static const struct bug {
    int number;
    enum history history;
    uint64_t seeds;
    const char *found, *before, *blind;
} bugs[] = {
    {1, LOSSY, 40, "I2*", "I7*", "I2"},     {2, LOSSY, 40, "I1*", "I2* I3* I3", "I1"},
    {3, SCRIPT, 20, "I8", "", NULL},        {4, STALE, 40, "I7*", "", "I7"},
    {5, STALE, 40, "I10 I11", "", NULL},    {6, LOSSY, 40, "I11", "", "I11"},
    {7, LOSSY, 40, "I11", "I7* I7", "I11"}, {8, LOSSY, 40, "I11", "", "I11"},
    {9, LOSSY, 20, "I11", "", "I11"},       {10, LOSSY, 40, "I7*", "", "I7"},
    {13, LOSSY, 20, "I5", "", NULL},        {14, LOSSY, 20, "I9", "", NULL},
    {15, LOSSY, 40, "I5", "", NULL},        {15, SCRIPT, 20, "I8", "", NULL},
    {16, SCRIPT, 20, "assert", "", "I8"},   {17, LOSSY, 40, "I9", "I9*", NULL},
    {17, SCRIPT, 20, "I9*", "", NULL},      {18, SCRIPT, 20, "I8", "", NULL},
    {19, LOSSY, 20, "I13", "", NULL},       {19, SCRIPT, 20, "I8", "", NULL},
    {20, LOSSY, 20, "I5", "", NULL},        {21, LOSSY, 20, "I3", "", NULL},
    {24, SCRIPT, 20, "I10", "", NULL},      {25, STALE, 40, "I10", "", NULL},
    {27, LOSSY, 40, "I16", "", NULL},       {40, LOSSY, 20, "I15", "", NULL},
    {41, LOSSY, 20, "I6", "", NULL},        {42, LOSSY, 20, "I12", "", NULL},
    {42, SCRIPT, 20, "I8", "I13", NULL},    {43, BSP, 20, "I11", "", "I11"},
    {44, BSP, 20, "I17", "", NULL},         {43, SSP, 20, "I7*", "", "I3"},
    {44, SSP, 20, "I17", "", NULL},         {45, SSP, 20, "I17", "", NULL},
    {48, SSP, 20, "I17", "", NULL},         {46, SSP, 20, "I18", "", NULL},
    {47, SCRIPT, 20, "I17*", "", NULL},
};

enum { BUGS = sizeof bugs / sizeof bugs[0] };

struct verdict {
    bool failed;
    char why[1024];
};

static struct verdict look(enum history h, uint64_t seed, bool loud)
{
    struct verdict v = {0};
    if (h == SCRIPT) {
        struct sim_script_result r;
        sim_script(seed, &r);
        v.failed = r.failed;
        memcpy(v.why, r.why, sizeof v.why);
        return v;
    }
    struct sim_world *w = h == LOSSY    ? sim_history_lossy(seed, true)
                          : h == RESUME ? sim_history_resume(seed, true)
                          : h == BSP    ? sim_history_bsp(seed, true)
                          : h == SSP    ? sim_history_ssp(seed, true)
                                        : sim_history_stale(seed, true);
    v.failed = w->failed;
    memcpy(v.why, w->why, sizeof v.why);
    if (loud)
        sim_report(w, history_name[h], seed);
    sim_free(w);
    return v;
}

/* In a child: what a planted bug does to memory is its own affair. */
static struct verdict run(enum history h, uint64_t seed, int bug, bool blind, bool loud)
{
    struct verdict v = {.failed = true};
    int pipe_fd[2], status;
    assert_int_equal(pipe(pipe_fd), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* cmocka's own handlers would go on with the next test, here */
        signal(SIGBUS, SIG_DFL);
        signal(SIGFPE, SIG_DFL);
        signal(SIGILL, SIG_DFL);
        sim_bug = bug;
        sim_blind = blind;
        v = look(h, seed, loud);
        ssize_t put = write(pipe_fd[1], &v, sizeof v);
        _exit(put == (ssize_t)sizeof v ? 0 : 1);
    }
    close(pipe_fd[1]);
    ssize_t got = read(pipe_fd[0], &v, sizeof v);
    close(pipe_fd[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (got != (ssize_t)sizeof v)
        snprintf(v.why, sizeof v.why, "crash: %s %d", WIFSIGNALED(status) ? "signal" : "status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return v;
}

/* Is the first word of `why`, up to its colon, one of the list? */
static bool named(const char *list, const char *why)
{
    size_t n = strcspn(why, ":");
    for (const char *at = list; *at != '\0'; at += strspn(at, " ")) {
        size_t m = strcspn(at, " ");
        if (m == n && strncmp(at, why, n) == 0)
            return true;
        at += m;
    }
    return false;
}

static uint64_t number(const char *name, uint64_t or_else)
{
    const char *text = option_env(name);
    return text == NULL ? or_else : strtoull(text, NULL, 10);
}

static uint64_t searched[HISTORIES]; /* seeds that some bug needed: must be clean without it */

static uint64_t search(const struct bug *b, bool blind)
{
    const char *want = blind ? b->blind : b->found;
    uint64_t last = number("SEEDS", b->seeds);
    for (uint64_t seed = 1; seed <= last; seed++) {
        struct verdict v = run(b->history, seed, b->number, blind, false);
        if (seed > searched[b->history])
            searched[b->history] = seed;
        if (!v.failed || (!named(want, v.why) && named(b->before, v.why)))
            continue;
        fprintf(stderr, "# bug %2d%s: %s seed %llu: %.100s\n", b->number, blind ? " blind" : "",
                history_name[b->history], (unsigned long long)seed, v.why);
        if (!named(want, v.why))
            fprintf(stderr, "bug %d was found by something else than %s: %s\n", b->number, want,
                    v.why);
        return named(want, v.why) ? 0 : 1;
    }
    fprintf(stderr, "bug %d%s was not found in %llu %s histories\n", b->number,
            blind ? " (blind)" : "", (unsigned long long)last, history_name[b->history]);
    return 1;
}

static void replay(int bug, uint64_t seed)
{
    for (size_t i = 0; i < BUGS; i++) {
        if (bugs[i].number != bug)
            continue;
        struct verdict v = run(bugs[i].history, seed, bug, option_env("BLIND") != NULL, true);
        fprintf(stderr, "# bug %d, %s seed %llu: %s\n", bug, history_name[bugs[i].history],
                (unsigned long long)seed, v.failed ? v.why : "not found");
    }
}

static void each_planted_bug_is_found(void **state)
{
    (void)state;
    int only = (int)number("BUG", 0);
    uint64_t missed = 0;
    if (only != 0 && option_env("SEED") != NULL) {
        replay(only, number("SEED", 1));
        return;
    }
    for (size_t i = 0; i < BUGS; i++) {
        if (only != 0 && bugs[i].number != only)
            continue;
        missed += search(&bugs[i], false);
        if (bugs[i].blind != NULL)
            missed += search(&bugs[i], true);
    }
    assert_int_equal(missed, 0);
}

static void without_a_bug_nothing_is_found(void **state)
{
    (void)state;
    for (int h = 0; h < HISTORIES; h++) {
        for (uint64_t seed = 1; seed <= searched[h]; seed++) {
            struct verdict v = run((enum history)h, seed, 0, seed % 2, false);
            if (v.failed)
                fprintf(stderr, "%s, seed %llu: %s\n", history_name[h], (unsigned long long)seed,
                        v.why);
            assert_false(v.failed);
        }
    }
}

/* The numbers in the sources, and those of the table. */
static void read_source(const char *path, bool *there)
{
    struct errbuf err = ERRBUF_INIT;
    char *text;
    size_t n;
    assert_int_equal(file_read(path, 1 << 20, &text, &n, &err), ST_OK);
    for (const char *at = text; (at = strstr(at, "SIM_BUG(")) != NULL; at++) {
        unsigned long number_there = strtoul(at + strlen("SIM_BUG("), NULL, 10);
        if (number_there > 0 && number_there < 100)
            there[number_there] = true;
    }
    free(text);
}

static void the_table_has_all_of_them(void **state)
{
    static const char *const rooms[] = {"ps/train", "worker"};
    bool there[100] = {false}, here[100] = {false};
    (void)state;
    for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
        DIR *d = opendir(rooms[i]);
        struct dirent *entry;
        assert_non_null(d);
        while ((entry = readdir(d)) != NULL) {
            char path[512];
            size_t n = strlen(entry->d_name);
            snprintf(path, sizeof path, "%s/%s", rooms[i], entry->d_name);
            if (n > 2 && strcmp(entry->d_name + n - 2, ".c") == 0)
                read_source(path, there);
        }
        closedir(d);
    }
    for (size_t i = 0; i < BUGS; i++)
        here[bugs[i].number] = true;
    for (int i = 0; i < 100; i++) {
        if (there[i] != here[i])
            fprintf(stderr, "bug %d is only in the %s\n", i, here[i] ? "table" : "sources");
        assert_true(there[i] == here[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_has_all_of_them),
        cmocka_unit_test(each_planted_bug_is_found),
        cmocka_unit_test(without_a_bug_nothing_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
