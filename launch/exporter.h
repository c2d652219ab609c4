/* exporter.h - /metrics of a running job, for Prometheus: the head's report as penstock_... metrics.
 *
 * Served by the front (cluster.metrics, off by default): it lives as long as the run, asks the head twice a
 * second anyway, and a scrape never costs the head anything. DIR/metrics holds the URL while it is there.
 */
#ifndef PENSTOCK_LAUNCH_EXPORTER_H
#define PENSTOCK_LAUNCH_EXPORTER_H

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/base/json.h"

struct exporter; /* opaque */

/* job->cluster.metrics says where, and isn't empty. */
MUST_CHECK enum status exporter_open(const char *dir, const struct job *job, struct exporter **out,
                                     struct errbuf *err);
void exporter_report(struct exporter *x, const struct json *report, double samples_per_second);
void exporter_close(struct exporter *x); /* NULL-safe */

/* The page itself; pure. */
void exporter_text(const struct job *job, const struct json *report, double samples_per_second,
                   struct buffer *out);

#endif
