/* final.h - how a run ended: the table on the terminal and DIR/report.json. */
#ifndef PENSTOCK_LAUNCH_FINAL_H
#define PENSTOCK_LAUNCH_FINAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/base/json.h"
#include "common/data/baselines.h"
#include "common/data/convert.h"
#include "launch/prepare.h"
#include "launch/run.h"

struct final {
    const struct job *job; /* borrowed, all of these */
    const struct prepare *dir;
    const struct convert_result *data;
    const struct run *run;
    const struct json *head; /* the head's last report */
    uint64_t started_us;     /* clock_now_us at the beginning */
    double convert_seconds, train_seconds, evaluate_seconds;
    struct json *eval
        [PARTS]; /* penstock-worker --eval's results, with their baselines; owned; NULL = no such part */
    struct baselines *windows; /* train.window: baselines of each; owned */
    size_t windows_used;
    struct json *ease; /* penstock-worker --baseline's result on test, else valid; owned */
    bool elsewhere;    /* processes of other hosts: their memory isn't known here */
    bool interrupted;
};

/* Judge the cut that the recipe restores on valid and test, and beside it the baselines: popularity; of next-item
 * models EASE, too, on the last of the two. */
MUST_CHECK enum status final_judge(struct final *f, struct errbuf *err);
enum final_print { FINAL_TABLE, FINAL_JSON, FINAL_QUIET };

/* Write DIR/report.json, and print the table, the report, or nothing. */
MUST_CHECK enum status final_report(const struct final *f, enum final_print print,
                                    struct errbuf *err);
void final_release(struct final *f);

#endif
