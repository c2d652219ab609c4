/* cmd_ab.c - `penstock ab`: assignment and statistics of A/B tests, for anyone to hold against another
 * implementation. What a node measures it reports itself; here everything is a function of the call.
 */
#include "launch/cmd_ab.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/option.h"
#include "common/metrics/ab_calc.h"
#include "common/metrics/experiment.h"
#include "launch/ab_report.h"
#include "launch/ab_trials.h"
#include "launch/args.h"

#define COUNT(a)         (sizeof(a) / sizeof((a)[0]))
#define CALC_BYTES_MAX   ((size_t)64 << 20)
#define ID_BYTES_MAX     4096
#define TRIALS_LOOKS_MAX 1e11

/* A number of a flag, by the grammar of job files. */
static enum status number(const char *flag, const char *text, double min, double max, double *out,
                          struct errbuf *err)
{
    const struct option row = {.path = flag, .type = OPT_F64, .min = min, .max = max, .help = ""};
    const struct yaml_node node = {.kind = YAML_SCALAR, .text = (char *)(uintptr_t)text};
    const struct yaml_node *at;
    const enum status st = option_load(&row, &node, out, &at, err);
    return st == ST_OK ? st : errbuf_wrap(err, ST_USAGE, "%s: ", flag);
}

/* -- hash -- */

static int ab_hash(int argc, char **argv)
{
    static const struct {
        const char *name;
        enum ab_hash hash;
    } versions[] = {{"1", AB_HASH_V1}, {"2", AB_HASH_V2}, {"murmur3", AB_HASH_MURMUR3}};
    const char *version = "2", *part = NULL;
    struct args_list rest, seeds = {.used = 0}; /* a list, since "" is a seed and no text */
    const struct args_flag flags[] = {
        {"--seed", ARGS_LIST, &seeds, "S", "what users are dealt by; default and \"\": none"},
        {"--version", ARGS_TEXT, &version, "1|2|murmur3", "default 2"},
        {"--namespace", ARGS_TEXT, &part, "NAME",
         "the number within a namespace; no seed, version"},
    };
    const struct args_spec spec = {
        "ab hash [--seed S] [--version 1|2|murmur3] -- VALUE",
        "Prints the number in [0, 1) by which VALUE, a user's id, is assigned. Versions 1 and 2 "
        "are\n"
        "GrowthBook's, murmur3 is Optimizely's (its bucket / 10000, S the experiment's id).\n"
        "  penstock ab hash --seed seed -- a          0.0505",
        flags,
        COUNT(flags),
        1,
        1};
    struct errbuf err = ERRBUF_INIT;
    enum status st = args_parse(&spec, argc, argv, &rest, &err);
    if (st == ST_OK && seeds.used > 1)
        st = errbuf_set(&err, ST_USAGE, "--seed: given twice");
    if (st != ST_OK)
        return args_fail("ab hash", st, &err);
    const char *seed = seeds.used > 0 ? seeds.item[0] : "";
    if (part != NULL) {
        printf("%g\n", ab_namespace_number(part, rest.item[0]));
        return 0;
    }
    for (size_t i = 0; i < COUNT(versions); i++) {
        if (strcmp(versions[i].name, version) == 0) {
            printf("%g\n", ab_number(versions[i].hash, seed, rest.item[0]));
            return 0;
        }
    }
    st = errbuf_set(&err, ST_USAGE, "--version: there is no %.40s; there are 1, 2 and murmur3",
                    version);
    return args_fail("ab hash", st, &err);
}

/* -- calc -- */

static int ab_calc_file(int argc, char **argv)
{
    struct args_list rest;
    const struct args_spec spec = {
        "ab calc FILE.json",
        "Computes every statistic of an A/B test from sums over users and prints JSON. FILE.json:\n"
        "  {\"kind\": \"mean\", \"test\": \"both\", \"side\": \"two-sided\", \"alpha\": 0.05, "
        "\"n_star\": 5000,\n"
        "   \"arms\": [{\"name\": \"A\", \"n\": 3407, \"sum\": 1396.87, \"sum_squares\": "
        "52377.9767},\n"
        "            {\"name\": \"B\", \"n\": 3461, \"sum\": 2422.7, \"sum_squares\": "
        "134698.29}]}\n"
        "\n"
        "kind: mean, proportion (no sum_squares needed) or ratio (denominator_sum, "
        "denominator_sum_squares,\n"
        "denominator_cross_sum of each arm). test: both, sequential (confidence sequence) or fixed "
        "(Welch's t).\n"
        "side: two-sided, greater or less. n_star: users of both arms at which a decision is "
        "expected.\n"
        "CUPED, in each arm: covariate_sum, covariate_sum_squares, cross_sum (of metric times "
        "covariate).\n"
        "SRM: weight of each arm (default equal); periods: [[users of each arm], ...], one list a "
        "look.\n"
        "Only arms must be given; the first is the control. null in the answer: not enough data.",
        NULL,
        0,
        1,
        1};
    struct errbuf err = ERRBUF_INIT;
    struct json *in = NULL, *out = NULL;
    enum status st = args_parse(&spec, argc, argv, &rest, &err);
    if (st != ST_OK)
        return args_fail("ab calc", st, &err);
    st = json_read(rest.item[0], CALC_BYTES_MAX, &in, &err);
    if (st != ST_OK)
        return args_fail("ab calc", ST_USAGE, &err);
    st = ab_calc(in, rest.item[0], &out, &err);
    if (st == ST_OK) {
        char *text = json_text(out, 2);
        puts(text);
        free(text);
        json_free(out);
    }
    json_free(in);
    return args_fail("ab calc", st, &err);
}

/* -- assign, check -- */

static void print_variant(const struct experiment *e, const char *user)
{
    const int v = experiment_assign(e, user);
    printf("%s\t%s\n", user, v < 0 ? "-" : e->variant[v].name);
}

/* Ids from standard input, a line each. */
static enum status assign_lines(const struct experiment *e, struct errbuf *err)
{
    char line[ID_BYTES_MAX + 2];
    for (uint64_t n = 1; fgets(line, sizeof line, stdin) != NULL; n++) {
        const size_t bytes = strcspn(line, "\n");
        if (bytes > ID_BYTES_MAX)
            return errbuf_set(err, ST_USAGE,
                              "standard input:%" PRIu64 ": an id of more than %d bytes", n,
                              ID_BYTES_MAX);
        line[bytes] = '\0';
        print_variant(e, line);
    }
    return ferror(stdin) ? errbuf_errno(err, ST_IO, "standard input") : ST_OK;
}

static int ab_assign_users(int argc, char **argv)
{
    struct args_list rest;
    const struct args_spec spec = {
        "ab assign EXPERIMENT.yaml [-- USER...]",
        "Prints each user and the variant that the experiment gives it, '-' where it gives none.\n"
        "Without users they are read from standard input, one a line.",
        NULL,
        0,
        1,
        255};
    struct errbuf err = ERRBUF_INIT;
    struct experiment e;
    enum status st = args_parse(&spec, argc, argv, &rest, &err);
    if (st == ST_OK)
        st = experiment_read(rest.item[0], &e, &err);
    if (st != ST_OK)
        return args_fail("ab assign", st, &err);
    for (size_t i = 1; i < rest.used; i++)
        print_variant(&e, rest.item[i]);
    if (rest.used == 1)
        st = assign_lines(&e, &err);
    experiment_release(&e);
    return args_fail("ab assign", st, &err);
}

static int ab_check(int argc, char **argv)
{
    struct args_list rest;
    const struct args_spec spec = {
        "ab check EXPERIMENT.yaml",
        "Prints the experiment with every option and its value, and who gets which variant.",
        NULL,
        0,
        1,
        1};
    struct errbuf err = ERRBUF_INIT;
    struct buffer text = BUFFER_INIT;
    struct experiment e;
    enum status st = args_parse(&spec, argc, argv, &rest, &err);
    if (st == ST_OK)
        st = experiment_read(rest.item[0], &e, &err);
    if (st != ST_OK)
        return args_fail("ab check", st, &err);
    experiment_dump(&e, &text);
    printf("%s\n", buffer_text(&text));
    for (size_t i = 0; i < e.shown_used; i++)
        printf("# [%.4f, %.4f)  %s\n", e.range[i].from, e.range[i].to, e.variant[e.shown[i]].name);
    buffer_release(&text);
    experiment_release(&e);
    return 0;
}

/* -- aa -- */

struct aa {
    struct ab_trials_config config;
    const char *metric, *rate, *alpha, *n_star;
    struct args_list lifts;
    bool relative, json;
};

static enum status read_aa(struct aa *a, double *lift, size_t *lifts, struct errbuf *err)
{
    struct ab_trials_config *c = &a->config;
    enum status st = ST_OK;
    c->rate = .1;
    c->alpha = .05;
    c->n_star = (double)c->users;
    c->effect = a->relative ? AB_RELATIVE : AB_ABSOLUTE;
    c->kind = strcmp(a->metric, "mean") == 0 ? AB_MEAN : AB_PROPORTION;
    if (c->kind == AB_PROPORTION && strcmp(a->metric, "proportion") != 0)
        return errbuf_set(err, ST_USAGE, "--metric: %.40s is not proportion or mean", a->metric);
    if (c->tests < 1 || c->users < 10 || (double)c->tests * (double)c->users > TRIALS_LOOKS_MAX)
        return errbuf_set(err, ST_USAGE,
                          "--tests must be from 1, --users from 10, both times %g at most",
                          TRIALS_LOOKS_MAX);
    if (a->rate != NULL)
        st = number("--rate", a->rate, .0001, .9, &c->rate, err);
    if (st == ST_OK && a->alpha != NULL)
        st = number("--alpha", a->alpha, 1e-6, .5, &c->alpha, err);
    if (st == ST_OK && a->n_star != NULL)
        st = number("--n-star", a->n_star, 10, 1e12, &c->n_star, err);
    for (size_t i = 0; st == ST_OK && i < a->lifts.used; i++) {
        st = number("--lift", a->lifts.item[i], -.9, 10, &lift[i], err);
        if (st == ST_OK && c->kind == AB_PROPORTION && c->rate * (1 + lift[i]) > 1)
            st = errbuf_set(err, ST_USAGE, "--lift: %g times --rate is above 1", 1 + lift[i]);
    }
    *lifts = a->lifts.used > 0 ? a->lifts.used : *lifts;
    return st;
}

static struct json *aa_json(const struct ab_trials *r, double lift)
{
    const double tests = (double)r->tests;
    struct json *j = json_object();
    json_set_f64(j, "lift", lift);
    json_set_f64(j, "sequence", (double)r->sequence / tests);
    json_set_f64(j, "t_every_look", (double)r->peeked / tests);
    json_set_f64(j, "t_once", (double)r->once / tests);
    json_set_f64(j, "srm", (double)r->srm / tests);
    if (r->sequence > 0)
        json_set_u64(j, "users_median", r->users_median);
    else
        json_set_null(j, "users_median");
    return j;
}

static void aa_line(const struct ab_trials *r, double lift)
{
    const double percent = 100 / (double)r->tests;
    char found[24] = "-";
    if (r->sequence > 0)
        snprintf(found, sizeof found, "%" PRIu64, r->users_median);
    printf("%+7.1f%% %18.1f%% %18.1f%% %13.1f%% %13.1f%% %16s\n", 100 * lift,
           percent * (double)r->sequence, percent * (double)r->peeked, percent * (double)r->once,
           percent * (double)r->srm, found);
    fflush(stdout);
}

static void run_aa(const struct aa *a, const double *lift, size_t lifts)
{
    struct ab_trials_config c = a->config;
    struct json *all = json_array();
    if (!a->json)
        printf("%" PRIu64 " tests of %" PRIu64
               " users each, a look after every user; alpha %g, N* %g\n"
               "%8s %19s %19s %14s %14s %16s\n",
               c.tests, c.users, c.alpha, c.n_star, "lift", "confidence sequence",
               "t-test, every look", "t-test, once", "SRM", "users (median)");
    for (size_t i = 0; i < lifts; i++) {
        c.lift = lift[i];
        const struct ab_trials r = ab_trials_run(&c);
        if (!a->json)
            aa_line(&r, lift[i]);
        json_add(all, aa_json(&r, lift[i]));
    }
    if (a->json) {
        char *text = json_text(all, 2);
        puts(text);
        free(text);
    } else {
        printf(
            "shares of tests that said \"different\"; where the lift is 0 each of them is wrong\n");
    }
    json_free(all);
}

static int ab_aa(int argc, char **argv)
{
    struct aa a = {.config = {.tests = 1000, .users = 10000, .seed = 1}, .metric = "proportion"};
    double lift[256] = {0, .05, .1, .2};
    size_t lifts = 4;
    struct args_list rest;
    const struct args_flag flags[] = {
        {"--tests", ARGS_U64, &a.config.tests, "N", "simulated tests, default 1000"},
        {"--users", ARGS_U64, &a.config.users, "N", "users of both arms of each, default 10k"},
        {"--seed", ARGS_U64, &a.config.seed, "S", "the same seed, the same figures; default 1"},
        {"--lift", ARGS_LIST, &a.lifts, "L", "B's true lift, may be repeated; default 0 .05 .1 .2"},
        {"--metric", ARGS_TEXT, &a.metric, "KIND", "proportion (default) or mean (log-normal)"},
        {"--rate", ARGS_TEXT, &a.rate, "P", "share of A's users that buy, default .1"},
        {"--alpha", ARGS_TEXT, &a.alpha, "A", "default .05"},
        {"--n-star", ARGS_TEXT, &a.n_star, "N", "where a decision is expected; default: --users"},
        {"--relative", ARGS_SWITCH, &a.relative, NULL,
         "test the lift by the delta method: too sure where few buy"},
        {"--json", ARGS_SWITCH, &a.json, NULL, "JSON instead of a table"},
    };
    const struct args_spec spec = {
        "ab aa [--tests N] [--users N] [--seed S] [--lift L]...",
        "Simulates tests whose truth is known, looking after every user: A/A (lift 0) for false\n"
        "positives, A/B for power. The t-test is shown beside, peeked at and at the end only.",
        flags,
        COUNT(flags),
        0,
        0};
    struct errbuf err = ERRBUF_INIT;
    enum status st = args_parse(&spec, argc, argv, &rest, &err);
    if (st == ST_OK)
        st = read_aa(&a, lift, &lifts, &err);
    if (st == ST_OK)
        run_aa(&a, lift, lifts);
    return args_fail("ab aa", st, &err);
}

/* -- the six -- */

int cmd_ab(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
        const char *usage;
    } commands[] = {
        {"hash", ab_hash, "ab hash [--seed S] [--version 1|2|murmur3] -- VALUE"},
        {"assign", ab_assign_users, "ab assign EXPERIMENT.yaml [-- USER...]"},
        {"check", ab_check, "ab check EXPERIMENT.yaml"},
        {"calc", ab_calc_file, "ab calc FILE.json"},
        {"aa", ab_aa, "ab aa [--tests N] [--users N] [--seed S] [--lift L]..."},
        {"report", ab_report, "ab report HOST:PORT [--json] [--token-file FILE]"},
    };
    const char *word = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < COUNT(commands); i++)
        if (strcmp(word, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    const bool help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
    FILE *to = help ? stdout : stderr;
    if (!help)
        fprintf(to, "penstock ab: %s%s\n", word[0] != 0 ? word : "a word is missing",
                word[0] != 0 ? ": no such command" : "");
    for (size_t i = 0; i < COUNT(commands); i++)
        fprintf(to, "%s penstock %s\n", i == 0 ? "usage:" : "      ", commands[i].usage);
    return help ? 0 : 2;
}
