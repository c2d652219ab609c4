/* ab_users.c - see ab_users.h. Open addressing, at most half full, doubled as users come; nobody ever leaves.
 *
 * Sums change by taking a user's old contribution out and putting the new one in. Counts are whole numbers and so
 * exact; amounts of money collect rounding of the size of one ulp of the sum a change.
 */
#include "common/metrics/ab_users.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

#define SLOTS_FIRST 64u

void ab_users_init(struct ab_users *u, const enum ab_kind *kinds, size_t metrics,
                   uint64_t users_max)
{
    assert(metrics <= AB_METRICS_MAX && users_max <= AB_USERS_MAX);
    memset(u, 0, sizeof *u);
    u->metrics = metrics;
    u->users_max = users_max;
    for (size_t m = 0; m < metrics; m++)
        u->kind[m] = kinds[m];
}

void ab_users_release(struct ab_users *u)
{
    free(u->key);
    free(u->row);
    u->key = NULL;
    u->row = NULL;
    u->slots = 0;
}

size_t ab_users_width(const struct ab_users *u)
{
    return 1 + 2 * u->metrics;
}

/* -- the table -- */

/* 0 marks a free slot. */
static uint64_t key_of(uint64_t user)
{
    return user == 0 ? 1 : user;
}

/* The slot of a key, or the free one where it would go; slots > 0. */
static size_t slot_of(const struct ab_users *u, uint64_t key)
{
    size_t at = (size_t)hash_u64(key) & (u->slots - 1);
    while (u->key[at] != 0 && u->key[at] != key)
        at = (at + 1) & (u->slots - 1);
    return at;
}

static void grow(struct ab_users *u)
{
    struct ab_users old = *u;
    const size_t width = ab_users_width(u);
    u->slots = old.slots == 0 ? SLOTS_FIRST : 2 * old.slots;
    u->key = mem_array(u->slots, sizeof *u->key);
    u->row = mem_array(u->slots * width, sizeof *u->row);
    for (size_t s = 0; s < old.slots; s++) {
        if (old.key[s] == 0)
            continue;
        const size_t at = slot_of(u, old.key[s]);
        u->key[at] = old.key[s];
        memcpy(u->row + at * width, old.row + s * width, width * sizeof *u->row);
    }
    ab_users_release(&old);
}

static double *find(const struct ab_users *u, uint64_t user)
{
    if (u->slots == 0)
        return NULL;
    const size_t at = slot_of(u, key_of(user));
    return u->key[at] == 0 ? NULL : u->row + at * ab_users_width(u);
}

const double *ab_users_row(const struct ab_users *u, uint64_t user)
{
    return find(u, user);
}

/* A new user's row, all zeros; NULL: no room. */
static double *make(struct ab_users *u, uint64_t user)
{
    if (u->users >= u->users_max)
        return NULL;
    if (2 * (u->users + 1) > u->slots)
        grow(u);
    const size_t at = slot_of(u, key_of(user));
    u->key[at] = key_of(user);
    u->users++;
    return u->row + at * ab_users_width(u);
}

/* -- sums -- */

static void contribute(struct ab_users *u, const double *row, size_t m, double sign)
{
    struct ab_sums *s = &u->sums[m];
    const double whole = row[1 + m], d = row[0], x = row[1 + u->metrics + m];
    const double y = u->kind[m] == AB_PROPORTION ? (whole > 0 ? 1 : 0) : whole;
    s->n += sign;
    s->sum += sign * y;
    s->square_sum += sign * y * y;
    s->d_sum += sign * d;
    s->d_square_sum += sign * d * d;
    s->yd_sum += sign * y * d;
    s->x_sum += sign * x;
    s->x_square_sum += sign * x * x;
    s->xy_sum += sign * x * y;
}

static void contribute_all(struct ab_users *u, const double *row, double sign)
{
    for (size_t m = 0; m < u->metrics; m++)
        contribute(u, row, m, sign);
}

static bool sound(double v)
{
    return fabs(v) <= AB_VALUE_MAX; /* a NaN is not */
}

static bool refuse(struct ab_users *u)
{
    u->refused++;
    return false;
}

bool ab_users_exposure(struct ab_users *u, uint64_t user, double shown)
{
    if (!sound(shown) || !(shown > 0))
        return refuse(u);
    double *row = find(u, user);
    if (row != NULL) {
        if (!sound(row[0] + shown))
            return refuse(u);
        contribute_all(u, row, -1);
    } else if ((row = make(u, user)) == NULL) {
        return refuse(u);
    }
    row[0] += shown;
    contribute_all(u, row, 1);
    return true;
}

bool ab_users_outcome(struct ab_users *u, uint64_t user, size_t metric, double value)
{
    assert(metric < u->metrics);
    double *row = find(u, user);
    if (row == NULL || !sound(value) || !sound(row[1 + metric] + value))
        return refuse(u);
    contribute(u, row, metric, -1);
    row[1 + metric] += value;
    contribute(u, row, metric, 1);
    return true;
}

bool ab_users_covariate(struct ab_users *u, uint64_t user, size_t metric, double x)
{
    assert(metric < u->metrics);
    double *row = find(u, user);
    if (row == NULL || !sound(x))
        return refuse(u);
    contribute(u, row, metric, -1);
    row[1 + u->metrics + metric] = x;
    contribute(u, row, metric, 1);
    return true;
}

bool ab_users_put(struct ab_users *u, uint64_t user, const double *row)
{
    const size_t width = ab_users_width(u);
    if (find(u, user) != NULL || !(row[0] > 0))
        return false;
    for (size_t i = 0; i < width; i++)
        if (!sound(row[i]))
            return false;
    double *to = make(u, user);
    if (to == NULL)
        return false;
    memcpy(to, row, width * sizeof *to);
    contribute_all(u, to, 1);
    return true;
}

static void merge_row(struct ab_users *into, uint64_t user, const double *from)
{
    double *to = find(into, user);
    if (to == NULL) {
        if (!ab_users_put(into, user, from))
            (void)refuse(into);
        return;
    }
    contribute_all(into, to, -1);
    for (size_t i = 0; i < 1 + into->metrics; i++)
        to[i] = fmax(-AB_VALUE_MAX, fmin(AB_VALUE_MAX, to[i] + from[i]));
    for (size_t i = 1 + into->metrics; i < ab_users_width(into); i++)
        to[i] = to[i] != 0 ? to[i] : from[i];
    contribute_all(into, to, 1);
}

void ab_users_merge(struct ab_users *into, const struct ab_users *from)
{
    assert(into->metrics == from->metrics);
    for (size_t s = 0; s < from->slots; s++)
        if (from->key[s] != 0)
            merge_row(into, from->key[s], from->row + s * ab_users_width(from));
    into->refused += from->refused;
}
