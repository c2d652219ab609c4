/* score.h - records given as texts, from cells to probabilities, by one version: the worker's encoder and graph.
 *
 * For programs that hold a replica themselves (ps/serve/client). One thread at a time; one a thread is best.
 */
#ifndef PENSTOCK_PS_SERVE_SCORE_H
#define PENSTOCK_PS_SERVE_SCORE_H

#include "ps/serve/replica.h"

struct score; /* opaque */

/* m: borrowed, outlives it. ST_USAGE: the model ranks items of sequences, or has weights beside ids (libsvm). */
MUST_CHECK enum status score_new(const struct serve_model *m, struct score **out,
                                 struct errbuf *err);
void score_free(struct score *s);
/* n records; cells: (n, fields_n) texts of the named fields, NULL: missing; a field that is not named is missing. out: (n)
 * probabilities, of several tasks that of train.task. ST_USAGE: a name is no field of the job, a number is none. */
MUST_CHECK enum status score_records(struct score *s, const struct version *v,
                                     const char *const *fields, size_t fields_n,
                                     const char *const *cells, size_t n, float *out,
                                     struct errbuf *err);

#endif
