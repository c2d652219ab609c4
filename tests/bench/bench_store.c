/* bench_store.c - rows a second of lookups, pulls and pushes, beside what the memory could do.
 *
 *   bench_store [ROWS [DIM [REPEATS]]]        default 2000000 16 5
 *
 * The ceiling is measured in the same run, in the same kind of memory (huge pages, as large as the records):
 * random 64-byte lines read with prefetch far ahead, and for pushes read and written. A row's share of it is
 * the lines that the work cannot avoid: the group in the index (lookups only), the record, written back for
 * pushes, and the rows or gradients of the batch, which stream. Times are the best of REPEATS, because other
 * programs run on the machine.
 *
 * Two optimizers in full, then a line for each, with missed steps left alone (l2_mode touched). The last lines
 * replay them: the batches come round, so a row has missed up to BATCHES - 1 steps at each touch, and its
 * arithmetic, not the memory, is the bound.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "ps/optim/optim.h"
#include "ps/train/applier.h"

#define BATCHES 48u
#define BATCH   8192u
#define AHEAD   24u
#define ZIPF    1.05

static size_t rows = 2000000;
static uint32_t dim = 16;
static int repeats = 5;

struct load { /* unique keys of BATCHES pushes */
    const char *name;
    uint64_t *keys; /* (BATCHES, BATCH) */
    size_t n[BATCHES];
    size_t all;
};

struct bench {
    struct plan plan;
    struct store *store;
    struct applier *ap;
    struct undo *log;
    uint64_t step;
    uint32_t stamp;
    uint32_t *slots; /* (BATCHES, BATCH) as pulled */
    float *out, *grads;
};

static double seconds_now(void)
{
    return (double)clock_cpu_us() * 1e-6;
}

static uint64_t key_at(uint64_t i)
{
    return rng_mix(9, i);
}

/* -- loads -- */

static void load_uniform(struct load *l)
{
    l->name = "uniform";
    l->keys = mem_array(BATCHES * BATCH, sizeof *l->keys);
    for (size_t b = 0; b < BATCHES; b++) {
        l->n[b] = BATCH < rows ? BATCH : rows;
        for (size_t i = 0; i < l->n[b]; i++)
            l->keys[b * BATCH + i] = key_at(rng_permute(b + 1, rows, i));
        l->all += l->n[b];
    }
}

/* Ids of a log: Zipf by inverting a power law, made unique as a worker does. Row 0 is the most popular; its
 * place in memory is that of any other, since rows were added in random order. */
static void load_zipf(struct load *l, unsigned char *seen)
{
    l->name = "zipf";
    l->keys = mem_array(BATCHES * BATCH, sizeof *l->keys);
    struct rng rng = {.key = 2};
    const double a = 1 - ZIPF, top = pow((double)rows, a);
    for (size_t b = 0; b < BATCHES; b++) {
        size_t n = 0;
        memset(seen, 0, rows);
        for (size_t draws = 0; draws < 2 * (size_t)BATCH && n < BATCH; draws++) {
            const double u = rng_next_unit(&rng);
            size_t i = (size_t)pow(1 + u * (top - 1), 1 / a) - 1;
            i = i < rows ? i : rows - 1;
            if (seen[i])
                continue;
            seen[i] = 1;
            l->keys[b * BATCH + n++] = key_at(i);
        }
        l->n[b] = n;
        l->all += n;
    }
}

/* -- the ceiling -- */

/* ns a 64-byte line, at random, prefetched. */
static double line_ns(size_t bytes, bool write)
{
    const size_t lines = bytes / 64, n = 1 << 16;
    void *slab = NULL;
    if (mem_slab(lines * 64, &slab, NULL) != ST_OK)
        exit(1);
    char *base = slab;
    for (size_t i = 0; i < lines; i++)
        base[i * 64] = 1;
    uint32_t *at = mem_array(16 * n + AHEAD, sizeof *at);
    for (size_t i = 0; i < 16 * n + AHEAD; i++)
        at[i] = (uint32_t)(((rng_u64(1, 2, i) >> 32) * lines) >> 32);
    double best = 1e9;
    uint64_t sum = 0;
    for (size_t r = 0; r < (size_t)repeats * 16; r++) { /* other lines each time */
        const double start = seconds_now();
        for (size_t i = r % 16 * n; i < (r % 16 + 1) * n; i++) {
            __builtin_prefetch(base + (size_t)at[i + AHEAD] * 64);
            uint64_t *line = (void *)(base + (size_t)at[i] * 64);
            sum += line[0];
            if (write)
                line[0] = sum;
        }
        best = fmin(best, (seconds_now() - start) / (double)n);
    }
    if (sum == 1)
        printf(" ");
    free(at);
    mem_slab_free(slab, lines * 64);
    return best * 1e9;
}

/* ns a 64-byte line of streaming copy, for frames. */
static double stream_ns(void)
{
    const size_t bytes = BATCH * 64;
    char *a = mem_aligned(64, bytes), *b = mem_aligned(64, bytes);
    double best = 1e9;
    for (int r = 0; r < repeats * 20; r++) {
        const double start = seconds_now();
        memcpy(r % 2 ? a : b, r % 2 ? b : a, bytes);
        best = fmin(best, (seconds_now() - start) / BATCH);
    }
    free(a);
    free(b);
    return best * 1e9;
}

/* -- the work -- */

static void bench_init(struct bench *b, const struct job_optim *optim)
{
    memset(b, 0, sizeof *b);
    b->plan.seed = 1;
    plan_add_sparse(&b->plan, "embedding", dim, PLAN_NORMAL, 0.01, optim);
    const uint32_t floats[1] = {optim_state_floats(&b->plan.tables[0])};
    struct errbuf err = ERRBUF_INIT;
    if (store_new(&b->plan, floats, UINT64_MAX, &b->store, &err) != ST_OK) {
        fprintf(stderr, "bench_store: %s\n", err.text);
        exit(1);
    }
    b->ap = applier_new(&b->plan, b->store, 0, 1e6);
    b->log = undo_new();
    b->stamp = 1;
    b->slots = mem_array(BATCHES * BATCH, sizeof *b->slots);
    b->out = mem_array(BATCH * (size_t)dim, sizeof *b->out);
    b->grads = mem_array(BATCH * (size_t)dim, sizeof *b->grads);
    struct rng rng = {.key = 1};
    for (size_t i = 0; i < BATCH * (size_t)dim; i++)
        b->grads[i] = (float)(rng_next_unit(&rng) - 0.5) * 1e-2f;
}

static void bench_release(struct bench *b)
{
    undo_free(b->log);
    applier_free(b->ap);
    store_free(b->store);
    plan_release(&b->plan);
    free(b->slots);
    free(b->out);
    free(b->grads);
}

static double fill(struct bench *b)
{
    const double start = seconds_now();
    uint32_t slot;
    for (size_t i = 0; i < rows; i++)
        if (table_add(b->store->table[0], key_at(rng_permute(77, rows, i)), &slot, NULL) != ST_OK)
            exit(1);
    return (seconds_now() - start) / (double)rows * 1e9;
}

enum work { FIND, PULL, PUSH_KEYS, PUSH, PUSH_UNDO };

static void one_batch(struct bench *b, const struct load *l, enum work what, size_t i)
{
    const uint64_t *keys = l->keys + i * BATCH;
    uint32_t *slots = b->slots + i * BATCH;
    struct applier_result r = {0};
    if (what == FIND) {
        table_find(b->store->table[0], keys, l->n[i], slots);
        return;
    }
    if (what == PULL || what == PUSH_KEYS)
        memset(slots, 0xff, l->n[i] * sizeof *slots);
    if (what == PULL) {
        applier_pull(b->ap, 0, keys, l->n[i], slots, b->step, b->out);
        return;
    }
    if (applier_push(b->ap, 0, keys, slots, l->n[i], b->grads, ++b->step,
                     what == PUSH_UNDO ? b->log : NULL, b->stamp, &r, NULL) != ST_OK ||
        r.refused + r.full + r.added != 0)
        exit(1);
}

/* ns a row. An interval of the undo log is all the batches: nearly every row is a first touch. The best time
 * of each batch, which is shorter than a time slice, so that other programs disturb some repeats, not all. */
static double time_work(struct bench *b, const struct load *l, enum work what)
{
    double best[BATCHES], sum = 0;
    for (int r = 0; r <= repeats; r++) { /* the first to warm up: pages of the undo log */
        undo_reset(b->log);
        b->stamp++;
        for (size_t i = 0; i < BATCHES; i++) {
            const double start = seconds_now();
            one_batch(b, l, what, i);
            const double took = seconds_now() - start;
            best[i] = r <= 1 || took < best[i] ? took : best[i];
        }
    }
    for (size_t i = 0; i < BATCHES; i++)
        sum += best[i];
    return sum / (double)l->all * 1e9;
}

/* What this run's memory does, for a table of so many bytes: ns a 64-byte line. */
struct memory {
    double read, changed, copied;
};

static struct memory memory_now(const struct table *t)
{
    const size_t bytes = rows * (table_record_bytes(t) + 8);
    return (struct memory){line_ns(bytes, false), line_ns(bytes, true), stream_ns()};
}

/* The lines that work on one row cannot avoid, and what they cost. */
struct ceiling {
    double lines, ns;
};

static struct ceiling ceiling_of(const struct table *t, const struct memory *m, enum work what)
{
    const double record = ceil(((double)table_record_bytes(t) + 8) / 64);
    const double pulled = ceil((24 + 4.0 * dim) / 64), frame = 4.0 * dim / 64;
    switch (what) {
    case FIND: return (struct ceiling){2, 2 * m->read};
    case PULL:
        return (struct ceiling){1 + pulled + frame, (1 + pulled) * m->read + frame * m->copied};
    case PUSH_KEYS:
        return (struct ceiling){1 + record + frame,
                                m->read + record * m->changed + frame * m->copied};
    case PUSH: return (struct ceiling){record + frame, record * m->changed + frame * m->copied};
    case PUSH_UNDO: break;
    }
    return (struct ceiling){2 * record + frame,
                            record * (m->changed + m->copied) + frame * m->copied};
}

static void report(struct bench *b, const struct load *l, const struct memory *m)
{
    static const char *const names[] = {"find", "pull", "push, keys", "push, handle",
                                        "push, handle, undo"};
    printf("  %s: %zu unique keys a batch\n", l->name, l->all / BATCHES);
    for (enum work what = FIND; what <= PUSH_UNDO; what++) {
        if (what == PUSH)
            (void)time_work(b, l, PULL); /* handles */
        const double ns = time_work(b, l, what);
        const struct ceiling c = ceiling_of(b->store->table[0], m, what);
        printf("    %-22s %7.1f ns a row %8.2f M rows/s   ceiling %6.2f M rows/s (%.2f lines) "
               "%4.0f%%\n",
               names[what], ns, 1e3 / ns, 1e3 / c.ns, c.lines, 100 * c.ns / ns);
    }
}

/* -- what is benched -- */

/* The defaults of the option table. false: there is no optimizer of this number. */
static bool optim_of(int kind, struct job_optim *out)
{
    char text[160];
    struct job job;
    struct errbuf err = ERRBUF_INIT;
    if (strcmp(job_optimizer_name(kind), "?") == 0)
        return false;
    const int n = snprintf(text, sizeof text,
                           "data: {train: x, format: libsvm}\nmodel: {family: lr}\n"
                           "optimizer: {embedding: {kind: %s}}\n",
                           job_optimizer_name(kind));
    if (job_parse(text, (size_t)n, "bench", "/", NULL, 0, &job, &err) != ST_OK) {
        fprintf(stderr, "bench_store: %s\n", err.text);
        exit(1);
    }
    *out = job.optimizer.embedding;
    job_release(&job);
    out->l2_mode = JOB_L2_TOUCHED;
    return true;
}

/* Every kind of work on both loads. */
static void in_full(int kind, const struct load loads[2])
{
    struct job_optim optim;
    struct bench b;
    if (!optim_of(kind, &optim))
        return;
    bench_init(&b, &optim);
    const double add_ns = fill(&b);
    const struct table *t = b.store->table[0];
    double probes;
    uint32_t longest;
    table_probe_stats(t, &probes, &longest);
    const struct memory m = memory_now(t);
    printf("%s, %zu rows of %u floats: %.1f bytes a row (record %zu), %.3f groups a key "
           "(longest %u), add %.0f ns\n",
           job_optimizer_name(kind), rows, dim, (double)table_bytes(t) / (double)rows,
           table_record_bytes(t), probes, longest, add_ns);
    printf("  memory: a random line %.1f ns read, %.1f ns changed (%.1f GB/s), copied in cache "
           "%.1f ns\n",
           m.read, m.changed, 64 / m.read, m.copied);
    for (size_t l = 0; l < 2; l++)
        report(&b, &loads[l], &m);
    bench_release(&b);
}

/* One line: pulls that look up, pushes by handle, both on l. */
static void in_short(const struct job_optim *optim, const struct load *l)
{
    struct bench b;
    bench_init(&b, optim);
    (void)fill(&b);
    const struct table *t = b.store->table[0];
    const struct memory m = memory_now(t);
    (void)time_work(&b, l, PULL);
    const double push_ns = time_work(&b, l, PUSH), pull_ns = time_work(&b, l, PULL);
    printf("  %-15s %-7s %6.1f bytes a row   pull %6.2f M rows/s %4.0f%%   push %6.2f M rows/s "
           "%4.0f%%\n",
           job_optimizer_name(optim->kind), optim->l2_mode == JOB_L2_EXACT ? "exact" : "touched",
           (double)table_bytes(t) / (double)rows, 1e3 / pull_ns,
           100 * ceiling_of(t, &m, PULL).ns / pull_ns, 1e3 / push_ns,
           100 * ceiling_of(t, &m, PUSH).ns / push_ns);
    bench_release(&b);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        rows = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        dim = (uint32_t)strtoul(argv[2], NULL, 10);
    if (argc > 3)
        repeats = atoi(argv[3]);
    struct load loads[2] = {{0}};
    unsigned char *seen = mem_zalloc(rows);
    load_uniform(&loads[0]);
    load_zipf(&loads[1], seen);
    in_full(JOB_ROWWISE_ADAGRAD, loads);
    in_full(JOB_ADAM, loads);

    printf("every optimizer, %s keys, %% of what the memory could do\n", loads[1].name);
    struct job_optim optim;
    for (int kind = 0; optim_of(kind, &optim); kind++)
        in_short(&optim, &loads[1]);
    for (int kind = 0; optim_of(kind, &optim); kind++) {
        optim.l2_mode = JOB_L2_EXACT;
        optim.l2 = 1e-6;
        in_short(&optim, &loads[1]);
    }

    free(seen);
    free(loads[0].keys);
    free(loads[1].keys);
    return 0;
}
