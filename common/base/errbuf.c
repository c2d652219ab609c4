/* errbuf.c - the sentence that says why something failed.
 *
 * A fixed text in the caller's frame: reporting an error never allocates, so it works when memory is what
 * failed. Cutting is visible ("..."), because half a path that looks whole sends people to the wrong file.
 * Reasons quote foreign bytes (a column's name, a cell): none of them may move the cursor of a terminal.
 * A wrap keeps the prefix and cuts the tail: the place is worth more than the end of the reason.
 */
#include "common/base/errbuf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/utf8.h"

enum { TEXT_MAX = sizeof(((struct errbuf *)0)->text) };

/* printf at `used`, mark what was cut, and return the new length. */
static size_t put(struct errbuf *err, size_t used, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));

static size_t put(struct errbuf *err, size_t used, const char *fmt, va_list args)
{
    int n = vsnprintf(err->text + used, TEXT_MAX - used, fmt, args);
    if (n < 0) {
        err->text[used] = '\0';
        return used;
    }
    if ((size_t)n >= TEXT_MAX - used) {
        memcpy(err->text + TEXT_MAX - 4, "...", 4);
        return TEXT_MAX - 1;
    }
    return used + (size_t)n;
}

static size_t add(struct errbuf *err, size_t used, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static size_t add(struct errbuf *err, size_t used, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    used = put(err, used, fmt, args);
    va_end(args);
    return used;
}

static void keep(struct errbuf *err, struct errbuf *made)
{
    utf8_tame(made->text, '\n');
    memcpy(err->text, made->text, TEXT_MAX);
}

/* The arguments may point into err->text itself (a text made longer), so the old text is not touched
 * before the new one stands. */
enum status errbuf_set(struct errbuf *err, enum status st, const char *fmt, ...)
{
    if (err == NULL)
        return st;
    struct errbuf made;
    va_list args;
    va_start(args, fmt);
    put(&made, 0, fmt, args);
    va_end(args);
    keep(err, &made);
    return st;
}

enum status errbuf_wrap(struct errbuf *err, enum status st, const char *fmt, ...)
{
    if (err == NULL)
        return st;
    struct errbuf made;
    va_list args;
    va_start(args, fmt);
    size_t used = put(&made, 0, fmt, args);
    va_end(args);
    add(&made, used, "%s", err->text);
    keep(err, &made);
    return st;
}

enum status errbuf_errno(struct errbuf *err, enum status st, const char *fmt, ...)
{
    int code = errno;
    if (err == NULL)
        return st;
    struct errbuf made;
    char why[128];
    va_list args;
    va_start(args, fmt);
    size_t used = put(&made, 0, fmt, args);
    va_end(args);
    add(&made, used, ": %s", strerror_r(code, why, sizeof why));
    keep(err, &made);
    errno = code;
    return st;
}
