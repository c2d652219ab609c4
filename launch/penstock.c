/* penstock.c - the front: a table of commands.
 *
 * Each command lives in its own file, cmd_<name>.c, takes its words as argv (argv[0] is its name) and
 * returns the exit code: 0 done, 2 the call or the job file is wrong, 3 the data or a snapshot is wrong,
 * 1 anything else.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/job.h"
#include "launch/cmd_ab.h"
#include "launch/cmd_check.h"
#include "launch/cmd_data.h"
#include "launch/cmd_eval.h"
#include "launch/cmd_serve.h"
#include "launch/cmd_serving.h"
#include "launch/cmd_simulate.h"
#include "launch/cmd_snap.h"
#include "launch/cmd_status.h"
#include "launch/cmd_submit.h"
#include "launch/cmd_train.h"

#define VERSION "0.1.0"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"check", cmd_check, "the resolved job, the plan of shards, the memory it will need"},
    {"train", cmd_train, "train on a cluster of server and worker processes"},
    {"submit", cmd_submit, "the same as a job of Slurm: one script, one job id"},
    {"eval", cmd_eval, "judge a snapshot on data"},
    {"serve", cmd_serve, "a serving node: rank and recommend by HTTP, following the training"},
    {"serving", cmd_serving, "which versions a serving node keeps and shows: list, pin, rollback"},
    {"data", cmd_data, "inspect or convert logs, or make a shop's"},
    {"snap", cmd_snap, "list, show, verify or compare cuts"},
    {"ab", cmd_ab, "assignment and statistics of A/B tests"},
    {"simulate", cmd_simulate, "play the made shop's people against serving nodes"},
    {"status", cmd_status, "what a run is doing, or how it ended"},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_usage(FILE *out)
{
    fprintf(out, "penstock %s: recommendation models trained on parameter servers\n\n", VERSION);
    fprintf(out, "usage: penstock COMMAND ...\n\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
    }
    fprintf(out,
            "\n`penstock COMMAND --help` tells more; `penstock --help=WORD` searches the options "
            "of job files.\n");
}

/* The command that begins most alike. */
static const char *nearest(const char *word)
{
    const char *best = commands[0].name;
    size_t best_n = 0;
    for (size_t i = 0; i < COMMANDS; i++) {
        size_t n = 0;
        while (word[n] != '\0' && word[n] == commands[i].name[n]) {
            n++;
        }
        if (n > best_n) {
            best = commands[i].name;
            best_n = n;
        }
    }
    return best_n > 0 ? best : "--help";
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return 2;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strncmp(word, "--help=", 7) == 0) {
        job_help(word + 7, stdout);
        return 0;
    }
    if (strcmp(word, "--version") == 0) {
        printf("penstock %s\n", VERSION);
        return 0;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, word) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "penstock: %s: no such command; the nearest is %s (see penstock --help)\n",
            word, nearest(word));
    return 2;
}
