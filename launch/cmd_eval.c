/* cmd_eval.c - `penstock eval`: hand the call to penstock-worker, which owns models and arithmetic. */
#include "launch/cmd_eval.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "launch/args.h"
#include "launch/run.h"

static enum status become_worker(const char *job, const char *snapshot,
                                 const struct args_list *data, const struct args_list *sets,
                                 const char *predictions, bool json, struct errbuf *err)
{
    char program[1100];
    enum status st = run_program("penstock-worker", program, sizeof(program), err);
    if (st != ST_OK) {
        return st;
    }
    const char *argv[1040];
    size_t n = 0;
    argv[n++] = program;
    argv[n++] = "--eval";
    argv[n++] = "--job";
    argv[n++] = job;
    argv[n++] = "--snapshot";
    argv[n++] = snapshot;
    for (size_t i = 0; i < data->used; i++) {
        argv[n++] = "--data";
        argv[n++] = data->item[i];
    }
    for (size_t i = 0; i < sets->used; i++) {
        argv[n++] = "--set";
        argv[n++] = sets->item[i];
    }
    if (predictions != NULL) {
        argv[n++] = "--predictions";
        argv[n++] = predictions;
    }
    if (json) {
        argv[n++] = "--json";
    }
    argv[n] = NULL;
    execv(program, (char *const *)argv);
    return errbuf_errno(err, ST_IO, "%s", program);
}

int cmd_eval(int argc, char **argv)
{
    const char *snapshot = NULL, *predictions = NULL;
    struct args_list data = {.used = 0}, sets = {.used = 0}, rest;
    bool json = false;
    const struct args_flag flags[] = {
        {"--snapshot", ARGS_TEXT, &snapshot, "DIR[@k]",
         "folder of a run; @k: that cut instead of the best"},
        {"--data", ARGS_LIST, &data, "FILE",
         "file of records, or valid or test of the job (default test, else valid); may be "
         "repeated"},
        {"--predictions", ARGS_TEXT, &predictions, "FILE",
         "write a line a record: number, then label and probability of each task; of next-item "
         "models number, rank"},
        {"--set", ARGS_LIST, &sets, "KEY=VALUE", "change one option of the job; may be repeated"},
        {"--json", ARGS_SWITCH, &json, NULL, "print the result as JSON"},
    };
    const struct args_spec spec = {
        "eval JOB.yaml --snapshot DIR[@k] [--data FILE]... [--predictions FILE] [--json]",
        "Judges a snapshot: AUC, logloss, accuracy, calibration; of next-item models HR, NDCG, "
        "MRR,\n"
        "loss and accuracy, on valid or test only. The records are encoded as those the model was\n"
        "trained on.",
        flags,
        sizeof(flags) / sizeof(flags[0]),
        1,
        1};
    struct errbuf err = ERRBUF_INIT;
    enum status st = args_parse(&spec, argc, argv, &rest, &err);
    if (st == ST_OK && snapshot == NULL) {
        st = errbuf_set(&err, ST_USAGE, "--snapshot DIR[@k] is missing; usage: penstock %s",
                        spec.usage);
    }
    if (st == ST_OK) {
        st = become_worker(rest.item[0], snapshot, &data, &sets, predictions, json, &err);
    }
    return args_fail("eval", st, &err);
}
