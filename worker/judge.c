/* judge.c - see judge.h.
 *
 * One process holds the whole model's weights (no optimizer state): what a serving node would load. Records
 * are encoded by the encoder fitted when the run began, so that training and judging can't differ. A key that
 * no push has made gets the row that an evaluation's pull would answer (plan_absent_row).
 */
#include "worker/judge.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/data/beside.h"
#include "common/data/convert.h"
#include "common/data/dataset.h"
#include "common/feature/encode.h"
#include "common/net/run_dir.h"
#include "common/nn/model.h"
#include "ps/snapshot/restore.h"
#include "ps/store/table.h"
#include "worker/candidates.h"
#include "worker/evaluate.h"

#define JUDGE_BATCH       4096u
#define JUDGE_BATCH_LEAST 64u
#define JUDGE_BYTES       ((size_t)512 << 20) /* of activations: long histories make smaller batches */
#define RANK_BATCH        256u /* sequences: a record is up to data.sequence.max rows in every layer */

struct judge_call {
    const char *snapshot, *job, *predictions;
    char **data, **sets; /* borrowed strings; arrays owned */
    size_t data_used, sets_used;
    bool json;
};

struct judge {
    const struct judge_call *call;
    char dir[1024];
    struct manifest manifest;
    struct run_dir run;
    struct job own_job;    /* of --job; unused without */
    const struct job *job; /* borrowed: one of the two */
    struct store *store;
    struct model *model;
    float *dense, *stat; /* (blocks * DENSE_BLOCK), owned */
    char scratch[64];    /* folder of converted files, or "" */
    struct dataset *data;
    const char *what; /* how the data is called in the result */
    size_t batch;     /* records scored at a time */
    struct candidates candidates;
    struct evaluate evaluate;
    bool no_gauc; /* there are users, but too many records */
    FILE *predictions;
};

/* -- the call -- */

static enum status take_flag(struct judge_call *c, const char *flag, char *value,
                             struct errbuf *err)
{
    if (strcmp(flag, "--snapshot") == 0) {
        c->snapshot = value;
    } else if (strcmp(flag, "--job") == 0) {
        c->job = value;
    } else if (strcmp(flag, "--predictions") == 0) {
        c->predictions = value;
    } else if (strcmp(flag, "--data") == 0) {
        c->data[c->data_used++] = value;
    } else if (strcmp(flag, "--set") == 0) {
        c->sets[c->sets_used++] = value;
    } else {
        return errbuf_set(err, ST_USAGE, "%s: no flag of --eval", flag);
    }
    return ST_OK;
}

static enum status parse(struct judge_call *c, int argc, char **argv, struct errbuf *err)
{
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            c->json = true;
            continue;
        }
        if (i + 1 >= argc) {
            return errbuf_set(err, ST_USAGE, "%s: needs a value", argv[i]);
        }
        enum status st = take_flag(c, argv[i], argv[i + 1], err);
        if (st != ST_OK) {
            return st;
        }
        i++;
    }
    return c->snapshot != NULL ? ST_OK : errbuf_set(err, ST_USAGE, "--snapshot DIR[@k] is missing");
}

/* -- the model -- */

static enum status load_job(struct judge *j, struct errbuf *err)
{
    j->job = &j->run.job;
    if (j->call->job == NULL) {
        return ST_OK;
    }
    enum status st = job_load(j->call->job, j->call->sets, j->call->sets_used, &j->own_job, err);
    if (st == ST_OK) {
        j->job = &j->own_job;
    }
    return st;
}

static enum status build_model(struct judge *j, struct errbuf *err)
{
    size_t fields = 0, floats = 0;
    struct plan plan;
    memset(&plan, 0, sizeof(plan));
    schema_counts(j->job, &fields, &floats);
    j->batch = job_ranks(j->job) ? RANK_BATCH : JUDGE_BATCH;
    enum status st = model_new(j->job, fields, floats, j->batch, &j->model, &plan, err);
    while (st == ST_OK && model_bytes(j->model) > JUDGE_BYTES && j->batch > JUDGE_BATCH_LEAST) {
        model_free(j->model);
        j->model = NULL;
        plan_release(&plan);
        j->batch /= 2;
        st = model_new(j->job, fields, floats, j->batch, &j->model, &plan, err);
    }
    if (st != ST_OK) {
        return st;
    }
    char *mine = plan_text(&plan), *theirs = plan_text(&j->run.plan);
    if (strcmp(mine, theirs) != 0) {
        st = errbuf_set(err, ST_USAGE,
                        "the job's model is not the one in %s; give the job that was trained "
                        "(%s/resolved.yaml), or its --set again",
                        j->dir, j->dir);
    }
    free(mine);
    free(theirs);
    plan_release(&plan);
    return st;
}

/* One dense table flat, from its blocks. */
static float *flatten(const struct judge *j, enum plan_kind kind)
{
    for (size_t t = 0; t < j->run.plan.tables_used; t++) {
        const struct plan_table *pt = &j->run.plan.tables[t];
        if (pt->kind != kind) {
            continue;
        }
        float *flat = mem_array(pt->blocks * DENSE_BLOCK, sizeof(*flat));
        for (uint64_t b = 0; b < pt->blocks; b++) {
            uint32_t slot;
            table_find(j->store->table[t], &b, 1, &slot);
            if (slot == SLOT_NONE) {
                plan_init_row(&j->run.plan, (uint32_t)t, b, flat + b * DENSE_BLOCK);
            } else {
                memcpy(flat + b * DENSE_BLOCK, row_weights(table_record(j->store->table[t], slot)),
                       DENSE_BLOCK * sizeof(*flat));
            }
        }
        return flat;
    }
    return NULL;
}

static enum status load_model(struct judge *j, struct errbuf *err)
{
    static const uint32_t no_state[PLAN_TABLES_MAX];
    static const uint16_t all_mine[BUCKETS];
    uint64_t rows = 0;
    enum status st = store_new(&j->run.plan, no_state, UINT64_MAX, &j->store, err);
    if (st == ST_OK) {
        st = restore_load(j->dir, &j->manifest, &j->run.plan, all_mine, 0, 1, j->store, NULL, &rows,
                          err);
    }
    if (st == ST_OK) {
        j->dense = flatten(j, PLAN_DENSE);
        j->stat = flatten(j, PLAN_STAT);
    }
    return st;
}

/* -- the data -- */

/* The model knows ids and floats as one encoder made them; by another one its rows are other people's. */
static enum status check_encoder(const struct judge *j, struct errbuf *err)
{
    struct encoder *encoder = NULL;
    char *path = file_join(j->run.cache, "encoder.bin");
    enum status st = encoder_load(path, &encoder, err);
    if (st == ST_OK && encoder->hash != j->manifest.encoder_hash)
        st = errbuf_set(err, ST_BAD_DATA,
                        "%s is not the encoder that cut %" PRIu64
                        " was trained with (its hash is %016" PRIx64 ", the cut's %016" PRIx64
                        "): the training files or their fields changed since; put them back, or "
                        "give data.cache its old folder",
                        path, j->manifest.k, encoder->hash, j->manifest.encoder_hash);
    encoder_free(encoder);
    free(path);
    return st;
}

static int part_of(const char *name)
{
    static const char *const names[PARTS] = {"train", "valid", "test"};
    for (int p = 0; p < PARTS; p++) {
        if (strcmp(names[p], name) == 0) {
            return p;
        }
    }
    return -1;
}

static enum status open_files(struct judge *j, struct errbuf *err)
{
    struct texts files = {j->call->data, j->call->data_used};
    struct convert_result converted;
    struct progress progress;
    snprintf(j->scratch, sizeof(j->scratch), "/tmp/penstock-eval.XXXXXX");
    if (mkdtemp(j->scratch) == NULL) {
        j->scratch[0] = '\0';
        return errbuf_errno(err, ST_IO, "can't make a folder in /tmp");
    }
    char *encoder = file_join(j->run.cache, "encoder.bin");
    progress_init(&progress, stderr);
    enum status st =
        convert_files(j->job, encoder, &files, j->scratch, &progress, NULL, &converted, err);
    free(encoder);
    if (st == ST_OK && converted.bad[PART_TEST] > 0) {
        fprintf(stderr, "penstock eval: %" PRIu64 " bad lines were left out\n",
                converted.bad[PART_TEST]);
    }
    j->what = "files";
    return st == ST_OK ? dataset_open(j->job, j->scratch, PART_TEST, &j->data, err) : st;
}

static enum status open_data(struct judge *j, struct errbuf *err)
{
    const struct judge_call *c = j->call;
    if (c->data_used == 0) {
        struct errbuf no_test = ERRBUF_INIT;
        j->what = "test";
        if (dataset_open(j->job, j->run.cache, PART_TEST, &j->data, &no_test) == ST_OK) {
            return ST_OK;
        }
        j->what = "valid";
        return dataset_open(j->job, j->run.cache, PART_VALID, &j->data, err);
    }
    int part = c->data_used == 1 ? part_of(c->data[0]) : -1;
    if (job_ranks(j->job) && part == PART_TRAIN) {
        return errbuf_set(
            err, ST_USAGE,
            "--data train: a next-item model is judged on valid or test of its job, or "
            "on files of events: records of train have no target");
    }
    if (part < 0) {
        return open_files(j, err);
    }
    j->what = c->data[0];
    return dataset_open(j->job, j->run.cache, (enum part)part, &j->data, err);
}

static void remove_scratch(const struct judge *j)
{
    static const char *const names[] = {"test.cache", "quarantine.tsv", "encoder.bin", "lock",
                                        "catalog.bin"};
    if (j->scratch[0] == '\0') {
        return;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = file_join(j->scratch, names[i]);
        unlink(path);
        free(path);
    }
    rmdir(j->scratch);
}

/* -- scoring -- */

struct scorer {
    struct batch batch;
    float *rows[PLAN_TABLES_MAX]; /* (unique, dim), owned */
    uint32_t *slots;              /* (unique) */
    size_t cap;
    uint64_t *numbers; /* (batch) */
    float *scores;     /* (T, batch) logits, or (batch) ranks */
};

static void gather(const struct judge *j, struct scorer *s)
{
    const struct plan *plan = &j->run.plan;
    size_t n = s->batch.unique;
    if (n > s->cap) {
        s->cap = n + n / 2;
        s->slots = mem_realloc(s->slots, s->cap * sizeof(*s->slots));
        for (size_t t = 0; t < plan->tables_used && plan->tables[t].kind == PLAN_SPARSE; t++) {
            s->rows[t] = mem_realloc(s->rows[t], s->cap * plan->tables[t].dim * sizeof(float));
        }
    }
    for (size_t t = 0; t < plan->tables_used && plan->tables[t].kind == PLAN_SPARSE; t++) {
        const struct table *table = j->store->table[t];
        uint32_t dim = plan->tables[t].dim;
        table_find(table, s->batch.keys, n, s->slots);
        for (size_t i = 0; i < n; i++) {
            float *w = s->rows[t] + i * dim;
            if (s->slots[i] == SLOT_NONE) {
                plan_absent_row(plan, (uint32_t)t, s->batch.keys[i], w);
            } else {
                memcpy(w, row_weights(table_record(table, s->slots[i])), dim * sizeof(*w));
            }
        }
    }
}

/* Number and rank; or number, then label and probability of each task; a label that is missing is an empty cell. */
static void put_prediction(const struct judge *j, const struct scorer *s, size_t i)
{
    const struct batch *b = &s->batch;
    fprintf(j->predictions, "%" PRIu64, b->record[i]);
    if (j->evaluate.ranks) {
        fprintf(j->predictions, "\t%.1f", (double)s->scores[i]);
    }
    for (size_t t = 0; !j->evaluate.ranks && t < j->evaluate.tasks; t++) {
        const double label = (double)b->labels[t * b->n + i];
        const double score = (double)s->scores[t * b->n + i];
        if (label >= 0) {
            fprintf(j->predictions, "\t%g\t%.9g", label, 1.0 / (1.0 + exp(-score)));
        } else {
            fprintf(j->predictions, "\t\t%.9g", 1.0 / (1.0 + exp(-score)));
        }
    }
    fputc('\n', j->predictions);
}

static enum status score_batch(struct judge *j, struct scorer *s, struct errbuf *err)
{
    struct batch *b = &s->batch;
    struct model_params params = {.dense = j->dense, .stat = j->stat};
    struct model_input in = {.n = b->n,
                             .unique = b->unique,
                             .offsets = b->offsets,
                             .index = b->index,
                             .weight = b->weight,
                             .floats = b->floats,
                             .labels = b->labels,
                             .record = b->record,
                             .candidate = b->candidate,
                             .candidates = b->candidates};
    gather(j, s);
    memcpy(params.rows, s->rows, sizeof(s->rows));
    evaluate_batch(&j->evaluate, j->model, &in, &params, b->users, s->scores);
    for (size_t i = 0; j->predictions != NULL && i < b->n; i++) {
        put_prediction(j, s, i);
    }
    return j->predictions == NULL || !ferror(j->predictions)
               ? ST_OK
               : errbuf_errno(err, ST_IO, "%s", j->call->predictions);
}

static enum status score_all(struct judge *j, struct errbuf *err)
{
    struct scorer s;
    uint64_t rows = dataset_rows(j->data);
    enum status st = ST_OK;
    memset(&s, 0, sizeof(s));
    batch_init(&s.batch, j->data, j->batch);
    s.numbers = mem_array(j->batch, sizeof(*s.numbers));
    s.scores = mem_array(j->batch * model_tasks(j->model), sizeof(*s.scores));
    for (uint64_t at = 0; st == ST_OK && at < rows; at += j->batch) {
        size_t n = rows - at < j->batch ? (size_t)(rows - at) : j->batch;
        for (size_t i = 0; i < n; i++) {
            s.numbers[i] = at + i;
        }
        st = dataset_batch(j->data, s.numbers, n, &s.batch, err);
        if (st == ST_OK) {
            candidates_all(&j->candidates, &s.batch);
            st = score_batch(j, &s, err);
        }
    }
    for (size_t t = 0; t < PLAN_TABLES_MAX; t++) {
        free(s.rows[t]);
    }
    free(s.slots);
    free(s.numbers);
    free(s.scores);
    batch_release(&s.batch);
    return st;
}

static enum status score_to_file(struct judge *j, struct errbuf *err)
{
    if (j->call->predictions == NULL) {
        return score_all(j, err);
    }
    char *tmp = mem_alloc(strlen(j->call->predictions) + 8);
    sprintf(tmp, "%s.tmp", j->call->predictions);
    j->predictions = fopen(tmp, "we");
    if (j->predictions == NULL) {
        free(tmp);
        return errbuf_errno(err, ST_IO, "%s", j->call->predictions);
    }
    enum status st = score_all(j, err);
    if (fclose(j->predictions) != 0 && st == ST_OK) {
        st = errbuf_errno(err, ST_IO, "%s", j->call->predictions);
    }
    if (st == ST_OK && rename(tmp, j->call->predictions) != 0) {
        st = errbuf_errno(err, ST_IO, "%s", j->call->predictions);
    }
    if (st != ST_OK) {
        unlink(tmp);
    }
    free(tmp);
    return st;
}

static void print_score(const struct evaluate_score *s, const char *in)
{
    printf("%sAUC          %.5f  (+- %.1e)\n", in, s->auc, s->auc_bound);
    if (s->users.users > 0) {
        printf("%sGAUC         %.5f  (%" PRIu64 " users; %" PRIu64
               " of one class left out, with %" PRIu64 " records)\n",
               in, s->gauc, s->users.users, s->users.left_users, s->users.left_records);
    }
    printf("%slogloss      %.5f\n", in, s->logloss);
    printf("%saccuracy     %.5f\n", in, s->accuracy);
    printf("%scalibration  %.4f  (sum of probabilities / positives)\n", in, s->calibration);
}

static void print_text(const struct judge *j, const struct evaluate_result *r)
{
    const struct ranking *k = &r->ranking;
    printf("cut %" PRIu64 " on %s: %" PRIu64 " records\n", j->manifest.k, j->what, r->count);
    if (j->evaluate.ranks) {
        printf("  HR@5, 10, 20    %.5f  %.5f  %.5f\n", k->hr[RANKING_5], k->hr[RANKING_10],
               k->hr[RANKING_20]);
        printf("  NDCG@5, 10, 20  %.5f  %.5f  %.5f\n", k->ndcg[RANKING_5], k->ndcg[RANKING_10],
               k->ndcg[RANKING_20]);
        printf("  MRR             %.5f\n", k->mrr);
        printf("  loss            %.5f  (of the target among all items)\n", r->judged.logloss);
        printf("  accuracy        %.5f\n", r->judged.accuracy);
        return;
    }
    for (size_t t = 0; t < r->tasks; t++) {
        const struct evaluate_score *s = &r->task[t];
        if (r->tasks > 1) {
            printf("  %s: %" PRIu64 " records with this label, base rate %.5f\n",
                   job_task_name(j->job, t), s->count, s->rate);
        }
        print_score(s, r->tasks > 1 ? "    " : "  ");
    }
    if (j->no_gauc) {
        printf("  no GAUC: more than %" PRIu64 " records\n", GAUC_RECORDS_MAX);
    }
}

/* What stands beside the result; nothing beside train, which the baselines are counted on. */
static struct json *beside(const struct judge *j)
{
    struct errbuf why = ERRBUF_INIT;
    const int part = part_of(j->what);
    if (part == PART_TRAIN)
        return json_object();
    struct json *named = beside_result(j->job, j->run.cache, part < 0 ? PART_TEST : (enum part)part,
                                       part < 0 ? j->data : NULL, &why);
    if (why.text[0] != '\0')
        fprintf(stderr, "penstock eval: no baselines beside %s: %s\n", j->what, why.text);
    return named;
}

static void put_score(const struct evaluate_score *s, bool by_user, struct json *o)
{
    json_set_f64(o, "auc", s->auc);
    json_set_f64(o, "auc_bound", s->auc_bound);
    if (by_user) {
        json_set_f64(o, "gauc", s->gauc);
        json_set_u64(o, "gauc_users", s->users.users);
        json_set_u64(o, "gauc_records", s->users.records);
        json_set_u64(o, "gauc_left_users", s->users.left_users);
        json_set_u64(o, "gauc_left_records", s->users.left_records);
        json_set_u64(o, "gauc_unknown_records", s->users.unknown);
    }
    json_set_f64(o, "logloss", s->logloss);
    json_set_f64(o, "accuracy", s->accuracy);
    json_set_f64(o, "calibration", s->calibration);
}

/* The judged task's figures stand where those of a model of one task do; each task's in a list beside. */
static void put_scores(const struct judge *j, const struct evaluate_result *r, struct json *o)
{
    struct json *list = json_array();
    put_score(&r->judged, j->evaluate.by_user, o);
    for (size_t t = 0; t < r->tasks; t++) {
        struct json *task = json_object();
        json_set_str(task, "task", job_task_name(j->job, t));
        json_set_u64(task, "records", r->task[t].count);
        json_set_f64(task, "base_rate", r->task[t].rate);
        put_score(&r->task[t], j->evaluate.by_user, task);
        json_add(list, task);
    }
    if (r->tasks > 1) {
        json_set_str(o, "task", job_task_name(j->job, j->evaluate.judged));
        json_set(o, "tasks", list);
    } else {
        json_free(list);
    }
}

static void print_result(struct judge *j)
{
    const struct evaluate_result r = evaluate_value(&j->evaluate);
    struct json *baselines = beside(j);
    if (!j->call->json) {
        print_text(j, &r);
        beside_print(baselines, stdout);
        json_free(baselines);
        return;
    }
    struct json *o = json_object();
    json_set_u64(o, "cut", j->manifest.k);
    json_set_str(o, "data", j->what);
    json_set_u64(o, "records", r.count);
    if (j->evaluate.ranks) {
        beside_put_ranking(&r.ranking, o);
        json_set_f64(o, "loss", r.judged.logloss);
        json_set_f64(o, "accuracy", r.judged.accuracy);
    } else {
        put_scores(j, &r, o);
    }
    json_set(o, "baselines", baselines);
    char *text = json_text(o, 2);
    puts(text);
    free(text);
    json_free(o);
}

static enum status judge(struct judge *j, struct errbuf *err)
{
    enum status st = manifest_resolve(j->call->snapshot, j->dir, sizeof(j->dir), &j->manifest, err);
    if (st != ST_OK) {
        return st;
    }
    st = run_dir_open(j->dir, &j->run, err);
    if (st != ST_OK) {
        manifest_release(&j->manifest);
        return st;
    }
    st = load_job(j, err);
    if (st == ST_OK) {
        st = build_model(j, err);
    }
    if (st == ST_OK) {
        st = check_encoder(j, err);
    }
    if (st == ST_OK) {
        st = open_data(j, err);
    }
    if (st == ST_OK) {
        st = load_model(j, err);
    }
    if (st == ST_OK) {
        st = candidates_open(&j->candidates, j->job, j->run.cache, err);
    }
    if (st == ST_OK) {
        const bool users = !model_ranks(j->model) && dataset_users(j->data);
        j->no_gauc = users && dataset_rows(j->data) > GAUC_RECORDS_MAX;
        evaluate_init(&j->evaluate, j->job, users && !j->no_gauc);
        st = score_to_file(j, err);
        if (st == ST_OK) {
            print_result(j);
        }
        evaluate_release(&j->evaluate);
    }
    candidates_close(&j->candidates);
    dataset_close(j->data);
    remove_scratch(j);
    model_free(j->model);
    store_free(j->store);
    free(j->dense);
    free(j->stat);
    if (j->job == &j->own_job) {
        job_release(&j->own_job);
    }
    run_dir_release(&j->run);
    manifest_release(&j->manifest);
    return st;
}

int judge_main(int argc, char **argv)
{
    struct judge_call call;
    struct judge *j = mem_zalloc(sizeof(*j));
    struct errbuf err = ERRBUF_INIT;
    memset(&call, 0, sizeof(call));
    call.data = mem_array((size_t)argc, sizeof(*call.data));
    call.sets = mem_array((size_t)argc, sizeof(*call.sets));
    j->call = &call;
    enum status st = parse(&call, argc, argv, &err);
    if (st == ST_OK) {
        st = judge(j, &err);
    }
    if (st != ST_OK) {
        fprintf(stderr, "penstock eval: %s\n", err.text);
    }
    free(call.data);
    free(call.sets);
    free(j);
    return status_exit_code(st);
}
