/* live.c - see live.h. */
#include "ps/train/live.h"

#include <math.h>
#include <string.h>

static void add(double *mean, uint64_t *records, double value, uint64_t n)
{
    if (!isfinite(value) || n == 0)
        return;
    *records += n;
    *mean += (value - *mean) * ((double)n / (double)*records);
}

void live_done(struct live *l, double train_loss)
{
    struct live_segment *s = &l->now;
    uint64_t judged = l->judged_records;
    s->train_loss = train_loss;
    l->segments++;
    l->records += s->records;
    add(&l->auc, &l->auc_records, s->auc, s->records);
    add(&l->accuracy, &judged, isfinite(s->logloss) ? s->accuracy : NAN, s->records);
    add(&l->logloss, &l->judged_records, s->logloss, s->records);
    l->last[s->number % LIVE_KEPT] = *s;
    *s = (struct live_segment){0};
}

void live_recent(const struct live *l, double *out_auc, double *out_logloss)
{
    uint64_t aucs = 0, losses = 0;
    double auc = 0, logloss = 0;
    for (uint32_t i = 0; i < LIVE_KEPT; i++) {
        const struct live_segment *s = &l->last[i];
        if (s->number == 0)
            continue;
        add(&auc, &aucs, s->auc, s->records);
        add(&logloss, &losses, s->logloss, s->records);
    }
    *out_auc = aucs == 0 ? NAN : auc;
    *out_logloss = losses == 0 ? NAN : logloss;
}

static struct json *segment_json(const struct live_segment *s)
{
    struct json *j = json_object();
    json_set_u64(j, "segment", s->number);
    json_set_u64(j, "records", s->records);
    json_set_f64(j, "auc", s->auc);
    json_set_f64(j, "logloss", s->logloss);
    json_set_f64(j, "accuracy", s->accuracy);
    json_set_f64(j, "train_loss", s->train_loss);
    return j;
}

struct json *live_json(const struct live *l)
{
    struct json *j = json_object(), *last = json_array();
    json_set_u64(j, "from", l->from);
    json_set_u64(j, "segments", l->segments);
    json_set_u64(j, "records", l->records);
    json_set_f64(j, "auc", l->auc_records == 0 ? NAN : l->auc);
    json_set_f64(j, "logloss", l->judged_records == 0 ? NAN : l->logloss);
    json_set_f64(j, "accuracy", l->judged_records == 0 ? NAN : l->accuracy);
    json_set_u64(j, "auc_records", l->auc_records);
    json_set_u64(j, "judged_records", l->judged_records);
    if (l->now.number != 0)
        json_set(j, "now", segment_json(&l->now));
    for (uint64_t i = 1; i <= LIVE_KEPT; i++) { /* oldest first */
        const struct live_segment *s = &l->last[(l->segments + i) % LIVE_KEPT];
        if (s->number != 0)
            json_add(last, segment_json(s));
    }
    json_set(j, "last", last);
    return j;
}

static enum status parse_segment(const struct json *j, struct live_segment *out, struct errbuf *err)
{
    enum status st = json_need_u64(j, "segment", &out->number, err);
    if (st == ST_OK)
        st = json_need_u64(j, "records", &out->records, err);
    out->auc = json_f64(j, "auc", NAN);
    out->logloss = json_f64(j, "logloss", NAN);
    out->accuracy = json_f64(j, "accuracy", NAN);
    out->train_loss = json_f64(j, "train_loss", NAN);
    if (st == ST_OK && out->number == 0)
        st = errbuf_set(err, ST_BAD_DATA, "live: a segment without a number");
    return st;
}

enum status live_parse(const struct json *j, struct live *out, struct errbuf *err)
{
    struct live l = {0};
    const struct json *last = json_get(j, "last"), *now = json_get(j, "now");
    enum status st = json_need_u64(j, "from", &l.from, err);
    if (st == ST_OK)
        st = json_need_u64(j, "segments", &l.segments, err);
    if (st == ST_OK)
        st = json_need_u64(j, "records", &l.records, err);
    if (st == ST_OK)
        st = json_need_u64(j, "auc_records", &l.auc_records, err);
    if (st == ST_OK)
        st = json_need_u64(j, "judged_records", &l.judged_records, err);
    l.auc = json_f64(j, "auc", 0);
    l.logloss = json_f64(j, "logloss", 0);
    l.accuracy = json_f64(j, "accuracy", 0);
    if (st == ST_OK && now != NULL)
        st = parse_segment(now, &l.now, err);
    for (size_t i = 0; st == ST_OK && i < json_len(last); i++) {
        struct live_segment s = {0};
        st = parse_segment(json_at(last, i), &s, err);
        if (st == ST_OK)
            l.last[s.number % LIVE_KEPT] = s;
    }
    if (st == ST_OK)
        *out = l;
    return st;
}
