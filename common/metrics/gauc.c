/* gauc.c - see gauc.h. By sorting: users, within them scores; then each user's pairs are counted in whole numbers. */
#include "common/metrics/gauc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

void gauc_release(struct gauc *g)
{
    free(g->record);
    memset(g, 0, sizeof *g);
}

void gauc_reset(struct gauc *g)
{
    g->used = 0;
    g->unknown = 0;
}

void gauc_add(struct gauc *g, const uint64_t *users, const float *logits, const float *labels,
              size_t n)
{
    mem_grow(&g->record, &g->cap, g->used + n, sizeof *g->record);
    for (size_t i = 0; i < n; i++) {
        if (labels[i] < 0)
            continue;
        g->unknown += users[i] == 0;
        if (users[i] != 0) /* + 0: a score of -0 is one of 0 */
            g->record[g->used++] = (struct gauc_record){users[i], logits[i] + 0.0f, labels[i]};
    }
}

uint32_t gauc_owner(uint64_t user, uint32_t size)
{
    return (uint32_t)((user >> 32) % size);
}

/* In the order of scores; what is no number stands below all of them, so the order is one. */
static int by_score(float a, float b)
{
    if (isnan(a) || isnan(b))
        return isnan(b) - isnan(a);
    return a < b ? -1 : a > b;
}

static int by_user(const void *a, const void *b)
{
    const struct gauc_record *x = a, *y = b;
    if (x->user != y->user)
        return x->user < y->user ? -1 : 1;
    return by_score(x->score, y->score);
}

/* One user's n records, rising by score. */
static void add_user(struct gauc_sum *s, const struct gauc_record *r, size_t n)
{
    unsigned __int128 twice = 0; /* 2 * pairs in the right order; a tie is half a pair */
    uint64_t positives = 0, below = 0;
    for (size_t i = 0; i < n;) {
        uint64_t same[2] = {0};
        for (const float score = r[i].score; i < n && by_score(r[i].score, score) == 0; i++)
            same[r[i].label > 0.5f]++;
        twice += (unsigned __int128)same[1] * (2 * below + same[0]);
        positives += same[1];
        below += same[0];
    }
    if (positives == 0 || below == 0) {
        s->left_records += n;
        s->left_users++;
        return;
    }
    s->weighted += (double)n * ((double)twice / (2 * (double)positives * (double)below));
    s->records += n;
    s->users++;
}

struct gauc_sum gauc_sum(struct gauc *g)
{
    struct gauc_sum s = {.unknown = g->unknown};
    if (g->used > 0)
        qsort(g->record, g->used, sizeof *g->record, by_user);
    for (size_t from = 0, end; from < g->used; from = end) {
        for (end = from; end < g->used && g->record[end].user == g->record[from].user;)
            end++;
        add_user(&s, g->record + from, end - from);
    }
    return s;
}

double gauc_value(const struct gauc_sum *s)
{
    return s->records > 0 ? s->weighted / (double)s->records : NAN;
}
