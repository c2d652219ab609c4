/* head_step.h - the head: a pure state machine (ps/train/README.md, "The head"). Holds no parameters.
 *
 * Membership, the incarnation, leases of log splits, the recipe, evaluations and cuts. The end of an
 * epoch: all leases done and every worker idle -> evaluation on the live, quiet parameters -> the recipe
 * decides -> HOLD, TAKE, commit, with the decision inside the manifest -> leases of the next epoch.
 *
 *   HEAD_FENCED    answer to HEAD_FENCE: incarnation e is ours; base is the newest complete cut or none
 *   HEAD_MSG       decoded message; consumed
 *   HEAD_TICK      at least every beat: ORDER to all, deadlines
 *   HEAD_COMMITTED answer to HEAD_COMMIT
 *   HEAD_STOP      end gracefully: cut, then STOP
 *   HEAD_SEGMENT   data.follow: the segment that head_view asks for is there
 */
#ifndef PENSTOCK_PS_TRAIN_HEAD_STEP_H
#define PENSTOCK_PS_TRAIN_HEAD_STEP_H

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/data/windows.h"
#include "common/wire/msg.h"
#include "ps/snapshot/manifest.h"
#include "ps/train/recipe.h"

struct head_conf {
    uint64_t job, boot;
    const struct job *conf;  /* borrowed: epochs, batch, seed, plateau, deadlines, cut_every ... */
    const struct plan *plan; /* borrowed: table names for the manifest */
    uint32_t shards, workers;
    uint64_t records; /* of the train part */
    bool has_valid;
    const struct windows *windows; /* train.window: an epoch each; borrowed; else NULL */
    uint64_t config_hash, plan_hash, encoder_hash;
};

enum head_event_kind { HEAD_FENCED, HEAD_MSG, HEAD_TICK, HEAD_COMMITTED, HEAD_STOP, HEAD_SEGMENT };

struct head_event {
    enum head_event_kind kind;
    uint64_t now_us, wall_us;
    uint64_t from; /* HEAD_MSG: route of the sender */
    struct msg *msg;
    uint64_t e;                  /* HEAD_FENCED: the incarnation; HEAD_FENCE's answer */
    const struct manifest *base; /* HEAD_FENCED: NULL = fresh start; copied */
    uint64_t highest_seen;       /* HEAD_FENCED: of cut numbers ever used */
    enum status status;          /* HEAD_FENCED, HEAD_COMMITTED */
    const char *text;
    uint64_t segment, records; /* HEAD_SEGMENT: its number, from 1; records > 0 */
    uint64_t seen_us;          /* HEAD_SEGMENT: wall time at which its first line was seen */
};

enum head_action_kind {
    HEAD_SEND,   /* msg to route `to`; the shell frees it */
    HEAD_FENCE,  /* make the next incarnation, read cuts/; then HEAD_FENCED */
    HEAD_COMMIT, /* commit this manifest (borrowed until HEAD_COMMITTED), then HEAD_COMMITTED */
    HEAD_NOTE,   /* text: for the operator's log */
    HEAD_EXIT    /* code, text: 0 done, else why; send what was given before */
};

struct head_action {
    enum head_action_kind kind;
    uint64_t to;
    struct msg *msg;
    const struct manifest *manifest;
    int code;
    const char *text;
};

struct head; /* opaque */

struct head *head_new(const struct head_conf *conf);
void head_free(struct head *h);
void head_step(struct head *h, const struct head_event *ev, const struct head_action **out,
               size_t *out_n);
struct head_view {
    uint64_t e, n, open, complete, resolved;
    uint64_t epoch; /* under way, from 0 */
    enum mode mode; /* of the last ORDER; 0 while it gathers its peers */
    bool writing;   /* a taken cut is being written */
    bool ended;
    uint64_t segment; /* wanted: HEAD_SEGMENT may bring it; 0: none */
    int code;
};
void head_view(const struct head *h, struct head_view *out);
/* What people see (progress line, status, report): JSON, owned by the caller. */
char *head_report(const struct head *h, uint64_t now_us);
void head_check(const struct head *h);

#endif
