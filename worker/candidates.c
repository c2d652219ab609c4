/* candidates.c - see candidates.h. The draw is the head of a permutation of the catalog (rng_permute): distinct without
 * a set, and every subset is as likely as another as far as the permutation's key goes. */
#include "worker/candidates.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rng.h"

#define NEGATIVES 0x6e656761746976u /* sets the key apart from the shuffle's */

enum status candidates_open(struct candidates *c, const struct job *job, const char *cache_dir,
                            struct errbuf *err)
{
    memset(c, 0, sizeof(*c));
    c->job = job;
    c->on = job_ranks(job);
    if (!c->on)
        return ST_OK;
    enum status st = catalog_load(cache_dir, &c->catalog, err);
    if (st == ST_OK && c->catalog.n == 0)
        st = errbuf_set(err, ST_BAD_DATA, "%s: the catalog has no items", cache_dir);
    return st;
}

void candidates_close(struct candidates *c)
{
    catalog_release(&c->catalog);
    free(c->drawn);
    memset(c, 0, sizeof(*c));
}

void candidates_all(struct candidates *c, struct batch *b)
{
    if (c->on)
        batch_candidates(b, c->catalog.key, c->catalog.n);
}

/* All but the first item of each history. */
static size_t places(const struct batch *b)
{
    size_t sum = 0;
    for (size_t i = 0; i < b->n; i++) {
        const uint32_t *bag = b->offsets + i * b->fields;
        sum += bag[1] > bag[0] ? bag[1] - bag[0] - 1 : 0;
    }
    return sum;
}

void candidates_train(struct candidates *c, struct batch *b, uint64_t epoch, uint64_t first)
{
    size_t n = 0;
    if (!c->on)
        return;
    switch ((enum job_loss)c->job->model.loss) {
    case JOB_LOSS_CE: candidates_all(c, b); return;
    case JOB_LOSS_SAMPLED: n = (size_t)c->job->model.negatives; break;
    case JOB_LOSS_BCE: n = places(b); break;
    }
    n = n < 1 ? 1 : n > c->catalog.n ? c->catalog.n : n;
    const uint64_t key = rng_mix(rng_mix(rng_mix(c->job->train.seed, NEGATIVES), epoch), first);
    mem_grow(&c->drawn, &c->drawn_cap, n, sizeof(*c->drawn));
    for (size_t i = 0; i < n; i++)
        c->drawn[i] = c->catalog.key[rng_permute(key, c->catalog.n, i)];
    batch_candidates(b, c->drawn, n);
}
