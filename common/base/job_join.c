/* job_join.c - data.join: the side files of a job; see job_join.h. */
#include "common/base/job_join.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

enum { JOINS_MAX = 16 };

static void replace(char **slot, const char *text)
{
    free(*slot);
    *slot = mem_strdup(text);
}

static enum status load_join(const struct job *job, const struct yaml_node *node, const char *name,
                             size_t position, struct job_join *j, struct errbuf *err)
{
    bool seen[16] = {false};
    assert(job_join_options.rows_used <= sizeof seen);
    enum status st = options_load(&job_join_options, node, name, NULL, j, seen, err);
    if (st != ST_OK)
        return st;
    for (size_t i = 0; i < job_join_options.rows_used; i++)
        if (job_join_options.rows[i].def == NULL && !seen[i])
            return errbuf_set(err, ST_USAGE, "%s:%u:%u: data.join[%zu].%s is required", name,
                              node->line, node->column, position, job_join_options.rows[i].path);
    if (*j->on == '\0' || *j->file == '\0')
        return errbuf_set(err, ST_USAGE, "%s:%u:%u: data.join[%zu].%s is empty", name, node->line,
                          node->column, position, *j->on == '\0' ? "on" : "file");
    if (*j->key == '\0')
        replace(&j->key, j->on);
    if (strcmp(j->delimiter, "\\t") == 0)
        replace(&j->delimiter, "\t");
    if (*j->delimiter == '\0')
        replace(&j->delimiter, job->data.format == JOB_RECBOLE     ? "\t"
                               : job->data.format == JOB_DELIMITED ? job->data.delimiter
                                                                   : ",");
    return ST_OK;
}

enum status job_join_load(const struct yaml_node *root, const char *name, struct job *job,
                          struct errbuf *err)
{
    const struct yaml_node *list = yaml_get(yaml_get(root, "data"), "join");
    if (list == NULL)
        return ST_OK;
    if (job->data.format == JOB_LIBSVM)
        return errbuf_set(err, ST_USAGE,
                          "%s:%u:%u: data.join: libsvm has no ids to join by; leave it out", name,
                          list->line, list->column);
    if (list->kind != YAML_LIST || list->items_used > JOINS_MAX)
        return errbuf_set(err, ST_USAGE, "%s:%u:%u: data.join: must be a list of at most %d maps",
                          name, list->line, list->column, JOINS_MAX);
    job->data.join = mem_array(list->items_used + 1, sizeof *job->data.join);
    for (size_t i = 0; i < list->items_used; i++) {
        struct job_join *j = &job->data.join[job->data.joins_used++];
        options_defaults(&job_join_options, j);
        enum status st = load_join(job, list->items[i], name, i, j, err);
        if (st != ST_OK)
            return st;
    }
    return ST_OK;
}

void job_join_release(struct job *job)
{
    for (size_t i = 0; i < job->data.joins_used; i++)
        options_release(&job_join_options, &job->data.join[i]);
    free(job->data.join);
}

void job_join_dump(const struct job *job, struct buffer *out)
{
    for (size_t i = 0; i < job->data.joins_used; i++) {
        buffer_printf(out, "%s", i == 0 ? "  join:\n" : "");
        for (size_t r = 0; r < job_join_options.rows_used; r++) {
            const struct option *row = &job_join_options.rows[r];
            buffer_printf(out, "    %s %s: ", r == 0 ? "-" : " ", row->path);
            options_value_text(row, &job->data.join[i], out);
            buffer_printf(out, "\n");
        }
    }
}

/* The side files are data, as the logs are: they may move, what is taken of them may not change. */
void job_join_put(const struct job *job, size_t i, struct buffer *out)
{
    for (size_t r = 1; r < job_join_options.rows_used; r++) {
        const struct option *row = &job_join_options.rows[r];
        buffer_printf(out, "%s%s: ", r == 1 ? "" : ", ", row->path);
        options_value_text(row, &job->data.join[i], out);
    }
}
