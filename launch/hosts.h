/* hosts.h - which hosts a run has: a hostfile, or the nodes of Slurm's allocation.
 *
 * A hostfile is what mpirun reads: one host a line, "slots=N" and the like behind it, # begins a comment.
 * Here only the names count, in their order and each once; mpirun reads the slots itself.
 */
#ifndef PENSTOCK_LAUNCH_HOSTS_H
#define PENSTOCK_LAUNCH_HOSTS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"

#define HOSTS_MAX 1024

struct hosts {
    char *name[HOSTS_MAX]; /* owned */
    size_t used;
};

/* ST_USAGE names the file and the line. */
MUST_CHECK enum status hosts_read(const char *path, struct hosts *out, struct errbuf *err);
/* The same from memory; what: how the text is called in errors. */
MUST_CHECK enum status hosts_parse(const char *text, const char *what, struct hosts *out,
                                   struct errbuf *err);
void hosts_release(struct hosts *h);
/* Whether this name means the host we run on: localhost, our host name (short or long), an address of ours. */
bool hosts_is_here(const char *name);

/* Append one word as a POSIX shell reads it back: bare where it may be, else in single quotes. */
void hosts_quote(struct buffer *out, const char *word);

#endif
