/* gauc.h - AUC by user: sum_u n_u AUC_u / sum_u n_u over users with both classes (Zhu et al. 2018, DIN, eq. 9).
 *
 * n_u are the user's records (impressions), not clicks. A user whose records are all of one class has no AUC and is left
 * out, with those records, and counted. AUC_u is exact, ties by half. It needs all records of a user together: 16
 * bytes a record are kept until gauc_sum, so who collects bounds their number by GAUC_RECORDS_MAX. Over workers each
 * user's records must first be brought to one of them (gauc_owner); then sums add.
 */
#ifndef PENSTOCK_COMMON_METRICS_GAUC_H
#define PENSTOCK_COMMON_METRICS_GAUC_H

#include <stddef.h>
#include <stdint.h>

#define GAUC_RECORDS_MAX ((uint64_t)1 << 27) /* 2 GiB: of a part of the log, over all its workers */

struct gauc_record {
    uint64_t user;
    float score, label;
};

struct gauc {
    struct gauc_record *record; /* owned */
    size_t used, cap;
    uint64_t unknown; /* records without a user: left out */
};

struct gauc_sum {
    double weighted;                   /* sum of n_u AUC_u */
    uint64_t records, users;           /* with both classes */
    uint64_t left_records, left_users; /* of one class */
    uint64_t unknown;
};

void gauc_release(struct gauc *g); /* also of a zeroed one */
void gauc_reset(struct gauc *g);
/* users: hashes, 0: unknown. labels: 0 or 1; below 0: no label, the record is left out. */
void gauc_add(struct gauc *g, const uint64_t *users, const float *logits, const float *labels,
              size_t n);
/* Which of `size` workers judges a user. */
uint32_t gauc_owner(uint64_t user, uint32_t size);
/* Brings the records into an order of its own: by user. */
struct gauc_sum gauc_sum(struct gauc *g);
double gauc_value(const struct gauc_sum *s); /* NaN without a user of both classes */

#endif
