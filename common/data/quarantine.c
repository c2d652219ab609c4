/* quarantine.c - see quarantine.h. */
#include "common/data/quarantine.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/mem.h"

void quarantine_init(struct quarantine *q, const char *cache_dir, double bad_max)
{
    struct buffer tmp = BUFFER_INIT;
    memset(q, 0, sizeof *q);
    q->path = file_join(cache_dir, "quarantine.tsv");
    buffer_printf(&tmp, "%s.tmp.%ld", q->path, (long)getpid());
    q->tmp = mem_strdup(buffer_text(&tmp));
    q->bad_max = bad_max;
    buffer_release(&tmp);
}

void quarantine_release(struct quarantine *q)
{
    if (q->file != NULL) {
        fclose(q->file);
        unlink(q->tmp);
    }
    free(q->path);
    free(q->tmp);
    memset(q, 0, sizeof *q);
}

static void put_path(FILE *out, const char *path)
{
    for (; *path != 0; path++)
        putc(*path == '\t' || *path == '\n' || *path == '\r' ? ' ' : *path, out);
}

enum status quarantine_add(struct quarantine *q, const char *path, uint64_t line,
                           const char *reason, struct errbuf *err)
{
    if (q->file == NULL) {
        q->file = fopen(q->tmp, "we");
        if (q->file == NULL)
            return errbuf_errno(err, ST_IO, "%s", q->tmp);
        fputs("file\tline\treason\n", q->file);
    }
    put_path(q->file, path);
    fprintf(q->file, "\t%llu\t%s\n", (unsigned long long)line, reason);
    if (ferror(q->file))
        return errbuf_errno(err, ST_IO, "%s", q->tmp);
    if (q->used < QUARANTINE_SHOWN) {
        /* The end of a long path says more than its beginning, and the reason must be seen. */
        size_t n = strlen(path), most = 120;
        snprintf(q->first[q->used], sizeof q->first[0], "%s%s:%llu: %.100s", n > most ? "..." : "",
                 path + (n > most ? n - most : 0), (unsigned long long)line, reason);
    }
    q->used++;
    return ST_OK;
}

enum status quarantine_judge(const struct quarantine *q, uint64_t lines, int at_end,
                             struct errbuf *err)
{
    double allowed = q->bad_max * (double)lines;
    if (!at_end && (lines < QUARANTINE_EARLY_LINES || q->bad_max == 0))
        allowed = q->bad_max == 0 ? 0 : (double)lines;
    else if (!at_end)
        allowed *= QUARANTINE_EARLY_FACTOR;
    if ((double)q->used <= allowed)
        return ST_OK;
    return errbuf_set(
        err, ST_BAD_DATA,
        "%llu of %llu lines are bad, more than data.bad_max: %g allows (all in %s): %s%s%s%s%s",
        (unsigned long long)q->used, (unsigned long long)lines, q->bad_max, q->path, q->first[0],
        q->used > 1 ? "; " : "", q->first[1], q->used > 2 ? "; " : "", q->first[2]);
}

enum status quarantine_commit(struct quarantine *q, struct errbuf *err)
{
    if (q->file == NULL) {
        unlink(q->path); /* of an earlier conversion */
        return ST_OK;
    }
    int failed = ferror(q->file) | (fflush(q->file) != 0) | (fsync(fileno(q->file)) != 0);
    failed |= fclose(q->file) != 0;
    q->file = NULL;
    if (failed || rename(q->tmp, q->path) != 0) {
        enum status st = errbuf_errno(err, ST_IO, "%s", q->path);
        unlink(q->tmp);
        return st;
    }
    return ST_OK;
}
