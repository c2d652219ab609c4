/* ab_online.c - see ab_online.h. Loading believes nothing: sizes, order, sums and cells are checked behind the
 * checksum, too, since a checksum only says that the bytes are what somebody wrote.
 */
#include "common/metrics/ab_online.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/base/hash.h"

#define MAGIC        "PNSTKABO"
#define VERSION      1u
#define HEADER_BYTES 104u
#define BIN_BYTES    12u
#define SUM_BYTES    8u

void ab_online_init(struct ab_online *o, uint64_t tag, const enum ab_kind *kinds, size_t metrics,
                    uint64_t users_max)
{
    memset(o, 0, sizeof *o);
    o->tag = tag;
    auc_init(&o->auc);
    ab_users_init(&o->users, kinds, metrics, users_max);
}

void ab_online_release(struct ab_online *o)
{
    auc_release(&o->auc);
    ab_users_release(&o->users);
}

bool ab_online_example(struct ab_online *o, float logit, bool positive)
{
    const float label = positive ? 1 : 0;
    if (!isfinite(logit)) {
        o->refused++;
        return false;
    }
    auc_add(&o->auc, &logit, &label, 1);
    logloss_add(&o->loss, &logit, &label, 1);
    return true;
}

bool ab_online_correct(struct ab_online *o, float logit)
{
    if (!isfinite(logit) || !auc_correct(&o->auc, logit)) {
        o->refused++;
        return false;
    }
    logloss_correct(&o->loss, logit);
    o->corrected++;
    return true;
}

struct ab_online_result ab_online_value(const struct ab_online *o)
{
    const struct auc_result a = auc_value(&o->auc);
    struct ab_online_result r = {.examples = o->loss.count,
                                 .positives = o->loss.positives,
                                 .auc = a.auc,
                                 .auc_bound = a.bound,
                                 .logloss = logloss_mean(&o->loss)};
    r.both_classes = logloss_entropy(&o->loss, &r.entropy);
    (void)logloss_calibration(&o->loss, &r.calibration);
    return r;
}

void ab_online_merge(struct ab_online *into, const struct ab_online *from)
{
    auc_merge(&into->auc, &from->auc);
    logloss_merge(&into->loss, &from->loss);
    into->corrected += from->corrected;
    into->refused += from->refused;
    ab_users_merge(&into->users, &from->users);
}

/* -- saving -- */

static uint64_t bins_used(const struct auc *a)
{
    uint64_t n = 0;
    for (size_t b = 0; b < 2 * (size_t)AUC_BINS; b++)
        n += a->bins[b] > 0;
    return n;
}

static void save_users(const struct ab_users *u, struct buffer *out)
{
    const size_t width = ab_users_width(u);
    for (size_t s = 0; s < u->slots; s++) {
        if (u->key[s] == 0)
            continue;
        buffer_u64(out, u->key[s]);
        for (size_t i = 0; i < width; i++)
            buffer_f64(out, u->row[s * width + i]);
    }
}

void ab_online_save(const struct ab_online *o, struct buffer *out)
{
    const size_t start = out->used;
    buffer_put(out, MAGIC, 8);
    buffer_u32(out, VERSION);
    buffer_u32(out, (uint32_t)o->users.metrics);
    buffer_u64(out, o->tag);
    buffer_u64(out, o->users.users);
    buffer_u64(out, bins_used(&o->auc));
    buffer_f64(out, o->loss.loss);
    buffer_f64(out, o->loss.predicted);
    buffer_u64(out, o->loss.count);
    buffer_u64(out, o->loss.correct);
    buffer_u64(out, o->loss.positives);
    buffer_u64(out, o->corrected);
    buffer_u64(out, o->refused);
    buffer_u64(out, o->users.refused);
    assert(out->used - start == HEADER_BYTES);
    for (size_t m = 0; m < o->users.metrics; m++)
        buffer_u32(out, (uint32_t)o->users.kind[m]);
    for (size_t b = 0; b < 2 * (size_t)AUC_BINS; b++) {
        if (o->auc.bins[b] == 0)
            continue;
        buffer_u32(out, (uint32_t)b);
        buffer_u64(out, o->auc.bins[b]);
    }
    save_users(&o->users, out);
    buffer_u64(out, hash_bytes(out->data + start, out->used - start, 0));
}

/* -- loading -- */

struct head {
    uint32_t metrics;
    uint64_t tag, users, bins;
};

static enum status damaged(const char *name, const char *why, struct errbuf *err)
{
    return errbuf_set(err, ST_BAD_DATA, "%s: damaged: %s; delete it to count from the start", name,
                      why);
}

static enum status load_head(struct ab_online *to, struct reader *r, size_t n, const char *name,
                             struct head *h, struct errbuf *err)
{
    const uint8_t *magic = reader_view(r, 8);
    if (magic == NULL || memcmp(magic, MAGIC, 8) != 0)
        return damaged(name, "no saved accumulator begins so", err);
    const uint32_t version = reader_u32(r);
    if (version != VERSION)
        return errbuf_set(err, ST_BAD_DATA, "%s: version %u; this program reads version %u", name,
                          version, VERSION);
    h->metrics = reader_u32(r);
    h->tag = reader_u64(r);
    h->users = reader_u64(r);
    h->bins = reader_u64(r);
    to->loss.loss = reader_f64(r);
    to->loss.predicted = reader_f64(r);
    to->loss.count = reader_u64(r);
    to->loss.correct = reader_u64(r);
    to->loss.positives = reader_u64(r);
    to->corrected = reader_u64(r);
    to->refused = reader_u64(r);
    to->users.refused = reader_u64(r);
    if (r->bad || h->metrics > AB_METRICS_MAX || h->users > AB_USERS_MAX || h->bins > 2 * AUC_BINS)
        return damaged(name, "its head is cut or counts too much", err);
    const uint64_t user_bytes = 16 + 16 * (uint64_t)h->metrics;
    if (n !=
        HEADER_BYTES + 4 * h->metrics + BIN_BYTES * h->bins + user_bytes * h->users + SUM_BYTES)
        return damaged(name, "its length is not what its head says", err);
    return ST_OK;
}

static enum status load_kinds(const struct ab_online *o, const struct head *h, struct reader *r,
                              const char *name, struct errbuf *err)
{
    bool same = h->metrics == o->users.metrics && h->tag == o->tag;
    for (size_t m = 0; m < h->metrics; m++)
        same = reader_u32(r) == (uint32_t)o->users.kind[m] && same;
    if (!same)
        return errbuf_set(err, ST_FOREIGN,
                          "%s: saved of another experiment, variant or list of metrics", name);
    return ST_OK;
}

/* Bins, whose sums must be those of the losses: both were counted by the same calls. */
static enum status load_bins(struct ab_online *to, const struct head *h, struct reader *r,
                             const char *name, struct errbuf *err)
{
    const struct logloss *l = &to->loss;
    uint64_t sum[2] = {0, 0}; /* negatives, positives */
    uint32_t last = 0;
    if (!isfinite(l->loss) || !isfinite(l->predicted) || l->correct > l->count ||
        l->positives > l->count || to->corrected > l->positives)
        return damaged(name, "its sums contradict each other", err);
    for (uint64_t i = 0; i < h->bins; i++) {
        const uint32_t bin = reader_u32(r);
        const uint64_t count = reader_u64(r);
        if (bin >= 2 * AUC_BINS || (i > 0 && bin <= last) || count == 0 || count > l->count)
            return damaged(name, "its bins are out of order", err);
        last = bin;
        to->auc.bins[bin] = count;
        if (__builtin_add_overflow(sum[bin >= AUC_BINS], count, &sum[bin >= AUC_BINS]))
            return damaged(name, "its bins overflow", err);
    }
    if (sum[1] != l->positives || sum[0] != l->count - l->positives)
        return damaged(name, "its bins don't add up to its examples", err);
    return ST_OK;
}

static enum status load_users(struct ab_online *to, const struct head *h, struct reader *r,
                              const char *name, struct errbuf *err)
{
    double row[1 + 2 * AB_METRICS_MAX];
    if (h->users > to->users.users_max)
        return errbuf_set(
            err, ST_BAD_DATA,
            "%s: has %llu users, more than the %llu that are allowed; raise users_max", name,
            (unsigned long long)h->users, (unsigned long long)to->users.users_max);
    for (uint64_t i = 0; i < h->users; i++) {
        const uint64_t key = reader_u64(r);
        for (size_t c = 0; c < ab_users_width(&to->users); c++)
            row[c] = reader_f64(r);
        if (key == 0 || !ab_users_put(&to->users, key, row))
            return damaged(name, "a user stands twice or is no user", err);
    }
    return ST_OK;
}

enum status ab_online_load(struct ab_online *o, const void *bytes, size_t n, const char *name,
                           struct errbuf *err)
{
    struct reader r, end;
    struct head h = {0, 0, 0, 0};
    struct ab_online to = {.tag = o->tag};
    ab_users_init(&to.users, o->users.kind, o->users.metrics, o->users.users_max);
    reader_init(&r, bytes, n);
    enum status st = load_head(&to, &r, n, name, &h, err);
    if (st == ST_OK) {
        reader_init(&end, (const uint8_t *)bytes + n - SUM_BYTES, SUM_BYTES);
        if (reader_u64(&end) != hash_bytes(bytes, n - SUM_BYTES, 0))
            st = damaged(name, "its checksum is wrong", err);
    }
    if (st == ST_OK)
        st = load_kinds(o, &h, &r, name, err);
    if (st == ST_OK)
        auc_init(&to.auc); /* not before: megabytes are for bytes that are sound */
    if (st == ST_OK)
        st = load_bins(&to, &h, &r, name, err);
    if (st == ST_OK)
        st = load_users(&to, &h, &r, name, err);
    if (st != ST_OK) {
        ab_online_release(&to);
        return st;
    }
    ab_online_release(o);
    *o = to;
    return ST_OK;
}
