/* number.h - the text of one cell as a number or a time: bounded, exact, without locale.
 *
 * A cell is bytes and a length, not a C string. Decimal only: no hex, no "nan", no "inf", no trailing
 * junk. The quick path is taken where it is exact (at most 19 digits that fit 2^53 and a power of ten up to
 * 22: both are doubles, so one rounding remains); everything else goes to strtod, so that the result is
 * always the nearest double.
 */
#ifndef PENSTOCK_COMMON_FEATURE_NUMBER_H
#define PENSTOCK_COMMON_FEATURE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NUMBER_MAX      1e30 /* a float cell or label beyond this is a bad line */
#define NUMBER_TEXT_MAX 400u /* longer numbers are refused */
#define TIME_MISSING    INT64_MIN

/* NULL when cell is a number of magnitude <= NUMBER_MAX; else what is wrong with it, for people. */
const char *number_parse(const char *cell, size_t n, double *out);
/* Digits only, 0 .. 2^64-1. */
bool number_parse_u64(const char *cell, size_t n, uint64_t *out);
/* Microseconds since 1970, UTC. A plain number is seconds; from 1e11 on milliseconds, from 1e14 on
 * microseconds, from 1e17 on nanoseconds (1e11 seconds is the year 5138). Else
 * YYYY-MM-DD[ |T][HH:MM[:SS[.fraction]]][Z|+HH:MM|-HH:MM]. NULL or what is wrong. */
const char *number_parse_time(const char *cell, size_t n, int64_t *out_us);

#endif
