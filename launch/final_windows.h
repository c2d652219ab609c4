/* final_windows.h - the result of a run by window (train.window): in report.json and on the terminal. */
#ifndef PENSTOCK_LAUNCH_FINAL_WINDOWS_H
#define PENSTOCK_LAUNCH_FINAL_WINDOWS_H

#include "launch/final.h"

/* "windows": a line each that is done, with its baselines; "windows_mean": means over those that were judged, each
 * weighted by its records. A mean of AUCs is not the AUC of all records: scores of different days are not held against
 * each other. */
void final_put_windows(const struct final *f, struct json *out);
void final_print_windows(const struct final *f);

#endif
