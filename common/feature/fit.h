/* fit.h - what an encoder learns from the training part: id counts, means, deviations, bounds.
 *
 * fit_begin, fit_add for each block of raw train rows in order, fit_end puts the result into the encoder.
 * Sums are in double, merged block by block (Chan, Golub, LeVeque 1979), so one block order gives one
 * result. Missing floats (NaN) don't count.
 */
#ifndef PENSTOCK_COMMON_FEATURE_FIT_H
#define PENSTOCK_COMMON_FEATURE_FIT_H

#include "common/feature/encode.h"

struct fit_float {
    double n, mean, m2, min, max;
};

struct fit {
    struct encoder *encoder; /* borrowed until fit_end or fit_release */
    struct keyset *counts;   /* a vocab each; owned */
    struct fit_float *num;   /* (D); owned */
};

void fit_begin(struct fit *f, struct encoder *e);
MUST_CHECK enum status fit_add(struct fit *f, const struct encoder_rows *rows, struct errbuf *err);
/* Releases f on success and on failure. */
MUST_CHECK enum status fit_end(struct fit *f, struct errbuf *err);
void fit_release(struct fit *f);

#endif
