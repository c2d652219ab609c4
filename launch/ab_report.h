/* ab_report.h - `penstock ab report NODE`: what a node measured of its experiment, as a table and a sentence, or as JSON. */
#ifndef PENSTOCK_LAUNCH_AB_REPORT_H
#define PENSTOCK_LAUNCH_AB_REPORT_H

#include "common/base/json.h"

int ab_report(int argc, char **argv);
/* The verdict of an experiment's figures (GET /v1/experiments/{id}) into out: is the split what it should be, then of each
 * variant against the control by the first metric's absolute effect. */
void ab_report_verdict(const struct json *figures, char *out, size_t out_n);

#endif
