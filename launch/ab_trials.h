/* ab_trials.h - simulated A/B tests whose truth is known: how often each way of testing says "different".
 *
 * Users come one by one, are dealt by the hash that deals real ones, and act; after each of them everybody looks.
 * Where the truth is "no difference" (lift 0) each "different" is a false positive. The same seed gives the same
 * figures.
 */
#ifndef PENSTOCK_LAUNCH_AB_TRIALS_H
#define PENSTOCK_LAUNCH_AB_TRIALS_H

#include <stdint.h>

#include "common/metrics/ab_effect.h"
#include "common/metrics/ab_sums.h"

struct ab_trials_config {
    uint64_t tests, users, seed; /* users: of both arms, in each test */
    enum ab_kind kind;   /* AB_PROPORTION: `rate` of A's users buy; AB_MEAN: log-normal amounts */
    enum ab_lift effect; /* which lift is tested */
    double rate, lift;   /* B's expectation is (1 + lift) times A's */
    double alpha, n_star;
};

struct ab_trials {
    uint64_t tests;
    uint64_t sequence;     /* the confidence sequence left 0 out at some look */
    uint64_t peeked;       /* the t-test was below alpha at some look */
    uint64_t once;         /* it was at the end, looked at once */
    uint64_t srm;          /* the sequential SRM was below alpha at some look */
    uint64_t users_median; /* where the sequence found it, of the tests where it did; 0: none */
};

struct ab_trials ab_trials_run(const struct ab_trials_config *config);

#endif
