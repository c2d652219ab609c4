/* run.h - the supervisor: the processes of one run, children of the front.
 *
 * Servers are direct children; the workers' mpirun is one child in a process group of its own (a Ctrl-C in
 * the terminal must reach it by our hand only). Every child dies with us: PR_SET_PDEATHSIG, and a lifeline pipe
 * on its standard input. Nothing here restarts anything: in this release a death ends the run.
 *
 * Not thread-safe: one run a process.
 */
#ifndef PENSTOCK_LAUNCH_RUN_H
#define PENSTOCK_LAUNCH_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/errbuf.h"

#define RUN_CHILDREN_MAX 1025

struct run_child {
    char name[24]; /* "ps-0", "workers" */
    pid_t pid;
    bool ended;
    int code;           /* exit code, or 128 + signal */
    int signal;         /* the signal that ended it, or 0 */
    uint64_t rss_bytes; /* peak, of the largest process under it */
};

struct run {
    struct run_child child[RUN_CHILDREN_MAX];
    size_t children;
    int lifeline[2]; /* our end stays open as long as we live */
};

MUST_CHECK enum status run_init(struct run *r, struct errbuf *err);
void run_release(struct run *r); /* all children must have ended */

/* Start argv (NULL-terminated). own_group: a process group of its own. stdout_fd < 0: inherited. */
MUST_CHECK enum status run_start(struct run *r, const char *name, char *const *argv, bool own_group,
                                 struct errbuf *err);
/* Reap what has ended; *out_first_bad: the first child ever that ended with a code that isn't 0. */
void run_reap(struct run *r, const struct run_child **out_first_bad);
size_t run_alive(const struct run *r);
/* TERM to all, wait grace_us, KILL what is left (whole groups), reap all. */
void run_end(struct run *r, uint64_t grace_us);
/* "ps-1 was ended by signal 9 (Killed)", "workers ended with code 3". */
void run_child_text(const struct run_child *c, char *dst, size_t cap);

/* Absolute path of a program of ours, beside this one. */
MUST_CHECK enum status run_program(const char *name, char *dst, size_t cap, struct errbuf *err);
/* Whether the PATH has such a program. */
bool run_found(const char *name);
/* Run a program to its end and take its standard output (at most max bytes). deadline in us. */
MUST_CHECK enum status run_capture(char *const *argv, size_t max, uint64_t deadline_us, char **out,
                                   size_t *out_n, int *out_code, struct errbuf *err);

#endif
