/* feeder.h - the thread that reads: leases in, filled batches out. It owns both datasets. */
#ifndef PENSTOCK_WORKER_FEEDER_H
#define PENSTOCK_WORKER_FEEDER_H

#include "worker/pipeline.h"

struct feeder;

/* train, valid (NULL: none): handed over; closed by feeder_stop. */
MUST_CHECK enum status feeder_start(struct pipeline *p, struct dataset *train,
                                    struct dataset *valid, struct feeder **out, struct errbuf *err);
void feeder_stop(struct feeder *f); /* waits; the pipeline has ended. NULL-safe */
/* Where the record was read: safe from another thread, for it looks at what never changes. */
void feeder_source(const struct feeder *f, uint64_t record, const char **out_path,
                   uint64_t *out_offset);

#endif
