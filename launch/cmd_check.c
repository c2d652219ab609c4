/* cmd_check.c - `penstock check JOB.yaml`: say everything about a job without running it.
 *
 * The plan comes from penstock-worker, which builds the model, so what is shown is what will run.
 */
#include "launch/cmd_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/job.h"
#include "common/base/plan.h"
#include "launch/args.h"
#include "launch/prepare.h"

/* As optim_state_floats: the front doesn't link optimizers. */
static uint32_t state_floats(const struct plan_table *t)
{
    if (t->kind == PLAN_STAT) {
        return 0;
    }
    switch (t->optim.kind) {
    case JOB_ADAGRAD:
    case JOB_MOMENTUM:
    case JOB_NESTEROV: return t->dim;
    case JOB_ROWWISE_ADAGRAD: return 1;
    case JOB_ROWWISE_ADAM: return t->dim + 1;
    case JOB_ADAM:
    case JOB_ADAMW:
    case JOB_FTRL: return 2 * t->dim;
    case JOB_AMSGRAD: return 3 * t->dim;
    default: return 0;
    }
}

#define META_BYTES  16u
#define INDEX_BYTES 20u /* of a row in the table's directory, at mean load */

static void print_table(const struct plan_table *t, uint32_t shards)
{
    uint32_t state = state_floats(t);
    uint64_t row = META_BYTES + 4ull * (t->dim + state);
    if (t->kind == PLAN_SPARSE) {
        printf("  %-12s rows of %u floats, %s, %u floats of state: %" PRIu64
               " bytes a row, %.2f GB for 10M rows\n",
               t->name, t->dim, job_optimizer_name(t->optim.kind), state, row + INDEX_BYTES,
               (double)(row + INDEX_BYTES) / 100.0);
        return;
    }
    uint64_t floats = 0;
    for (size_t i = 0; i < t->tensors_used; i++) {
        uint64_t n = 1;
        for (uint32_t d = 0; d < t->tensors[i].dims; d++) {
            n *= t->tensors[i].shape[d];
        }
        floats += n;
    }
    printf("  %-12s %zu tensors, %" PRIu64 " floats in %" PRIu64
           " blocks, %s: %.1f MB on %u shards\n",
           t->name, t->tensors_used, floats, t->blocks,
           t->kind == PLAN_STAT ? "averaged" : job_optimizer_name(t->optim.kind),
           (double)(t->blocks * (row + INDEX_BYTES)) / 1e6, shards);
}

static void print_plan(const struct job *job, const struct plan *plan)
{
    uint64_t shards = job->cluster.shards;
    printf("\n# plan: %" PRIu64 " shards on %" PRIu64 " servers, %" PRIu64 " workers\n", shards,
           job->cluster.servers, job->cluster.workers);
    for (size_t i = 0; i < plan->tables_used; i++) {
        print_table(&plan->tables[i], (uint32_t)shards);
    }
    printf(
        "  budget of tables: %.2f GB a shard (cluster.table_bytes), %.2f GB in all; undo logs may "
        "take a quarter more\n",
        (double)job->cluster.table_bytes / 1e9,
        (double)job->cluster.table_bytes * (double)shards / 1e9);
}

int cmd_check(int argc, char **argv)
{
    struct args_list sets = {.used = 0}, rest;
    const struct args_flag flags[] = {
        {"--set", ARGS_LIST, &sets, "KEY=VALUE", "change one option of the job; may be repeated"}};
    const struct args_spec spec = {
        "check JOB.yaml [--set key=value]...",
        "Prints the job with every option and its value, the plan of shards, and the memory it "
        "will need.",
        flags,
        1,
        1,
        1};
    struct errbuf err = ERRBUF_INIT;
    struct job job;
    enum status st = args_parse(&spec, argc, argv, &rest, &err);
    if (st != ST_OK) {
        return args_fail("check", st, &err);
    }
    st = prepare_job(rest.item[0], (char *const *)sets.item, sets.used, &job, &err);
    if (st != ST_OK) {
        return args_fail("check", st, &err);
    }
    struct plan plan;
    char *text = NULL;
    memset(&plan, 0, sizeof(plan));
    st = prepare_plan(rest.item[0], (char *const *)sets.item, sets.used, &plan, &text, &err);
    if (st == ST_OK) {
        struct buffer dump = BUFFER_INIT;
        job_dump(&job, &dump);
        fputs(buffer_text(&dump), stdout);
        buffer_release(&dump);
        print_plan(&job, &plan);
        plan_release(&plan);
        free(text);
    }
    job_release(&job);
    return args_fail("check", st, &err);
}
