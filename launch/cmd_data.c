/* cmd_data.c - `penstock data`: look at a log, convert the logs of a job, make a shop's.
 *
 * The work is common/data's; here are the words, the interrupts, and the judging of the shop's truth,
 * which needs metrics (data knows none).
 */
#include "launch/cmd_data.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/job.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/progress.h"
#include "common/data/beside.h"
#include "common/data/cache.h"
#include "common/data/convert.h"
#include "common/data/inspect.h"
#include "common/data/shop.h"
#include "common/metrics/auc.h"
#include "common/metrics/logloss.h"
#include "common/metrics/ranking.h"
#include "launch/args.h"

static volatile int interrupted; /* polled by the conversion and the generator */

static void on_signal(int sig)
{
    interrupted = sig;
}

static void catch_signals(void)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof(sa));
    sigemptyset(&sa.sa_mask);
    sa.sa_handler = on_signal;
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
}

/* ---- inspect ------------------------------------------------------------------------------------ */

static int data_inspect(int argc, char **argv)
{
    static const struct args_spec spec = {
        .usage = "data inspect FILE",
        .about =
            "Guess the format, delimiter, header and column types of a log (plain, gzip or zstd)\n"
            "from its first rows, and print a job that reads it. Known: delimited text, Criteo,\n"
            "RecBole, libsvm, libffm, slots, JSON lines, TFRecord; Parquet with DuckDB's library.",
        .rest_min = 1,
        .rest_max = 1,
    };
    struct errbuf err = ERRBUF_INIT;
    struct args_list rest;
    struct inspect in;
    enum status st = args_parse(&spec, argc, argv, &rest, &err);
    if (st == ST_OK)
        st = inspect_file(rest.item[0], &in, &err);
    /* A log that is not there is bad data here, whatever the stream calls it. */
    if (st == ST_NOT_FOUND || st == ST_IO)
        st = ST_BAD_DATA;
    if (st != ST_OK)
        return args_fail("data inspect", st, &err);
    struct buffer text = BUFFER_INIT;
    inspect_text(&in, &text);
    buffer_printf(&text, "\n");
    inspect_job(&in, &text);
    fputs(buffer_text(&text), stdout);
    buffer_release(&text);
    inspect_release(&in);
    return 0;
}

/* ---- convert ------------------------------------------------------------------------------------ */

static void print_baselines(const struct job *job, const char *dir, enum part part)
{
    struct errbuf why = ERRBUF_INIT;
    struct json *named = beside_result(job, dir, part, NULL, &why);
    printf("  baselines on %s:%s\n", cache_part_name(part), why.text[0] != '\0' ? " none" : "");
    beside_print(named, stdout);
    json_free(named);
}

/* What lines became when records are users' histories. */
static void print_sequences(const struct job *job, const char *dir, const struct convert_result *r)
{
    const struct catalog_counts *c = &r->sequence;
    uint64_t lines = 0, bad = 0;
    for (int p = 0; p < PARTS; p++) {
        lines += r->lines[p];
        bad += r->bad[p];
    }
    printf("  lines  %12" PRIu64 ", bad %" PRIu64 "\n", lines, bad);
    printf("  events %12" PRIu64 " of %" PRIu64 " users and %" PRIu64 " items\n", c->events,
           c->users, r->items);
    if (c->users_short > 0)
        printf("  %" PRIu64 " users with fewer than %" PRIu64 " events are left out, %" PRIu64
               " events\n",
               c->users_short, job->data.sequence.min, c->events_short);
    if (c->no_history > 0)
        printf("  %" PRIu64 " events of valid and test have none before them and are left out\n",
               c->no_history);
    printf("  train  %12" PRIu64 " records, %" PRIu64 " positions\n", r->rows[PART_TRAIN],
           c->positions);
    for (int p = PART_VALID; p < PARTS; p++)
        if (r->rows[p] > 0)
            printf("  %-6s %12" PRIu64 " records\n", cache_part_name((enum part)p), r->rows[p]);
    for (int p = PART_VALID; p < PARTS; p++)
        if (r->rows[p] > 0)
            print_baselines(job, dir, (enum part)p);
}

static void print_parts(const struct job *job, const char *dir, const struct convert_result *r)
{
    printf("  %-6s %12s %10s %12s %10s\n", "part", "lines", "bad", "rows", "positive");
    for (int p = 0; p < PARTS; p++)
        if (r->lines[p] > 0)
            printf("  %-6s %12" PRIu64 " %10" PRIu64 " %12" PRIu64 " %9.2f%%\n",
                   cache_part_name((enum part)p), r->lines[p], r->bad[p], r->rows[p],
                   r->rows[p] > 0 ? 100 * (double)r->positives[p] / (double)r->rows[p] : 0);
    for (int p = PART_VALID; p < PARTS; p++)
        if (r->rows[p] > 0)
            print_baselines(job, dir, (enum part)p);
}

static void print_result(const struct job *job, const char *dir, const struct convert_result *r,
                         double seconds)
{
    uint64_t lines = 0, bad = 0;
    for (int p = 0; p < PARTS; p++) {
        lines += r->lines[p];
        bad += r->bad[p];
    }
    if (job->data.records == JOB_SEQUENCES)
        print_sequences(job, dir, r);
    else
        print_parts(job, dir, r);
    if (r->not_joined > 0)
        printf("  %" PRIu64 " of %" PRIu64 " ids are not in the side files of data.join\n",
               r->not_joined, r->joined);
    if (bad > 0)
        printf("  bad lines with their reasons: %s/quarantine.tsv\n", dir);
    if (r->reused)
        printf("%s: unchanged, used again (%.1f MB)\n", dir, (double)r->bytes / 1e6);
    else
        printf("%s: %.1f MB in %.1f s, %.0f lines/s\n", dir, (double)r->bytes / 1e6, seconds,
               seconds > 0 ? (double)lines / seconds : 0);
}

static int data_convert(int argc, char **argv)
{
    struct args_list sets = {.used = 0}, rest;
    const char *out = NULL;
    const struct args_flag flags[] = {
        {"--out", ARGS_TEXT, &out, "DIR",
         "folder of the caches; default: data.cache, else JOB.cache"},
        {"--set", ARGS_LIST, &sets, "key=value", "change an option of the job; may be repeated"},
    };
    const struct args_spec spec = {
        .usage = "data convert JOB.yaml [--out DIR] [--set key=value]...",
        .about =
            "Clean, normalize and cache the logs of a job, as train does first. Bad lines go to\n"
            "quarantine.tsv. Unchanged files are not converted again.",
        .flags = flags,
        .flags_used = sizeof(flags) / sizeof(flags[0]),
        .rest_min = 1,
        .rest_max = 1,
    };
    struct errbuf err = ERRBUF_INIT;
    struct job job;
    enum status st = args_parse(&spec, argc, argv, &rest, &err);
    if (st == ST_OK)
        st = job_load(rest.item[0], (char *const *)(uintptr_t)sets.item, sets.used, &job, &err);
    if (st != ST_OK)
        return args_fail("data convert", st, &err);
    struct buffer name = BUFFER_INIT;
    struct progress progress;
    struct convert_result r;
    if (out == NULL && job.data.cache != NULL && job.data.cache[0] != 0)
        out = job.data.cache;
    buffer_printf(&name, "%s.cache", job.name);
    if (out == NULL)
        out = buffer_text(&name);
    progress_init(&progress, stderr);
    catch_signals();
    uint64_t begun = clock_now_us();
    st = convert_job(&job, out, &progress, &interrupted, &r, &err);
    if (st == ST_OK) {
        progress_done(&progress, "convert: done");
        print_result(&job, out, &r, (double)(clock_now_us() - begun) / 1e6);
    }
    buffer_release(&name);
    job_release(&job);
    return args_fail("data convert", st, &err);
}

/* ---- synth shop --------------------------------------------------------------------------------- */

struct truth { /* how well the true probabilities rank and fit, by part */
    struct auc auc[PARTS][SHOP_KINDS];
    struct logloss loss[PARTS][SHOP_KINDS];
};

static const char *const kind_names[SHOP_KINDS] = {"click", "cart", "buy"};

static void judge_event(void *arg, enum part part, const struct shop_event *e)
{
    struct truth *t = arg;
    const float labels[SHOP_KINDS] = {e->click, e->cart, e->buy};
    for (size_t k = 0; k < SHOP_KINDS; k++) {
        const float logit = (float)(log(e->truth[k]) - log1p(-e->truth[k]));
        auc_add(&t->auc[part][k], &logit, &labels[k], 1);
        logloss_add(&t->loss[part][k], &logit, &labels[k], 1);
    }
}

static void put_kind(const struct truth *t, const struct shop_written *w, int p, size_t k,
                     struct json *part, struct buffer *text)
{
    const double auc = auc_value(&t->auc[p][k]).auc, loss = logloss_mean(&t->loss[p][k]);
    const uint64_t lines = w->lines[p], got = w->kinds[p][k];
    struct json *o = part;
    if (k == SHOP_CLICK) {
        json_set_u64(o, "clicks", got);
    } else {
        o = json_object();
        json_set_u64(o, "count", got);
        json_set(part, kind_names[k], o);
    }
    json_set_f64(o, "auc", auc);
    json_set_f64(o, "logloss", loss);
    buffer_printf(text, "  %-6s %12" PRIu64 " %-6s %9.2f%% %10.4f, %.4f\n",
                  cache_part_name((enum part)p), lines, kind_names[k],
                  100 * (double)got / (double)(lines > 0 ? lines : 1), auc, loss);
}

static enum status write_truth(const struct shop_config *config, const char *dir,
                               const struct truth *t, const struct shop_written *w,
                               struct buffer *text, struct errbuf *err)
{
    struct json *root = json_object();
    json_set_u64(root, "users", config->users);
    json_set_u64(root, "items", config->items);
    json_set_u64(root, "events", config->events);
    json_set_u64(root, "seed", config->seed);
    buffer_printf(text, "  %-6s %12s %-6s %10s %18s\n", "part", "lines", "label", "part of it",
                  "best AUC, logloss");
    for (int p = 0; p < PARTS; p++) {
        struct json *part = json_object();
        json_set_u64(part, "lines", w->lines[p]);
        for (size_t k = 0; k < SHOP_KINDS; k++)
            put_kind(t, w, p, k, part, text);
        json_set(root, cache_part_name((enum part)p), part);
    }
    char *body = json_text(root, 2), *path = file_join(dir, "truth.json");
    enum status st = file_write_atomic(path, body, strlen(body), err);
    free(path);
    free(body);
    json_free(root);
    return st;
}

enum status data_synth_shop(const struct shop_config *config, const char *dir,
                            const volatile int *stop, char **out_text, struct errbuf *err)
{
    struct truth t;
    struct shop_written w;
    struct buffer text = BUFFER_INIT;
    memset(&t, 0, sizeof(t));
    for (size_t i = 0; i < PARTS * SHOP_KINDS; i++)
        auc_init(&t.auc[i / SHOP_KINDS][i % SHOP_KINDS]);
    enum status st = shop_write(config, dir, judge_event, &t, stop, &w, err);
    if (st == ST_OK)
        st = write_truth(config, dir, &t, &w, &text, err);
    if (st == ST_OK && out_text != NULL)
        *out_text = mem_strdup(buffer_text(&text));
    buffer_release(&text);
    for (size_t i = 0; i < PARTS * SHOP_KINDS; i++)
        auc_release(&t.auc[i / SHOP_KINDS][i % SHOP_KINDS]);
    return st;
}

static int data_synth(int argc, char **argv)
{
    struct shop_config config = {.users = 2000, .items = 1000, .events = 200000, .seed = 1};
    const char *out = NULL;
    struct args_list rest;
    const struct args_flag flags[] = {
        {"--users", ARGS_U64, &config.users, "N", "shoppers, default 2000; a quarter come in time"},
        {"--items", ARGS_U64, &config.items, "N", "things for sale, default 1000"},
        {"--events", ARGS_U64, &config.events, "N", "impressions, default 200k"},
        {"--seed", ARGS_U64, &config.seed, "S", "the same seed makes the same bytes; default 1"},
        {"--out", ARGS_TEXT, &out, "DIR", "where the files go"},
    };
    const struct args_spec spec = {
        .usage = "data synth shop [--users N] [--items N] [--events N] [--seed S] --out DIR",
        .about = "Make the log of a shop: train.csv, valid.csv and test.csv (80, 10, 10 % by time) "
                 "with\n"
                 "clicks, carts and buys; truth.*.csv with each line's true probability of a "
                 "click; and\n"
                 "truth.json with the AUC that they reach, which no model can beat but by luck.",
        .flags = flags,
        .flags_used = sizeof(flags) / sizeof(flags[0]),
        .rest_min = 1,
        .rest_max = 1,
    };
    struct errbuf err = ERRBUF_INIT;
    char *text = NULL;
    enum status st = args_parse(&spec, argc, argv, &rest, &err);
    if (st == ST_OK && strcmp(rest.item[0], "shop") != 0)
        st = errbuf_set(&err, ST_USAGE, "%s: there is only one kind: shop", rest.item[0]);
    if (st == ST_OK && out == NULL)
        st = errbuf_set(&err, ST_USAGE, "--out DIR is missing");
    if (st == ST_OK) {
        catch_signals();
        st = data_synth_shop(&config, out, &interrupted, &text, &err);
    }
    if (st == ST_OK)
        printf("%s%s: train.csv, valid.csv, test.csv, truth.*.csv, truth.json\n", text, out);
    free(text);
    return args_fail("data synth", st, &err);
}

/* ---- the three ---------------------------------------------------------------------------------- */

int cmd_data(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
        const char *usage;
    } commands[] = {
        {"inspect", data_inspect, "data inspect FILE"},
        {"convert", data_convert, "data convert JOB.yaml [--out DIR] [--set key=value]..."},
        {"synth", data_synth,
         "data synth shop [--users N] [--items N] [--events N] [--seed S] --out DIR"},
    };
    size_t n = sizeof(commands) / sizeof(commands[0]);
    const char *word = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < n; i++)
        if (strcmp(word, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    bool help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
    FILE *to = help ? stdout : stderr;
    if (!help)
        fprintf(to, "penstock data: %s%s\n", word[0] != 0 ? word : "a word is missing",
                word[0] != 0 ? ": no such command" : "");
    for (size_t i = 0; i < n; i++)
        fprintf(to, "%s penstock %s\n", i == 0 ? "usage:" : "      ", commands[i].usage);
    return help ? 0 : 2;
}
