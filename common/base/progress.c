/* progress.c - how long work shows itself.
 *
 * On a terminal one line lives: it is redrawn in place, at most ten times a second, never wider than the
 * window (a wrapped line can't be redrawn). Elsewhere (a file, a pipe, a CI log) a carriage return is
 * litter, so plain lines are printed, seldom. Callers don't care which: they call progress_show as often
 * as they like, with the time they have anyway.
 */
#include "common/base/progress.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/options.h"

enum { TERMINAL_EVERY_US = 100000, PLAIN_EVERY_US = 10000000, WIDTH_MAX = 512 };

void progress_init(struct progress *p, FILE *out)
{
    memset(p, 0, sizeof *p);
    p->out = out == NULL ? stderr : out;
    const char *term = option_env("TERM");
    p->terminal = isatty(fileno(p->out)) == 1 && (term == NULL || strcmp(term, "dumb") != 0);
    p->plain_every_us = PLAIN_EVERY_US;
}

static int window_width(const struct progress *p)
{
    struct winsize w;
    if (ioctl(fileno(p->out), TIOCGWINSZ, &w) != 0 || w.ws_col < 2)
        return 80;
    return w.ws_col < WIDTH_MAX ? w.ws_col : WIDTH_MAX;
}

static void draw(struct progress *p, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));

static void draw(struct progress *p, const char *fmt, va_list args)
{
    char line[WIDTH_MAX];
    int n = vsnprintf(line, sizeof line, fmt, args);
    if (n < 0)
        return;
    if (!p->terminal) {
        fprintf(p->out, "%s\n", line);
        fflush(p->out);
        return;
    }
    int room = window_width(p) - 1;
    int width = n < room ? n : room;
    int blanks = p->last_width > width ? p->last_width - width : 0;
    if (width + blanks > room)
        blanks = room - width;
    fprintf(p->out, "\r%.*s%*s", width, line, blanks, "");
    fflush(p->out);
    p->last_width = width;
}

void progress_show(struct progress *p, uint64_t now_us, const char *fmt, ...)
{
    uint64_t every = p->terminal ? TERMINAL_EVERY_US : p->plain_every_us;
    if (p->last_us != 0 && now_us - p->last_us < every)
        return;
    p->last_us = now_us == 0 ? 1 : now_us;
    va_list args;
    va_start(args, fmt);
    draw(p, fmt, args);
    va_end(args);
}

void progress_done(struct progress *p, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    draw(p, fmt, args);
    va_end(args);
    if (p->terminal)
        fputc('\n', p->out);
    fflush(p->out);
    p->last_width = 0;
    p->last_us = 0;
}

void progress_bar(char *dst, int width, double part)
{
    if (!(part > 0)) /* NaN too */
        part = 0;
    if (part > 1)
        part = 1;
    int full = (int)(part * width);
    dst[0] = '[';
    for (int i = 0; i < width; i++)
        dst[1 + i] = i < full ? '=' : '.';
    if (full < width && part > 0)
        dst[1 + full] = '>';
    dst[1 + width] = ']';
    dst[2 + width] = '\0';
}

void progress_count(char dst[16], double v)
{
    static const char *const unit[] = {"", "k", "M", "G", "T", "P"};
    if (!isfinite(v)) {
        snprintf(dst, 16, "?");
        return;
    }
    size_t u = 0;
    double a = fabs(v);
    while (a >= 999.5 && u + 1 < sizeof unit / sizeof unit[0]) {
        a /= 1000;
        u++;
    }
    if (a >= 999.5) {
        snprintf(dst, 16, "%s>999P", v < 0 ? "-" : "");
        return;
    }
    int digits = u == 0 && a == floor(a) ? 0 : a < 9.995 ? 2 : a < 99.95 ? 1 : 0;
    snprintf(dst, 16, "%s%.*f%s", v < 0 ? "-" : "", digits, a, unit[u]);
}

void progress_time(char dst[16], double seconds)
{
    if (!(seconds >= 0) || seconds > 3.6e8) {
        snprintf(dst, 16, "?");
        return;
    }
    unsigned s = (unsigned)(seconds + 0.5);
    if (s < 60)
        snprintf(dst, 16, "%us", s);
    else if (s < 3600)
        snprintf(dst, 16, "%um%02us", s / 60, s % 60);
    else
        snprintf(dst, 16, "%uh%02um", s / 3600, s / 60 % 60);
}
