/* status.c - names of the status codes, and what a program exits with.
 *
 * Names are for logs and tests: short, lower case, one word or two. A number that is no status (a
 * damaged byte, a code of a newer build) gets a name as well, so that a log line is never empty.
 *
 * The exit codes are a promise to scripts: 0 done, 2 the call or the job file is wrong, 3 the data or a
 * snapshot is wrong, 1 anything else. Nothing else may decide them.
 */
#include "common/base/status.h"

const char *status_name(enum status st)
{
    switch (st) {
    case ST_OK: return "ok";
    case ST_USAGE: return "usage";
    case ST_BAD_DATA: return "bad data";
    case ST_NOT_FOUND: return "not found";
    case ST_REFUSED: return "refused";
    case ST_AGAIN: return "again";
    case ST_END: return "end";
    case ST_TIMEOUT: return "timeout";
    case ST_BAD_PEER: return "bad peer";
    case ST_FOREIGN: return "foreign";
    case ST_FAULT: return "fault";
    case ST_IO: return "i/o";
    case ST_NO_MEMORY: return "no memory";
    case ST_FENCED: return "fenced";
    case ST_INTERNAL: return "internal";
    }
    return "unknown status";
}

int status_exit_code(enum status st)
{
    switch (st) {
    case ST_OK: return 0;
    case ST_USAGE: return 2;
    case ST_BAD_DATA: return 3;
    default: return 1;
    }
}
