/* convert.h - the first pass: text logs -> clean, normalized, columnar, checksummed caches.
 *
 * Layout and byte tables: common/data/README.md. A cache is used again only if the files (path, size,
 * mtime, inode) and the schema are unchanged. Written to temporary names, fsynced, renamed: a cache is
 * whole or absent. Bad lines go to <cache_dir>/quarantine.tsv (file, line, reason) and are counted; above
 * data.bad_max the run stops with ST_BAD_DATA and the first reasons.
 */
#ifndef PENSTOCK_COMMON_DATA_CONVERT_H
#define PENSTOCK_COMMON_DATA_CONVERT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/errbuf.h"
#include "common/base/job.h"
#include "common/base/progress.h"
#include "common/data/catalog.h"
#include "common/data/dataset.h"

struct convert_result {
    uint64_t lines[PARTS]; /* read, without headers */
    uint64_t bad[PARTS];   /* quarantined */
    uint64_t rows[PARTS];  /* in the cache: lines - bad */
    uint64_t positives[PARTS];
    uint64_t bytes;                 /* of the caches */
    uint64_t joined;                /* ids looked up in side files, when not reused */
    uint64_t not_joined;            /* of them not found */
    struct catalog_counts sequence; /* data.records=sequences; lines are counted under their list */
    uint64_t items;                 /* of the catalog */
    bool reused;                    /* all was there already */
    uint64_t encoder_hash; /* of the fitted state: what a snapshot's model was trained with */
};

/* stop: polled; non-zero ends the work with ST_REFUSED ("interrupted") and nothing half-written. */
MUST_CHECK enum status convert_job(const struct job *job, const char *cache_dir,
                                   struct progress *progress, const volatile int *stop,
                                   struct convert_result *out, struct errbuf *err);

/* Other files of the same schema (eval --data), encoded as the saved encoder says and not fitted to; they
 * become the test part of cache_dir, which must be another folder than the job's. */
MUST_CHECK enum status convert_files(const struct job *job, const char *encoder_path,
                                     const struct texts *files, const char *cache_dir,
                                     struct progress *progress, const volatile int *stop,
                                     struct convert_result *out, struct errbuf *err);

#endif
