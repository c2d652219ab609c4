/* cmd_snap.c - `penstock snap`: list, show, verify and compare the complete cuts of a run.
 *
 * Reads DIR/cuts, DIR/data and DIR/plan.json and changes nothing; it may run beside a training that writes
 * them. A cut that vanishes meanwhile (pruned) is reported like any file that is missing. Facts go to
 * stdout, complaints to stderr; with --json stdout is one JSON value.
 */
#include "launch/cmd_snap.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/errbuf.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/plan.h"
#include "common/base/progress.h"
#include "launch/args.h"
#include "ps/snapshot/chain.h"
#include "ps/snapshot/diff.h"
#include "ps/snapshot/manifest.h"
#include "ps/snapshot/restore.h"

#define PLAN_BYTES_MAX ((size_t)16 << 20)
#define EXIT_DIFFERENT 1

static const char usage[] = "snap list DIR | show DIR[@k] | verify DIR[@k] | diff DIR[@k] DIR[@k]";
static const char about[] =
    "  list DIR                   the complete cuts of a run\n"
    "  show DIR[@k]               one cut: tables, tensors, positions, files, recipe\n"
    "  verify DIR[@k]             check every manifest and file, and recompute every hash\n"
    "  diff DIR[@k] DIR[@k]       compare two cuts row by row\n"
    "\n"
    "DIR is the folder of a run (train --out). For show and diff DIR alone is the cut that the "
    "recipe\n"
    "restores, else the newest; for list and verify it is all cuts. DIR@k is cut k, as `snap list` "
    "calls it.\n"
    "\n"
    "Exit codes: 0 done, and for diff: equal; 1 anything else, and for diff: different; 2 the call "
    "is\n"
    "wrong; 3 a snapshot is wrong.";

struct call {
    const char *arg[2];
    bool json;
};

static int complain(enum status st, const struct errbuf *err)
{
    return args_fail("snap", st, err);
}

static void print_json(struct json *j)
{
    char *text = json_text(j, 2);
    puts(text);
    free(text);
    json_free(j);
}

static void time_text(char dst[32], uint64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / 1000000u);
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL || strftime(dst, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(dst, 32, "-");
}

static enum status read_plan(const char *dir, struct plan *out, struct errbuf *err)
{
    char *path = file_join(dir, "plan.json"), *text;
    size_t n;
    enum status st = file_read(path, PLAN_BYTES_MAX, &text, &n, err);
    if (st == ST_OK) {
        st = plan_parse(text, n, path, out, err);
        free(text);
    }
    free(path);
    /* Without its plan a run's folder is no whole snapshot, whatever else is there. */
    return st == ST_NOT_FOUND ? ST_BAD_DATA : st;
}

struct sums {
    uint64_t rows, bytes, chain_bytes;
    bool full;
};

static struct sums sums_of(const struct manifest *m)
{
    struct sums s = {0, 0, 0, false};
    for (uint32_t t = 0; t < m->tables; t++)
        s.rows += m->rows[t];
    for (size_t i = 0; i < m->files_used; i++) {
        s.chain_bytes += m->files[i].bytes;
        if (m->files[i].k != m->k)
            continue;
        s.bytes += m->files[i].bytes;
        s.full = m->files[i].full;
    }
    return s;
}

/* -- list -- */

static struct json *list_json(const struct manifest *m, bool best)
{
    struct json *j = json_object();
    struct sums s = sums_of(m);
    json_set_u64(j, "k", m->k);
    json_set_u64(j, "e", m->e);
    json_set_u64(j, "wall_us", m->wall_us);
    json_set_str(j, "kind", s.full ? "full" : "delta");
    json_set_u64(j, "rows", s.rows);
    json_set_u64(j, "bytes", s.bytes);
    json_set_u64(j, "chain_bytes", s.chain_bytes);
    json_set_u64(j, "epoch", m->epoch);
    json_set_u64(j, "step", m->step);
    json_set_u64(j, "applied", m->applied);
    json_set_bool(j, "best", best);
    return j;
}

static void list_line(const struct manifest *m, bool best)
{
    struct sums s = sums_of(m);
    char when[32], bytes[16], chain[16];
    time_text(when, m->wall_us);
    progress_count(bytes, (double)s.bytes);
    progress_count(chain, (double)s.chain_bytes);
    printf("%6" PRIu64 " %4" PRIu64 "  %-20s  %-5s %12" PRIu64 " %8s %8s %6" PRIu64 " %9" PRIu64
           " %12" PRIu64 "%s\n",
           m->k, m->e, when, s.full ? "full" : "delta", s.rows, bytes, chain, m->epoch, m->step,
           m->applied, best ? "  best" : "");
}

static int need_cuts(const char *dir, uint64_t **k, size_t *n)
{
    struct errbuf err = ERRBUF_INIT;
    enum status st = ST_OK;
    if (!file_exists(dir))
        st = errbuf_set(&err, ST_BAD_DATA, "%s: no such folder", dir);
    if (st == ST_OK)
        st = manifest_list(dir, k, n, NULL, &err);
    if (st == ST_OK && *n == 0) {
        free(*k);
        st = errbuf_set(&err, ST_BAD_DATA, "%s: no complete cut there", dir);
    }
    return st == ST_OK ? 0 : complain(st, &err);
}

static int run_list(const struct call *c)
{
    uint64_t *k, best = 0;
    size_t n;
    struct manifest m;
    struct errbuf err = ERRBUF_INIT;
    int code = need_cuts(c->arg[0], &k, &n);
    if (code != 0)
        return code;
    if (manifest_newest(c->arg[0], &m, NULL, &err) == ST_OK) {
        best = m.best;
        manifest_release(&m);
    }
    struct json *all = json_array();
    if (!c->json)
        printf("%6s %4s  %-20s  %-5s %12s %8s %8s %6s %9s %12s\n", "cut", "e", "when", "kind",
               "rows", "bytes", "chain", "epoch", "step", "applied");
    for (size_t i = 0; i < n; i++) {
        enum status st = manifest_read(c->arg[0], k[i], &m, &err);
        if (st != ST_OK) {
            code = complain(st, &err);
            continue;
        }
        json_add(all, list_json(&m, m.k == best));
        if (!c->json)
            list_line(&m, m.k == best);
        manifest_release(&m);
    }
    if (c->json)
        print_json(all);
    else
        json_free(all);
    free(k);
    return code;
}

/* -- show -- */

static struct json *tensors_json(const struct plan *plan)
{
    struct json *all = json_array();
    for (size_t t = 0; t < plan->tables_used; t++) {
        for (size_t i = 0; i < plan->tables[t].tensors_used; i++) {
            const struct plan_tensor *x = &plan->tables[t].tensors[i];
            struct json *one = json_object(), *shape = json_array();
            json_set_str(one, "table", plan->tables[t].name);
            json_set_str(one, "name", x->name);
            for (uint32_t d = 0; d < x->dims; d++)
                json_add_u64(shape, x->shape[d]);
            json_set(one, "shape", shape);
            json_add(all, one);
        }
    }
    return all;
}

static void show_tables(const struct manifest *m, const struct plan *plan)
{
    printf("\n%-24s %6s %12s  %s\n", "table", "dim", "rows", "hash");
    for (uint32_t t = 0; t < m->tables; t++) {
        int at = plan_find(plan, m->table_name[t]);
        char dim[16] = "-";
        if (at >= 0)
            snprintf(dim, sizeof dim, "%u", plan->tables[at].dim);
        printf("%-24s %6s %12" PRIu64 "  %016" PRIx64 "\n", m->table_name[t], dim, m->rows[t],
               m->hash[t]);
    }
    printf("\n%-40s %s\n", "tensor", "shape");
    for (size_t t = 0; t < plan->tables_used; t++) {
        for (size_t i = 0; i < plan->tables[t].tensors_used; i++) {
            const struct plan_tensor *x = &plan->tables[t].tensors[i];
            char name[2 * PLAN_NAME_MAX + 2];
            snprintf(name, sizeof name, "%s.%s", plan->tables[t].name, x->name);
            printf("%-40s %" PRIu64, name, x->shape[0]);
            if (x->dims > 1)
                printf(" x %" PRIu64, x->shape[1]);
            printf("\n");
        }
    }
}

static void show_positions(const struct manifest *m)
{
    uint64_t done = 0;
    for (size_t i = 0; i < m->splits_used; i++)
        done += m->splits[i].upto - m->splits[i].split * m->split_records;
    printf("\nepoch %" PRIu64 ": %" PRIu64 " of %" PRIu64 " records, in splits of %" PRIu64
           "; %" PRIu64 " applied over all epochs\n",
           m->epoch, done, m->records, m->split_records, m->applied);
    for (size_t i = 0; i < m->splits_used; i++) {
        uint64_t begin = m->splits[i].split * m->split_records;
        uint64_t end =
            begin + m->split_records < m->records ? begin + m->split_records : m->records;
        if (m->splits[i].upto < end)
            printf("  split %" PRIu64 ": [%" PRIu64 ", %" PRIu64 ") of [%" PRIu64 ", %" PRIu64
                   ")\n",
                   m->splits[i].split, begin, m->splits[i].upto, begin, end);
    }
}

static void show_text(const char *dir, const struct manifest *m, const struct plan *plan)
{
    struct sums s = sums_of(m);
    char when[32];
    time_text(when, m->wall_us);
    printf("cut %" PRIu64 " of %s%s\n", m->k, dir, m->best == m->k ? " (best)" : "");
    printf("  incarnation %" PRIu64 ", %s, written %s, relative to cut %" PRIu64 "\n", m->e,
           s.full ? "full" : "delta", when, m->prev);
    printf("  step %" PRIu64 ", rendered to %" PRIu64 ", seed %" PRIu64 ", best %" PRIu64 "\n",
           m->step, m->rendered, m->seed, m->best);
    printf("  job %016" PRIx64 ", config %016" PRIx64 ", plan %016" PRIx64 ", encoder %016" PRIx64
           "\n",
           m->job, m->config_hash, m->plan_hash, m->encoder_hash);
    show_tables(m, plan);
    show_positions(m);
    printf("\n%-40s %10s %14s  %s\n", "file", "rows", "bytes", "xxh3");
    for (size_t i = 0; i < m->files_used; i++)
        printf("%-40s %10" PRIu64 " %14" PRIu64 "  %016" PRIx64 "\n", m->files[i].name,
               m->files[i].rows, m->files[i].bytes, m->files[i].xxh3);
    printf("%" PRIu64 " rows, %u shards, %" PRIu64 " bytes in %zu files\n", s.rows, m->shards,
           s.chain_bytes, m->files_used);
    if (m->recipe != NULL)
        printf("\nrecipe %s\n", m->recipe);
}

static int run_show(const struct call *c)
{
    struct manifest m;
    struct plan plan;
    struct errbuf err = ERRBUF_INIT;
    char dir[1024];
    enum status st = manifest_resolve(c->arg[0], dir, sizeof dir, &m, &err);
    if (st != ST_OK)
        return complain(st, &err);
    st = read_plan(dir, &plan, &err);
    if (st != ST_OK) {
        manifest_release(&m);
        return complain(st, &err);
    }
    if (c->json) {
        struct json *j;
        char *text = manifest_text(&m);
        st = json_parse(text, strlen(text), "manifest", &j, &err);
        free(text);
        if (st == ST_OK) {
            json_set(j, "tensors", tensors_json(&plan));
            print_json(j);
        }
    } else {
        show_text(dir, &m, &plan);
    }
    plan_release(&plan);
    manifest_release(&m);
    return st == ST_OK ? 0 : complain(st, &err);
}

/* -- verify -- */

static struct json *verify_json(uint64_t k, enum status st, const struct verify_result *r,
                                const struct errbuf *err)
{
    struct json *one = json_object();
    json_set_u64(one, "k", k);
    json_set_bool(one, "ok", st == ST_OK);
    if (st == ST_OK) {
        json_set_u64(one, "files", r->files);
        json_set_u64(one, "bytes", r->bytes);
        json_set_u64(one, "rows", r->rows);
    } else {
        json_set_str(one, "error", err->text);
    }
    return one;
}

static int verify_all(const struct call *c, const char *dir, const uint64_t *k, size_t n,
                      const struct plan *plan)
{
    struct json *all = json_array();
    int code = 0;
    for (size_t i = 0; i < n; i++) {
        struct verify_result r;
        struct errbuf err = ERRBUF_INIT;
        enum status st = snapshot_verify(dir, k[i], plan, &r, &err);
        if (c->json)
            json_add(all, verify_json(k[i], st, &r, &err));
        else if (st == ST_OK)
            printf("cut %" PRIu64 ": whole: %" PRIu64 " files, %" PRIu64 " bytes, %" PRIu64
                   " rows\n",
                   k[i], r.files, r.bytes, r.rows);
        if (st != ST_OK)
            code = complain(st, &err);
    }
    if (c->json)
        print_json(all);
    else
        json_free(all);
    return code;
}

static int run_verify(const struct call *c)
{
    struct errbuf err = ERRBUF_INIT;
    struct plan plan;
    struct manifest m;
    char dir[1024];
    uint64_t *k;
    size_t n;
    /* DIR@k is one cut, DIR is all of them: only a spec with a number is resolved. */
    if (!file_exists(c->arg[0]) && strrchr(c->arg[0], '@') != NULL) {
        enum status st = manifest_resolve(c->arg[0], dir, sizeof dir, &m, &err);
        if (st != ST_OK)
            return complain(st, &err);
        k = mem_alloc(sizeof *k);
        k[0] = m.k;
        n = 1;
        manifest_release(&m);
    } else {
        int code = need_cuts(c->arg[0], &k, &n);
        if (code != 0)
            return code;
        snprintf(dir, sizeof dir, "%s", c->arg[0]);
    }
    enum status st = read_plan(dir, &plan, &err);
    int code = st == ST_OK ? verify_all(c, dir, k, n, &plan) : complain(st, &err);
    if (st == ST_OK)
        plan_release(&plan);
    free(k);
    return code;
}

/* -- diff -- */

struct side {
    struct manifest m;
    struct plan *plan; /* owned */
    struct chain chain;
    bool open;
};

static void side_close(struct side *s)
{
    if (!s->open)
        return;
    chain_close(&s->chain);
    plan_release(s->plan);
    free(s->plan);
    manifest_release(&s->m);
}

static enum status side_open(struct side *s, const char *spec, struct errbuf *err)
{
    char dir[1024];
    enum status st = manifest_resolve(spec, dir, sizeof dir, &s->m, err);
    if (st != ST_OK)
        return st;
    s->plan = mem_zalloc(sizeof *s->plan);
    st = read_plan(dir, s->plan, err);
    if (st != ST_OK)
        goto free_plan;
    st = chain_open(dir, &s->m, s->plan, &s->chain, err);
    if (st != ST_OK)
        goto release_plan;
    s->open = true;
    return ST_OK;

release_plan:
    plan_release(s->plan);
free_plan:
    free(s->plan);
    manifest_release(&s->m);
    return st;
}

static bool hash_of(const struct manifest *m, const char *table, uint64_t *out)
{
    for (uint32_t t = 0; t < m->tables; t++) {
        if (strcmp(m->table_name[t], table) == 0) {
            *out = m->hash[t];
            return true;
        }
    }
    return false;
}

static bool same_hash(const struct side *a, const struct side *b, const char *table)
{
    uint64_t x, y;
    return hash_of(&a->m, table, &x) && hash_of(&b->m, table, &y) && x == y;
}

static bool same_rows(const struct diff_table *d)
{
    return d->in_a && d->in_b && d->only_a + d->only_b + d->changed == 0;
}

static struct json *diff_json(const struct diff_table *d, bool hash)
{
    struct json *j = json_object();
    json_set_str(j, "table", d->name);
    json_set_u64(j, "rows_a", d->rows_a);
    json_set_u64(j, "rows_b", d->rows_b);
    json_set_u64(j, "only_a", d->only_a);
    json_set_u64(j, "only_b", d->only_b);
    json_set_u64(j, "changed", d->changed);
    json_set_f64(j, "max_difference", d->weight_max);
    json_set_bool(j, "same_hash", hash);
    return j;
}

static int report_diff(const struct call *c, const struct side *a, const struct side *b,
                       const struct diff_table *d, size_t n)
{
    struct json *tables = json_array();
    bool same = true;
    if (!c->json)
        printf("%-24s %12s %12s %12s %14s %20s  %s\n", "table", "only in A", "only in B", "changed",
               "max |A - B|", "of row", "hash");
    for (size_t t = 0; t < n; t++) {
        bool hash = same_hash(a, b, d[t].name);
        same = same && hash && same_rows(&d[t]);
        json_add(tables, diff_json(&d[t], hash));
        if (c->json)
            continue;
        char row[24] = "-";
        if (d[t].weight_max > 0)
            snprintf(row, sizeof row, "%" PRIu64, d[t].weight_key);
        printf("%-24s %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %14.6g %20s  %s\n", d[t].name,
               d[t].only_a, d[t].only_b, d[t].changed, d[t].weight_max, row,
               hash ? "same" : "differs");
    }
    if (c->json) {
        struct json *j = json_object();
        json_set_bool(j, "equal", same);
        json_set(j, "tables", tables);
        print_json(j);
    } else {
        printf("%s\n", same ? "equal" : "different");
        json_free(tables);
    }
    return same ? 0 : EXIT_DIFFERENT;
}

static int run_diff(const struct call *c)
{
    struct side a = {.open = false}, b = {.open = false};
    struct errbuf err = ERRBUF_INIT;
    struct diff_table d[2 * PLAN_TABLES_MAX];
    size_t n;
    enum status st = side_open(&a, c->arg[0], &err);
    if (st == ST_OK)
        st = side_open(&b, c->arg[1], &err);
    if (st == ST_OK)
        st = diff_chains(&a.chain, &b.chain, d, &n, &err);
    int code = st == ST_OK ? report_diff(c, &a, &b, d, n) : complain(st, &err);
    side_close(&b);
    side_close(&a);
    return code;
}

/* -- the call -- */

static const struct {
    const char *name;
    size_t args;
    int (*run)(const struct call *c);
} verbs[] = {
    {"list", 1, run_list}, {"show", 1, run_show}, {"verify", 1, run_verify}, {"diff", 2, run_diff}};

int cmd_snap(int argc, char **argv)
{
    struct call c = {{NULL, NULL}, false};
    const struct args_flag flags[] = {
        {"--json", ARGS_SWITCH, &c.json, NULL, "one JSON value on stdout instead of a table"}};
    const struct args_spec spec = {usage, about, flags, 1, 2, 3};
    struct args_list rest;
    struct errbuf err = ERRBUF_INIT;
    enum status st = args_parse(&spec, argc, argv, &rest, &err);
    if (st != ST_OK)
        return complain(st, &err);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i].name, rest.item[0]) != 0)
            continue;
        if (rest.used - 1 != verbs[i].args) {
            st = errbuf_set(&err, ST_USAGE, "%s takes %s; usage: penstock %s", verbs[i].name,
                            verbs[i].args == 1 ? "one snapshot" : "two snapshots", usage);
            return complain(st, &err);
        }
        c.arg[0] = rest.item[1];
        c.arg[1] = verbs[i].args == 2 ? rest.item[2] : NULL;
        return verbs[i].run(&c);
    }
    st = errbuf_set(&err, ST_USAGE, "there is no \"%.40s\"; usage: penstock %s", rest.item[0],
                    usage);
    return complain(st, &err);
}
