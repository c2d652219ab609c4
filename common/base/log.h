/* log.h - one line a message, to DIR/log/<role>-<n>.log or stderr.
 *
 * Line: "2026-01-31T12:00:00.123Z INFO ps-0: text". Thread-safe (one write(2) a line). Before log_open
 * lines go to stderr. Warnings and errors go to stderr too when `echo` was asked for.
 */
#ifndef PENSTOCK_COMMON_BASE_LOG_H
#define PENSTOCK_COMMON_BASE_LOG_H

#include <stdbool.h>

#include "common/base/errbuf.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* who: "ps-0", "worker-3", ...; path: NULL = stderr. The file is appended to. */
MUST_CHECK enum status log_open(const char *who, const char *path, bool echo, struct errbuf *err);
void log_close(void);
void log_set_level(enum log_level least);
void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)

#endif
