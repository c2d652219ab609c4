/* cmd_data.h - `penstock data inspect | convert | synth shop`. Exit codes: 0, 2 usage, 3 data, 1 else. */
#ifndef PENSTOCK_LAUNCH_CMD_DATA_H
#define PENSTOCK_LAUNCH_CMD_DATA_H

#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/data/shop.h"

int cmd_data(int argc, char **argv);

/* The shop's files in dir, and truth.json: what AUC and logloss the true probabilities reach on each
 * part. Shows no line of its own; the summary goes to out_text (owned by the caller) if not NULL. */
MUST_CHECK enum status data_synth_shop(const struct shop_config *config, const char *dir,
                                       const volatile int *stop, char **out_text,
                                       struct errbuf *err);

#endif
