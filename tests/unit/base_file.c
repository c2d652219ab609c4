/* base_file.c - files, memory and the log: what touches the host. Works in a folder of its own. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"

static char dir[] = "/tmp/base_file.XXXXXX";

static char *at(const char *name)
{
    static char path[4][256];
    static unsigned turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

static size_t entries(const char *path)
{
    size_t n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void test_write_and_read(void **state)
{
    (void)state;
    struct errbuf err = ERRBUF_INIT;
    char *bytes = NULL;
    size_t n = 0;
    assert_int_equal(file_write_atomic(at("a"), "old", 3, &err), ST_OK);
    assert_int_equal(file_write_atomic(at("a"), "n\0w", 3, &err), ST_OK);
    assert_int_equal(file_read(at("a"), 3, &bytes, &n, &err), ST_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(bytes, "n\0w", 4); /* a 0 behind the last */
    free(bytes);
    bytes = NULL;
    assert_int_equal(file_read(at("a"), 2, &bytes, &n, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "larger than 2"));
    assert_null(bytes);
    assert_int_equal(file_write_atomic(at("empty"), "", 0, &err), ST_OK);
    assert_int_equal(file_read(at("empty"), 0, &bytes, &n, &err), ST_OK);
    assert_int_equal(n, 0);
    assert_string_equal(bytes, "");
    free(bytes);
    assert_int_equal(entries(dir), 2); /* no temporary file is left */
    /* A file whose size fstat does not know. */
    assert_int_equal(file_read("/proc/self/status", 1 << 20, &bytes, &n, &err), ST_OK);
    assert_true(n > 100 && strlen(bytes) == n);
    free(bytes);
}

static void test_read_errors_name_the_path(void **state)
{
    (void)state;
    struct errbuf err = ERRBUF_INIT;
    char *bytes = NULL;
    size_t n = 0;
    assert_int_equal(file_read(at("none"), 9, &bytes, &n, &err), ST_NOT_FOUND);
    assert_non_null(strstr(err.text, "/none: No such file"));
    assert_int_equal(file_read(dir, 9, &bytes, &n, &err), ST_IO);
    assert_non_null(strstr(err.text, "folder"));
    assert_int_equal(file_read("/dev/zero", 9, &bytes, &n, &err), ST_IO);
    assert_int_equal(mkfifo(at("pipe"), 0600), 0);
    assert_int_equal(file_read(at("pipe"), 9, &bytes, &n, &err), ST_IO); /* and does not hang */
    unlink(at("pipe"));
    assert_null(bytes);
    assert_int_equal(file_write_atomic(at("no/such/folder"), "x", 1, &err), ST_IO);
    assert_non_null(strstr(err.text, "no/such/folder"));
}

/* A disk that is full, as a limit on file sizes: the old file must stay, and nothing beside it. */
static void test_failed_write_leaves_the_old_file(void **state)
{
    (void)state;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(file_write_atomic(at("kept"), "old", 3, &err), ST_OK);
    size_t before = entries(dir);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {4096, 4096};
        char *much = calloc(1, 100000);
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        enum status st = file_write_atomic(at("kept"), much, 100000, &err);
        _exit(st == ST_IO && strstr(err.text, "File too large") != NULL ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    char *bytes = NULL;
    size_t n = 0;
    assert_int_equal(file_read(at("kept"), 100, &bytes, &n, &err), ST_OK);
    assert_string_equal(bytes, "old");
    free(bytes);
    assert_int_equal(entries(dir), before);
}

static void test_folders(void **state)
{
    (void)state;
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(file_mkdirs(at("p/q//r/"), &err), ST_OK);
    assert_int_equal(file_mkdirs(at("p/q/r"), &err), ST_OK); /* again */
    assert_true(file_exists(at("p/q/r")));
    assert_false(file_exists(at("p/q/s")));
    assert_int_equal(file_mkdirs("/", &err), ST_OK);
    assert_int_equal(file_write_atomic(at("plain"), "x", 1, &err), ST_OK);
    assert_int_equal(file_mkdirs(at("plain/sub"), &err), ST_IO);
    assert_non_null(strstr(err.text, "plain: is not a folder"));
    assert_int_equal(file_sync_dir(at("p"), &err), ST_OK);
    assert_int_equal(file_sync_dir(at("gone"), &err), ST_NOT_FOUND);
}

static void test_map(void **state)
{
    (void)state;
    struct errbuf err = ERRBUF_INIT;
    struct file_map m = {NULL, 77};
    assert_int_equal(file_map_open(at("none"), &m, &err), ST_NOT_FOUND);
    assert_int_equal(m.n, 77); /* outputs change on success only */
    assert_int_equal(file_write_atomic(at("m"), "hello", 5, &err), ST_OK);
    assert_int_equal(file_map_open(at("m"), &m, &err), ST_OK);
    assert_int_equal(m.n, 5);
    assert_memory_equal(m.data, "hello", 5);
    file_map_close(&m);
    assert_null(m.data);
    assert_int_equal(file_write_atomic(at("m"), "", 0, &err), ST_OK);
    assert_int_equal(file_map_open(at("m"), &m, &err), ST_OK);
    assert_int_equal(m.n, 0);
    assert_non_null(m.data);
    file_map_close(&m);
}

static void check_join(const char *a, const char *b, const char *want)
{
    char *got = file_join(a, b);
    assert_string_equal(got, want);
    free(got);
}

static void test_join(void **state)
{
    (void)state;
    check_join("a", "b", "a/b");
    check_join("a/", "b", "a/b");
    check_join("a", "/b", "/b");
    check_join("", "b", "b");
    check_join(NULL, "b", "b");
    check_join("/", "b", "/b");
    check_join("//", "b", "/b");
    check_join("a", "", "a/");
}

static void test_slab(void **state)
{
    (void)state;
    struct errbuf err = ERRBUF_INIT;
    static const size_t sizes[] = {0, 1, 4096, 4097, 3 << 20, (size_t)64 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *slab = NULL;
        assert_int_equal(mem_slab(sizes[i], &slab, &err), ST_OK);
        assert_int_equal((uintptr_t)slab % (2u << 20), 0);
        unsigned char *bytes = slab;
        for (size_t at_byte = 0; at_byte < sizes[i]; at_byte += 4096)
            assert_int_equal(bytes[at_byte], 0);
        if (sizes[i] > 0)
            bytes[sizes[i] - 1] = 1;
        mem_slab_free(slab, sizes[i]);
    }
    void *slab = NULL;
    assert_int_equal(mem_slab(SIZE_MAX, &slab, &err), ST_NO_MEMORY);
    assert_int_equal(mem_slab(SIZE_MAX - (3u << 20), &slab, &err), ST_NO_MEMORY);
    assert_int_equal(mem_slab((size_t)1 << 50, &slab, &err), ST_NO_MEMORY);
    assert_non_null(strstr(err.text, "1125899906842624"));
    assert_null(slab);
    mem_slab_free(NULL, 5);
}

static void test_small_memory(void **state)
{
    (void)state;
    int *numbers = NULL;
    size_t cap = 0;
    for (int i = 0; i < 1000; i++) {
        mem_grow(&numbers, &cap, (size_t)i + 1, sizeof *numbers);
        numbers[i] = i;
    }
    assert_true(cap >= 1000 && cap <= 2048);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(numbers[i], i);
    free(numbers);
    char *aligned = mem_aligned(64, 100);
    assert_int_equal((uintptr_t)aligned % 64, 0);
    assert_int_equal(aligned[99], 0);
    free(aligned);
    free(mem_alloc(0));
    char *zeros = mem_array(10, 10);
    assert_int_equal(zeros[99], 0);
    free(zeros);
    assert_true(mem_rss_bytes() > 100000);
    assert_true(mem_rss_peak_bytes() >= mem_rss_bytes() / 2);
}

/* Out of memory, and a product that overflows, end the process: seen from outside. */
static void test_small_memory_aborts(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        pid_t child = fork();
        if (child == 0) {
            struct rlimit no_core = {0, 0};
            setrlimit(RLIMIT_CORE, &no_core);
            signal(SIGABRT, SIG_DFL);
            fclose(stderr);
            volatile size_t too_many = SIZE_MAX / 8;
            void *p = which == 0   ? mem_alloc(too_many)
                      : which == 1 ? mem_array(too_many, 16)
                                   : mem_realloc(NULL, too_many);
            _exit(p == NULL ? 77 : 78); /* nobody comes back */
        }
        int status = 0;
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) < 77); /* a sanitizer exits with 1 */
    }
}

static char *slurp(const char *path)
{
    char *text = NULL;
    size_t n = 0;
    struct errbuf err;
    assert_int_equal(file_read(path, 1 << 24, &text, &n, &err), ST_OK);
    return text;
}

static void test_log_lines(void **state)
{
    (void)state;
    struct errbuf err = ERRBUF_INIT;
    char longest[9000];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(log_open("ps-0", at("no/log"), false, &err), ST_IO);
    assert_int_equal(log_open("ps-0", at("log"), false, &err), ST_OK);
    errno = 77;
    log_info("n = %d", 5);
    assert_int_equal(errno, 77);
    log_debug("not shown");
    log_set_level(LOG_DEBUG);
    log_debug("shown");
    log_set_level(LOG_INFO);
    log_warn("two\nlines \x1b[31m and a\ttab");
    log_error("%s", longest);
    log_close();
    assert_int_equal(log_open("ps-0", at("log"), false, &err), ST_OK); /* appended to */
    log_info("again");
    log_close();
    char *text = slurp(at("log"));
    int year, month, day, hour, minute, second, ms, used = 0;
    assert_int_equal(sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ INFO ps-0: n = 5\n%n", &year,
                            &month, &day, &hour, &minute, &second, &ms, &used),
                     7);
    assert_true(used > 0 && year >= 2024);
    assert_null(strstr(text, "not shown"));
    assert_non_null(strstr(text, "DEBUG ps-0: shown\n"));
    assert_non_null(strstr(text, "WARN ps-0: two lines ?[31m and a tab\n"));
    assert_non_null(strstr(text, "x...\n"));
    assert_non_null(strstr(text, "INFO ps-0: again\n"));
    size_t lines = 0;
    for (const char *p = text; *p != '\0'; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 5);
    free(text);
}

static void *log_much(void *arg)
{
    for (int i = 0; i < 500; i++)
        log_info("thread %d line %d end", *(int *)arg, i);
    return NULL;
}

static void test_log_threads_dont_mix(void **state)
{
    (void)state;
    struct errbuf err = ERRBUF_INIT;
    struct thread threads[4];
    int numbers[4] = {0, 1, 2, 3};
    assert_int_equal(log_open("many", at("many"), false, &err), ST_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(thread_start(&threads[i], "logger", log_much, &numbers[i], &err), ST_OK);
    for (int i = 0; i < 4; i++)
        thread_stop(&threads[i]);
    log_close();
    char *text = slurp(at("many"));
    int lines = 0, thread, line;
    for (char *p = strtok(text, "\n"); p != NULL; p = strtok(NULL, "\n"), lines++) {
        char end[4] = "";
        const char *body = strstr(p, "many: ");
        assert_non_null(body);
        assert_int_equal(sscanf(body, "many: thread %d line %d %3s", &thread, &line, end), 3);
        assert_string_equal(end, "end");
    }
    assert_int_equal(lines, 2000);
    free(text);
}

/* What echo does, seen on a stderr that is a file. */
static void test_log_echo(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct errbuf err;
        if (freopen(at("stderr"), "w", stderr) == NULL)
            _exit(1);
        log_warn("before open");
        if (log_open("w", at("echoed"), true, &err) != ST_OK)
            _exit(2);
        log_info("quiet");
        log_warn("loud");
        _exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    char *seen = slurp(at("stderr"));
    assert_non_null(strstr(seen, "before open"));
    assert_non_null(strstr(seen, "WARN w: loud"));
    assert_null(strstr(seen, "quiet"));
    free(seen);
}

static void test_clock(void **state)
{
    (void)state;
    uint64_t before = clock_now_us(), cpu = clock_cpu_us();
    clock_sleep_us(20000);
    uint64_t after = clock_now_us();
    assert_true(after - before >= 20000);
    assert_true(clock_cpu_us() - cpu < 15000); /* sleeping is not work */
    assert_true(clock_wall_us() > 1700000000000000u);
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(dir) == NULL;
}

static int teardown(void **state)
{
    (void)state;
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_and_read),
        cmocka_unit_test(test_read_errors_name_the_path),
        cmocka_unit_test(test_failed_write_leaves_the_old_file),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_slab),
        cmocka_unit_test(test_small_memory),
        cmocka_unit_test(test_small_memory_aborts),
        cmocka_unit_test(test_log_lines),
        cmocka_unit_test(test_log_threads_dont_mix),
        cmocka_unit_test(test_log_echo),
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
