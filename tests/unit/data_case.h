/* data_case.h - for the data tests: a folder of their own, logs written into it, jobs over them.
 *
 * Real logs are not ours to ship: case_real finds one under $PENSTOCK_DATA, or else under
 * ../shared/data seen from the project's root (tests run there).
 */
#ifndef TESTS_UNIT_DATA_CASE_H
#define TESTS_UNIT_DATA_CASE_H

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/errbuf.h"
#include "common/base/file.h"
#include "common/base/job.h"

static struct errbuf err;

static inline const char *case_dir(void)
{
    static char dir[512];
    if (dir[0] == 0) {
        const char *tmp = getenv("TEST_TMP");
        snprintf(dir, sizeof dir, "%s/data.XXXXXX", tmp != NULL ? tmp : "/tmp");
        assert_non_null(mkdtemp(dir));
    }
    return dir;
}

/* <dir>/name; lives until the eighth call after it. */
static inline const char *case_path(const char *name)
{
    static char path[8][1024];
    static unsigned at;
    char *p = path[at++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", case_dir(), name);
    return p;
}

static inline const char *case_write(const char *name, const void *bytes, size_t n)
{
    const char *path = case_path(name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return path;
}

static inline const char *case_text(const char *name, const char *text)
{
    return case_write(name, text, strlen(text));
}

/* data: the lines below "data:", each indented by two blanks. */
static inline void case_job(struct job *job, const char *data)
{
    char text[8192];
    int n = snprintf(text, sizeof text, "data:\n%smodel: {family: lr}\n", data);
    enum status st = job_parse(text, (size_t)n, "job.yaml", case_dir(), NULL, 0, job, &err);
    if (st != ST_OK)
        print_error("%s\n", err.text);
    assert_int_equal(st, ST_OK);
}

static inline int case_cleanup(void **state)
{
    char command[600];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", case_dir());
    return system(command) == 0 ? 0 : 1;
}

/* Absolute, for a job's relative paths count from the job's folder. False, and said: not at hand. */
static inline bool case_real(const char *name, char path[PATH_MAX])
{
    char at[1024];
    const char *root = getenv("PENSTOCK_DATA");
    snprintf(at, sizeof at, "%s/%s", root != NULL ? root : "../shared/data", name);
    if (access(at, R_OK) == 0 && realpath(at, path) != NULL)
        return true;
    print_message("%s is not at hand (PENSTOCK_DATA or ../shared/data)\n", name);
    return false;
}

#endif
