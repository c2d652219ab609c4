/* job_task.c - see job_task.h. */
#include "common/base/job_task.h"

#include <string.h>

static const struct job_field *label_of(const struct job *job, size_t task)
{
    for (size_t i = 0, at = 0; i < job->data.fields_used; i++)
        if (job->data.fields[i].type == FIELD_LABEL && at++ == task)
            return &job->data.fields[i];
    return NULL;
}

static size_t labels_of(const struct job *job)
{
    size_t n = 0;
    while (label_of(job, n) != NULL)
        n++;
    return n;
}

size_t job_tasks(const struct job *job)
{
    const size_t n = labels_of(job);
    return n > 0 ? n : 1;
}

const char *job_task_name(const struct job *job, size_t task)
{
    const struct job_field *f = label_of(job, task);
    return f != NULL && f->name != NULL ? f->name : "label";
}

double job_task_weight(const struct job *job, size_t task)
{
    const struct job_field *f = label_of(job, task);
    return f != NULL && job->model.family == JOB_MULTITASK ? f->weight : 1;
}

static size_t find_task(const struct job *job, const char *name)
{
    size_t t = 0;
    while (t < job_tasks(job) && strcmp(job_task_name(job, t), name) != 0)
        t++;
    return t;
}

size_t job_task(const struct job *job)
{
    const char *name = job->train.task;
    const size_t t = name != NULL && *name != '\0' ? find_task(job, name) : 0;
    return t < job_tasks(job) ? t : 0;
}

static enum status check_names(const struct job *job, struct errbuf *err)
{
    char known[256] = "";
    if (*job->train.task == '\0' || find_task(job, job->train.task) < job_tasks(job))
        return ST_OK;
    for (size_t t = 0, n = 0; t < job_tasks(job) && n < sizeof known; t++)
        n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", t > 0 ? ", " : "",
                              job_task_name(job, t));
    return errbuf_set(err, ST_USAGE, "train.task: \"%s\" is no field of type label (there are %s)",
                      job->train.task, known);
}

enum status job_task_check(const struct job *job, struct errbuf *err)
{
    const size_t n = labels_of(job);
    double weights = 0;
    if (job->model.family != JOB_MULTITASK) {
        if (n != 1)
            return errbuf_set(
                err, ST_USAGE, "data.fields: %zu of type label (exactly one is needed%s)", n,
                n > 1 ? "; model.family=multitask learns several, type skip leaves one out" : "");
        if (label_of(job, 0)->weight != 1)
            return errbuf_set(err, ST_USAGE,
                              "data.fields: %s has a weight, which goes with "
                              "model.family=multitask alone",
                              job_task_name(job, 0));
        return check_names(job, err);
    }
    if (n < 2 || n > JOB_TASKS_MAX)
        return errbuf_set(err, ST_USAGE,
                          "data.fields: %zu of type label (model.family=multitask learns 2 to %u, "
                          "a task each)",
                          n, JOB_TASKS_MAX);
    for (size_t t = 0; t < n; t++)
        weights += label_of(job, t)->weight;
    if (!(weights > 0))
        return errbuf_set(
            err, ST_USAGE,
            "data.fields: the labels' weights are all 0, so nothing would be learned");
    return check_names(job, err);
}
