/* http_metrics.h - /metrics of a serving node, for Prometheus. */
#ifndef PENSTOCK_PS_SERVE_HTTP_METRICS_H
#define PENSTOCK_PS_SERVE_HTTP_METRICS_H

struct call;

void http_metrics(struct call *c);

#endif
