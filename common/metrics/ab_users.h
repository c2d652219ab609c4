/* ab_users.h - what each user of one variant did, and the sums over users that tests take.
 *
 * The unit of every test is the user, and a user comes back; so each has a row, found by a 64-bit hash of the id,
 * and the sums (ab_sums.h) are kept up to date as rows change: reading them costs nothing, however often one looks.
 * A user is who was exposed. The table is bounded: who comes after users_max is not in the experiment's figures,
 * and each event that was left out for it is counted. Bounds fall on the last to come, in every variant alike.
 *
 * Two users with one hash are one row; the odds that a million users have such a pair are 3e-8.
 */
#ifndef PENSTOCK_COMMON_METRICS_AB_USERS_H
#define PENSTOCK_COMMON_METRICS_AB_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/metrics/ab_sums.h"

#define AB_METRICS_MAX 8u
#define AB_USERS_MAX   (UINT64_C(1) << 30)
#define AB_VALUE_MAX   1e15 /* of one outcome, exposure or covariate, and of what a user adds up to */

struct ab_users {
    size_t metrics; /* M */
    enum ab_kind kind[AB_METRICS_MAX];
    struct ab_sums sums[AB_METRICS_MAX];
    uint64_t users, users_max;
    uint64_t refused; /* events not counted: no room for the user, not exposed, no number */
    size_t slots;     /* a power of two, 0 at first */
    uint64_t *key;    /* (slots) 0 = free; owned */
    double *row; /* (slots, 1 + 2 M): exposures, then y of each metric, then x of each; owned */
};

void ab_users_init(struct ab_users *u, const enum ab_kind *kinds, size_t metrics,
                   uint64_t users_max);
void ab_users_release(struct ab_users *u);
/* All of these: false, counted in refused, when the event can't be counted. */
bool ab_users_exposure(struct ab_users *u, uint64_t user, double shown); /* shown > 0 impressions */
bool ab_users_outcome(struct ab_users *u, uint64_t user, size_t metric, double value);
/* What the user did before the experiment; set once or again, not added. */
bool ab_users_covariate(struct ab_users *u, uint64_t user, size_t metric, double x);
/* Rows of one user add up, covariates are kept (from's where into has none). Same metrics. */
void ab_users_merge(struct ab_users *into, const struct ab_users *from);

/* For saving and loading: a user's row as it is. */
size_t ab_users_width(const struct ab_users *u);                     /* 1 + 2 M */
const double *ab_users_row(const struct ab_users *u, uint64_t user); /* or NULL */
/* false, and nothing changed: there already, no room, or a cell that no history makes. */
bool ab_users_put(struct ab_users *u, uint64_t user, const double *row);

#endif
