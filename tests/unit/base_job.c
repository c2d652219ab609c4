/* base_job.c - jobs: loading, --set, combinations, paths, the resolved dump, hash and resume.
 *
 * Refusals are compared whole: the sentences are what a user gets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/file.h"
#include "common/base/job.h"
#include "common/base/job_task.h"

#define FIELDS                                                                                     \
    "  fields:\n"                                                                                  \
    "    - {name: label, type: label}\n"                                                           \
    "    - {name: user, type: user, hash: 25k}\n"                                                  \
    "    - {name: tags, type: ids, sep: \";\", ids_max: 20}\n"                                     \
    "    - {name: price, type: float, norm: log}\n"                                                \
    "    - {name: at, type: time, column: \"7\"}\n"

static const char full[] = "data:\n"
                           "  train: a.csv\n"
                           "  valid: [b.csv, 'c*.csv.gz', /abs/d.csv]\n" FIELDS "model:\n"
                           "  family: dcnv2\n"
                           "  hidden: [64, 32]\n"
                           "  cross: 3\n"
                           "  dropout: .2\n"
                           "optimizer:\n"
                           "  embedding: {kind: adam, l2: .05, beta1: .8}\n"
                           "train: {epochs: 3, batch: 1k}\n"
                           "cluster: {cut_every: 2s, servers: 2, shards: 4}\n";
static const char svm[] = "data: {format: libsvm, train: a9a, test: a9a.t}\nmodel: {family: lr}\n";
static const char least[] = "model: {family: lr}\n";

static struct job job;
static struct errbuf err;

static enum status parse(const char *text, const char *set)
{
    char *sets[] = {(char *)(uintptr_t)set};
    err.text[0] = '\0';
    return job_parse(text, strlen(text), "job.yaml", "/jobs", sets, set != NULL, &job, &err);
}

static void parses(const char *text, const char *set)
{
    if (parse(text, set) != ST_OK)
        fail_msg("%s", err.text);
}

static void refuses(const char *text, const char *set, const char *why)
{
    assert_int_equal(parse(text, set), ST_USAGE);
    assert_string_equal(err.text, why);
}

/* `full` with one line replaced. */
static char *with(const char *from, const char *to)
{
    static char text[4096];
    const char *at = strstr(full, from);
    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - full), full, to, at + strlen(from));
    return text;
}

static void test_defaults(void **state)
{
    (void)state;
    parses(least, NULL);
    assert_string_equal(job.name, "job");
    assert_string_equal(job.path, "/jobs/job.yaml");
    assert_int_equal(job.data.format, JOB_DELIMITED);
    assert_string_equal(job.data.delimiter, ",");
    assert_true(job.data.header && job.data.label_above == .5 && job.data.bad_max == .01);
    assert_string_equal(job.data.quote, "\"");
    static const char *const missing[] = {"", "NA", "null", "NULL", "nan", "\\N"};
    assert_int_equal(job.data.missing.used, 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(job.data.missing.item[i], missing[i]);
    assert_true(job.data.bytes_max == 1ull << 40);
    assert_int_equal(job.data.split.by, JOB_SPLIT_FILES);
    assert_true(job.model.embedding == 10 && job.model.embedding_init == 1e-4);
    assert_int_equal(job.model.hidden.used, 3);
    assert_true(job.model.batch_norm && job.model.dropout == 0 && job.model.cross == 4);
    assert_int_equal(job.optimizer.dense.kind, JOB_ADAM);
    assert_true(job.optimizer.embedding.rate == 1e-3 && job.optimizer.embedding.eps == 1e-8);
    assert_true(job.train.epochs == 1 && job.train.batch == 4096 && job.train.clip == 10);
    assert_true(job.train.shuffle && job.train.grad_max == 1e6 && job.train.staleness == 0);
    assert_true(job.train.plateau.factor == .1 && job.train.plateau.patience == 2);
    assert_true(job.cluster.servers == 1 && job.cluster.shards == 0 && job.cluster.workers == 1);
    assert_true(job.cluster.cut_every == 10000000 && job.cluster.table_bytes == 4ull << 30);
    assert_true(job.cluster.beat == 100000 && job.cluster.hold == 1000000);
    assert_true(job.cluster.dead == 3000000 && job.cluster.write == 30000000);
    assert_true(job.cluster.recover == 60000000 && job.cluster.orphan == 30000000);
    assert_true(job.cluster.resend == 200000 && job.cluster.full_every == 8);
    assert_string_equal(job.cluster.bind, "127.0.0.1");
    job_release(&job);
    assert_null(job.path);
}

static void test_full(void **state)
{
    (void)state;
    parses(full, NULL);
    assert_int_equal(job_check(&job, &err), ST_OK);
    assert_int_equal(job.data.fields_used, 5);
    const struct job_field *f = job.data.fields;
    assert_string_equal(f[0].column, "label"); /* by default the name */
    assert_string_equal(f[1].vocab, "user");
    assert_true(f[1].hash == 25000 && f[1].ids_max == 1000);
    assert_string_equal(f[1].sep, "|");
    assert_string_equal(f[2].sep, ";");
    assert_true(f[2].ids_max == 20);
    assert_int_equal(f[3].norm, NORM_LOG);
    assert_int_equal(f[4].type, FIELD_TIME);
    assert_string_equal(f[4].column, "7");
    assert_true(job.train.batch == 1000 && job.cluster.shards == 4);
    assert_int_equal(job.model.family, JOB_DCNV2);
    job_release(&job);
    parses(with("  train: a.csv\n", "  train: a.csv\n  header: no\n"), NULL);
    assert_string_equal(job.data.fields[3].column, "3"); /* without a header the position */
    assert_string_equal(job.data.fields[4].column, "7");
    job_release(&job);
    parses(svm, NULL);
    assert_int_equal(job_check(&job, &err), ST_OK);
    assert_int_equal(job.data.fields_used, 2);
    assert_int_equal(job.data.fields[0].type, FIELD_LABEL);
    assert_string_equal(job.data.fields[1].name, "features");
    assert_int_equal(job.data.fields[1].type, FIELD_IDS);
    job_release(&job);
}

static void test_refused(void **state)
{
    (void)state;
    refuses("", NULL,
            "job.yaml: model.family is required "
            "(lr|fm|mlp|dcnv2|widedeep|deepfm|dlrm|finalmlp|finalnet|din|multitask|sasrec|lstm|gru|"
            "cnn)");
    refuses("model: {family: lr}\ntrain: {bacth: 5}\n", NULL,
            "job.yaml:2:9: train.bacth: no such key; the nearest is train.batch");
    refuses("model: {family: lr}\ntrain: {batch: 0}\n", NULL,
            "job.yaml:2:16: train.batch: 0 is below 1 (allowed: 1 to 16M)");
    refuses("model: {family: lr, hidden: [1]}\n", NULL,
            "job.yaml:1:21: model.hidden: does not apply here (it applies with "
            "model.family=mlp|dcnv2|widedeep|deepfm|dlrm|finalmlp|finalnet|din|multitask)");
    refuses("model:\n  cross: 2\n  family: mlp\n", NULL,
            "job.yaml:2:3: model.cross: does not apply here (it applies with model.family=dcnv2)");
    refuses("model: {family: lr}\ndata: {split: {valid: .2}}\n", NULL,
            "job.yaml:2:16: data.split.valid: does not apply here (it applies with "
            "data.split.by=ratio|time|fold)");
    refuses("model: {family: lr}\noptimizer: {dense: {kind: sgd, beta1: .5}}\n", NULL,
            "job.yaml:2:32: optimizer.dense.beta1: does not apply here (it applies with "
            "optimizer.dense.kind=adam|adamw|amsgrad|rowwise_adam)");
    refuses(least, "train.slices=4",
            "--set train.slices: does not apply here (it applies with train.consistency=bsp)");
    refuses("model: {family: lr}\ntrain: {consistency: bsp, staleness: 1}\n", NULL,
            "job.yaml:2:27: train.staleness: does not apply here (it applies with "
            "train.consistency=async|ssp)");
    refuses(least, "model.family=x",
            "--set model.family: x is not one of the choices (allowed: lr, fm, mlp, dcnv2, "
            "widedeep, deepfm, dlrm, finalmlp, finalnet, din, multitask, sasrec, lstm, gru, cnn)");
    refuses("model: {family: lr}\nmodel: {family: lr}\n", NULL,
            "job.yaml:2:1: model: this key stands in line 1 already");
    refuses("model: &a {family: lr}\n", NULL, "job.yaml:1:8: anchors (&name) are not allowed here");
}

static void test_fields_refused(void **state)
{
    (void)state;
    refuses(with(FIELDS, "  fields: 3\n"), NULL,
            "job.yaml:4:11: data.fields: must be a list of maps");
    refuses(with("{name: label, type: label}", "label"), NULL,
            "job.yaml:5:7: must be a map of keys");
    refuses(with("{name: label, type: label}", "{name: label}"), NULL,
            "job.yaml:5:7: data.fields[0].type is required");
    refuses(with("{name: label, type: label}", "{type: label}"), NULL,
            "job.yaml:5:7: data.fields[0].name is required");
    refuses(with("{name: label, type: label}", "{name: \"\", type: label}"), NULL,
            "job.yaml:5:7: data.fields[0].name is empty");
    refuses(with("{name: label, type: label}", "{name: label, typ: label}"), NULL,
            "job.yaml:5:21: typ: no such key; the nearest is type");
    refuses(with("{name: label, type: label}", "{name: label, type: labl}"), NULL,
            "job.yaml:5:27: type: labl is not one of the choices (allowed: id, ids, float, time, "
            "label, user, item, skip, history)");
    refuses(with("hash: 25k", "norm: log"), NULL,
            "job.yaml:6:7: data.fields[1].norm: does not apply here (it applies with type=float)");
    refuses(with("hash: 25k", "sep: x"), NULL,
            "job.yaml:6:7: data.fields[1].sep: does not apply here (it applies with type=ids)");
    refuses(with("norm: log", "hash: 5"), NULL,
            "job.yaml:8:7: data.fields[3].hash: does not apply here (it applies with "
            "type=id|ids|user|item)");
    refuses("data: {format: libsvm, fields: []}\nmodel: {family: lr}\n", NULL,
            "job.yaml:1:24: data.fields: libsvm implies its fields; leave them out");
    assert_int_equal(parse(full, "data.fields=x"), ST_USAGE);
}

/* One file for all families: what the file says about its own family is set aside for another. */
static void test_another_family_by_set(void **state)
{
    (void)state;
    static const char *const families[] = {"lr",       "fm",     "mlp",      "dcnv2",
                                           "widedeep", "deepfm", "dlrm",     "finalmlp",
                                           "finalnet", "din",    "multitask"};
    for (int i = 0; i < JOB_CLICK_FAMILIES; i++) {
        char set[40];
        snprintf(set, sizeof set, "model.family=%s", families[i]);
        parses(full, set);
        assert_int_equal(job.model.family, i);
        assert_string_equal(job_family_name(i), families[i]);
        assert_int_equal(job_check(&job, &err), i == JOB_MULTITASK ? ST_USAGE : ST_OK);
        assert_int_equal(job.model.hidden.used, i >= JOB_MLP ? 2 : 3); /* else the default again */
        assert_true(job.model.cross == (i == JOB_DCNV2 ? 3 : 4));
        job_release(&job);
    }
    parses(full, "optimizer.embedding.kind=sgd");
    assert_true(job.optimizer.embedding.beta1 == .9);
    job_release(&job);
    char *both[] = {(char *)(uintptr_t) "model.family=lr", (char *)(uintptr_t) "model.cross=2"};
    assert_int_equal(job_parse(full, strlen(full), "job.yaml", "/jobs", both, 2, &job, &err),
                     ST_USAGE); /* but what is set must mean something */
    assert_string_equal(
        err.text, "--set model.cross: does not apply here (it applies with model.family=dcnv2)");
    char *twice[] = {(char *)(uintptr_t) "train.batch=1", (char *)(uintptr_t) "train.batch=2"};
    assert_int_equal(job_parse(full, strlen(full), "job.yaml", "/jobs", twice, 2, &job, &err),
                     ST_OK);
    assert_true(job.train.batch == 2); /* the last one counts */
    job_release(&job);
}

static void check_refuses(const char *text, const char *set, const char *why)
{
    parses(text, set);
    err.text[0] = '\0';
    assert_int_equal(job_check(&job, &err), ST_USAGE);
    assert_memory_equal(err.text, "/jobs/job.yaml: ", 16);
    assert_string_equal(err.text + 16, why);
    job_release(&job);
}

#define TASKS                                                                                      \
    "data:\n  train: a\n  fields:\n  - {name: click, type: label}\n"                               \
    "  - {name: u, type: user, hash: 1}\n  - {name: buy, type: label, weight: 3}\n"                \
    "model: {family: multitask}\n"

/* Labels are tasks, in their order; what does not go together is refused by name. */
static void test_tasks(void **state)
{
    (void)state;
    parses(TASKS "train: {task: buy, metric: gauc}\n", NULL);
    assert_int_equal(job_check(&job, &err), ST_OK);
    assert_int_equal(job_tasks(&job), 2);
    assert_string_equal(job_task_name(&job, 0), "click");
    assert_string_equal(job_task_name(&job, 1), "buy");
    assert_true(job_task_weight(&job, 0) == 1 && job_task_weight(&job, 1) == 3);
    assert_int_equal(job_task(&job), 1);
    assert_string_equal(job_metric_name(job_metric(&job)), "gauc");
    job_release(&job);
    parses(TASKS, NULL);
    assert_int_equal(job_task(&job), 0); /* the first, unless named */
    job_release(&job);
    check_refuses(TASKS, "train.task=bought",
                  "train.task: \"bought\" is no field of type label (there are click, buy)");
    check_refuses(full, "train.task=click",
                  "train.task: \"click\" is no field of type label (there are label)");
    check_refuses(full, "model.family=multitask",
                  "data.fields: 1 of type label (model.family=multitask learns 2 to 8, a task "
                  "each)");
    check_refuses(with("label, type: label", "label, type: label, weight: 2"), NULL,
                  "data.fields: label has a weight, which goes with model.family=multitask alone");
    check_refuses("data:\n  train: a\n  fields:\n  - {name: y, type: label, weight: 0}\n"
                  "  - {name: x, type: float}\n  - {name: z, type: label, weight: 0}\n"
                  "model: {family: multitask}\n",
                  NULL, "data.fields: the labels' weights are all 0, so nothing would be learned");
    check_refuses("data:\n  train: a\n  fields:\n  - {name: y, type: label}\n"
                  "  - {name: x, type: float}\nmodel: {family: mlp}\ntrain: {metric: gauc}\n",
                  NULL,
                  "train.metric: gauc needs a field of type user (hash: 1 keeps it out of the "
                  "model)");
}

static void test_combinations(void **state)
{
    (void)state;
    check_refuses(with("  family: dcnv2\n  hidden: [64, 32]\n  cross: 3\n",
                       "  family: din\n  activation: gelu\n"),
                  NULL, "model.activation: gelu goes with model.family=sasrec");
    check_refuses(full, "model.family=sasrec",
                  "model.family: sasrec works with data.records=sequences, not with events");
    check_refuses(least, NULL, "data.train: no file is given");
    check_refuses(with("  train: a.csv\n", ""), NULL, "data.train: no file is given");
    check_refuses(with("{name: label, type: label}", "{name: label, type: skip}"), NULL,
                  "data.fields: 0 of type label (exactly one is needed)");
    check_refuses(with("type: user, hash: 25k", "type: label"), NULL,
                  "data.fields: 2 of type label (exactly one is needed; model.family=multitask "
                  "learns several, type skip leaves one out)");
    check_refuses(with("name: price, type: float, norm: log", "name: price, type: time"), NULL,
                  "data.fields: 2 of type time (at most one)");
    check_refuses(with("name: price, type: float, norm: log", "name: price, type: user"), NULL,
                  "data.fields: 2 of type user (at most one)");
    check_refuses("data:\n  train: a\n  fields:\n  - {name: y, type: label}\nmodel: {family: lr}\n",
                  NULL, "data.fields: none to learn from (id, ids, user, item or float)");
    static const char floats[] = "data:\n  train: a\n  fields:\n  - {name: y, type: label}\n"
                                 "  - {name: x, type: float}\nmodel: {family: mlp}\n";
    check_refuses(floats, "model.family=lr",
                  "data.fields: model.family=lr needs one of type id, ids, user or item");
    check_refuses(floats, "model.family=fm",
                  "data.fields: model.family=fm needs one of type id, ids, user or item");
    parses(floats, NULL);
    assert_int_equal(job_check(&job, &err), ST_OK);
    job_release(&job);
    check_refuses(with("name: tags", "name: user"), NULL,
                  "data.fields[2].name: user is data.fields[1]'s");
    check_refuses(full, "data.delimiter=", "data.delimiter: must be a text without line ends");
    check_refuses(full, "data.delimiter=\"\\n\"",
                  "data.delimiter: must be a text without line ends");
    check_refuses(full, "data.quote=ab", "data.quote: must be one character or empty");
    check_refuses(full, "data.quote=,", "data.quote: is part of data.delimiter");
    check_refuses(with("sep: \";\"", "sep: \"\""), NULL, "data.fields[2].sep: is empty");
    check_refuses(full, "model.hidden=[]", "model.hidden: 0 layers (allowed: 1 to 16)");
    check_refuses(full, "model.hidden=[1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8]",
                  "model.hidden: 17 layers (allowed: 1 to 16)");
    check_refuses(
        full, "optimizer.dense.kind=rowwise_adagrad",
        "optimizer.dense.kind: rowwise_adagrad is for tables (allowed: sgd, momentum, nesterov, "
        "adagrad, adam, adamw, amsgrad, ftrl)");
    check_refuses(full, "cluster.shards=1", "cluster.shards: 1 are fewer than the 2 servers");
    check_refuses(full, "cluster.dead=50ms", "cluster.dead: must be longer than cluster.beat");
    parses(full, "cluster.shards=0");
    assert_int_equal(job_check(&job, &err), ST_OK);
    job_release(&job);
}

/* bsp: slices are the leaves of a tree, of which each worker has one whole branch. */
static void test_slices(void **state)
{
    (void)state;
    parses(with("epochs: 3", "consistency: bsp"), NULL);
    assert_int_equal(job_check(&job, &err), ST_OK);
    assert_int_equal(job_slices(&job), 1);
    assert_string_equal(job_consistency_name(job.train.consistency), "bsp");
    job_release(&job);
    parses(with("epochs: 3", "consistency: bsp"), "cluster.workers=4");
    assert_int_equal(job_check(&job, &err), ST_OK);
    assert_int_equal(job_slices(&job), 4);
    job_release(&job);
    parses(with("epochs: 3", "consistency: bsp, slices: 8"), "cluster.workers=4");
    assert_int_equal(job_check(&job, &err), ST_OK);
    assert_int_equal(job_slices(&job), 8);
    job_release(&job);
    check_refuses(with("epochs: 3", "consistency: bsp"), "cluster.workers=3",
                  "train.slices: 3, as many as workers, is not a power of two");
    check_refuses(with("epochs: 3", "consistency: bsp"), "train.slices=6",
                  "train.slices: 6 is not a power of two");
    check_refuses(with("epochs: 3", "consistency: bsp, slices: 4"), "cluster.workers=3",
                  "train.slices: 4 can't be dealt to 3 workers evenly (bsp works with 1, 2, 4 ... "
                  "workers)");
    check_refuses(with("epochs: 3", "consistency: bsp, slices: 4"), "cluster.workers=8",
                  "train.slices: 4 can't be dealt to 8 workers evenly (bsp works with 1, 2, 4 ... "
                  "workers)");
    check_refuses(with("epochs: 3", "consistency: bsp, slices: 2048"), NULL,
                  "train.slices: 2048 of a batch of 1000 records");
}

/* ssp: any number of workers, as long as each step has a record for each. */
static void test_parts(void **state)
{
    (void)state;
    parses(with("epochs: 3", "consistency: ssp, staleness: 2"), "cluster.workers=3");
    assert_int_equal(job_check(&job, &err), ST_OK);
    assert_true(job_deals(&job));
    assert_string_equal(job_consistency_name(job.train.consistency), "ssp");
    job_release(&job);
    check_refuses(with("epochs: 3", "consistency: ssp"), "cluster.workers=1001",
                  "train.batch: a step of 1000 records can't be dealt to 1001 workers: take at "
                  "least as many records, or train.consistency=async with train.dense=ps");
    uint64_t at = 10;
    for (uint64_t r = 0; r < 7; r++) { /* parts follow one another, the first at the step's begin */
        assert_int_equal(job_part_at(10, 15, r, 7) >= at, 1);
        at = job_part_at(10, 15, r, 7);
    }
    assert_int_equal(job_part_at(10, 15, 0, 7), 10);
    assert_int_equal(job_part_at(10, 15, 7, 7), 15);
}

static void test_splits(void **state)
{
    (void)state;
    const char *ratio =
        with("  valid: [b.csv, 'c*.csv.gz', /abs/d.csv]\n", "  split: {by: ratio}\n");
    parses(ratio, NULL);
    assert_int_equal(job_check(&job, &err), ST_OK);
    assert_true(job.data.split.valid == .1 && job.data.split.seed == 1);
    job_release(&job);
    check_refuses(
        ratio, "data.valid=x",
        "data.valid: is given, but data.split.by makes it (data.split.valid=0 would not)");
    check_refuses(
        full, "data.split.by=ratio",
        "data.valid: is given, but data.split.by makes it (data.split.valid=0 would not)");
    char *sets[] = {(char *)(uintptr_t) "data.split.valid=.6",
                    (char *)(uintptr_t) "data.split.test=.4"};
    assert_int_equal(job_parse(ratio, strlen(ratio), "job.yaml", "/jobs", sets, 2, &job, &err),
                     ST_OK);
    assert_int_equal(job_check(&job, &err), ST_USAGE);
    assert_non_null(strstr(err.text, "data.split: valid 0.6 and test 0.4 leave nothing"));
    job_release(&job);
    parses(ratio, "data.split.by=time");
    assert_int_equal(job_check(&job, &err), ST_OK);
    job_release(&job);
    check_refuses("data:\n  train: a\n  split: {by: time}\n  fields: [{name: y, type: label}]\n"
                  "model: {family: mlp}\n",
                  NULL, "data.split.by: time needs a field of type time");
}

static void test_paths(void **state)
{
    (void)state;
    parses(full, NULL);
    assert_string_equal(job.data.train.item[0], "/jobs/a.csv");
    assert_string_equal(job.data.valid.item[1], "/jobs/c*.csv.gz");
    assert_string_equal(job.data.valid.item[2], "/abs/d.csv");
    assert_string_equal(job.data.root, "");
    assert_string_equal(job.data.cache, "");
    job_release(&job);
    parses(with("  train: a.csv\n", "  train: a.csv\n  root: logs/\n  cache: kept\n"), NULL);
    assert_string_equal(job.data.root, "/jobs/logs/");
    assert_string_equal(job.data.train.item[0], "/jobs/logs/a.csv");
    assert_string_equal(job.data.valid.item[2], "/abs/d.csv");
    assert_string_equal(job.data.cache, "/jobs/kept"); /* written to: not under the logs */
    job_release(&job);
    parses(full, "data.root=/elsewhere");
    assert_string_equal(job.data.train.item[0], "/elsewhere/a.csv");
    job_release(&job);
    parses(full, "data.delimiter=\\t"); /* as a shell hands it over */
    assert_string_equal(job.data.delimiter, "\t");
    job_release(&job);
}

/* A root typed on the command line is relative to where it is typed, if there is such a folder. */
static void test_root_by_set(void **state)
{
    (void)state;
    char dir[] = "/tmp/base_job.XXXXXX", was[4096], want[64];
    assert_non_null(getcwd(was, sizeof was));
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(mkdir("logs", 0700), 0);
    parses(full, "data.root=logs");
    snprintf(want, sizeof want, "%s/logs/a.csv", dir);
    assert_string_equal(job.data.train.item[0], want);
    job_release(&job);
    parses(full, "data.root=absent");
    assert_string_equal(job.data.train.item[0], "/jobs/absent/a.csv");
    job_release(&job);
    assert_int_equal(chdir(was), 0);
    snprintf(want, sizeof want, "%s/logs", dir);
    rmdir(want);
    rmdir(dir);
}

static void dumps_again(const char *text, const char *set)
{
    struct buffer a = BUFFER_INIT, b = BUFFER_INIT;
    parses(text, set);
    uint64_t hash = job_config_hash(&job);
    job_dump(&job, &a);
    for (size_t i = 0; i < job_options.rows_used; i++) { /* every key is in it */
        char key[64];
        const char *dot = strrchr(job_options.rows[i].path, '.');
        snprintf(key, sizeof key, " %s: ", dot == NULL ? "" : dot + 1);
        if (dot != NULL && strstr(buffer_text(&a), key) == NULL)
            fail_msg("%s is not in the dump", job_options.rows[i].path);
    }
    job_release(&job);
    enum status st =
        job_parse(buffer_text(&a), a.used, "resolved.yaml", "/other", NULL, 0, &job, &err);
    if (st != ST_OK)
        fail_msg("%s\n%s", err.text, buffer_text(&a));
    job_dump(&job, &b);
    assert_string_equal(buffer_text(&a), buffer_text(&b));
    assert_true(hash == job_config_hash(&job));
    assert_string_equal(job.name, "job"); /* the file's name does not win over the job's */
    buffer_release(&a);
    buffer_release(&b);
    job_release(&job);
}

static void test_dump_is_a_job(void **state)
{
    (void)state;
    dumps_again(least, NULL);
    dumps_again(svm, NULL);
    dumps_again(full, NULL);
    dumps_again(full, "model.family=lr");
    dumps_again(full, "model.family=fm");
    dumps_again(full, "model.family=mlp");
    dumps_again(full, "data.root=/data/na\xc3\xafve folder");
    dumps_again(full, "data.split.by=time");
    dumps_again(full, "data.missing=[]");
    dumps_again(full, "data.missing=['null', '~', '-', ': ', '#']");
    dumps_again(full, "data.delimiter=\"\\u0001\"");
    dumps_again(full, "data.quote='");
    dumps_again(full, "train.seed=18446744073709551615");
    dumps_again(full, "optimizer.embedding.rate=0.30000000000000004");
    dumps_again(full, "cluster.cut_every=1234567us");
    dumps_again(full, "optimizer.embedding.kind=rowwise_adagrad");
    dumps_again(with("name: tags", "name: \"a: b, #\""), NULL);
}

static void test_dump_text(void **state)
{
    (void)state;
    struct buffer b = BUFFER_INIT;
    parses(full, NULL);
    job_dump(&job, &b);
    assert_non_null(strstr(buffer_text(&b), "  fields:\n"
                                            "    - name: label\n"
                                            "      type: label\n"
                                            "      column: label\n"
                                            "      weight: 1\n"
                                            "    - name: user\n"
                                            "      type: user\n"
                                            "      column: user\n"
                                            "      hash: 25000\n"
                                            "      min_count: 0\n"
                                            "      vocab: user\n"
                                            "    - name: tags\n"));
    assert_non_null(strstr(buffer_text(&b), "    first: 1\ncluster:\n  servers: 2\n"));
    buffer_release(&b);
    job_release(&job);
}

static void test_hash_and_resume(void **state)
{
    (void)state;
    static const struct {
        const char *set;
        const char *key; /* NULL: --resume may change it */
        const char *text;
    } changes[] = {
        {"train.epochs=9", NULL, NULL},
        {"cluster.servers=3", NULL, NULL},
        {"cluster.shards=8", NULL, NULL},
        {"cluster.workers=7", NULL, NULL},
        {"cluster.cut_every=1s", NULL, NULL},
        {"data.root=/moved", NULL, NULL},
        {"data.train=other.csv", NULL, NULL},
        {"data.test=other.csv", NULL, NULL},
        {"data.cache=x", NULL, NULL},
        {"name=other", NULL, NULL},
        {"train.batch=2k", "train.batch",
         "train.batch was 1000 and is 2000; --resume can't change it"},
        {"train.seed=2", "train.seed", "train.seed was 1 and is 2; --resume can't change it"},
        {"train.plateau.factor=.5", "train.plateau.factor",
         "train.plateau.factor was 0.1 and is 0.5; --resume can't change it"},
        {"model.family=mlp", "model.family",
         "model.family was dcnv2 and is mlp; --resume can't change it"},
        {"model.hidden=[64]", "model.hidden",
         "model.hidden was [64, 32] and is [64]; --resume can't change it"},
        {"model.dropout=.3", "model.dropout",
         "model.dropout was 0.2 and is 0.3; --resume can't change it"},
        {"data.label_above=3", "data.label_above",
         "data.label_above was 0.5 and is 3; --resume can't change it"},
        {"optimizer.dense.rate=1", "optimizer.dense.rate",
         "optimizer.dense.rate was 0.001 and is 1; --resume can't change it"},
    };
    struct job was;
    parses(full, NULL);
    was = job;
    assert_null(job_resume_conflict(&was, &was, &err));
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        parses(full, changes[i].set);
        const char *key = job_resume_conflict(&was, &job, &err);
        bool same = job_config_hash(&was) == job_config_hash(&job);
        assert_int_equal(same, changes[i].key == NULL);
        if (changes[i].key == NULL) {
            assert_null(key);
        } else {
            assert_string_equal(key, changes[i].key);
            assert_string_equal(err.text, changes[i].text);
        }
        job_release(&job);
    }
    parses(with("hash: 25k", "hash: 26k"), NULL);
    assert_string_equal(job_resume_conflict(&was, &job, &err), "data.fields");
    assert_memory_equal(err.text, "data.fields[1] was name: user, ", 31);
    assert_true(job_config_hash(&was) != job_config_hash(&job));
    job_release(&job);
    parses(with("    - {name: at, type: time, column: \"7\"}\n", ""), NULL);
    assert_string_equal(job_resume_conflict(&was, &job, &err), "data.fields");
    assert_non_null(strstr(err.text, "and is absent"));
    assert_string_equal(job_resume_conflict(&job, &was, &err), "data.fields");
    assert_non_null(strstr(err.text, "was absent and is"));
    job_release(&job);
    job_release(&was);
}

/* The hash stands in manifests: it may change only with the table (a new row, a new default). */
static void test_hash_is_pinned(void **state)
{
    (void)state;
    parses(svm, NULL);
    uint64_t hash = job_config_hash(&job);
    if (hash != 0x0a0556e5f4761aebu)
        fail_msg("%016lx", (unsigned long)hash);
    job_release(&job);
}

/* Formats, splits and side files of the data section: what is implied, what is refused, and resolved.yaml. */
static void test_data_section(void **state)
{
    (void)state;
    parses("data: {format: criteo, train: day_0}\nmodel: {family: lr}\n", NULL);
    assert_int_equal(job.data.fields_used, 40);
    assert_string_equal(job.data.fields[13].name, "I13");
    assert_string_equal(job.data.fields[39].column, "C26");
    struct buffer text = BUFFER_INIT;
    job_dump(&job, &text);
    uint64_t hash = job_config_hash(&job);
    job_release(&job);
    parses(buffer_text(&text), NULL);
    assert_true(hash == job_config_hash(&job));
    job_release(&job);
    buffer_reset(&text);

    static const char joined[] =
        "data:\n  train: [-, l.csv]\n  format: recbole\n  join: [{file: u.csv, on: user}, {file: "
        "/i, on: x, "
        "key: id, columns: [id, t], fields: [t]}]\n"
        "  fields: [{name: y, type: label}, {name: user, type: user}, {name: t, type: id}]\n"
        "model: {family: lr}\n";
    parses(joined, NULL);
    assert_string_equal(job.data.train.item[0], "-"); /* standard input has no folder */
    assert_string_equal(job.data.join[0].file, "/jobs/u.csv");
    assert_string_equal(job.data.join[0].key, "user");
    assert_string_equal(job.data.join[0].delimiter, "\t");
    job_dump(&job, &text);
    hash = job_config_hash(&job);
    job_release(&job);
    parses(buffer_text(&text), NULL);
    assert_int_equal(job.data.joins_used, 2);
    assert_string_equal(job.data.join[1].fields.item[0], "t");
    assert_true(hash == job_config_hash(&job));
    job_release(&job);
    buffer_release(&text);
}

static void test_data_section_refused(void **state)
{
    (void)state;
    refuses("data: {join: [{file: u.csv}]}\nmodel: {family: lr}\n", NULL,
            "job.yaml:1:15: data.join[0].on is required");
    refuses("data: {join: u.csv}\nmodel: {family: lr}\n", NULL,
            "job.yaml:1:14: data.join: must be a list of at most 16 maps");
    refuses(
        "data: {format: json, slot_last: true}\nmodel: {family: lr}\n", NULL,
        "job.yaml:1:22: data.slot_last: does not apply here (it applies with data.format=slots)");
    check_refuses("data: {format: query, train: x, query: SELECT 1}\nmodel: {family: lr}\n", NULL,
                  "data.train: is given, but data.query has no {file} to put its files in");
    check_refuses("data: {format: query}\nmodel: {family: lr}\n", NULL,
                  "data.query: is empty (a SELECT is needed)");
    check_refuses(
        "data: {train: x, fields: [{name: y, type: label}, {name: u, type: user}], split: {by: "
        "fold, folds: 3, fold: 3}}\nmodel: {family: lr}\n",
        NULL, "data.split.fold: 3 of 3 folds (they count from 0)");
    check_refuses(
        "data: {train: x, fields: [{name: y, type: label}, {name: u, type: id}], split: {by: "
        "fold}}\nmodel: {family: lr}\n",
        NULL, "data.split.by: fold needs a field of type user");
    check_refuses(
        "data: {train: x, fields: [{name: y, type: label}, {name: u, type: id}], split: {by: "
        "window}}\nmodel: {family: lr}\n",
        NULL, "data.split.by: window needs a field of type time");
    check_refuses("model: {family: lr}\ndata:\n  train: [a.csv, b.csv]\n  follow: [c.csv, b.csv]\n"
                  "  fields: [{name: y, type: label}, {name: item, type: item}]\n",
                  NULL,
                  "data.follow: /jobs/b.csv is in data.train, too, so its lines would count twice; "
                  "let a growing log be files of its own");
}

static void test_load(void **state)
{
    (void)state;
    char dir[] = "/tmp/base_job.XXXXXX", path[64], want[128];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/my.job.yaml", dir);
    assert_int_equal(file_write_atomic(path, full, strlen(full), &err), ST_OK);
    assert_int_equal(job_load(path, NULL, 0, &job, &err), ST_OK);
    assert_string_equal(job.name, "my.job");
    assert_string_equal(job.path, path);
    snprintf(want, sizeof want, "%s/a.csv", dir);
    assert_string_equal(job.data.train.item[0], want);
    job_release(&job);
    assert_int_equal(file_write_atomic(path, "model: {famly: lr}\n", 19, &err), ST_OK);
    assert_int_equal(job_load(path, NULL, 0, &job, &err), ST_USAGE);
    snprintf(want, sizeof want, "%s:1:9: model.famly", path);
    assert_memory_equal(err.text, want, strlen(want));
    char *much = malloc(1100000);
    memset(much, '#', 1100000);
    assert_int_equal(file_write_atomic(path, much, 1100000, &err), ST_OK);
    free(much);
    assert_int_equal(job_load(path, NULL, 0, &job, &err), ST_USAGE);
    assert_non_null(strstr(err.text, "my.job.yaml: is larger than 1048576 bytes"));
    assert_int_equal(job_load(dir, NULL, 0, &job, &err), ST_USAGE);
    assert_non_null(strstr(err.text, "is a folder"));
    unlink(path);
    assert_int_equal(job_load(path, NULL, 0, &job, &err), ST_USAGE);
    assert_non_null(strstr(err.text, "the job file: "));
    assert_non_null(strstr(err.text, "No such file"));
    rmdir(dir);
}

#define TABLES(items)                                                                              \
    "model: {family: fm}\n"                                                                        \
    "optimizer:\n"                                                                                 \
    "  embedding: {kind: adagrad, rate: .25, eps: .5}\n"                                           \
    "  dense: {kind: adamw, rate: .125}\n"                                                         \
    "  tables:\n" items

static void test_tables_of_the_optimizer(void **state)
{
    (void)state;
    static const char text[] = TABLES("    - {name: linear, kind: ftrl, l1: 2}\n"
                                      "    - {name: dense, l2: .5}\n");
    parses(text, NULL);
    assert_int_equal(job.optimizer.tables_used, 2);
    const struct job_optim *o = job_optim_of(&job, "linear");
    assert_int_equal(o->kind, JOB_FTRL);
    assert_true(o->l1 == 2 && o->beta == 1 &&
                o->rate == .25); /* what it does not say is inherited */
    o = job_optim_of(&job, "dense");
    assert_int_equal(o->kind, JOB_ADAMW);
    assert_true(o->l2 == .5 && o->rate == .125);
    assert_int_equal(job_optim_of(&job, "embedding")->kind, JOB_ADAGRAD);
    struct buffer dump = BUFFER_INIT;
    job_dump(&job, &dump);
    assert_non_null(strstr(buffer_text(&dump), "  damping: 0\n"
                                               "  tables:\n"
                                               "    - name: linear\n"
                                               "      kind: ftrl\n"
                                               "      rate: 0.25\n"));
    assert_non_null(strstr(buffer_text(&dump), "      l1: 2\n"));
    buffer_release(&dump);
    struct job was = job;
    parses(TABLES("    - {name: linear, kind: ftrl, l1: 2}\n"), NULL);
    assert_string_equal(job_resume_conflict(&was, &job, &err), "optimizer.tables");
    assert_memory_equal(err.text, "optimizer.tables[1] was name: dense, kind: adamw, ", 50);
    assert_true(job_config_hash(&was) != job_config_hash(&job));
    job_release(&job);
    job_release(&was);
    dumps_again(text, NULL);
}

static void test_tables_refused(void **state)
{
    (void)state;
    refuses(TABLES("    {name: linear}\n"), NULL,
            "job.yaml:6:5: optimizer.tables: must be a list of at most 64 maps");
    refuses(TABLES("    - {kind: ftrl}\n"), NULL,
            "job.yaml:6:7: optimizer.tables[0].name is required: a table of the model");
    refuses(TABLES("    - {name: a}\n    - {name: a}\n"), NULL,
            "job.yaml:7:7: optimizer.tables[1].name: a is there before");
    refuses(
        TABLES("    - {name: linear, l1: 1}\n"), NULL,
        "job.yaml:6:7: optimizer.tables[0].l1: does not apply here (it applies with kind=ftrl)");
    refuses(TABLES("    - {name: linear, rats: 1}\n"), NULL,
            "job.yaml:6:22: rats: no such key; the nearest is rate");
}

/* What can't be exact, or would do harm. */
static void test_optimizers_refused(void **state)
{
    (void)state;
    check_refuses(full, "optimizer.damping=1",
                  "optimizer.damping: the steps that a row misses would be replayed undamped, so "
                  "optimizer.embedding.l2_mode=exact is not exact (l2_mode=touched would do)");
    char *text = with("embedding: {kind: adam, l2: .05, beta1: .8}",
                      "embedding: {kind: ftrl}\n  damping: .5");
    check_refuses(
        text, NULL,
        "optimizer.damping: optimizer.embedding.kind=ftrl has no step to damp: its weights follow "
        "from sums, to which a late gradient adds as well as any");
    text = with("{kind: adam, l2: .05, beta1: .8}",
                "{kind: adam}\n  tables:\n    - {name: dense, kind: ftrl, l1: 1}");
    check_refuses(text, NULL,
                  "optimizer.tables[0].l1: dense tensors hold biases, which l1 would bring to 0");
    text = with("{kind: adam, l2: .05, beta1: .8}",
                "{kind: adam}\n  tables:\n    - {name: dense, kind: rowwise_adam}");
    check_refuses(
        text, NULL,
        "optimizer.tables[0].kind: rowwise_adam is for tables (allowed: sgd, momentum, nesterov, "
        "adagrad, adam, adamw, amsgrad, ftrl)");
    text = with("{kind: adam, l2: .05, beta1: .8}", "{kind: sgd}\n  damping: .5");
    parses(text, NULL);
    assert_int_equal(job_check(&job, &err), ST_OK);
    job_release(&job);
}

static void test_help(void **state)
{
    (void)state;
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    job_help("staleness", out);
    job_help("min_count", out);
    job_help("bacth", out);
    fclose(out);
    assert_non_null(strstr(text, "  train.staleness\n"));
    assert_non_null(strstr(text, "  each item of data.fields:\n  min_count\n"));
    assert_non_null(strstr(text, "no option mentions bacth; the nearest key is train.batch\n"));
    free(text);
    out = open_memstream(&text, &n);
    job_help(NULL, out);
    fclose(out);
    for (size_t i = 0; i < job_options.rows_used; i++)
        assert_non_null(strstr(text, job_options.rows[i].path));
    free(text);
}

/* Names and choices stand in two places: enum and table. */
static void test_table_is_sound(void **state)
{
    (void)state;
    const struct option_table *tables[] = {&job_options, &job_field_options};
    for (size_t t = 0; t < 2; t++) {
        for (size_t i = 0; i < tables[t]->rows_used; i++) {
            const struct option *row = &tables[t]->rows[i];
            assert_ptr_equal(options_find(tables[t], row->path), row); /* no path twice */
            assert_true(row->help != NULL && strlen(row->help) > 3 && strlen(row->help) < 100);
            assert_null(strchr(row->help, '\n'));
            assert_int_equal(row->type == OPT_CHOICE, row->choices != NULL);
            if (t == 0) {
                bool place = strncmp(row->path, "cluster.", 8) == 0 ||
                             strncmp(row->path, "data.follow", 11) == 0 || row->type == OPT_PATH ||
                             row->type == OPT_PATHS || strcmp(row->path, "name") == 0 ||
                             strcmp(row->path, "data.duckdb") == 0 ||
                             strcmp(row->path, "train.epochs") == 0 ||
                             strcmp(row->path, "train.ease") == 0 ||
                             strcmp(row->path, "data.sequence.memory") == 0;
                assert_int_equal(row->flags, place ? OPTION_RESUME_FREE : 0);
            }
        }
    }
    assert_string_equal(options_find(&job_options, "optimizer.embedding.kind")->choices,
                        "sgd|adagrad|rowwise_adagrad|adam|momentum|nesterov|adamw|amsgrad|"
                        "rowwise_adam|ftrl");
    assert_string_equal(job_optimizer_name(JOB_ROWWISE_ADAGRAD), "rowwise_adagrad");
    assert_string_equal(job_optimizer_name(JOB_FTRL), "ftrl");
    assert_string_equal(job_optimizer_name(JOB_FTRL + 1), "?");
    assert_string_equal(job_family_name(-1), "?");
    parses(with("{name: at, type: time, column: \"7\"}", "{name: at, type: skip}"), NULL);
    assert_int_equal(job.data.fields[4].type, FIELD_SKIP); /* and in its place among its choices */
    job_release(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_fields_refused),
        cmocka_unit_test(test_another_family_by_set),
        cmocka_unit_test(test_combinations),
        cmocka_unit_test(test_tasks),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_root_by_set),
        cmocka_unit_test(test_dump_is_a_job),
        cmocka_unit_test(test_dump_text),
        cmocka_unit_test(test_hash_and_resume),
        cmocka_unit_test(test_hash_is_pinned),
        cmocka_unit_test(test_data_section),
        cmocka_unit_test(test_data_section_refused),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_tables_of_the_optimizer),
        cmocka_unit_test(test_tables_refused),
        cmocka_unit_test(test_optimizers_refused),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_table_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
