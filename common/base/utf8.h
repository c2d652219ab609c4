/* utf8.h - where UTF-8 sequences end; texts from outside are checked with it, never assumed. */
#ifndef PENSTOCK_COMMON_BASE_UTF8_H
#define PENSTOCK_COMMON_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the sequence at s (1 to 4), 0 if there is none. s is terminated. *out: its code point, or NULL. */
size_t utf8_next(const char *s, uint32_t *out);
bool utf8_valid(const char *s);
/* Make a text fit for a log or a terminal: control characters, but keep (or 0), and bytes that are no UTF-8 become
 * '?'. The length stays. */
void utf8_tame(char *s, char keep);

#endif
