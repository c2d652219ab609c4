/* worker_main.c - penstock-worker: an MPI rank that trains, or a tool that plans or judges.
 *
 *     mpirun -np N penstock-worker --dir DIR     train, as one of N ranks
 *     penstock-worker --plan JOB.yaml ...        print the parameters of the job's model (plan_mode.h)
 *     penstock-worker --eval ...                 judge a snapshot (judge.h)
 *     penstock-worker --baseline ...             EASE beside a next-item model (baseline.h)
 *
 * Threads of a training rank and what each owns (worker/README.md says more):
 *   main     compute: model, MPI
 *   feeder   the datasets
 *   io       the client core, the sockets
 *   ZeroMQ's one I/O thread
 *
 * Ends with the code that the client core says, which is the head's word in the regular case. A failure
 * before the rank has joined ends it at once: mpirun then ends the others.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/metrics/gauc.h"
#include "worker/baseline.h"
#include "worker/comm.h"
#include "worker/io_thread.h"
#include "worker/judge.h"
#include "worker/plan_mode.h"
#include "worker/trainer.h"

struct rank {
    struct run_dir run;
    struct dataset *train, *valid; /* handed to the feeder */
    struct model *model;
    struct plan plan; /* the model's own, to compare with DIR/plan.json */
    struct pipeline pipeline;
    struct feeder *feeder;
    struct io_thread *io;
};

static const char usage[] = "usage: mpirun -np N penstock-worker --dir DIR   (a rank of a run that "
                            "`penstock train` prepared)\n"
                            "       penstock-worker --plan JOB.yaml [--set KEY=VALUE]...\n"
                            "       penstock-worker --eval --snapshot DIR[@K] [--job JOB.yaml] "
                            "[--data FILE|train|valid|test]...\n"
                            "       penstock-worker --baseline --dir DIR --data valid|test\n";

static enum status open_data(struct rank *r, struct errbuf *err)
{
    enum status st = dataset_open(&r->run.job, r->run.cache, PART_TRAIN, &r->train, err);
    if (st != ST_OK)
        return st;
    st = dataset_open(&r->run.job, r->run.cache, PART_VALID, &r->valid, err);
    if (st == ST_OK && job_metric(&r->run.job) == JOB_METRIC_GAUC &&
        dataset_rows(r->valid) > GAUC_RECORDS_MAX)
        st = errbuf_set(err, ST_USAGE,
                        "train.metric: gauc keeps 16 bytes a record of valid, so there may be at "
                        "most %" PRIu64 ", and there are %" PRIu64,
                        GAUC_RECORDS_MAX, dataset_rows(r->valid));
    return st == ST_NOT_FOUND ? ST_OK : st;
}

/* The model that this program builds must be the one the servers hold. */
static enum status open_model(struct rank *r, struct errbuf *err)
{
    enum status st = model_new(&r->run.job, dataset_fields(r->train), dataset_floats(r->train),
                               (size_t)r->run.job.train.batch, &r->model, &r->plan, err);
    if (st != ST_OK)
        return st;
    char *mine = plan_text(&r->plan), *theirs = plan_text(&r->run.plan);
    if (strcmp(mine, theirs) != 0)
        st = errbuf_set(err, ST_BAD_DATA, "%s/plan.json is not the plan of this job's model",
                        r->run.path);
    free(mine);
    free(theirs);
    return st;
}

static enum status join(struct rank *r, struct errbuf *err)
{
    uint64_t world = rng_os_u64();
    uint64_t valid_rows = r->valid != NULL ? dataset_rows(r->valid) : 0;
    enum status st = comm_bcast_u64(&world, NULL, err);
    if (st != ST_OK)
        return st;
    log_info("rank %" PRIu32 " of %" PRIu32 ", world %016" PRIx64 ", %" PRIu64 " train and %" PRIu64
             " valid records",
             comm_rank(), comm_size(), world, dataset_rows(r->train), valid_rows);
    pipeline_open(&r->pipeline, &r->run, comm_rank(), comm_size(), r->train, valid_rows);
    st = pipeline_wake_open(&r->pipeline, err);
    if (st == ST_OK)
        st = feeder_start(&r->pipeline, r->train, r->valid, &r->feeder, err);
    if (st == ST_OK)
        st = io_thread_start(&r->pipeline, world, &r->io, err);
    return st;
}

static int train(const char *dir)
{
    static struct rank r;
    struct errbuf err = ERRBUF_INIT;
    char who[32];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    enum status st = comm_open(&err);
    if (st == ST_OK)
        st = run_dir_open(dir, &r.run, &err);
    if (st == ST_OK) {
        snprintf(who, sizeof(who), "worker-%" PRIu32, comm_rank());
        st = run_dir_log(&r.run, "penstock-worker", who, &err);
    }
    if (st == ST_OK)
        st = open_data(&r, &err);
    if (st == ST_OK)
        st = open_model(&r, &err);
    if (st == ST_OK)
        st = join(&r, &err);
    if (st != ST_OK) {
        log_error("%s", err.text);
        _exit(status_exit_code(st));
    }
    trainer_run(&r.pipeline, r.model, r.feeder);
    io_thread_stop(r.io);
    feeder_stop(r.feeder);
    const int code = r.pipeline.exit_code;
    pipeline_close(&r.pipeline);
    model_free(r.model);
    plan_release(&r.plan);
    run_dir_release(&r.run);
    comm_close(code);
    log_close();
    return code;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "--plan") == 0)
        return plan_mode_main(argc, argv);
    if (argc >= 2 && strcmp(argv[1], "--eval") == 0)
        return judge_main(argc, argv);
    if (argc >= 2 && strcmp(argv[1], "--baseline") == 0)
        return baseline_main(argc, argv);
    if (argc == 3 && strcmp(argv[1], "--dir") == 0)
        return train(argv[2]);
    bool help = argc == 2 && strcmp(argv[1], "--help") == 0;
    fputs(usage, help ? stdout : stderr);
    return help ? 0 : 2;
}
