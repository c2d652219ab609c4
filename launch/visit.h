/* visit.h - what a simulated visitor says to a serving node, and what the node's answer must be. Pure.
 *
 * Bodies of POST /v1/rank, /v1/recommend, /v1/events and PUT /v1/users/{id}, /v1/items/{id}; ids are the log's.
 */
#ifndef PENSTOCK_LAUNCH_VISIT_H
#define PENSTOCK_LAUNCH_VISIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/errbuf.h"
#include "common/data/shop_people.h"

/* Columns of the log that go with a request; a node refuses one that its job doesn't have. */
enum visit_context {
    VISIT_HOUR = 1,
    VISIT_DEVICE = 2,
    VISIT_POSITION = 4, /* 1 for all items: where they will stand isn't known yet */
    VISIT_SEGMENT = 8,
};

struct visit_form {
    unsigned context; /* of enum visit_context */
    size_t candidates;
    bool recommend;   /* ask the node for items, rather than to rank the shop's */
    bool impressions; /* report what was shown, too */
};

enum visit_fault {
    VISIT_SOUND,
    VISIT_MALFORMED, /* no JSON, or a member is missing or of the wrong type */
    VISIT_NO_VERSION,
    VISIT_TWO_VERSIONS,
    VISIT_WRONG_ITEMS, /* not asked for, twice, too few or many, out of order, a score that isn't finite */
    VISIT_FAULTS
};
extern const char *const visit_fault_names[VISIT_FAULTS];

struct visit_answer {
    uint64_t version;
    char rec_id[64], variant[64]; /* variant "": none was named */
    size_t n;                     /* items shown, from the top */
    size_t item[SHOP_PAGE];
    double score[SHOP_PAGE];
};

/* "hour,device" or "none": bits of enum visit_context. ST_USAGE names what is allowed. */
MUST_CHECK enum status visit_context_parse(const char *list, unsigned *out, struct errbuf *err);

/* Each appends a JSON text to out. looks: somebody sees the answer; else the node is told that it is no exposure. */
void visit_ask(const struct shop_people *p, const struct visit_form *f, const struct shop_visit *v,
               bool looks, struct buffer *out);
void visit_user(const struct shop_people *p, size_t user, struct buffer *out);
void visit_item(const struct shop_people *p, size_t item, struct buffer *out);
/* What the person did with the answer; wall_us dates it. Event ids are made of the answer's own id, so that they are
 * the same whenever this is said again, and no other run's. Returns the number of events; 0: out is unchanged. */
size_t visit_report(const struct shop_people *p, const struct visit_form *f,
                    const struct shop_visit *v, const struct visit_answer *a, uint64_t wall_us,
                    struct buffer *out);

/* Judge an answer. why says what was expected when it isn't VISIT_SOUND; out is then undefined. */
enum visit_fault visit_read(const struct shop_people *p, const struct visit_form *f,
                            const struct shop_visit *v, const char *text, size_t n,
                            struct visit_answer *out, struct errbuf *why);
/* Whether the two are one ranking: place by place the same scores, but for what the company in a batch does to their last
 * bits (and so to the order of items that are as good as equal). */
#define VISIT_GRAIN 1e-5 /* of max(1, |score|) */
bool visit_same(const struct visit_answer *a, const struct visit_answer *b);
/* {"accepted": n, "duplicates": n}: both; false: something else. */
bool visit_events_read(const char *text, size_t n, uint64_t *out_accepted,
                       uint64_t *out_duplicates);
/* The "error" of an answer, or its beginning, as one line. */
void visit_error_text(const char *text, size_t n, struct errbuf *out);

#endif
