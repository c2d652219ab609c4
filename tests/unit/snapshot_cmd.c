/* snapshot_cmd.c - `penstock snap`: what it prints and with which code it ends. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include <fcntl.h>
#include <unistd.h>

#include "tests/support/snapshot_world.h"

/* The command stands two floors above this test's room, whose archives are all that is linked. */
#include "launch/args.c"
#include "launch/cmd_snap.c"

struct result {
    int code;
    char *out, *err; /* owned */
};

static int capture_begin(int fd, int *saved)
{
    char name[] = "/tmp/snapshot_cmd.XXXXXX";
    int to = mkstemp(name);
    assert_true(to >= 0);
    unlink(name);
    *saved = dup(fd);
    dup2(to, fd);
    return to;
}

static char *capture_end(int fd, int saved, int to)
{
    off_t n = lseek(to, 0, SEEK_END);
    char *text = mem_zalloc((size_t)n + 1);
    assert_int_equal(pread(to, text, (size_t)n, 0), n);
    dup2(saved, fd);
    close(saved);
    close(to);
    return text;
}

static struct result snap(const char *a, const char *b, const char *c, const char *d)
{
    const char *words[] = {"snap", a, b, c, d};
    char *argv[6] = {NULL};
    int argc = 0, out, err;
    struct result r;
    for (int i = 0; i < 5; i++)
        if (words[i] != NULL)
            argv[argc++] = mem_strdup(words[i]);
    fflush(stdout);
    int to_out = capture_begin(1, &out), to_err = capture_begin(2, &err);
    r.code = cmd_snap(argc, argv);
    fflush(stdout);
    r.err = capture_end(2, err, to_err);
    r.out = capture_end(1, out, to_out);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return r;
}

static void expect(struct result r, int code, const char *out, const char *err)
{
    if (r.code != code || strstr(r.out, out) == NULL || strstr(r.err, err) == NULL)
        fail_msg("code %d (expected %d), out \"%s\" (\"%s\"), err \"%s\" (\"%s\")", r.code, code,
                 r.out, out, r.err, err);
    free(r.out);
    free(r.err);
}

static struct world w;

static int setup(void **state)
{
    (void)state;
    world_init(&w, 2, 3);
    world_dir(&w);
    w.last.recipe = mem_strdup("{\"best_auc\":0.75}");
    w.last.records = 1000;
    w.last.split_records = 300;
    for (uint64_t k = 1; k <= 3; k++) {
        for (int i = 0; i < 3; i++)
            world_push(&w, 25, 500);
        w.last.best = k >= 2 ? 2 : 0;
        w.last.applied = 100 * k;
        world_cut(&w, k, k == 1, NULL);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_release(&w);
    return 0;
}

static const char *spec(const char *suffix)
{
    static char text[4][400];
    static int next;
    char *to = text[next++ % 4];
    snprintf(to, sizeof text[0], "%s%s", w.dir, suffix);
    return to;
}

static void calls(void **state)
{
    (void)state;
    expect(snap(NULL, NULL, NULL, NULL), 2, "", "usage: penstock snap");
    expect(snap("--help", NULL, NULL, NULL), 0, "verify DIR", "");
    expect(snap("lists", "x", NULL, NULL), 2, "", "there is no \"lists\"");
    expect(snap("list", "x", "y", NULL), 2, "", "list takes one snapshot");
    expect(snap("diff", "x", NULL, NULL), 2, "", "diff takes two snapshots");
    expect(snap("list", "x", "--jsn", NULL), 2, "", "--json");
}

static void no_snapshot_there(void **state)
{
    char empty[] = "/tmp/snapshot_cmd.XXXXXX";
    (void)state;
    assert_non_null(mkdtemp(empty));
    static const char *const verb[] = {"list", "show", "verify"};
    for (int i = 0; i < 3; i++) {
        expect(snap(verb[i], empty, NULL, NULL), 3, "", "no complete cut");
        expect(snap(verb[i], "/nowhere", NULL, NULL), 3, "", "/nowhere: no such folder");
    }
    expect(snap("diff", empty, spec("@1"), NULL), 3, "", "no complete cut");
    expect(snap("show", spec("@9"), NULL, NULL), 3, "", "there is no cut 9");
    expect(snap("verify", spec("@9"), NULL, NULL), 3, "", "there is no cut 9");
    rmdir(empty);
}

static void list(void **state)
{
    (void)state;
    expect(snap("list", w.dir, NULL, NULL), 0, "full", "");
    struct result r = snap("list", w.dir, "--json", NULL);
    struct json *j;
    assert_int_equal(json_parse(r.out, strlen(r.out), "out", &j, NULL), ST_OK);
    assert_int_equal(json_len(j), 3);
    assert_int_equal(json_u64(json_at(j, 0), "k", 0), 1);
    assert_string_equal(json_str(json_at(j, 0), "kind", ""), "full");
    assert_string_equal(json_str(json_at(j, 1), "kind", ""), "delta");
    assert_true(json_bool(json_at(j, 1), "best", false));
    assert_false(json_bool(json_at(j, 2), "best", true));
    assert_int_equal(json_u64(json_at(j, 2), "applied", 0), 300);
    assert_true(json_u64(json_at(j, 2), "chain_bytes", 0) > json_u64(json_at(j, 2), "bytes", 0));
    json_free(j);
    expect(r, 0, "", "");
}

static void show(void **state)
{
    (void)state;
    expect(snap("show", w.dir, NULL, NULL), 0, "cut 2 of", ""); /* the best */
    expect(snap("show", spec("@3"), NULL, NULL), 0, "dense.mlp.0.weight", "");
    expect(snap("show", spec("@3"), NULL, NULL), 0, "best_auc", "");
    struct result r = snap("show", spec("@3"), "--json", NULL);
    struct json *j;
    assert_int_equal(json_parse(r.out, strlen(r.out), "out", &j, NULL), ST_OK);
    assert_int_equal(json_u64(j, "k", 0), 3);
    assert_int_equal(json_len(json_get(j, "tables")), 4);
    assert_int_equal(json_len(json_get(j, "tensors")), 4);
    assert_int_equal(json_len(json_get(j, "files")), 6);
    assert_true(json_f64(j, "recipe.best_auc", 0) == .75);
    json_free(j);
    expect(r, 0, "", "");
}

static void diff(void **state)
{
    (void)state;
    expect(snap("diff", spec("@3"), spec("@3"), NULL), 0, "\nequal\n", "");
    expect(snap("diff", spec("@1"), spec("@3"), NULL), 1, "\ndifferent\n", "");
    struct result r = snap("diff", "--json", spec("@1"), spec("@3"));
    struct json *j;
    assert_int_equal(json_parse(r.out, strlen(r.out), "out", &j, NULL), ST_OK);
    assert_false(json_bool(j, "equal", true));
    const struct json *first = json_at(json_get(j, "tables"), 0);
    assert_string_equal(json_str(first, "table", ""), "embedding");
    assert_true(json_u64(first, "only_b", 0) > 0);
    assert_false(json_bool(first, "same_hash", true));
    json_free(j);
    expect(r, 1, "", "");
}

static void verify(void **state)
{
    (void)state;
    expect(snap("verify", w.dir, NULL, NULL), 0, "cut 3: whole", "");
    expect(snap("verify", spec("@2"), NULL, NULL), 0, "cut 2: whole", "");
    char *path = file_join(w.dir, "data/2.1.1.delta.safetensors");
    assert_int_equal(truncate(path, 100), 0);
    expect(snap("verify", w.dir, NULL, NULL), 3, "cut 1: whole", "data/2.1.1.delta.safetensors");
    struct result r = snap("verify", w.dir, "--json", NULL);
    struct json *j;
    assert_int_equal(json_parse(r.out, strlen(r.out), "out", &j, NULL), ST_OK);
    assert_true(json_bool(json_at(j, 0), "ok", false));
    assert_false(json_bool(json_at(j, 1), "ok", true));
    assert_non_null(strstr(json_str(json_at(j, 2), "error", ""), "100 bytes long"));
    json_free(j);
    expect(r, 3, "", "");
    free(path);
    path = file_join(w.dir, "cuts/3.json");
    assert_int_equal(truncate(path, 10), 0);
    expect(snap("list", w.dir, NULL, NULL), 3, "full", "cuts/3.json: damaged");
    free(path);
    path = file_join(w.dir, "plan.json");
    assert_int_equal(unlink(path), 0);
    expect(snap("verify", w.dir, NULL, NULL), 3, "", "plan.json");
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls), cmocka_unit_test(no_snapshot_there),
        cmocka_unit_test(list),  cmocka_unit_test(show),
        cmocka_unit_test(diff),  cmocka_unit_test(verify),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
