/* job_check.c - combinations that no single row can judge.
 *
 * The table knows types, bounds and which choice a key belongs to. What is left is here: a handful of
 * rules over a whole job, each naming the key that is wrong and what would be right. They are apart from
 * loading because they ask for a job that can be trained; showing a job, or converting its logs, does not.
 */
#include <inttypes.h>
#include <string.h>

#include "common/base/job.h"
#include "common/base/job_optim.h"
#include "common/base/job_task.h"

enum { HIDDEN_MAX = 16 };

static bool is_ids(const struct job_field *f)
{
    return f->type == FIELD_ID || f->type == FIELD_IDS || f->type == FIELD_USER ||
           f->type == FIELD_ITEM || f->type == FIELD_HISTORY;
}

static size_t count_type(const struct job *job, enum field_type type)
{
    size_t n = 0;
    for (size_t i = 0; i < job->data.fields_used; i++)
        n += job->data.fields[i].type == (int)type;
    return n;
}

static enum status check_names(const struct job *job, struct errbuf *err)
{
    for (size_t i = 0; i < job->data.fields_used; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(job->data.fields[i].name, job->data.fields[j].name) == 0)
                return errbuf_set(err, ST_USAGE, "data.fields[%zu].name: %s is data.fields[%zu]'s",
                                  i, job->data.fields[i].name, j);
    return ST_OK;
}

/* Sequences need to know who and what, perhaps when, and nothing else. */
static enum status check_event_fields(const struct job *job, struct errbuf *err)
{
    size_t users = count_type(job, FIELD_USER), items = count_type(job, FIELD_ITEM);
    size_t times = count_type(job, FIELD_TIME), skipped = count_type(job, FIELD_SKIP);
    if (users != 1 || items != 1 || times > 1 ||
        users + items + times + skipped != job->data.fields_used)
        return errbuf_set(err, ST_USAGE,
                          "data.fields: data.records=sequences needs one of type user, one of type "
                          "item, at most one of type time, and else only type skip");
    return check_names(job, err);
}

/* A history knows whose it is, what it is of and what was before. */
static enum status check_histories(const struct job *job, struct errbuf *err)
{
    for (size_t i = 0; i < job->data.fields_used; i++) {
        const struct job_field *f = &job->data.fields[i];
        bool found = false;
        if (f->type != FIELD_HISTORY)
            continue;
        if (count_type(job, FIELD_USER) != 1 || count_type(job, FIELD_TIME) != 1)
            return errbuf_set(err, ST_USAGE,
                              "data.fields[%zu]: %s is a history, which needs a field of type user "
                              "and one of type time",
                              i, f->name);
        for (size_t j = 0; j < job->data.fields_used; j++) {
            const int type = job->data.fields[j].type;
            found |= strcmp(job->data.fields[j].name, f->of) == 0 &&
                     (type == FIELD_ID || type == FIELD_ITEM ||
                      (type == FIELD_LABEL && strcmp(f->of, job_task_name(job, 0)) == 0));
        }
        if (!found)
            return errbuf_set(
                err, ST_USAGE,
                "data.fields[%zu].of: \"%s\" is no field of type id, item or label (of several the "
                "first)",
                i, f->of);
    }
    return ST_OK;
}

static enum status check_fields(const struct job *job, struct errbuf *err)
{
    if (job->data.records == JOB_SEQUENCES)
        return check_event_fields(job, err);
    size_t ids = 0, floats = count_type(job, FIELD_FLOAT);
    for (size_t i = 0; i < job->data.fields_used; i++)
        ids += is_ids(&job->data.fields[i]);
    enum status st = job_task_check(job, err);
    if (st != ST_OK)
        return st;
    static const enum field_type single[] = {FIELD_TIME, FIELD_USER, FIELD_ITEM};
    static const char *const names[] = {"time", "user", "item"};
    for (size_t i = 0; i < 3; i++)
        if (count_type(job, single[i]) > 1)
            return errbuf_set(err, ST_USAGE, "data.fields: %zu of type %s (at most one)",
                              count_type(job, single[i]), names[i]);
    if (ids + floats == 0)
        return errbuf_set(err, ST_USAGE,
                          "data.fields: none to learn from (id, ids, user, item or float)");
    bool wants_ids = job->model.family == JOB_LR || job->model.family == JOB_FM ||
                     job->model.family == JOB_DEEPFM || job->model.family == JOB_DLRM;
    st = check_histories(job, err);
    if (st != ST_OK)
        return st;
    if (ids == 0 && wants_ids)
        return errbuf_set(err, ST_USAGE,
                          "data.fields: model.family=%s needs one of type id, ids, user or item",
                          job_family_name(job->model.family));
    return check_names(job, err);
}

/* A part that is cut out of train can't come from files as well. */
static enum status check_part(const struct texts *files, double part, const char *name,
                              struct errbuf *err)
{
    if (files->used > 0 && part > 0)
        return errbuf_set(
            err, ST_USAGE,
            "data.%s: is given, but data.split.by makes it (data.split.%s=0 would not)", name,
            name);
    return ST_OK;
}

static enum status check_split(const struct job *job, struct errbuf *err)
{
    double valid = job->data.split.valid, test = job->data.split.test;
    const bool sequences = job->data.records == JOB_SEQUENCES;
    if (sequences
            ? job->data.split.by != JOB_SPLIT_TIME && job->data.split.by != JOB_SPLIT_LEAVE_ONE_OUT
            : job->data.split.by == JOB_SPLIT_LEAVE_ONE_OUT)
        return errbuf_set(err, ST_USAGE, "data.split.by: %s",
                          sequences ? "sequences are split by leave_one_out or time"
                                    : "leave_one_out needs data.records=sequences");
    if (job->data.split.by == JOB_SPLIT_FILES)
        return ST_OK;
    if (sequences && job->data.split.by == JOB_SPLIT_LEAVE_ONE_OUT) {
        enum status st = check_part(&job->data.valid, 1, "valid", err);
        return st != ST_OK ? st : check_part(&job->data.test, 1, "test", err);
    }
    if (job->data.split.by == JOB_SPLIT_WINDOW)
        return count_type(job, FIELD_TIME) > 0
                   ? ST_OK
                   : errbuf_set(err, ST_USAGE, "data.split.by: window needs a field of type time");
    if (job->data.split.by == JOB_SPLIT_FOLD) {
        if (count_type(job, FIELD_USER) == 0)
            return errbuf_set(err, ST_USAGE, "data.split.by: fold needs a field of type user");
        if (job->data.split.fold >= job->data.split.folds)
            return errbuf_set(err, ST_USAGE,
                              "data.split.fold: %" PRIu64 " of %" PRIu64
                              " folds (they count from 0)",
                              job->data.split.fold, job->data.split.folds);
        enum status st = check_part(&job->data.test, 1, "test", err);
        return st != ST_OK ? st : check_part(&job->data.valid, valid, "valid", err);
    }
    if (!(valid + test < 1))
        return errbuf_set(err, ST_USAGE, "data.split: valid %g and test %g leave nothing to train",
                          valid, test);
    if (job->data.split.by == JOB_SPLIT_TIME && count_type(job, FIELD_TIME) == 0)
        return errbuf_set(err, ST_USAGE, "data.split.by: time needs a field of type time");
    enum status st = check_part(&job->data.valid, valid, "valid", err);
    return st != ST_OK ? st : check_part(&job->data.test, test, "test", err);
}

/* Each line counts once: what an epoch reads is not followed as well. */
static enum status check_twice(const struct job *job, struct errbuf *err)
{
    const struct {
        const char *key;
        const struct texts *list;
    } read[] = {
        {"train", &job->data.train}, {"valid", &job->data.valid}, {"test", &job->data.test}};
    for (size_t i = 0; i < job->data.follow.used; i++)
        for (size_t k = 0; k < sizeof read / sizeof read[0]; k++)
            for (size_t n = 0; n < read[k].list->used; n++)
                if (strcmp(job->data.follow.item[i], read[k].list->item[n]) == 0)
                    return errbuf_set(err, ST_USAGE,
                                      "data.follow: %s is in data.%s, too, so its lines would "
                                      "count twice; let a growing log be files of its own",
                                      job->data.follow.item[i], read[k].key);
    return ST_OK;
}

/* Growing logs: lines that stand for themselves, one after the other. */
static enum status check_follow(const struct job *job, struct errbuf *err)
{
    const int format = job->data.format, by = job->data.split.by;
    if (!job_follows(job))
        return ST_OK;
    if (job->data.records == JOB_SEQUENCES)
        return errbuf_set(err, ST_USAGE,
                          "data.follow: a sequence is all that a user did; lines can't be added to "
                          "one (data.records=events could follow)");
    for (size_t i = 0; i < job->data.fields_used; i++)
        if (job->data.fields[i].type == FIELD_HISTORY)
            return errbuf_set(err, ST_USAGE,
                              "data.follow: field %s is a history, which is made of the whole log; "
                              "growing logs have none yet: leave one of the two out",
                              job->data.fields[i].name);
    if (format == JOB_TFRECORD || format == JOB_PARQUET || format == JOB_QUERY)
        return errbuf_set(err, ST_USAGE,
                          "data.follow: needs a format of lines (delimited, libsvm, criteo, "
                          "recbole, libffm, slots, json)");
    if (job->train.window || by == JOB_SPLIT_FOLD)
        return errbuf_set(err, ST_USAGE, "data.follow: does not go with %s",
                          job->train.window ? "train.window: its windows are all of data.train"
                                            : "data.split.by=fold: its runs come to an end");
    for (size_t i = 0; i < job->data.follow.used; i++)
        if (strcmp(job->data.follow.item[i], "-") == 0)
            return errbuf_set(err, ST_USAGE,
                              "data.follow: standard input (-) can't be gone on with after a "
                              "restart: let it be written to a file (tee -a FILE) and name that");
    return check_twice(job, err);
}

static enum status check_data(const struct job *job, struct errbuf *err)
{
    bool whole = job->data.format == JOB_QUERY && strstr(job->data.query, "{file}") == NULL;
    if (job->data.train.used == 0 && !whole)
        return errbuf_set(err, ST_USAGE, "data.train: no file is given");
    const char *delimiter = job->data.delimiter, *quote = job->data.quote;
    if (*delimiter == '\0' || strpbrk(delimiter, "\r\n") != NULL)
        return errbuf_set(err, ST_USAGE, "data.delimiter: must be a text without line ends");
    if (strlen(quote) > 1 || *quote == '\r' || *quote == '\n')
        return errbuf_set(err, ST_USAGE, "data.quote: must be one character or empty");
    if (*quote != '\0' && strchr(delimiter, *quote) != NULL)
        return errbuf_set(err, ST_USAGE, "data.quote: is part of data.delimiter");
    for (size_t i = 0; i < job->data.fields_used; i++)
        if (job->data.fields[i].type == FIELD_IDS && *job->data.fields[i].sep == '\0')
            return errbuf_set(err, ST_USAGE, "data.fields[%zu].sep: is empty", i);
    bool query = job->data.format == JOB_QUERY;
    if (query && *job->data.query == '\0')
        return errbuf_set(err, ST_USAGE, "data.query: is empty (a SELECT is needed)");
    if (query && job->data.train.used > 0 && strstr(job->data.query, "{file}") == NULL)
        return errbuf_set(err, ST_USAGE,
                          "data.train: is given, but data.query has no {file} to put its files in");
    enum status st = check_follow(job, err);
    return st != ST_OK ? st : check_split(job, err);
}

static enum status check_layers(const struct u64s *widths, const char *name, bool needed,
                                struct errbuf *err)
{
    const size_t least = needed ? 1 : 0;
    if (widths->used < least || widths->used > HIDDEN_MAX)
        return errbuf_set(err, ST_USAGE, "%s: %zu layers (allowed: %zu to %d)", name, widths->used,
                          least, HIDDEN_MAX);
    return ST_OK;
}

/* What lies behind hidden layers depends on the family; relu goes with all of them. */
static enum status check_activation(const struct job *job, struct errbuf *err)
{
    static const char *const names[] = {"relu", "gelu", "dice"};
    static const enum job_family of[] = {JOB_FAMILIES, JOB_SASREC, JOB_DIN};
    const int activation = job->model.activation;
    if (activation != JOB_RELU && job->model.family != (int)of[activation])
        return errbuf_set(err, ST_USAGE, "model.activation: %s goes with model.family=%s",
                          names[activation], job_family_name((int)of[activation]));
    return ST_OK;
}

/* A family of the next item needs sequences, and sequences need one. */
static enum status check_next_item(const struct job *job, struct errbuf *err)
{
    const bool family = job->model.family >= JOB_CLICK_FAMILIES;
    const uint64_t width = job->model.recurrent;
    if (family != (job->data.records == JOB_SEQUENCES))
        return errbuf_set(err, ST_USAGE, "model.family: %s works with data.records=%s, not with %s",
                          job_family_name(job->model.family), family ? "sequences" : "events",
                          family ? "events" : "sequences");
    if (family && job->model.embedding % job->model.heads != 0)
        return errbuf_set(err, ST_USAGE,
                          "model.heads: %" PRIu64 " does not divide model.embedding, %" PRIu64,
                          job->model.heads, job->model.embedding);
    if (family && job->model.tied && width != 0 && width != job->model.embedding)
        return errbuf_set(err, ST_USAGE,
                          "model.recurrent: %" PRIu64 " is not model.embedding, %" PRIu64
                          " (set model.tied=false)",
                          width, job->model.embedding);
    return ST_OK;
}

/* A probability has an AUC, a next item a rank. */
static enum status check_metric(const struct job *job, struct errbuf *err)
{
    const bool ranks = job_ranks(job), gauc = job->train.metric == JOB_METRIC_GAUC;
    if (gauc && (ranks || count_type(job, FIELD_USER) == 0))
        return errbuf_set(err, ST_USAGE, "train.metric: gauc %s",
                          ranks ? "needs probabilities; next-item models have ranks"
                                : "needs a field of type user (hash: 1 keeps it out of the model)");
    if (job->train.metric == (ranks ? JOB_METRIC_AUC : JOB_METRIC_NDCG))
        return errbuf_set(err, ST_USAGE, "train.metric: model.family=%s has no %s",
                          job_family_name(job->model.family), ranks ? "AUC" : "ranks for NDCG");
    return ST_OK;
}

static enum status check_model(const struct job *job, struct errbuf *err)
{
    const bool sequences = job->model.family >= JOB_CLICK_FAMILIES;
    const bool deep = job->model.family != JOB_LR && job->model.family != JOB_FM && !sequences;
    const bool streams = job->model.family == JOB_FINALMLP;
    enum status st = check_layers(&job->model.hidden, "model.hidden", deep, err);
    if (st == ST_OK)
        st = check_layers(&job->model.tower, "model.tower", false, err);
    if (st == ST_OK)
        st = check_layers(&job->model.second.hidden, "model.second.hidden", streams, err);
    if (st == ST_OK)
        st = check_layers(&job->model.dlrm.bottom, "model.dlrm.bottom", false, err);
    if (st == ST_OK)
        st = check_layers(&job->model.finalmlp.gate_hidden, "model.finalmlp.gate_hidden", false,
                          err);
    if (st == ST_OK)
        st = check_layers(&job->model.dilations, "model.dilations", sequences, err);
    if (st == ST_OK)
        st = check_layers(&job->model.attention, "model.attention", false, err);
    if (st == ST_OK)
        st = check_activation(job, err);
    if (st == ST_OK)
        st = check_next_item(job, err);
    if (st == ST_OK)
        st = check_metric(job, err);
    return st;
}

static enum status check_cluster(const struct job *job, struct errbuf *err)
{
    uint64_t servers = job->cluster.servers, shards = job->cluster.shards;
    if (shards != 0 && shards < servers)
        return errbuf_set(err, ST_USAGE,
                          "cluster.shards: %" PRIu64 " are fewer than the %" PRIu64 " servers",
                          shards, servers);
    if (job->cluster.dead <= job->cluster.beat)
        return errbuf_set(err, ST_USAGE, "cluster.dead: must be longer than cluster.beat");
    return ST_OK;
}

uint64_t job_slices(const struct job *job)
{
    return job->train.slices != 0 ? job->train.slices : job->cluster.workers;
}

bool job_deals(const struct job *job)
{
    return job->train.consistency != JOB_ASYNC || job_allreduces(job);
}

bool job_follows(const struct job *job)
{
    return job->data.follow.used > 0;
}

bool job_allreduces(const struct job *job)
{
    return job->train.dense == JOB_DENSE_ALLREDUCE;
}

uint32_t job_carrier(uint32_t shard, uint32_t workers)
{
    return shard % workers;
}

uint64_t job_part_at(uint64_t begin, uint64_t end, uint64_t s, uint64_t S)
{
    return begin + (end - begin) * s / S;
}

/* Each worker has a part of each step. */
static enum status check_dealt(const struct job *job, struct errbuf *err)
{
    if (!job_deals(job) || job->cluster.workers <= job->train.batch)
        return ST_OK;
    return errbuf_set(err, ST_USAGE,
                      "train.batch: a step of %" PRIu64 " records can't be dealt to %" PRIu64
                      " workers: take at least as many records, or train.consistency=async with "
                      "train.dense=ps",
                      job->train.batch, job->cluster.workers);
}

/* Slices are the leaves of a tree, and each worker has one whole branch of it. */
static enum status check_slices(const struct job *job, struct errbuf *err)
{
    const uint64_t slices = job_slices(job), workers = job->cluster.workers;
    if (job->train.consistency != JOB_BSP)
        return ST_OK;
    if ((slices & (slices - 1)) != 0)
        return errbuf_set(err, ST_USAGE, "train.slices: %" PRIu64 "%s is not a power of two",
                          slices, job->train.slices == 0 ? ", as many as workers," : "");
    if (slices % workers != 0)
        return errbuf_set(err, ST_USAGE,
                          "train.slices: %" PRIu64 " can't be dealt to %" PRIu64
                          " workers evenly (bsp works with 1, 2, 4 ... workers)",
                          slices, workers);
    if (slices > job->train.batch)
        return errbuf_set(err, ST_USAGE,
                          "train.slices: %" PRIu64 " of a batch of %" PRIu64 " records", slices,
                          job->train.batch);
    return ST_OK;
}

enum status job_check(const struct job *job, struct errbuf *err)
{
    enum status st = check_data(job, err);
    if (st == ST_OK)
        st = check_fields(job, err);
    if (st == ST_OK)
        st = check_model(job, err);
    if (st == ST_OK)
        st = job_optim_check(job, err);
    if (st == ST_OK)
        st = check_cluster(job, err);
    if (st == ST_OK)
        st = check_slices(job, err);
    if (st == ST_OK)
        st = check_dealt(job, err);
    return st == ST_OK ? st : errbuf_wrap(err, st, "%s: ", job->path);
}
