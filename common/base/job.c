/* job.c - a job file held against the option table.
 *
 * Order of loading, and why:
 *
 *   1. defaults
 *   2. the file: every key must exist, be given once, and apply under the file's own choices
 *   3. --set, in order: a key that is set must apply under the final choices
 *   4. rows that no longer apply go back to their defaults. So `--set model.family=lr` works on a job
 *      written for dcnv2: the file was right about its own family, and its layers are no business of lr
 *   5. required rows must have been given
 *   6. fields: their columns and vocabularies get names; libsvm implies its two fields
 *   7. paths become absolute, because other processes load resolved.yaml from another folder
 *
 * job_dump writes what 2 accepts: a row that does not apply is a comment, the implied fields of libsvm are
 * left out. Hash and conflict compare the same texts, row by row, that the dump shows.
 */
#include "common/base/job.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/job_join.h"
#include "common/base/job_optim.h"
#include "common/base/mem.h"
#include "common/base/utf8.h"

enum { JOB_BYTES_MAX = 1 << 20, FIELDS_MAX = 4096 };

struct parse {
    const char *name; /* borrowed: of the text, for errors */
    const char *dir;  /* borrowed */
    const struct yaml_node *root;
    struct job *job; /* being filled */
    bool *in_file;   /* (rows) given by the file; owned */
    bool *in_set;    /* (rows) given by --set; owned */
};

/* The key node at a dotted path, for places; NULL if it is not in the tree. */
static const struct yaml_node *find_key(const struct yaml_node *map, const char *path)
{
    for (;;) {
        size_t n = strcspn(path, ".");
        const struct yaml_node *key = NULL, *value = NULL;
        for (size_t i = 0; map->kind == YAML_MAP && i < map->items_used; i++) {
            if (strncmp(map->keys[i]->text, path, n) == 0 && map->keys[i]->text[n] == '\0') {
                key = map->keys[i];
                value = map->items[i];
            }
        }
        if (key == NULL || path[n] == '\0')
            return key;
        map = value;
        path += n + 1;
    }
}

static enum status not_applying(const struct option *row, const char *place, struct errbuf *err)
{
    return errbuf_set(err, ST_USAGE, "%s%s: does not apply here (it applies with %s)", place,
                      row->path, row->applies);
}

static enum status check_applies(const struct parse *p, const bool *given, bool from_file,
                                 struct errbuf *err)
{
    for (size_t i = 0; i < job_options.rows_used; i++) {
        const struct option *row = &job_options.rows[i];
        if (!given[i] || options_applies(&job_options, row, p->job))
            continue;
        char place[256] = "--set ";
        const struct yaml_node *key = from_file ? find_key(p->root, row->path) : NULL;
        if (key != NULL)
            snprintf(place, sizeof place, "%.200s:%u:%u: ", p->name, key->line, key->column);
        return not_applying(row, place, err);
    }
    return ST_OK;
}

static void reset_not_applying(struct job *job)
{
    for (size_t i = 0; i < job_options.rows_used; i++)
        if (!options_applies(&job_options, &job_options.rows[i], job))
            options_default(&job_options.rows[i], job);
}

static enum status check_required(const struct parse *p, struct errbuf *err)
{
    for (size_t i = 0; i < job_options.rows_used; i++)
        if (job_options.rows[i].def == NULL && !p->in_file[i] && !p->in_set[i])
            return errbuf_set(err, ST_USAGE, "%s: %s is required (%s)", p->name,
                              job_options.rows[i].path, job_options.rows[i].choices);
    return ST_OK;
}

/* -- fields -- */

static void replace(char **slot, char *owned)
{
    free(*slot);
    *slot = owned;
}

static void name_field(struct job_field *f, size_t position, bool header)
{
    char number[24];
    snprintf(number, sizeof number, "%zu", position);
    if (*f->column == '\0')
        replace(&f->column, mem_strdup(header ? f->name : number));
    if (*f->vocab == '\0')
        replace(&f->vocab, mem_strdup(f->name));
}

static enum status load_field(const struct parse *p, const struct yaml_node *node, size_t position,
                              struct job_field *f, struct errbuf *err)
{
    bool seen[16] = {false};
    assert(job_field_options.rows_used <= sizeof seen);
    char place[320];
    snprintf(place, sizeof place, "%.200s:%u:%u: data.fields[%zu].", p->name, node->line,
             node->column, position);
    enum status st = options_load(&job_field_options, node, p->name, NULL, f, seen, err);
    if (st != ST_OK)
        return st;
    for (size_t i = 0; i < job_field_options.rows_used; i++) {
        const struct option *row = &job_field_options.rows[i];
        if (row->def == NULL && !seen[i])
            return errbuf_set(err, ST_USAGE, "%s%s is required", place, row->path);
        if (seen[i] && !options_applies(&job_field_options, row, f))
            return not_applying(row, place, err);
    }
    if (*f->name == '\0')
        return errbuf_set(err, ST_USAGE, "%sname is empty", place);
    return ST_OK;
}

static struct job_field *add_field(struct job *job)
{
    struct job_field *f = &job->data.fields[job->data.fields_used++];
    options_defaults(&job_field_options, f);
    return f;
}

static void imply_libsvm(struct job *job)
{
    job->data.fields = mem_array(2, sizeof *job->data.fields);
    struct job_field *label = add_field(job), *features = add_field(job);
    label->name = mem_strdup("label");
    label->type = FIELD_LABEL;
    features->name = mem_strdup("features");
    features->type = FIELD_IDS;
    name_field(label, 0, false);
    name_field(features, 1, false);
}

static void imply(struct job *job, const char *name, enum field_type type, enum field_norm norm)
{
    struct job_field *f = add_field(job);
    f->name = mem_strdup(name);
    f->type = type;
    f->norm = norm;
    name_field(f, 0, true);
}

/* The display advertising challenge: a label, 13 counts and 26 categories, each hashed to 8 hex digits. */
static void imply_criteo(struct job *job)
{
    char name[16];
    job->data.fields = mem_array(40, sizeof *job->data.fields);
    imply(job, "label", FIELD_LABEL, NORM_NONE);
    for (int i = 1; i <= 13; i++) {
        snprintf(name, sizeof name, "I%d", i);
        imply(job, name, FIELD_FLOAT, NORM_LOG);
    }
    for (int i = 1; i <= 26; i++) {
        snprintf(name, sizeof name, "C%d", i);
        imply(job, name, FIELD_ID, NORM_NONE);
    }
}

static enum status load_fields(const struct parse *p, struct errbuf *err)
{
    struct job *job = p->job;
    const struct yaml_node *key = find_key(p->root, "data.fields");
    const struct yaml_node *list = yaml_get(yaml_get(p->root, "data"), "fields");
    if (job->data.format == JOB_LIBSVM) {
        if (list != NULL)
            return errbuf_set(err, ST_USAGE,
                              "%s:%u:%u: data.fields: libsvm implies its fields; leave them out",
                              p->name, key->line, key->column);
        imply_libsvm(job);
        return ST_OK;
    }
    if (list == NULL && job->data.format == JOB_CRITEO)
        imply_criteo(job);
    if (list == NULL)
        return ST_OK;
    if (list->kind != YAML_LIST)
        return errbuf_set(err, ST_USAGE, "%s:%u:%u: data.fields: must be a list of maps", p->name,
                          list->line, list->column);
    if (list->items_used > FIELDS_MAX)
        return errbuf_set(err, ST_USAGE, "%s:%u:%u: data.fields: more than %d", p->name, list->line,
                          list->column, FIELDS_MAX);
    job->data.fields = mem_array(list->items_used, sizeof *job->data.fields);
    for (size_t i = 0; i < list->items_used; i++) {
        struct job_field *f = add_field(job);
        enum status st = load_field(p, list->items[i], i, f, err);
        if (st != ST_OK)
            return st;
        name_field(f, i, job->data.header);
    }
    return ST_OK;
}

/* -- paths -- */

static bool is_folder(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

static void make_absolute(char **path, const char *base)
{
    if (**path != '\0' && strcmp(*path, "-") != 0) /* standard input */
        replace(path, file_join(base, *path));
}

static bool given_by_set(const struct parse *p, const char *path)
{
    return p->in_set[options_find(&job_options, path) - job_options.rows];
}

static bool given(const struct parse *p, const char *path)
{
    return given_by_set(p, path) || p->in_file[options_find(&job_options, path) - job_options.rows];
}

/* In the file data.root is relative to the file. Typed on a command line it means the folder that the
 * shell completes it against, if there is one. */
static void resolve_root(const struct parse *p)
{
    char **root = &p->job->data.root;
    if (given_by_set(p, "data.root") && **root != '\0') {
        char *here = getcwd(NULL, 0);
        char *typed = file_join(here, *root);
        if (here != NULL && is_folder(typed))
            replace(root, mem_strdup(typed));
        free(typed);
        free(here);
    }
    make_absolute(root, p->dir);
}

static void resolve_paths(const struct parse *p)
{
    struct job *job = p->job;
    resolve_root(p);
    const char *base = *job->data.root != '\0' ? job->data.root : p->dir;
    struct texts *lists[] = {&job->data.train, &job->data.valid, &job->data.test,
                             &job->data.follow};
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < lists[i]->used; j++)
            make_absolute(&lists[i]->item[j], base);
    for (size_t i = 0; i < job->data.joins_used; i++)
        make_absolute(&job->data.join[i].file, base);
    if (strchr(job->data.duckdb, '/') != NULL) /* a bare name is looked up by the system */
        make_absolute(&job->data.duckdb, p->dir);
    /* Where the logs lie nobody may be allowed to write, so the cache is not put under data.root. */
    make_absolute(&job->data.cache, p->dir);
}

static void resolve_name(const struct parse *p)
{
    const char *slash = strrchr(p->name, '/');
    const char *base = slash == NULL ? p->name : slash + 1;
    size_t n = strlen(base);
    if (n > 5 && strcmp(base + n - 5, ".yaml") == 0)
        n -= 5;
    else if (n > 4 && strcmp(base + n - 4, ".yml") == 0)
        n -= 4;
    replace(&p->job->path, file_join(p->dir, base));
    if (*p->job->name == '\0') {
        replace(&p->job->name, mem_strdup(base));
        p->job->name[n] = '\0';
    }
}

/* -- loading -- */

static enum status parse_tree(const struct parse *p, char *const *sets, size_t sets_used,
                              struct errbuf *err)
{
    struct job *job = p->job;
    options_defaults(&job_options, job);
    enum status st = options_load(&job_options, p->root, p->name,
                                  "data.fields|data.join|optimizer.tables", job, p->in_file, err);
    if (st == ST_OK)
        st = check_applies(p, p->in_file, true, err);
    for (size_t i = 0; i < sets_used && st == ST_OK; i++)
        st = options_set(&job_options, sets[i], job, p->in_set, err);
    if (st == ST_OK)
        st = check_applies(p, p->in_set, false, err);
    if (st == ST_OK)
        st = check_required(p, err);
    if (st != ST_OK)
        return st;
    /* The one default that another key decides. */
    if (job->data.records == JOB_SEQUENCES && !given(p, "data.split.by"))
        job->data.split.by = JOB_SPLIT_LEAVE_ONE_OUT;
    reset_not_applying(job);
    /* Typed in a shell or in a plain scalar a tab is two characters; nobody's cells end in backslash t. */
    if (strcmp(job->data.delimiter, "\\t") == 0)
        replace(&job->data.delimiter, mem_strdup("\t"));
    st = load_fields(p, err);
    if (st == ST_OK)
        st = job_join_load(p->root, p->name, job, err);
    if (st == ST_OK)
        st = job_optim_load(p->root, p->name, job, err);
    if (st != ST_OK)
        return st;
    resolve_paths(p);
    resolve_name(p);
    return ST_OK;
}

enum status job_parse(const char *text, size_t n, const char *name, const char *dir,
                      char *const *sets, size_t sets_used, struct job *out, struct errbuf *err)
{
    struct yaml_node *root;
    enum status st = yaml_parse(text, n, name, &root, err);
    if (st != ST_OK)
        return st;
    struct job *job = mem_zalloc(sizeof *job);
    struct parse p = {name, dir, root, job, NULL, NULL};
    p.in_file = mem_array(job_options.rows_used, sizeof(bool));
    p.in_set = mem_array(job_options.rows_used, sizeof(bool));
    st = parse_tree(&p, sets, sets_used, err);
    if (st == ST_OK)
        *out = *job;
    else
        job_release(job);
    free(p.in_set);
    free(p.in_file);
    free(job);
    yaml_tree_free(root);
    return st;
}

enum status job_load(const char *path, char *const *sets, size_t sets_used, struct job *out,
                     struct errbuf *err)
{
    char *text;
    size_t n;
    /* Whatever keeps the job file from being read, the call is what is wrong. */
    if (file_read(path, JOB_BYTES_MAX, &text, &n, err) != ST_OK)
        return errbuf_wrap(err, ST_USAGE, "the job file: ");
    enum status st = ST_OK;
    char *real = realpath(path, NULL);
    if (real == NULL)
        st = errbuf_errno(err, ST_USAGE, "%s", path);
    else if (!utf8_valid(real))
        st = errbuf_set(err, ST_USAGE, "%s: the names of its folders must be UTF-8", path);
    if (st == ST_OK) {
        char *slash = strrchr(real, '/');
        *(slash == real ? slash + 1 : slash) = '\0';
        st = job_parse(text, n, path, real, sets, sets_used, out, err);
    }
    free(real);
    free(text);
    return st;
}

void job_release(struct job *job)
{
    for (size_t i = 0; i < job->data.fields_used; i++)
        options_release(&job_field_options, &job->data.fields[i]);
    free(job->data.fields);
    job_join_release(job);
    job_optim_release(job);
    options_release(&job_options, job);
    free(job->path);
    memset(job, 0, sizeof *job);
}

/* -- showing and comparing -- */

/* Only the keys that mean something for the field's type: a log of forty columns is read by people. */
static void dump_fields(const struct job *job, struct buffer *out)
{
    if (job->data.format == JOB_LIBSVM || job->data.fields_used == 0)
        return;
    buffer_printf(out, "  fields:\n");
    for (size_t i = 0; i < job->data.fields_used; i++) {
        for (size_t r = 0; r < job_field_options.rows_used; r++) {
            const struct option *row = &job_field_options.rows[r];
            if (!options_applies(&job_field_options, row, &job->data.fields[i]))
                continue;
            buffer_printf(out, "    %s %s: ", r == 0 ? "-" : " ", row->path);
            options_value_text(row, &job->data.fields[i], out);
            buffer_printf(out, "\n");
        }
    }
}

/* Rows from `from` up to the first that does not begin with prefix. */
static size_t rows_end(size_t from, const char *prefix)
{
    while (from < job_options.rows_used &&
           strncmp(job_options.rows[from].path, prefix, strlen(prefix)) == 0)
        from++;
    return from;
}

void job_dump(const struct job *job, struct buffer *out)
{
    const size_t data_end = rows_end(1, "data."); /* row 0 is the name */
    size_t optim_end = data_end;
    while (strncmp(job_options.rows[optim_end].path, "optimizer.", 10) != 0)
        optim_end++;
    optim_end = rows_end(optim_end, "optimizer.");
    options_dump(&job_options, 0, data_end, job, 0, out);
    job_join_dump(job, out);
    dump_fields(job, out);
    options_dump(&job_options, data_end, optim_end, job, 0, out);
    job_optim_dump(job, out);
    options_dump(&job_options, optim_end, job_options.rows_used, job, 0, out);
}

static void put_field(const struct job *job, size_t i, struct buffer *out)
{
    for (size_t r = 0; r < job_field_options.rows_used; r++) {
        const struct option *row = &job_field_options.rows[r];
        buffer_printf(out, "%s%s: ", r == 0 ? "" : ", ", row->path);
        options_value_text(row, &job->data.fields[i], out);
    }
}

uint64_t job_config_hash(const struct job *job)
{
    struct buffer text = BUFFER_INIT;
    for (size_t i = 0; i < job_options.rows_used; i++) {
        const struct option *row = &job_options.rows[i];
        if (row->flags & OPTION_RESUME_FREE)
            continue;
        buffer_printf(&text, "%s=", row->path);
        options_value_text(row, job, &text);
        buffer_printf(&text, "\n");
    }
    for (size_t i = 0; i < job->data.fields_used; i++) {
        put_field(job, i, &text);
        buffer_printf(&text, "\n");
    }
    for (size_t i = 0; i < job->data.joins_used; i++) {
        job_join_put(job, i, &text);
        buffer_printf(&text, "\n");
    }
    for (size_t i = 0; i < job->optimizer.tables_used; i++) {
        job_optim_put(job, i, &text);
        buffer_printf(&text, "\n");
    }
    uint64_t h = hash_bytes(text.data, text.used, 0);
    buffer_release(&text);
    return h;
}

/* Compares and empties both; if they differ, writes them to err. */
static bool differ(struct buffer *a, struct buffer *b, const char *key, struct errbuf *err)
{
    bool differs = strcmp(buffer_text(a), buffer_text(b)) != 0;
    if (differs)
        errbuf_set(err, ST_USAGE, "%s was %s and is %s; --resume can't change it", key,
                   buffer_text(a), buffer_text(b));
    buffer_reset(a);
    buffer_reset(b);
    return differs;
}

const char *job_resume_conflict(const struct job *was, const struct job *now, struct errbuf *err)
{
    const char *key = NULL;
    struct buffer a = BUFFER_INIT, b = BUFFER_INIT;
    for (size_t i = 0; i < job_options.rows_used && key == NULL; i++) {
        const struct option *row = &job_options.rows[i];
        if (row->flags & OPTION_RESUME_FREE)
            continue;
        options_value_text(row, was, &a);
        options_value_text(row, now, &b);
        if (differ(&a, &b, row->path, err))
            key = row->path;
    }
    size_t na = was->data.joins_used, nb = now->data.joins_used;
    for (size_t i = 0; (i < na || i < nb) && key == NULL; i++) {
        char place[40];
        snprintf(place, sizeof place, "data.join[%zu]", i);
        if (i < na)
            job_join_put(was, i, &a);
        if (i < nb)
            job_join_put(now, i, &b);
        buffer_printf(i < na ? &b : &a, (i < na && i < nb) ? "" : "absent");
        if (differ(&a, &b, place, err))
            key = "data.join";
    }
    na = was->data.fields_used;
    nb = now->data.fields_used;
    for (size_t i = 0; (i < na || i < nb) && key == NULL; i++) {
        char place[40];
        snprintf(place, sizeof place, "data.fields[%zu]", i);
        if (i < na)
            put_field(was, i, &a);
        if (i < nb)
            put_field(now, i, &b);
        buffer_printf(i < na ? &b : &a, (i < na && i < nb) ? "" : "absent");
        if (differ(&a, &b, place, err))
            key = "data.fields";
    }
    na = was->optimizer.tables_used;
    nb = now->optimizer.tables_used;
    for (size_t i = 0; (i < na || i < nb) && key == NULL; i++) {
        char place[40];
        snprintf(place, sizeof place, "optimizer.tables[%zu]", i);
        if (i < na)
            job_optim_put(was, i, &a);
        if (i < nb)
            job_optim_put(now, i, &b);
        buffer_printf(i < na ? &b : &a, (i < na && i < nb) ? "" : "absent");
        if (differ(&a, &b, place, err))
            key = "optimizer.tables";
    }
    buffer_release(&a);
    buffer_release(&b);
    return key;
}

void job_help(const char *word, FILE *out)
{
    size_t shown = options_help(&job_options, word, out);
    if (word == NULL || options_help(&job_field_options, word, NULL) > 0) {
        fprintf(out, "  each item of data.fields:\n");
        shown += options_help(&job_field_options, word, out);
    }
    if (word == NULL || options_help(&job_join_options, word, NULL) > 0) {
        fprintf(out, "  each item of data.join:\n");
        shown += options_help(&job_join_options, word, out);
    }
    if (word == NULL || options_help(&job_table_options, word, NULL) > 0) {
        fprintf(out, "  each item of optimizer.tables:\n");
        shown += options_help(&job_table_options, word, out);
    }
    if (shown == 0)
        fprintf(out, "  no option mentions %s; the nearest key is %s\n", word,
                options_nearest(&job_options, word));
}

bool job_ranks(const struct job *job)
{
    return job->model.family >= JOB_CLICK_FAMILIES;
}

enum job_metric job_metric(const struct job *job)
{
    if (job->train.metric != JOB_METRIC_AUTO)
        return (enum job_metric)job->train.metric;
    return job_ranks(job) ? JOB_METRIC_NDCG : JOB_METRIC_AUC;
}

const char *job_metric_name(enum job_metric metric)
{
    static const char *const names[] = {[JOB_METRIC_AUTO] = "auc",
                                        [JOB_METRIC_AUC] = "auc",
                                        [JOB_METRIC_NDCG] = "ndcg@10",
                                        [JOB_METRIC_LOGLOSS] = "logloss",
                                        [JOB_METRIC_GAUC] = "gauc"};
    return names[metric];
}

const char *job_consistency_name(int consistency)
{
    return consistency == JOB_BSP ? "bsp" : consistency == JOB_SSP ? "ssp" : "async";
}

const char *job_dense_name(int dense)
{
    return dense == JOB_DENSE_ALLREDUCE ? "allreduce" : "ps";
}

const char *job_family_name(int family)
{
    static const char *const names[JOB_FAMILIES] = {
        "lr",       "fm",  "mlp",       "dcnv2",  "widedeep", "deepfm", "dlrm", "finalmlp",
        "finalnet", "din", "multitask", "sasrec", "lstm",     "gru",    "cnn"};
    return family >= JOB_LR && family < JOB_FAMILIES ? names[family] : "?";
}
