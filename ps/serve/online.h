/* online.h - an experiment as the journal tells it: what each variant showed, to whom, and what came of it.
 *
 * Everything here is made by ops of the journal (state.h), applied once when they are durable and again at a start, so
 * after kill -9 the figures are what they were, and nothing is in them twice: a snapshot's figures carry the lsn that
 * they are as of, and older frames pass them by.
 *
 *   served   a recommendation was shown: its items with the logits of the model that served them, the unit that saw it, and
 *            of a unit's first what it did before (the covariate). Users and exposures count at once.
 *   joined   an outcome names one of its items. Outcomes count at once; the first positive one makes the item's example.
 *   window   what was shown up to a time and nothing came of is a negative example. A positive outcome that comes later
 *            corrects it, for LATE_US and as long as there is room; then the record is forgotten, and an outcome counts as
 *            unmatched.
 *
 * A click on an item counts once for a ratio metric, whatever many events say so. A shadow variant has examples and no
 * users. A variant is known by its tag: when the file changes what is compared, its old ops are nobody's.
 *
 * One thread, the writer; `missing` and `unscored` are the loops'.
 */
#ifndef PENSTOCK_PS_SERVE_ONLINE_H
#define PENSTOCK_PS_SERVE_ONLINE_H

#include <stdatomic.h>

#include "common/base/json.h"
#include "common/metrics/ab_online.h"
#include "common/metrics/experiment.h"
#include "ps/serve/exposure.h"
#include "ps/serve/journal.h"

struct served_item {
    uint64_t item; /* hash of the id */
    float logit;
    uint8_t done; /* bit m: counted for ratio metric m */
    bool positive;
};

struct served_put {
    char rec[EXPOSURE_REC];
    uint64_t tag, time, unit; /* of the variant; us since 1970; hash of the unit's id */
    const double *before;     /* (befores) covariates, one a metric; NULL: the unit is not new */
    size_t befores;
    const struct served_item *item; /* (items), at most EXPOSURE_ITEMS_MAX */
    size_t items;
};

struct served; /* a record of that; online.c */

struct online {
    const struct experiment *experiment; /* borrowed */
    uint64_t tag[AB_VARIANTS_MAX];
    struct ab_online variant[AB_VARIANTS_MAX];
    uint64_t
        unmatched; /* outcomes that name a recommendation of an item that it did not show, or one forgotten */
    uint64_t lsn; /* the snapshot's: what it knew already */
    struct served **slot;
    size_t slots, used, bytes, bytes_max;
    struct served *oldest, *newest;
    struct served *open; /* the oldest whose window is not over */
    struct buffer load;  /* of a snapshot: a variant's pieces so far */
    /* -- any thread -- */
    _Atomic uint64_t
        missing[AB_VARIANTS_MAX]; /* answers by the live model: the variant's was not there */
    _Atomic uint64_t unscored[AB_VARIANTS_MAX]; /* of a shadow: answers that it could not score */
};

/* e: borrowed until online_release. bytes_max: of records that wait, closed ones are forgotten beyond it. */
void online_init(struct online *o, const struct experiment *e, size_t bytes_max);
void online_release(struct online *o);

/* -- making ops -- */
bool online_knows(const struct online *o, const char rec[EXPOSURE_REC]);
/* Whether this unit has been shown something by this variant. */
bool online_has_unit(const struct online *o, size_t variant, uint64_t unit);
uint64_t online_item(const char *id, size_t n);
void online_put_served(const struct served_put *p, struct buffer *out);
/* type: of the event. positive: it makes a positive example. */
void online_put_joined(const struct online *o, const char rec[EXPOSURE_REC], uint64_t item,
                       const char *type, size_t type_n, bool positive, double value,
                       struct buffer *out);
/* Nothing when no window is over and nothing is to be forgotten. */
void online_put_window(const struct online *o, uint64_t now_us, struct buffer *out);
/* Into the snapshot that j is writing: as of its last durable frame. No group may be open. */
MUST_CHECK enum status online_snapshot(const struct online *o, struct journal *j,
                                       struct errbuf *err);

/* -- applying them; kind: enum op_kind_state. o NULL: read and passed by -- */
MUST_CHECK enum status online_apply(struct online *o, unsigned kind, uint64_t lsn,
                                    struct reader *in, struct errbuf *err);

/* -- figures -- */
/* Everything that GET /v1/experiments/{id} says: variants, sums, statistics of those sums (common/metrics/ab_calc.h). */
struct json *online_json(const struct online *o);
/* For Prometheus, from that. */
void online_metrics(const struct json *figures, struct buffer *out);

#endif
