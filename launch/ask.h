/* ask.h - ask a run's head what it is doing, and tell it to stop.
 *
 * One DEALER to the address in DIR/head, re-read while there is no answer (the head writes it when it is
 * up, and again after a restart). The answer is the head's JSON (ps/train/README.md lists its fields).
 */
#ifndef PENSTOCK_LAUNCH_ASK_H
#define PENSTOCK_LAUNCH_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/json.h"

struct ask; /* opaque */

MUST_CHECK enum status ask_open(const char *dir, uint64_t job_id, struct ask **out,
                                struct errbuf *err);
void ask_close(struct ask *a);
/* Send the question (want_stop: end gracefully) and wait up to wait_us for an answer, also for one to an
 * earlier question. ST_TIMEOUT: none yet. */
MUST_CHECK enum status ask_head(struct ask *a, bool want_stop, uint64_t wait_us, struct json **out,
                                struct errbuf *err);

#endif
