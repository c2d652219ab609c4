/* experiment.c - see experiment.h. The tables, then loading in this order: the file's own keys; variants, each with
 * its source given or told by the one key that only that source has; metrics, by default CTR and buyers; then what
 * follows from all of them.
 */
#include "common/metrics/experiment.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/yaml.h"

#define AT(member)  offsetof(struct experiment, member)
#define OV(member)  offsetof(struct experiment_variant, member)
#define OM(member)  offsetof(struct experiment_metric, member)
#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define SECOND      1e6
#define DAY         8.64e10
#define NAME_BYTES  64u
#define ROWS_MAX    16u
#define FILE_BYTES  ((size_t)1 << 20)

static const struct option rows[] = {
    {"name", OPT_TEXT, AT(name), 0, 0, NULL, NULL, NULL, 0, "what the experiment is called"},
    {"seed", OPT_TEXT, AT(seed), 0, 0, "", NULL, NULL, 0,
     "what users are dealt by; empty: the name. Another seed deals all of them again"},
    {"hash", OPT_CHOICE, AT(hash), 0, 0, "v2", "v2|v1|murmur3", NULL, 0,
     "v2, v1: GrowthBook's; murmur3: Optimizely's. v1 is biased where experiments run side by "
     "side"},
    {"coverage", OPT_F64, AT(coverage), 0, 1, "1", NULL, NULL, 0,
     "share of users that take part; raising it moves nobody"},
    {"namespace.name", OPT_TEXT, AT(exclusive.name), 0, 0, "", NULL, NULL, 0,
     "experiments of one namespace, in parts of it that don't overlap, never share a user"},
    {"namespace.from", OPT_F64, AT(exclusive.from), 0, 1, "0", NULL, NULL, 0,
     "where this experiment's part of the namespace begins"},
    {"namespace.to", OPT_F64, AT(exclusive.to), 0, 1, "1", NULL, NULL, 0, "where it ends"},
    {"window", OPT_TIME, AT(window_us), SECOND, 90 * DAY, "30m", NULL, NULL, 0,
     "an outcome this long after its exposure counts with it; then the example is a negative"},
    {"users_max", OPT_U64, AT(users_max), 1, 1 << 30, "1M", NULL, NULL, 0,
     "users of one variant that are followed; who comes later is counted as left out"},
    {"alpha", OPT_F64, AT(alpha), 1e-6, .4, ".05", NULL, NULL, 0,
     "chance of a wrong alarm that is taken, over the whole experiment"},
    {"n_star", OPT_F64, AT(n_star), 10, 1e12, "5000", NULL, NULL, 0,
     "users of both arms at which a decision is expected: intervals are narrowest there"},
};

static const struct option variant_rows[] = {
    {"name", OPT_TEXT, OV(name), 0, 0, NULL, NULL, NULL, 0, "what the variant is called"},
    {"shadow", OPT_BOOL, OV(shadow), 0, 0, "false", NULL, NULL, 0,
     "scored and logged, never shown"},
    {"weight", OPT_F64, OV(weight), 1e-4, 1, "1", NULL, "shadow=false", 0,
     "share of the users that take part; give all or none (equal ones); they sum to 1"},
    {"source", OPT_CHOICE, OV(source), 0, 0, "live", "live|version|stream|settings", NULL, 0,
     "what differs from the live version; may be left out beside version, stream or settings"},
    {"version", OPT_U64, OV(version), 1, 1e15, NULL, NULL, "source=version", 0,
     "the cut that is served, however far training goes on"},
    {"stream", OPT_TEXT, OV(stream), 0, 0, NULL, NULL, "source=stream", 0,
     "where another job's versions come from"},
    {"settings", OPT_TEXTS, OV(settings), 0, 0, NULL, NULL, "source=settings", 0,
     "options of the node that this variant has otherwise: [KEY=VALUE, ...]"},
};

static const struct option metric_rows[] = {
    {"name", OPT_TEXT, OM(name), 0, 0, NULL, NULL, NULL, 0, "what the metric is called"},
    {"event", OPT_TEXT, OM(event), 0, 0, "", NULL, NULL, 0,
     "the outcomes it is made of, as events name them; empty: the metric's name"},
    {"kind", OPT_CHOICE, OM(kind), 0, 0, "mean", "mean|proportion|ratio", NULL, 0,
     "mean: a user; proportion: of users with at least one; ratio: over what was shown"},
    {"amount", OPT_BOOL, OM(amount), 0, 0, "false", NULL, "kind=mean|ratio", 0,
     "add up the amounts that outcomes carry, not their number"},
    {"cuped", OPT_BOOL, OM(cuped), 0, 0, "false", NULL, "kind=mean|proportion", 0,
     "narrow intervals by what the same users did before the experiment"},
};

const struct option_table experiment_options = {rows, COUNT(rows)};
const struct option_table experiment_variant_options = {variant_rows, COUNT(variant_rows)};
const struct option_table experiment_metric_options = {metric_rows, COUNT(metric_rows)};

_Static_assert(COUNT(rows) <= ROWS_MAX && COUNT(variant_rows) <= ROWS_MAX &&
                   COUNT(metric_rows) <= ROWS_MAX,
               "flags of seen rows");

static const char DEFAULT_METRICS[] = "- {name: ctr, event: click, kind: ratio}\n"
                                      "- {name: buyers, event: buy, kind: proportion}\n";

struct load {
    const char *file;
    const struct yaml_node *root;
    struct experiment *e;
    bool weighted; /* some shown variant has a weight of its own */
    bool unweighted;
};

static void replace(char **slot, const char *text)
{
    free(*slot);
    *slot = mem_strdup(text);
}

static enum status wrong(const struct load *l, const struct yaml_node *at, struct errbuf *err,
                         const char *key, const char *why)
{
    return errbuf_set(err, ST_USAGE, "%s:%u:%u: %s: %s", l->file, at->line, at->column, key, why);
}

/* Names stand in labels of metrics and in file names. */
static bool is_name(const char *s)
{
    size_t n = 0;
    for (; s[n] != '\0'; n++)
        if (!isalnum((unsigned char)s[n]) && strchr("_.-", s[n]) == NULL)
            return false;
    return n > 0 && n <= NAME_BYTES && s[0] != '.' && s[0] != '-';
}

#define NAME_RULE "must be 1 to 64 letters, digits, '_', '.', '-', the first a letter, digit or '_'"

/* -- items of lists -- */

/* One map of a list, by its table. A key of another choice is refused; a required one must be there. */
static enum status load_item(const struct load *l, const struct option_table *t,
                             const struct yaml_node *node, const char *place, void *dst, bool *seen,
                             struct errbuf *err)
{
    struct errbuf why = ERRBUF_INIT;
    enum status st = options_load(t, node, l->file, NULL, dst, seen, &why);
    return st == ST_OK ? st : errbuf_set(err, st, "%s (in %s)", why.text, place);
}

static enum status check_item(const struct load *l, const struct option_table *t,
                              const struct yaml_node *node, const char *place, const void *src,
                              const bool *seen, struct errbuf *err)
{
    char key[80];
    for (size_t i = 0; i < t->rows_used; i++) {
        const struct option *row = &t->rows[i];
        const bool applies = options_applies(t, row, src);
        snprintf(key, sizeof key, "%s.%s", place, row->path);
        if (seen[i] && !applies)
            return errbuf_set(err, ST_USAGE,
                              "%s:%u:%u: %s: does not apply here (it applies with %s)", l->file,
                              node->line, node->column, key, row->applies);
        if (!seen[i] && applies && row->def == NULL)
            return wrong(l, node, err, key, "is required");
    }
    return ST_OK;
}

/* Without a source the one key that only one source has tells it. */
static enum status imply_source(const struct load *l, const struct yaml_node *node,
                                const char *place, struct experiment_variant *v, const bool *seen,
                                struct errbuf *err)
{
    static const struct {
        const char *key;
        enum variant_source source;
    } of[] = {
        {"version", SOURCE_VERSION}, {"stream", SOURCE_STREAM}, {"settings", SOURCE_SETTINGS}};
    const struct option_table *t = &experiment_variant_options;
    if (seen[options_find(t, "source") - t->rows])
        return ST_OK;
    for (size_t i = 0; i < COUNT(of); i++) {
        if (!seen[options_find(t, of[i].key) - t->rows])
            continue;
        if (v->source != SOURCE_LIVE)
            return wrong(l, node, err, place, "give one of version, stream and settings");
        v->source = of[i].source;
    }
    return ST_OK;
}

static enum status check_variant(const struct load *l, const struct yaml_node *node,
                                 const char *place, const struct experiment_variant *v,
                                 struct errbuf *err)
{
    char key[96];
    snprintf(key, sizeof key, "%s.name", place);
    if (!is_name(v->name))
        return wrong(l, node, err, key, NAME_RULE);
    for (const struct experiment_variant *w = l->e->variant; w < v; w++)
        if (strcmp(w->name, v->name) == 0)
            return wrong(l, node, err, key, "another variant has this name");
    if (v->source == SOURCE_STREAM && *v->stream == '\0')
        return wrong(l, node, err, place, "its stream is empty");
    if (v->source == SOURCE_SETTINGS && v->settings.used == 0)
        return wrong(l, node, err, place, "its settings are empty");
    for (size_t i = 0; i < v->settings.used; i++) {
        const char *equals = strchr(v->settings.item[i], '=');
        if (equals == NULL || equals == v->settings.item[i])
            return wrong(l, node, err, place, "each of its settings must be KEY=VALUE");
    }
    return ST_OK;
}

static enum status load_variant(struct load *l, const struct yaml_node *node, size_t i,
                                struct errbuf *err)
{
    const struct option_table *t = &experiment_variant_options;
    struct experiment_variant *v = &l->e->variant[i];
    bool seen[ROWS_MAX] = {false};
    char place[32];
    snprintf(place, sizeof place, "variants[%zu]", i);
    enum status st = load_item(l, t, node, place, v, seen, err);
    if (st == ST_OK)
        st = imply_source(l, node, place, v, seen, err);
    if (st == ST_OK)
        st = check_item(l, t, node, place, v, seen, err);
    if (st == ST_OK)
        st = check_variant(l, node, place, v, err);
    if (!v->shadow) {
        const bool given = seen[options_find(t, "weight") - t->rows];
        l->weighted = l->weighted || given;
        l->unweighted = l->unweighted || !given;
    }
    return st;
}

static enum status load_metric(struct load *l, const struct yaml_node *node, size_t i,
                               struct errbuf *err)
{
    struct experiment_metric *m = &l->e->metric[i];
    bool seen[ROWS_MAX] = {false};
    char place[32];
    snprintf(place, sizeof place, "metrics[%zu]", i);
    enum status st = load_item(l, &experiment_metric_options, node, place, m, seen, err);
    if (st == ST_OK)
        st = check_item(l, &experiment_metric_options, node, place, m, seen, err);
    if (st != ST_OK)
        return st;
    if (!is_name(m->name))
        return wrong(l, node, err, "metrics[].name", NAME_RULE);
    if (*m->event == '\0')
        replace(&m->event, m->name);
    if (!is_name(m->event))
        return wrong(l, node, err, "metrics[].event", NAME_RULE);
    for (const struct experiment_metric *w = l->e->metric; w < m; w++)
        if (strcmp(w->name, m->name) == 0)
            return wrong(l, node, err, "metrics[].name", "another metric has this name");
    return ST_OK;
}

static enum status list_of(const struct load *l, const struct yaml_node *list, const char *key,
                           size_t least, size_t most, struct errbuf *err)
{
    if (list->kind == YAML_LIST && list->items_used >= least && list->items_used <= most)
        return ST_OK;
    return errbuf_set(err, ST_USAGE, "%s:%u:%u: %s: must be a list of %zu to %zu maps", l->file,
                      list->line, list->column, key, least, most);
}

static enum status load_variants(struct load *l, struct errbuf *err)
{
    struct experiment *e = l->e;
    const struct yaml_node *list = yaml_get(l->root, "variants");
    if (list == NULL)
        return wrong(l, l->root, err, "variants",
                     "is required: a list of maps, the first the control");
    enum status st = list_of(l, list, "variants", 2, AB_VARIANTS_MAX, err);
    if (st != ST_OK)
        return st;
    e->variant = mem_array(list->items_used, sizeof *e->variant);
    for (size_t i = 0; st == ST_OK && i < list->items_used; i++) {
        options_defaults(&experiment_variant_options, &e->variant[e->variants++]);
        st = load_variant(l, list->items[i], i, err);
    }
    return st;
}

static enum status load_metrics(struct load *l, const struct yaml_node *list, struct errbuf *err)
{
    struct experiment *e = l->e;
    enum status st = list_of(l, list, "metrics", 1, AB_METRICS_MAX, err);
    if (st != ST_OK)
        return st;
    e->metric = mem_array(list->items_used, sizeof *e->metric);
    for (size_t i = 0; st == ST_OK && i < list->items_used; i++) {
        options_defaults(&experiment_metric_options, &e->metric[e->metrics++]);
        st = load_metric(l, list->items[i], i, err);
    }
    return st;
}

static enum status load_default_metrics(struct load *l, struct errbuf *err)
{
    struct yaml_node *list;
    enum status st = yaml_parse(DEFAULT_METRICS, strlen(DEFAULT_METRICS), "metrics", &list, err);
    if (st != ST_OK)
        return st;
    st = load_metrics(l, list, err);
    yaml_tree_free(list);
    return st;
}

/* -- the whole -- */

static enum status load_keys(struct load *l, struct errbuf *err)
{
    struct experiment *e = l->e;
    bool seen[ROWS_MAX] = {false};
    options_defaults(&experiment_options, e);
    enum status st =
        options_load(&experiment_options, l->root, l->file, "variants|metrics", e, seen, err);
    if (st != ST_OK)
        return st;
    if (!seen[0])
        return wrong(l, l->root, err, "name", "is required");
    if (!is_name(e->name))
        return wrong(l, yaml_get(l->root, "name"), err, "name", NAME_RULE);
    if (*e->seed == '\0')
        replace(&e->seed, e->name);
    const struct yaml_node *space = yaml_get(l->root, "namespace");
    if (space == NULL)
        return ST_OK;
    if (*e->exclusive.name == '\0' && (e->exclusive.from > 0 || e->exclusive.to < 1))
        return wrong(l, space, err, "namespace.name", "is required beside from and to");
    if (!(e->exclusive.from < e->exclusive.to))
        return wrong(l, space, err, "namespace.to", "must be above namespace.from");
    return ST_OK;
}

/* Who is shown, by which ranges. */
static enum status derive(struct load *l, struct errbuf *err)
{
    struct experiment *e = l->e;
    const struct yaml_node *list = yaml_get(l->root, "variants");
    double weight[AB_VARIANTS_MAX], sum = 0;
    if (e->variant[0].shadow)
        return wrong(l, list->items[0], err, "variants[0].shadow",
                     "the first variant is the control and must be shown");
    if (l->weighted && l->unweighted)
        return wrong(l, list, err, "variants[].weight",
                     "give all shown variants a weight, or none (then they are equal)");
    for (size_t i = 0; i < e->variants; i++)
        if (!e->variant[i].shadow)
            e->shown[e->shown_used++] = i;
    for (size_t i = 0; i < e->shown_used; i++) {
        double *own = &e->variant[e->shown[i]].weight;
        *own = l->weighted ? *own : 1 / (double)e->shown_used;
        weight[i] = *own;
        sum += *own;
    }
    if (sum < 0.99 || sum > 1.01)
        return errbuf_set(err, ST_USAGE,
                          "%s:%u:%u: variants[].weight: they sum to %g; must sum to 1 (leave users "
                          "out by coverage)",
                          l->file, list->line, list->column, sum);
    ab_ranges(e->shown_used, e->coverage, weight, e->shown_used, e->range);
    return ST_OK;
}

enum status experiment_parse(const char *text, size_t n, const char *name, struct experiment *out,
                             struct errbuf *err)
{
    struct experiment e;
    struct yaml_node *root;
    enum status st = yaml_parse(text, n, name, &root, err);
    if (st != ST_OK)
        return st;
    memset(&e, 0, sizeof e);
    struct load l = {name, root, &e, false, false};
    st = load_keys(&l, err);
    if (st == ST_OK)
        st = load_variants(&l, err);
    if (st == ST_OK) {
        const struct yaml_node *list = yaml_get(root, "metrics");
        st = list != NULL ? load_metrics(&l, list, err) : load_default_metrics(&l, err);
    }
    if (st == ST_OK)
        st = derive(&l, err);
    yaml_tree_free(root);
    if (st != ST_OK) {
        experiment_release(&e);
        return st;
    }
    *out = e;
    return ST_OK;
}

enum status experiment_read(const char *path, struct experiment *out, struct errbuf *err)
{
    char *text;
    size_t n;
    enum status st = file_read(path, FILE_BYTES, &text, &n, err);
    if (st != ST_OK) /* whatever is wrong with it: the call names a file that is no experiment */
        return errbuf_wrap(err, ST_USAGE, "the experiment file: ");
    st = experiment_parse(text, n, path, out, err);
    free(text);
    return st;
}

void experiment_release(struct experiment *e)
{
    for (size_t i = 0; i < e->variants; i++)
        options_release(&experiment_variant_options, &e->variant[i]);
    for (size_t i = 0; i < e->metrics; i++)
        options_release(&experiment_metric_options, &e->metric[i]);
    options_release(&experiment_options, e);
    free(e->variant);
    free(e->metric);
    memset(e, 0, sizeof *e);
}

static void dump_item(const struct option_table *t, const void *src, struct buffer *out)
{
    for (size_t r = 0; r < t->rows_used; r++) {
        if (!options_applies(t, &t->rows[r], src))
            continue;
        buffer_printf(out, "  %s %s: ", r == 0 ? "-" : " ", t->rows[r].path);
        options_value_text(&t->rows[r], src, out);
        buffer_printf(out, "\n");
    }
}

void experiment_dump(const struct experiment *e, struct buffer *out)
{
    options_dump(&experiment_options, 0, experiment_options.rows_used, e, 0, out);
    buffer_printf(out, "variants:\n");
    for (size_t i = 0; i < e->variants; i++)
        dump_item(&experiment_variant_options, &e->variant[i], out);
    buffer_printf(out, "metrics:\n");
    for (size_t i = 0; i < e->metrics; i++)
        dump_item(&experiment_metric_options, &e->metric[i], out);
}

int experiment_assign(const struct experiment *e, const char *user)
{
    const struct ab_range part = {e->exclusive.from, e->exclusive.to};
    if (*user == '\0')
        return -1;
    if (*e->exclusive.name != '\0' && !ab_namespace_holds(e->exclusive.name, part, user))
        return -1;
    const double n = ab_number((enum ab_hash)e->hash, e->seed, user);
    const int at = ab_choose(n, e->range, e->shown_used);
    return at < 0 ? -1 : (int)e->shown[at];
}

uint64_t experiment_tag(const struct experiment *e, size_t variant)
{
    struct buffer b = BUFFER_INIT;
    const char *texts[] = {e->name, e->seed, e->variant[variant].name};
    for (size_t i = 0; i < COUNT(texts); i++)
        buffer_put(&b, texts[i], strlen(texts[i]) + 1);
    for (size_t i = 0; i < e->metrics; i++) {
        buffer_put(&b, e->metric[i].name, strlen(e->metric[i].name) + 1);
        buffer_put(&b, e->metric[i].event, strlen(e->metric[i].event) + 1);
        buffer_u32(&b, (uint32_t)e->metric[i].kind << 1 | e->metric[i].amount);
    }
    const uint64_t tag = hash_bytes(b.data, b.used, 0);
    buffer_release(&b);
    return tag;
}
