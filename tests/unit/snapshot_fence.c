/* snapshot_fence.c - one head commits: numbers, races, fenced heads, leftovers, pruning (ps/snapshot/README.md). */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "ps/snapshot/fence.h"
#include "ps/snapshot/place.h"
#include "tests/support/snapshot_world.h"

static void make_dir(struct world *w)
{
    world_init(w, 1, 1);
    world_dir(w);
}

/* A manifest of cut k by e, which lists `files` files of cuts k, k - 1, ... */
static struct manifest manifest_of(uint64_t k, uint64_t e, size_t files, uint64_t best)
{
    struct manifest m;
    manifest_init(&m);
    m.job = 1;
    m.e = e;
    m.k = k;
    m.shards = 1;
    m.best = best;
    m.tables = 1;
    snprintf(m.table_name[0], PLAN_NAME_MAX, "t");
    m.files = mem_array(files, sizeof *m.files);
    for (size_t i = 0; i < files; i++) {
        struct manifest_file *f = &m.files[i];
        f->k = k - (files - 1 - i);
        f->e = e;
        snprintf(f->name, sizeof f->name, "data/%" PRIu64 ".%" PRIu64 ".0.delta.safetensors", f->k,
                 e);
    }
    m.files_used = files;
    return m;
}

static enum status commit(struct fence *f, uint64_t k, struct errbuf *err)
{
    struct manifest m = manifest_of(k, f->e, 1, 0);
    enum status st = fence_commit(f, &m, err);
    manifest_release(&m);
    return st;
}

static bool exists(const char *dir, const char *name)
{
    char *path = file_join(dir, name);
    bool there = file_exists(path);
    free(path);
    return there;
}

static void put(const char *dir, const char *name)
{
    char *path = file_join(dir, name);
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    assert_true(fd >= 0);
    close(fd);
    free(path);
}

static void numbers_grow_and_old_ones_go(void **state)
{
    struct world w;
    struct fence a, b;
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    make_dir(&w);
    assert_int_equal(fence_open(w.dir, 0, true, &a, &err), ST_OK);
    assert_int_equal(a.e, 1);
    assert_int_equal(commit(&a, 1, &err), ST_OK);
    put(w.dir, "run/1/m"); /* killed while it wrote */
    put(w.dir, "run/1/other");
    char *sub = file_join(w.dir, "run/1/folder");
    assert_int_equal(mkdir(sub, 0755), 0);
    free(sub);
    put(w.dir, "run/notes.txt");
    assert_int_equal(fence_open(w.dir, 0, true, &b, &err), ST_OK);
    assert_int_equal(b.e, 2);
    assert_false(exists(w.dir, "run/1"));
    assert_true(exists(w.dir, "run/2"));
    assert_true(exists(w.dir, "run/notes.txt"));

    /* The fenced head: it can't commit, and is told so; the new one can. */
    assert_int_equal(commit(&a, 2, &err), ST_FENCED);
    assert_non_null(strstr(err.text, "a newer head"));
    assert_int_equal(fence_prune(&a, 1, &err), ST_FENCED);
    assert_int_equal(commit(&b, 2, &err), ST_OK);
    assert_true(exists(w.dir, "cuts/2.json"));
    assert_false(exists(w.dir, "run/2/m"));
    fence_close(&a);
    fence_close(&b);
    world_release(&w);
}

/* By path the second head would commit in the third one's folder; by descriptor it can't. */
static void a_number_made_again_is_not_ours(void **state)
{
    struct world w;
    struct fence a;
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    make_dir(&w);
    assert_int_equal(fence_open(w.dir, 0, true, &a, &err), ST_OK);
    char *path = file_join(w.dir, "run/1");
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    free(path);
    assert_int_equal(commit(&a, 1, &err), ST_FENCED);
    assert_false(exists(w.dir, "cuts/1.json"));
    fence_close(&a);
    world_release(&w);
}

static void a_living_head_takes_exactly_its_own(void **state)
{
    struct world w;
    struct fence a, b, c;
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    make_dir(&w);
    assert_int_equal(fence_open(w.dir, 0, true, &a, &err), ST_OK);
    assert_int_equal(fence_open(w.dir, 2, true, &b, &err), ST_OK);
    assert_int_equal(b.e, 2);
    assert_int_equal(fence_open(w.dir, 2, true, &c, &err), ST_FENCED);
    assert_int_equal(fence_open(w.dir, 1, true, &c, &err), ST_FENCED);
    assert_int_equal(commit(&b, 1, &err), ST_OK); /* the late ones did no harm */
    fence_close(&a);
    fence_close(&b);
    world_release(&w);
}

/* (One that appears between mkdir and the second list is met in racing_heads.) */
static void a_larger_number_fences_us(void **state)
{
    struct world w;
    struct fence a;
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    make_dir(&w);
    char *path = file_join(w.dir, "run/9");
    assert_int_equal(file_mkdirs(path, NULL), ST_OK);
    assert_int_equal(fence_open(w.dir, 5, true, &a, &err), ST_FENCED);
    assert_true(exists(w.dir, "run/9"));
    assert_false(exists(w.dir, "run/5"));
    assert_int_equal(fence_open(w.dir, 0, true, &a, &err), ST_OK);
    assert_int_equal(a.e, 10);
    fence_close(&a);
    free(path);
    world_release(&w);
}

static void a_cut_number_is_never_written_twice(void **state)
{
    struct world w;
    struct fence a;
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    make_dir(&w);
    assert_int_equal(fence_open(w.dir, 0, true, &a, &err), ST_OK);
    struct manifest m = manifest_of(4, 1, 1, 0);
    assert_int_equal(fence_commit(&a, &m, &err), ST_OK);
    /* Asked again after an answer that got lost: it is there and ours. */
    assert_int_equal(fence_commit(&a, &m, &err), ST_OK);
    assert_false(exists(w.dir, "run/1/m"));
    m.wall_us++;
    assert_int_equal(fence_commit(&a, &m, &err), ST_FENCED);
    assert_non_null(strstr(err.text, "another head"));
    struct manifest back;
    assert_int_equal(manifest_read(w.dir, 4, &back, &err), ST_OK);
    assert_int_equal(back.wall_us, m.wall_us - 1);
    manifest_release(&back);
    manifest_release(&m);
    fence_close(&a);
    world_release(&w);
}

/* -- races -- */

/* What a head does in a race: fence, commit one cut, say which. Exit code: 0 committed, 1 fenced, 2 other. */
static int race_head(const char *dir, int start_fd, int report_fd)
{
    struct fence f;
    struct errbuf err = ERRBUF_INIT;
    char go;
    if (read(start_fd, &go, 1) < 0) /* EOF when the parent closes its end: all start at once */
        return 2;
    enum status st = fence_open(dir, 0, false, &f, &err);
    if (st != ST_OK)
        return st == ST_FENCED ? 1 : 2;
    uint64_t *k = NULL, highest = 0;
    size_t n = 0;
    if (manifest_list(dir, &k, &n, &highest, &err) != ST_OK)
        return 2;
    uint64_t newest = n > 0 ? k[n - 1] : 0;
    free(k);
    st = commit(&f, highest + 1, &err);
    if (st != ST_OK)
        return st == ST_FENCED ? 1 : 2;
    uint64_t said[3] = {f.e, highest + 1, newest};
    return write(report_fd, said, sizeof said) == sizeof said ? 0 : 2;
}

/* Many heads at once, many times: incarnations are unique, and a head that commits has read every commit of
 * an older incarnation before (cut numbers grow with incarnations). */
static void racing_heads(void **state)
{
    (void)state;
    for (int round = 0; round < 25; round++) {
        enum { HEADS = 8 };
        struct world w;
        int start[2], report[2];
        make_dir(&w);
        assert_int_equal(pipe(start), 0);
        assert_int_equal(pipe(report), 0);
        pid_t pid[HEADS];
        for (int i = 0; i < HEADS; i++) {
            pid[i] = fork();
            assert_true(pid[i] >= 0);
            if (pid[i] == 0) {
                close(start[1]);
                _exit(race_head(w.dir, start[0], report[1]));
            }
        }
        close(start[0]);
        close(start[1]);
        close(report[1]);
        int committed = 0;
        for (int i = 0; i < HEADS; i++) {
            int code;
            assert_int_equal(waitpid(pid[i], &code, 0), pid[i]);
            assert_true(WIFEXITED(code) && WEXITSTATUS(code) <= 1);
            committed += WEXITSTATUS(code) == 0;
        }
        uint64_t said[HEADS][3], e_of[HEADS + 2] = {0};
        assert_int_equal(read(report[0], said, sizeof said), committed * (int)sizeof said[0]);
        for (int i = 0; i < committed; i++) {
            assert_in_range(said[i][1], 1, HEADS);
            assert_int_equal(e_of[said[i][1]], 0); /* one commit a number */
            e_of[said[i][1]] = said[i][0];
        }
        for (int i = 2; i <= committed; i++)
            assert_true(e_of[i] > e_of[i - 1]);
        assert_true(committed >= 1);
        close(report[0]);
        world_release(&w);
    }
}

/* -- failing disks -- */

static void a_full_disk_leaves_nothing(void **state)
{
    struct world w;
    struct fence a;
    struct errbuf err = ERRBUF_INIT;
    struct rlimit old, none;
    (void)state;
    make_dir(&w);
    assert_int_equal(fence_open(w.dir, 0, true, &a, &err), ST_OK);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    none = old;
    none.rlim_cur = 100;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    enum status st = commit(&a, 1, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(st, ST_IO);
    assert_non_null(strstr(err.text, "run/1/m"));
    assert_false(exists(w.dir, "run/1/m"));
    assert_false(exists(w.dir, "cuts/1.json"));
    assert_int_equal(commit(&a, 1, &err), ST_OK); /* there is room again */
    fence_close(&a);
    world_release(&w);
}

/* Where the file system knows no RENAME_NOREPLACE. */
static void the_link_fallback_does_not_replace(void **state)
{
    struct world w;
    (void)state;
    make_dir(&w);
    put(w.dir, "a");
    put(w.dir, "b");
    int fd = open(w.dir, O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    assert_int_equal(place_by_link(fd, "a", fd, "b"), -1);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(place_by_link(fd, "a", fd, "c"), 0);
    assert_false(exists(w.dir, "a"));
    assert_true(exists(w.dir, "c"));
    assert_int_equal(place_file(fd, "b", fd, "c"), -1);
    assert_int_equal(errno, EEXIST);
    int sub = -1;
    assert_int_equal(mkdirat(fd, "gone", 0755), 0);
    sub = openat(fd, "gone", O_RDONLY | O_DIRECTORY);
    assert_int_equal(unlinkat(fd, "gone", AT_REMOVEDIR), 0);
    assert_int_equal(place_by_link(sub, "m", fd, "d"), -1);
    assert_int_equal(errno, ENOENT);
    close(sub);
    close(fd);
    world_release(&w);
}

static void a_folder_that_is_a_file(void **state)
{
    struct world w;
    struct fence a;
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    make_dir(&w);
    put(w.dir, "cuts");
    assert_true(fence_open(w.dir, 0, true, &a, &err) != ST_OK);
    assert_non_null(strstr(err.text, "cuts"));
    world_release(&w);
}

/* -- pruning -- */

static void commit_files(struct fence *f, uint64_t k, size_t files, uint64_t best)
{
    struct manifest m = manifest_of(k, f->e, files, best);
    struct errbuf err = ERRBUF_INIT;
    for (size_t i = 0; i < files; i++)
        put(f->dir, m.files[i].name);
    assert_int_equal(fence_commit(f, &m, &err), ST_OK);
    manifest_release(&m);
}

static void prune_keeps_what_is_needed(void **state)
{
    struct world w;
    struct fence a, b;
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    make_dir(&w);
    assert_int_equal(fence_open(w.dir, 0, true, &a, &err), ST_OK);
    for (uint64_t k = 1; k <= 5; k++)
        commit_files(&a, k, 1, 0);
    put(w.dir,
        "data/90.1.0.delta.safetensors"); /* of e 1: becomes an older incarnation's attempt */
    fence_close(&a);
    assert_int_equal(fence_open(w.dir, 0, true, &b, &err), ST_OK);
    for (uint64_t k = 6; k <= 9; k++)
        commit_files(&b, k, k == 9 ? 2 : 1, 3);
    put(w.dir, "data/10.2.0.delta.safetensors.tmp"); /* the cut being written */
    put(w.dir, "data/10.2.1.delta.safetensors");
    put(w.dir, "data/7.2.5.delta.safetensors"); /* abandoned */
    put(w.dir, "data/4.1.0.full.safetensors.tmp");
    put(w.dir, "data/11.3.0.delta.safetensors"); /* a newer head's */
    put(w.dir, "data/readme");
    put(w.dir, "cuts/4.json.bad");
    assert_int_equal(fence_prune(&b, 1, &err), ST_OK);

    static const struct {
        const char *name;
        bool stays;
    } expected[] = {
        {"cuts/9.json", true},
        {"cuts/8.json", false},
        {"cuts/3.json", true}, /* best */
        {"cuts/2.json", false},
        {"cuts/1.json", false},
        {"cuts/4.json.bad", true},
        {"data/9.2.0.delta.safetensors", true},
        {"data/8.2.0.delta.safetensors", true}, /* 9 lists it */
        {"data/7.2.0.delta.safetensors", false},
        {"data/7.2.5.delta.safetensors", false},
        {"data/3.1.0.delta.safetensors", true},
        {"data/2.1.0.delta.safetensors", false},
        {"data/4.1.0.full.safetensors.tmp", false},
        {"data/90.1.0.delta.safetensors", false},
        {"data/10.2.0.delta.safetensors.tmp", true},
        {"data/10.2.1.delta.safetensors", true},
        {"data/11.3.0.delta.safetensors", true},
        {"data/readme", true},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        if (exists(w.dir, expected[i].name) != expected[i].stays)
            fail_msg("%s: should%s be there", expected[i].name, expected[i].stays ? "" : "n't");
    fence_close(&b);
    world_release(&w);
}

static void prune_without_a_whole_manifest_removes_nothing(void **state)
{
    struct world w;
    struct fence a;
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    make_dir(&w);
    assert_int_equal(fence_open(w.dir, 0, true, &a, &err), ST_OK);
    put(w.dir, "cuts/3.json"); /* empty: damaged */
    put(w.dir, "data/3.1.0.full.safetensors");
    put(w.dir, "data/2.1.0.full.safetensors");
    assert_int_equal(fence_prune(&a, 2, &err), ST_OK);
    assert_true(exists(w.dir, "cuts/3.json"));
    assert_true(exists(w.dir, "data/3.1.0.full.safetensors"));
    assert_true(exists(w.dir, "data/2.1.0.full.safetensors"));
    fence_close(&a);
    world_release(&w);
}

/* Numbers are never used twice: over restarts, damaged manifests, pruning. */
static void numbers_are_never_reused(void **state)
{
    struct world w;
    struct errbuf err = ERRBUF_INIT;
    uint64_t last = 0, *k;
    size_t n;
    (void)state;
    make_dir(&w);
    for (uint64_t round = 1; round <= 6; round++) {
        struct fence f;
        uint64_t highest;
        assert_int_equal(fence_open(w.dir, 0, true, &f, &err), ST_OK);
        assert_int_equal(f.e, round);
        assert_int_equal(manifest_list(w.dir, &k, &n, &highest, &err), ST_OK);
        free(k);
        assert_true(highest >= last);
        last = highest + 1;
        commit_files(&f, last, 1, 0);
        if (round == 3) { /* found damaged later: renamed, its number stays used */
            char name[64];
            snprintf(name, sizeof name, "cuts/%" PRIu64 ".json", last);
            char *path = file_join(w.dir, name), *bad = file_join(w.dir, "cuts/x");
            free(bad);
            bad = mem_alloc(strlen(path) + 5);
            snprintf(bad, strlen(path) + 5, "%s.bad", path);
            assert_int_equal(rename(path, bad), 0);
            free(bad);
            free(path);
        }
        assert_int_equal(fence_prune(&f, 1, &err), ST_OK);
        fence_close(&f);
    }
    assert_int_equal(last, 6);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_grow_and_old_ones_go),
        cmocka_unit_test(a_number_made_again_is_not_ours),
        cmocka_unit_test(a_living_head_takes_exactly_its_own),
        cmocka_unit_test(a_larger_number_fences_us),
        cmocka_unit_test(a_cut_number_is_never_written_twice),
        cmocka_unit_test(racing_heads),
        cmocka_unit_test(a_full_disk_leaves_nothing),
        cmocka_unit_test(the_link_fallback_does_not_replace),
        cmocka_unit_test(a_folder_that_is_a_file),
        cmocka_unit_test(prune_keeps_what_is_needed),
        cmocka_unit_test(prune_without_a_whole_manifest_removes_nothing),
        cmocka_unit_test(numbers_are_never_reused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
