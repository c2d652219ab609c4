/* utf8.h - where UTF-8 sequences end; texts from outside are checked with it, never assumed. */
#ifndef PENSTOCK_COMMON_BASE_UTF8_H
#define PENSTOCK_COMMON_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the sequence at s (1 to 4), 0 if there is none. s is terminated. *out: its code point, or NULL. */
size_t utf8_next(const char *s, uint32_t *out);
bool utf8_valid(const char *s);

#endif
