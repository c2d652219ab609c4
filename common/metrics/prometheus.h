/* prometheus.h - the text exposition format, version 0.0.4. Pure: text into a buffer.
 *
 * A metric is HELP, TYPE, then its samples, all in a row:
 *
 *   prometheus_metric(&out, "penstock_cut_version", PROMETHEUS_GAUGE, "Last complete cut.");
 *   prometheus_sample(&out, "penstock_cut_version", NULL, NULL, 12);
 */
#ifndef PENSTOCK_COMMON_METRICS_PROMETHEUS_H
#define PENSTOCK_COMMON_METRICS_PROMETHEUS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

enum prometheus_type {
    PROMETHEUS_COUNTER, /* its name ends in _total */
    PROMETHEUS_GAUGE,
    PROMETHEUS_HISTOGRAM
};

#define PROMETHEUS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

void prometheus_metric(struct buffer *out, const char *name, enum prometheus_type type,
                       const char *help);
/* One sample; label NULL: without. The label's value may be any text. */
void prometheus_sample(struct buffer *out, const char *name, const char *label,
                       const char *label_value, double value);
/* A metric of one sample without labels. */
void prometheus_one(struct buffer *out, const char *name, enum prometheus_type type,
                    const char *help, double value);
/* One series of a histogram, with one label or none: counts[i] of the values at most edges[i] (ascending) and above the
 * edge before; counts[n] above all. Written cumulated, as the format wants them. */
void prometheus_histogram(struct buffer *out, const char *name, const char *label,
                          const char *label_value, const double *edges, const uint64_t *counts,
                          size_t n, double sum);

#endif
