/* http_experiments.h - GET /v1/experiments, /v1/experiments/{id}: what is measured of each variant; online.h. */
#ifndef PENSTOCK_PS_SERVE_HTTP_EXPERIMENTS_H
#define PENSTOCK_PS_SERVE_HTTP_EXPERIMENTS_H

struct call;

/* By the writer, whose figures they are: as of the last durable group. */
void http_experiments(struct call *c);

#endif
