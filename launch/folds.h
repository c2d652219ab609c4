/* folds.h - cross-validation: K runs in DIR/fold-0 ..., and what they say together.
 *
 * Each run is a whole one (`data.split.by=fold`: the users of one fold, by a hash, are test; valid is cut out of the
 * others), with a report of its own. The figures that count are over folds: mean and standard deviation (n - 1).
 */
#ifndef PENSTOCK_LAUNCH_FOLDS_H
#define PENSTOCK_LAUNCH_FOLDS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/errbuf.h"

#define FOLDS_MAX 1000
#define NO_FOLDS  UINT64_MAX /* --folds was not given */

char *folds_dir(const char *dir, uint64_t fold); /* DIR/fold-3, owned by the caller */
/* Whether that fold has run to its end. */
bool folds_done(const char *dir, uint64_t fold);
/* Of all folds: write DIR/report.json, print it (json) or a table. */
MUST_CHECK enum status folds_report(const char *dir, const char *job_name, uint64_t folds,
                                    bool json, struct errbuf *err);

/* Mean and standard deviation (n - 1; NaN for one) of n values; for n = 0 both NaN. */
void folds_mean_sd(const double *values, uint64_t n, double *out_mean, double *out_sd);

#endif
