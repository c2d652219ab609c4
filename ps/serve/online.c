/* online.c - see online.h: records of what was shown, ops made and applied. Figures: online_report.c. */
#include "ps/serve/online.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "ps/serve/ops.h"

#define SLOTS       (1u << 16)
#define LATE_US     (24ull * 3600 * 1000000)
#define PIECE_BYTES (4u << 20)

struct served {
    char rec[EXPOSURE_REC];
    uint8_t variant;
    bool closed;
    uint16_t items;
    uint64_t time, unit;
    struct served *newer; /* by arrival */
    struct served *next;  /* of its slot */
    struct served_item item[];
};

/* ---- life --------------------------------------------------------------------------------------- */

void online_init(struct online *o, const struct experiment *e, size_t bytes_max)
{
    enum ab_kind kind[AB_METRICS_MAX];
    memset(o, 0, sizeof(*o));
    o->experiment = e;
    o->bytes_max = bytes_max;
    o->slots = SLOTS;
    o->slot = mem_array(o->slots, sizeof(struct served *));
    for (size_t m = 0; m < e->metrics; m++)
        kind[m] = (enum ab_kind)e->metric[m].kind;
    for (size_t v = 0; v < e->variants; v++) {
        o->tag[v] = experiment_tag(e, v);
        ab_online_init(&o->variant[v], o->tag[v], kind, e->metrics, e->users_max);
    }
}

static void forget_oldest(struct online *o)
{
    struct served *x = o->oldest;
    struct served **at = &o->slot[hash_bytes(x->rec, EXPOSURE_REC, 0) & (o->slots - 1)];
    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    o->oldest = x->newer;
    if (o->newest == x)
        o->newest = NULL;
    if (o->open == x)
        o->open = x->newer;
    o->used--;
    o->bytes -= sizeof(*x) + x->items * sizeof(x->item[0]);
    free(x);
}

void online_release(struct online *o)
{
    if (o->experiment == NULL)
        return;
    while (o->oldest != NULL)
        forget_oldest(o);
    for (size_t v = 0; v < o->experiment->variants; v++)
        ab_online_release(&o->variant[v]);
    buffer_release(&o->load);
    free(o->slot);
}

/* ---- records ------------------------------------------------------------------------------------ */

/* The next record of rec behind `after` (NULL: the first). */
static struct served *find(const struct online *o, const char *rec, const struct served *after)
{
    struct served *x =
        after != NULL ? after->next : o->slot[hash_bytes(rec, EXPOSURE_REC, 0) & (o->slots - 1)];
    while (x != NULL && memcmp(x->rec, rec, EXPOSURE_REC) != 0)
        x = x->next;
    return x;
}

static struct served *add(struct online *o, const char *rec, size_t variant, size_t items)
{
    const size_t bytes = sizeof(struct served) + items * sizeof(struct served_item);
    struct served *x = mem_zalloc(bytes);
    struct served **slot = &o->slot[hash_bytes(rec, EXPOSURE_REC, 0) & (o->slots - 1)];
    memcpy(x->rec, rec, EXPOSURE_REC);
    x->variant = (uint8_t)variant;
    x->items = (uint16_t)items;
    x->next = *slot;
    *slot = x;
    if (o->newest != NULL)
        o->newest->newer = x;
    else
        o->oldest = x;
    o->newest = x;
    if (o->open == NULL)
        o->open = x;
    o->used++;
    o->bytes += bytes;
    return x;
}

/* The variant of a tag, or -1. */
static int variant_of(const struct online *o, uint64_t tag)
{
    for (size_t v = 0; v < o->experiment->variants; v++)
        if (o->tag[v] == tag)
            return (int)v;
    return -1;
}

bool online_knows(const struct online *o, const char rec[EXPOSURE_REC])
{
    return find(o, rec, NULL) != NULL;
}

bool online_has_unit(const struct online *o, size_t variant, uint64_t unit)
{
    return ab_users_row(&o->variant[variant].users, unit) != NULL;
}

uint64_t online_item(const char *id, size_t n)
{
    return hash_bytes(id, n, 0);
}

/* ---- served ------------------------------------------------------------------------------------- */

void online_put_served(const struct served_put *p, struct buffer *out)
{
    buffer_u8(out, OP_SERVED);
    buffer_put(out, p->rec, EXPOSURE_REC);
    buffer_u64(out, p->tag);
    buffer_u64(out, p->time);
    buffer_u64(out, p->unit);
    buffer_u8(out, (uint8_t)(p->before != NULL ? p->befores : 0));
    for (size_t m = 0; p->before != NULL && m < p->befores; m++)
        buffer_f64(out, p->before[m]);
    buffer_u16(out, (uint16_t)p->items);
    for (size_t i = 0; i < p->items; i++) {
        buffer_u64(out, p->item[i].item);
        buffer_f32(out, p->item[i].logit);
    }
}

static void serve_unit(struct online *o, size_t v, const struct served_put *p)
{
    struct ab_users *u = &o->variant[v].users;
    if (o->experiment->variant[v].shadow || p->items == 0)
        return;
    const bool new = ab_users_row(u, p->unit) == NULL;
    if (!ab_users_exposure(u, p->unit, (double)p->items) || !new || p->befores != u->metrics)
        return;
    for (size_t m = 0; m < u->metrics; m++)
        (void)ab_users_covariate(u, p->unit, m, p->before[m]);
}

static void apply_served(struct online *o, bool old, struct reader *in)
{
    struct served_item item[EXPOSURE_ITEMS_MAX];
    double before[AB_METRICS_MAX];
    const char *rec = (const char *)reader_view(in, EXPOSURE_REC);
    struct served_put p = {.tag = reader_u64(in), .item = item, .before = before};
    p.time = reader_u64(in);
    p.unit = reader_u64(in);
    p.befores = reader_u8(in);
    in->bad |= p.befores > AB_METRICS_MAX;
    for (size_t m = 0; m < p.befores && !in->bad; m++)
        before[m] = reader_f64(in);
    p.items = reader_u16(in);
    in->bad |= p.items > EXPOSURE_ITEMS_MAX;
    for (size_t i = 0; i < p.items && !in->bad; i++) {
        item[i] = (struct served_item){.item = reader_u64(in)};
        item[i].logit = reader_f32(in);
    }
    const int v = in->bad || o == NULL || old ? -1 : variant_of(o, p.tag);
    if (v < 0)
        return;
    struct served *x = add(o, rec, (size_t)v, p.items);
    x->time = p.time;
    x->unit = p.unit;
    memcpy(x->item, item, p.items * sizeof(*item));
    serve_unit(o, (size_t)v, &p);
}

/* ---- joined ------------------------------------------------------------------------------------- */

void online_put_joined(const struct online *o, const char rec[EXPOSURE_REC], uint64_t item,
                       const char *type, size_t type_n, bool positive, double value,
                       struct buffer *out)
{
    const struct experiment *e = o->experiment;
    unsigned metrics = 0;
    for (size_t m = 0; m < e->metrics; m++)
        if (strlen(e->metric[m].event) == type_n && memcmp(e->metric[m].event, type, type_n) == 0)
            metrics |= 1u << m;
    buffer_u8(out, OP_JOINED);
    buffer_put(out, rec, EXPOSURE_REC);
    buffer_u64(out, item);
    buffer_u8(out, (uint8_t)metrics);
    buffer_u8(out, positive);
    buffer_f64(out, value);
}

static void count_outcome(struct online *o, const struct served *x, struct served_item *i,
                          unsigned metrics, double value)
{
    const struct experiment *e = o->experiment;
    for (size_t m = 0; m < e->metrics; m++) {
        const bool once = e->metric[m].kind == AB_RATIO && !e->metric[m].amount;
        if (!(metrics & 1u << m) || (once && i->done & 1u << m))
            continue;
        i->done |= (uint8_t)(1u << m);
        (void)ab_users_outcome(&o->variant[x->variant].users, x->unit, m,
                               e->metric[m].amount ? value : 1);
    }
}

static void apply_joined(struct online *o, bool old, struct reader *in)
{
    const char *rec = (const char *)reader_view(in, EXPOSURE_REC);
    const uint64_t item = reader_u64(in);
    const unsigned metrics = reader_u8(in);
    const bool positive = reader_u8(in) != 0;
    const double value = reader_f64(in);
    bool found = false;
    if (in->bad || o == NULL || old)
        return;
    for (struct served *x = find(o, rec, NULL); x != NULL; x = find(o, rec, x)) {
        size_t at = 0;
        while (at < x->items && x->item[at].item != item)
            at++;
        if (at == x->items)
            continue;
        struct served_item *i = &x->item[at];
        found = true;
        if (!o->experiment->variant[x->variant].shadow)
            count_outcome(o, x, i, metrics, value);
        if (!positive || i->positive)
            continue;
        i->positive = true;
        if (x->closed)
            (void)ab_online_correct(&o->variant[x->variant], i->logit);
        else
            (void)ab_online_example(&o->variant[x->variant], i->logit, true);
    }
    o->unmatched += !found;
}

/* ---- window ------------------------------------------------------------------------------------- */

void online_put_window(const struct online *o, uint64_t now_us, struct buffer *out)
{
    const uint64_t window = o->experiment->window_us;
    const uint64_t until = now_us > window ? now_us - window : 0;
    uint64_t forget = until > LATE_US ? until - LATE_US : 0;
    size_t bytes = o->bytes;
    for (const struct served *x = o->oldest; x != NULL && bytes > o->bytes_max; x = x->newer) {
        bytes -= sizeof(*x) + x->items * sizeof(x->item[0]);
        forget = x->time > forget ? x->time : forget;
    }
    if ((o->open == NULL || o->open->time > until) &&
        (o->oldest == NULL || o->oldest->time > forget))
        return;
    buffer_u8(out, OP_WINDOW);
    buffer_u64(out, until > forget ? until : forget);
    buffer_u64(out, forget);
}

static void apply_window(struct online *o, bool old, struct reader *in)
{
    const uint64_t until = reader_u64(in), forget = reader_u64(in);
    if (in->bad || o == NULL || old)
        return;
    for (; o->open != NULL && o->open->time <= until; o->open = o->open->newer) {
        struct served *x = o->open;
        x->closed = true;
        for (size_t i = 0; i < x->items; i++)
            if (!x->item[i].positive)
                (void)ab_online_example(&o->variant[x->variant], x->item[i].logit, false);
    }
    while (o->oldest != NULL && o->oldest->closed && o->oldest->time <= forget)
        forget_oldest(o);
}

/* ---- snapshots ---------------------------------------------------------------------------------- */

static enum status put_variant(const struct online *o, size_t v, uint64_t lsn, struct journal *j,
                               struct errbuf *err)
{
    struct buffer all = BUFFER_INIT, piece = BUFFER_INIT;
    enum status st = ST_OK;
    ab_online_save(&o->variant[v], &all);
    for (size_t from = 0; from < all.used && st == ST_OK; from += PIECE_BYTES) {
        const size_t n = all.used - from < PIECE_BYTES ? all.used - from : PIECE_BYTES;
        buffer_reset(&piece);
        buffer_u8(&piece, OP_FIGURES);
        buffer_u64(&piece, lsn);
        buffer_u64(&piece, o->tag[v]);
        buffer_u64(&piece, o->unmatched);
        buffer_u64(&piece, from);
        buffer_u8(&piece, from + n == all.used);
        buffer_u32(&piece, (uint32_t)n);
        buffer_put(&piece, all.data + from, n);
        st = journal_snapshot_add(j, piece.data, piece.used, err);
    }
    buffer_release(&all);
    buffer_release(&piece);
    return st;
}

static void put_record(const struct online *o, const struct served *x, struct buffer *out)
{
    buffer_u8(out, OP_RECORD);
    buffer_put(out, x->rec, EXPOSURE_REC);
    buffer_u64(out, o->tag[x->variant]);
    buffer_u64(out, x->time);
    buffer_u64(out, x->unit);
    buffer_u8(out, x->closed);
    buffer_u16(out, x->items);
    for (size_t i = 0; i < x->items; i++) {
        buffer_u64(out, x->item[i].item);
        buffer_f32(out, x->item[i].logit);
        buffer_u8(out, x->item[i].done);
        buffer_u8(out, x->item[i].positive);
    }
}

enum status online_snapshot(const struct online *o, struct journal *j, struct errbuf *err)
{
    struct buffer b = BUFFER_INIT;
    enum status st = ST_OK;
    for (size_t v = 0; v < o->experiment->variants && st == ST_OK; v++)
        st = put_variant(o, v, j->lsn, j, err);
    for (const struct served *x = o->oldest; x != NULL && st == ST_OK; x = x->newer) {
        put_record(o, x, &b);
        if (b.used < PIECE_BYTES && x->newer != NULL)
            continue;
        st = journal_snapshot_add(j, b.data, b.used, err);
        buffer_reset(&b);
    }
    buffer_release(&b);
    return st;
}

static enum status apply_figures(struct online *o, struct reader *in, struct errbuf *err)
{
    const uint64_t lsn = reader_u64(in), tag = reader_u64(in), unmatched = reader_u64(in),
                   from = reader_u64(in);
    const bool last = reader_u8(in) != 0;
    const size_t n = reader_u32(in);
    const uint8_t *piece = reader_view(in, n);
    const int v = in->bad || o == NULL ? -1 : variant_of(o, tag);
    if (v < 0)
        return ST_OK;
    if (from == 0)
        buffer_reset(&o->load);
    if (from != o->load.used)
        return errbuf_set(err, ST_BAD_DATA, "an experiment's figures are not whole");
    buffer_put(&o->load, piece, n);
    if (!last)
        return ST_OK;
    o->lsn = lsn;
    o->unmatched = unmatched;
    const enum status st = ab_online_load(&o->variant[v], o->load.data, o->load.used,
                                          "the figures of an experiment", err);
    buffer_release(&o->load);
    return st;
}

static void apply_record(struct online *o, struct reader *in)
{
    const char *rec = (const char *)reader_view(in, EXPOSURE_REC);
    const uint64_t tag = reader_u64(in), time = reader_u64(in), unit = reader_u64(in);
    const bool closed = reader_u8(in) != 0;
    const size_t items = reader_u16(in);
    struct served_item item[EXPOSURE_ITEMS_MAX];
    in->bad |= items > EXPOSURE_ITEMS_MAX;
    for (size_t i = 0; i < items && !in->bad; i++) {
        item[i].item = reader_u64(in);
        item[i].logit = reader_f32(in);
        item[i].done = reader_u8(in);
        item[i].positive = reader_u8(in) != 0;
    }
    const int v = in->bad || o == NULL ? -1 : variant_of(o, tag);
    if (v < 0)
        return;
    struct served *x = add(o, rec, (size_t)v, items);
    x->time = time;
    x->unit = unit;
    x->closed = closed;
    memcpy(x->item, item, items * sizeof(*item));
    if (closed && o->open == x)
        o->open = NULL;
}

enum status online_apply(struct online *o, unsigned kind, uint64_t lsn, struct reader *in,
                         struct errbuf *err)
{
    const bool old = o != NULL && lsn <= o->lsn;
    switch (kind) {
    case OP_SERVED: apply_served(o, old, in); return ST_OK;
    case OP_JOINED: apply_joined(o, old, in); return ST_OK;
    case OP_WINDOW: apply_window(o, old, in); return ST_OK;
    case OP_FIGURES: return apply_figures(o, in, err);
    case OP_RECORD: apply_record(o, in); return ST_OK;
    default: in->bad = true; return ST_OK;
    }
}
