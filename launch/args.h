/* args.h - the command line of one command: flags from a table, the rest in order.
 *
 * Every command parses by this, so that all answer alike: "--out DIR" and "--out=DIR", repeated flags
 * where the row allows it, --help and --help=WORD, and an unknown flag names the nearest one.
 */
#ifndef PENSTOCK_LAUNCH_ARGS_H
#define PENSTOCK_LAUNCH_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"

enum args_kind { ARGS_SWITCH /* bool */, ARGS_TEXT /* const char * */, ARGS_U64, ARGS_LIST };

struct args_list {         /* of a repeated flag, and of what isn't a flag */
    const char *item[256]; /* borrowed from argv */
    size_t used;
};

struct args_flag {
    const char *name; /* "--out" */
    enum args_kind kind;
    void *dst;         /* bool, const char *, uint64_t or struct args_list */
    const char *value; /* how the value is called in help: "DIR"; NULL for switches */
    const char *help;
};

struct args_spec {
    const char *usage; /* "train JOB.yaml [--servers N] ..." */
    const char *about; /* sentences for --help */
    const struct args_flag *flags;
    size_t flags_used;
    size_t rest_min, rest_max; /* how many arguments that aren't flags */
};

/* argv[0] is the command's name. ST_OK; ST_END: help was printed, exit 0; ST_USAGE with a text. */
MUST_CHECK enum status args_parse(const struct args_spec *spec, int argc, char **argv,
                                  struct args_list *out_rest, struct errbuf *err);
/* Print the one line of an error as every command does ("penstock train: ..."); the exit code. */
int args_fail(const char *command, enum status st, const struct errbuf *err);

#endif
