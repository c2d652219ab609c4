/* progress.h - how long work shows itself: one living line on a terminal, plain lines elsewhere.
 *
 * On a terminal the line is redrawn in place at most 10 times a second; elsewhere a line is printed at
 * most every `plain_every_us` and at the end. Written to stderr unless another stream is given.
 */
#ifndef PENSTOCK_COMMON_BASE_PROGRESS_H
#define PENSTOCK_COMMON_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct progress {
    FILE *out; /* borrowed */
    bool terminal;
    uint64_t plain_every_us;
    uint64_t last_us;
    int last_width;
};

void progress_init(struct progress *p, FILE *out);
/* Show a line now if it is time for one. */
void progress_show(struct progress *p, uint64_t now_us, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Show the line for good, with a newline. */
void progress_done(struct progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "[=====>....]" of `width` inner columns into dst (at least width + 3 bytes). */
void progress_bar(char *dst, int width, double part);
/* "25.0k", "1.35M": at most 7 characters. "12s", "3m05s", "2h10m". */
void progress_count(char dst[16], double v);
void progress_time(char dst[16], double seconds);

#endif
