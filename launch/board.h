/* board.h - DIR/tensorboard: what the head reports, as scalars that TensorBoard draws.
 *
 * By step (pushes): step/loss, auc, samples_per_second, staleness_mean, staleness_p99, rate_embedding, rate_dense.
 * By epoch (1, 2, ...): epoch/train_loss, train_auc, valid_auc, valid_logloss, valid_accuracy, rate_embedding,
 * rate_dense. A run that goes on writes a new file, whose start voids what the old one has behind the cut.
 */
#ifndef PENSTOCK_LAUNCH_BOARD_H
#define PENSTOCK_LAUNCH_BOARD_H

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/base/json.h"

struct board; /* opaque */

MUST_CHECK enum status board_open(const char *dir, const struct job *job, struct board **out,
                                  struct errbuf *err);
/* One report of the head; samples a second as the front measured it. What can't be written (a full disk) is said
 * once and ends the board, never the run. */
void board_report(struct board *b, const struct json *report, double samples_per_second);
void board_close(struct board *b); /* NULL-safe */

#endif
