/* log.c - one line a message, one write(2) a line.
 *
 * A line is made on the stack and written whole to a descriptor opened with O_APPEND: lines of several
 * threads, or of several processes on one stderr, never mix, and there is no lock and no buffer to lose
 * when the process is killed. Only the top of a process logs a failure (common/base/README.md).
 *
 * A message is made of other people's bytes as often as not: control characters become '?', a newline
 * becomes a blank, so that a file name can't forge a line. What does not fit is cut and ends in "...".
 *
 * Threads: log_open, log_close belong to the main thread while no other thread runs. log_at and
 * log_set_level may be called by any thread.
 */
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"

enum { LINE_MAX_BYTES = 4096 };

static struct {
    /* -- set by log_open, before threads start -- */
    int fd; /* -1: stderr */
    bool echo;
    char who[32];
    /* -- any thread -- */
    atomic_int least;
} log_state = {-1, false, "penstock", LOG_INFO};

enum status log_open(const char *who, const char *path, bool echo, struct errbuf *err)
{
    int fd = -1;
    if (path != NULL) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (fd < 0)
            return errbuf_errno(err, ST_IO, "%s: cannot open the log", path);
    }
    log_close();
    log_state.fd = fd;
    log_state.echo = echo;
    snprintf(log_state.who, sizeof log_state.who, "%s", who);
    return ST_OK;
}

void log_close(void)
{
    if (log_state.fd >= 0)
        close(log_state.fd);
    log_state.fd = -1;
    log_state.echo = false;
}

void log_set_level(enum log_level least)
{
    atomic_store_explicit(&log_state.least, (int)least, memory_order_relaxed);
}

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_DEBUG: return "DEBUG";
    case LOG_INFO: return "INFO";
    case LOG_WARN: return "WARN";
    case LOG_ERROR: return "ERROR";
    }
    return "?";
}

static size_t put_head(char *line, enum log_level level)
{
    uint64_t us = clock_wall_us();
    time_t seconds = (time_t)(us / 1000000u);
    struct tm tm;
    char date[32];
    gmtime_r(&seconds, &tm);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    int n = snprintf(line, LINE_MAX_BYTES, "%s.%03uZ %s %s: ", date, (unsigned)(us / 1000u % 1000u),
                     level_name(level), log_state.who);
    return n < 0 ? 0 : (size_t)n;
}

/* A log that can't be written (a full disk) must not stop the work it reports on. */
static void write_whole(int fd, const char *line, size_t n)
{
    while (n > 0) {
        ssize_t did = write(fd, line, n);
        if (did < 0 && errno == EINTR)
            continue;
        if (did <= 0)
            return;
        line += did;
        n -= (size_t)did;
    }
}

void log_at(enum log_level level, const char *fmt, ...)
{
    if ((int)level < atomic_load_explicit(&log_state.least, memory_order_relaxed))
        return;
    int saved = errno;
    char line[LINE_MAX_BYTES];
    size_t head = put_head(line, level);
    size_t room = sizeof line - head - 1; /* the newline */
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line + head, room, fmt, args);
    va_end(args);
    size_t text = n < 0 ? 0 : (size_t)n;
    if (text >= room) {
        text = room - 1;
        memcpy(line + head + text - 3, "...", 3);
    }
    for (size_t i = head; i < head + text; i++) {
        unsigned char c = (unsigned char)line[i];
        if (c == '\n' || c == '\t')
            line[i] = ' ';
        else if (c < 0x20 || c == 0x7f)
            line[i] = '?';
    }
    line[head + text] = '\n';
    size_t whole = head + text + 1;
    write_whole(log_state.fd >= 0 ? log_state.fd : STDERR_FILENO, line, whole);
    if (log_state.echo && log_state.fd >= 0 && level >= LOG_WARN)
        write_whole(STDERR_FILENO, line, whole);
    errno = saved;
}
