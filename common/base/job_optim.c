/* job_optim.c - which optimizer a table of parameters gets, and what can't be asked of one.
 *
 *   optimizer:
 *     embedding: {kind: adagrad, rate: .05}      all sparse tables
 *     dense: {kind: adam}                        all dense tensors
 *     tables:                                    but these
 *       - {name: linear, kind: ftrl, rate: .1, l1: 1}
 *
 * An item begins as a copy of optimizer.embedding (the one named dense: of optimizer.dense) and says what is
 * different. Names are the model's: whether there is such a table is judged where the model is built
 * (common/nn/model.c), which can name those there are.
 */
#include "common/base/job_optim.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

enum { TABLES_MAX = 64, ROWS_MAX = 32 };

const struct job_optim *job_optim_of(const struct job *job, const char *table)
{
    for (size_t i = 0; i < job->optimizer.tables_used; i++)
        if (strcmp(job->optimizer.tables[i].name, table) == 0)
            return &job->optimizer.tables[i].optim;
    return strcmp(table, "dense") == 0 ? &job->optimizer.dense : &job->optimizer.embedding;
}

const char *job_optimizer_name(int kind)
{
    static const char *const names[] = {"sgd",          "adagrad",  "rowwise_adagrad", "adam",
                                        "momentum",     "nesterov", "adamw",           "amsgrad",
                                        "rowwise_adam", "ftrl"};
    return kind >= JOB_SGD && kind <= JOB_FTRL ? names[kind] : "?";
}

/* -- loading -- */

/* The name comes first: it decides what the item begins as. */
static enum status load_name(const struct yaml_node *item, const char *place, const struct job *job,
                             struct job_table *t, struct errbuf *err)
{
    const struct yaml_node *name = item->kind == YAML_MAP ? yaml_get(item, "name") : NULL;
    if (name == NULL || name->kind != YAML_SCALAR || *name->text == '\0')
        return errbuf_set(err, ST_USAGE, "%s.name is required: a table of the model", place);
    for (const struct job_table *u = job->optimizer.tables; u < t; u++)
        if (strcmp(u->name, name->text) == 0)
            return errbuf_set(err, ST_USAGE, "%s.name: %s is there before", place, name->text);
    t->optim = *job_optim_of(job, name->text);
    return ST_OK;
}

static enum status load_item(const struct yaml_node *item, const char *file, const char *place,
                             struct job *job, struct job_table *t, struct errbuf *err)
{
    bool seen[ROWS_MAX] = {false};
    assert(job_table_options.rows_used <= ROWS_MAX);
    enum status st = load_name(item, place, job, t, err);
    if (st == ST_OK)
        st = options_load(&job_table_options, item, file, NULL, t, seen, err);
    for (size_t i = 0; i < job_table_options.rows_used && st == ST_OK; i++) {
        const struct option *row = &job_table_options.rows[i];
        if (seen[i] && !options_applies(&job_table_options, row, t))
            st = errbuf_set(err, ST_USAGE, "%s.%s: does not apply here (it applies with %s)", place,
                            row->path, row->applies);
    }
    return st;
}

enum status job_optim_load(const struct yaml_node *root, const char *name, struct job *job,
                           struct errbuf *err)
{
    const struct yaml_node *list = yaml_get(yaml_get(root, "optimizer"), "tables");
    if (list == NULL)
        return ST_OK;
    if (list->kind != YAML_LIST || list->items_used > TABLES_MAX)
        return errbuf_set(err, ST_USAGE,
                          "%s:%u:%u: optimizer.tables: must be a list of at most %d maps", name,
                          list->line, list->column, TABLES_MAX);
    job->optimizer.tables = mem_array(list->items_used + 1, sizeof *job->optimizer.tables);
    for (size_t i = 0; i < list->items_used; i++) {
        const struct yaml_node *item = list->items[i];
        char place[320];
        snprintf(place, sizeof place, "%.200s:%u:%u: optimizer.tables[%zu]", name, item->line,
                 item->column, i);
        struct job_table *t = &job->optimizer.tables[i];
        memset(t, 0, sizeof *t);
        enum status st = load_item(item, name, place, job, t, err);
        job->optimizer.tables_used++; /* what it holds is to be released in any case */
        if (st != ST_OK)
            return st;
    }
    return ST_OK;
}

void job_optim_release(struct job *job)
{
    for (size_t i = 0; i < job->optimizer.tables_used; i++)
        options_release(&job_table_options, &job->optimizer.tables[i]);
    free(job->optimizer.tables);
}

/* -- showing -- */

void job_optim_dump(const struct job *job, struct buffer *out)
{
    for (size_t i = 0; i < job->optimizer.tables_used; i++) {
        buffer_printf(out, "%s", i == 0 ? "  tables:\n" : "");
        for (size_t r = 0; r < job_table_options.rows_used; r++) {
            const struct option *row = &job_table_options.rows[r];
            if (!options_applies(&job_table_options, row, &job->optimizer.tables[i]))
                continue;
            buffer_printf(out, "    %s %s: ", r == 0 ? "-" : " ", row->path);
            options_value_text(row, &job->optimizer.tables[i], out);
            buffer_printf(out, "\n");
        }
    }
}

void job_optim_put(const struct job *job, size_t i, struct buffer *out)
{
    for (size_t r = 0; r < job_table_options.rows_used; r++) {
        const struct option *row = &job_table_options.rows[r];
        if (!options_applies(&job_table_options, row, &job->optimizer.tables[i]))
            continue;
        buffer_printf(out, "%s%s: ", r == 0 ? "" : ", ", row->path);
        options_value_text(row, &job->optimizer.tables[i], out);
    }
}

/* -- combinations -- */

static bool replays(const struct job_optim *o)
{
    switch ((enum job_optimizer)o->kind) {
    case JOB_ADAM:
    case JOB_MOMENTUM:
    case JOB_NESTEROV:
    case JOB_ADAMW:
    case JOB_AMSGRAD:
    case JOB_ROWWISE_ADAM: return o->l2_mode == JOB_L2_EXACT;
    case JOB_SGD:
    case JOB_ADAGRAD:
    case JOB_ROWWISE_ADAGRAD: return o->l2_mode == JOB_L2_EXACT && o->l2 > 0;
    case JOB_FTRL: break;
    }
    return false;
}

/* key: where o stands. A dense block is touched by each push, so it misses no step. */
static enum status check_one(const struct job *job, const struct job_optim *o, const char *key,
                             bool dense, struct errbuf *err)
{
    const char *name = job_optimizer_name(o->kind);
    if (dense && (o->kind == JOB_ROWWISE_ADAGRAD || o->kind == JOB_ROWWISE_ADAM))
        return errbuf_set(err, ST_USAGE,
                          "%s.kind: %s is for tables (allowed: sgd, momentum, nesterov, adagrad, "
                          "adam, adamw, amsgrad, ftrl)",
                          key, name);
    if (dense && o->kind == JOB_FTRL && o->l1 > 0)
        return errbuf_set(err, ST_USAGE,
                          "%s.l1: dense tensors hold biases, which l1 would bring to 0", key);
    if (job->optimizer.damping > 0 && o->kind == JOB_FTRL)
        return errbuf_set(err, ST_USAGE,
                          "optimizer.damping: %s.kind=ftrl has no step to damp: its weights follow "
                          "from sums, to which a late gradient adds as well as any",
                          key);
    if (job->optimizer.damping > 0 && !dense && replays(o))
        return errbuf_set(err, ST_USAGE,
                          "optimizer.damping: the steps that a row misses would be replayed "
                          "undamped, so %s.l2_mode=exact is not exact (l2_mode=touched would do)",
                          key);
    return ST_OK;
}

enum status job_optim_check(const struct job *job, struct errbuf *err)
{
    enum status st = check_one(job, &job->optimizer.embedding, "optimizer.embedding", false, err);
    if (st == ST_OK)
        st = check_one(job, &job->optimizer.dense, "optimizer.dense", true, err);
    for (size_t i = 0; i < job->optimizer.tables_used && st == ST_OK; i++) {
        const struct job_table *t = &job->optimizer.tables[i];
        char key[40];
        snprintf(key, sizeof key, "optimizer.tables[%zu]", i);
        st = check_one(job, &t->optim, key, strcmp(t->name, "dense") == 0, err);
    }
    return st;
}
