/* convert.c - see convert.h. The order of work:
 *
 *   1 look   files named by the job; are the caches of exactly these files and this schema there already?
 *   2 parse  side files, then text -> rows in temporary files, one a part; those whose place is known last wait in `all`
 *   3 fit    the encoder over the train rows, where it has something to learn
 *   4 seal   encode the rows in place, checksums
 *   5 show   fsync, encoder.bin, then the caches get their names
 *
 * With data.records=sequences 2 keeps the events in memory and then makes the records; 5 shows catalog.bin, too.
 *
 * Killed before 5 nothing is visible; killed within 5 the stamps of the parts differ and the next run
 * converts again. One process at a time works in a folder (flock on <cache>/lock, which dies with its
 * holder), so whoever has the lock may remove what a killed one left.
 */
#include "common/data/convert.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/data/cache.h"
#include "common/data/cache_writer.h"
#include "common/data/deal.h"
#include "common/data/intake.h"
#include "common/data/joins.h"
#include "common/data/quarantine.h"
#include "common/data/records.h"
#include "common/data/sequence.h"
#include "common/data/sources.h"
#include "common/data/split.h"
#include "common/feature/encode.h"
#include "common/feature/fit.h"

#define LOCK_WAIT_US (600ull * 1000000) /* a conversion of another process may take minutes */
#define POLL_LINES   4096u

struct convert {
    const struct job *job; /* borrowed, and so the next three */
    const char *dir;
    struct progress *progress;
    const volatile int *stop;
    int by;     /* enum job_split */
    bool live;  /* a query without files: nobody can tell whether its rows changed */
    bool fixed; /* the encoder was given: nothing is fitted */
    int lock;
    struct sources sources;
    struct encoder *encoder;
    uint64_t schema_hash;
    struct joins joins;
    struct intake intake;
    struct quarantine quarantine;
    struct cache_writer part[PARTS];
    struct cache_writer all;  /* rows that wait for their place; sequences: one event at a time */
    struct sequence sequence; /* of data.records=sequences */
    bool sequences;
    struct deal deal; /* of rows that wait */
    uint64_t lines_all;
    uint64_t bytes_all, bytes_before; /* of the source files; of those behind us: for progress */
    uint64_t begun_us;
    struct convert_result result;
};

/* ---- lock and leftovers ------------------------------------------------------------------------- */

static bool stopped(const struct convert *c)
{
    return c->stop != NULL && *c->stop != 0;
}

static enum status interrupted(struct errbuf *err)
{
    return errbuf_set(err, ST_REFUSED, "interrupted");
}

static enum status take_lock(struct convert *c, struct errbuf *err)
{
    char *path = file_join(c->dir, "lock");
    enum status st = ST_OK;
    uint64_t until = clock_now_us() + LOCK_WAIT_US;
    c->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (c->lock < 0)
        st = errbuf_errno(err, ST_IO, "%s", path);
    while (st == ST_OK && flock(c->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            st = errbuf_errno(err, ST_IO, "%s", path);
        else if (stopped(c))
            st = interrupted(err);
        else if (clock_now_us() > until)
            st = errbuf_set(err, ST_REFUSED,
                            "%s: another process has been converting here for 10 minutes", c->dir);
        else
            clock_sleep_us(20000);
    }
    free(path);
    return st;
}

static void remove_leftovers(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        const char *tmp = strstr(e->d_name, ".tmp.");
        if (tmp == NULL || strspn(tmp + 5, "0123456789") != strlen(tmp + 5))
            continue;
        char *path = file_join(dir, e->d_name);
        unlink(path);
        free(path);
    }
    closedir(d);
}

/* ---- 1 look ------------------------------------------------------------------------------------- */

static enum status find_sources(struct convert *c, const struct texts *only, struct errbuf *err)
{
    static const char *const KEYS[PARTS] = {"data.train", "data.valid", "data.test"};
    const struct texts *list[PARTS] = {&c->job->data.train, &c->job->data.valid,
                                       &c->job->data.test};
    if (only != NULL && c->live)
        return errbuf_set(err, ST_USAGE, "data.query has no {file} to put the files of --data in");
    if (only != NULL) {
        /* Events have a history: what the job trained on comes first, and is not judged. */
        enum status st = c->sequences ? sources_add(&c->sources, list[PART_TRAIN], PART_TRAIN,
                                                    KEYS[PART_TRAIN], err)
                                      : ST_OK;
        c->sequence.judged_from = (uint32_t)c->sources.used;
        if (st == ST_OK)
            st = sources_add(&c->sources, only, PART_TEST, "--data", err);
        return st != ST_OK ? st : joins_sources(&c->joins, c->job, &c->sources, err);
    }
    if (c->live) {
        sources_add_live(&c->sources, "data.query", PART_TRAIN);
        return joins_sources(&c->joins, c->job, &c->sources, err);
    }
    if (list[PART_TRAIN]->used == 0)
        return errbuf_set(err, ST_USAGE, "data.train names no file");
    for (int p = 0; p < PARTS; p++) {
        double cut =
            c->by == JOB_SPLIT_WINDOW                                     ? 0
            : p == PART_VALID && c->by != JOB_SPLIT_LEAVE_ONE_OUT         ? c->job->data.split.valid
            : c->by == JOB_SPLIT_FOLD || c->by == JOB_SPLIT_LEAVE_ONE_OUT ? 1
                                                                          : c->job->data.split.test;
        if (p != PART_TRAIN && c->by != JOB_SPLIT_FILES && list[p]->used > 0 && cut > 0)
            return errbuf_set(err, ST_USAGE,
                              "%s names files, but data.split cuts that part out of data.train",
                              KEYS[p]);
        enum status st = sources_add(&c->sources, list[p], (uint32_t)p, KEYS[p], err);
        if (st != ST_OK)
            return st;
    }
    return joins_sources(&c->joins, c->job, &c->sources, err);
}

/* Caches of before there was a column of users lack it. */
static bool has_users(const struct convert *c, const struct cache_header *h)
{
    return cache_shape_of(&c->encoder->schema, false).flags & CACHE_USERS
               ? (h->shape.flags & CACHE_USERS) != 0
               : true;
}

/* Header and sources of a cache, if there is a sound one for this schema. */
static bool peek(const struct convert *c, enum part part, struct cache_header *h)
{
    char *path = cache_path(c->dir, part);
    struct file_map map;
    struct cache_tail tail;
    bool same = false;
    if (file_map_open(path, &map, NULL) == ST_OK) {
        if (cache_header_read(map.data, map.n, map.n, path, h, NULL) == ST_OK &&
            cache_tail_read(h, map.data + h->tail_offset, path, &tail, NULL) == ST_OK) {
            same = h->part == (uint32_t)part && h->schema_hash == c->schema_hash &&
                   sources_equal(&tail.sources, &c->sources) && has_users(c, h);
            cache_tail_release(&tail);
        }
        file_map_close(&map);
    }
    free(path);
    return same;
}

static bool encoder_is(const struct convert *c, uint64_t hash)
{
    char *path = file_join(c->dir, "encoder.bin");
    struct encoder *e = NULL;
    bool same = encoder_load(path, &e, NULL) == ST_OK && e->hash == hash;
    if (c->fixed)
        same = same && c->encoder->hash == hash;
    encoder_free(e);
    free(path);
    return same;
}

static void take_counts(struct convert *c, const struct cache_header *h)
{
    memcpy(c->result.lines, h->counts.lines, sizeof c->result.lines);
    memcpy(c->result.bad, h->counts.bad, sizeof c->result.bad);
    memcpy(c->result.rows, h->counts.rows, sizeof c->result.rows);
    memcpy(c->result.positives, h->counts.positives, sizeof c->result.positives);
    c->result.encoder_hash = h->encoder_hash;
}

/* The catalog belongs to these caches. */
static bool catalog_is(struct convert *c, uint64_t stamp)
{
    struct catalog items;
    if (!c->sequences)
        return true;
    if (catalog_load(c->dir, &items, NULL) != ST_OK)
        return false;
    bool same = items.stamp == stamp;
    c->result.sequence = items.counts;
    c->result.items = items.n;
    catalog_release(&items);
    return same;
}

static bool reusable(struct convert *c)
{
    struct cache_header h[PARTS], *first = NULL;
    bool have[PARTS];
    uint64_t bytes = 0, lines = 0, bad = 0;
    for (int p = 0; p < PARTS; p++) {
        have[p] = peek(c, (enum part)p, &h[p]);
        if (have[p] && first == NULL)
            first = &h[p];
    }
    if (first == NULL)
        return false;
    for (int p = 0; p < PARTS; p++) {
        if (have[p] != (first->counts.rows[p] > 0))
            return false;
        if (have[p] && h[p].stamp != first->stamp)
            return false;
        bytes += have[p] ? h[p].tail_offset + h[p].tail_bytes : 0;
        lines += first->counts.lines[p];
        bad += first->counts.bad[p];
    }
    /* A stricter bad_max than then: read again, to say what is bad. */
    if ((double)bad > c->job->data.bad_max * (double)lines)
        return false;
    if (!encoder_is(c, first->encoder_hash) || !catalog_is(c, first->stamp))
        return false;
    take_counts(c, first);
    c->result.bytes = bytes;
    c->result.reused = true;
    return true;
}

/* ---- 2 parse ------------------------------------------------------------------------------------ */

static void show_progress(struct convert *c, uint64_t in_bytes)
{
    char bar[40], lines[16], rate[16], bad[16], left[16];
    uint64_t now = clock_now_us();
    double done = (double)(c->bytes_before + in_bytes) / (double)(c->bytes_all ? c->bytes_all : 1);
    double seconds = (double)(now - c->begun_us) / 1e6;
    if (c->progress == NULL || seconds <= 0)
        return;
    done = done > 1 ? 1 : done;
    progress_bar(bar, 24, done);
    progress_count(lines, (double)c->lines_all);
    progress_count(rate, (double)c->lines_all / seconds);
    progress_count(bad, (double)c->quarantine.used);
    progress_time(left, done > 0 ? seconds * (1 - done) / done : 0);
    progress_show(c->progress, now, "convert %s %s lines  %s/s  bad %s  %s left", bar, lines, rate,
                  bad, left);
}

/* Enough to file a record. */
struct taken {
    const char *raw, *fault;
    size_t raw_n;
    uint64_t line, offset, in_bytes;
};

static struct cache_writer *writer_for(struct convert *c, const struct source *source,
                                       const struct records *records, const struct record *r,
                                       enum part *out_part)
{
    const struct job *job = c->job;
    size_t user_n = 0;
    *out_part = (enum part)source->list;
    if (c->sequences)
        return &c->all;
    if (*out_part == PART_TRAIN && c->by == JOB_SPLIT_FOLD) {
        const char *user = records_user(records, &user_n);
        *out_part = split_by_fold(user != NULL ? user : r->raw, user != NULL ? user_n : r->raw_n,
                                  job->data.split.folds, job->data.split.fold, job->data.split.seed,
                                  job->data.split.valid);
    } else if (*out_part == PART_TRAIN && c->by == JOB_SPLIT_RATIO) {
        *out_part = split_by_hash(r->raw, r->raw_n, job->data.split.seed, job->data.split.valid,
                                  job->data.split.test);
    }
    return deal_waits(&c->deal, *out_part) ? &c->all : &c->part[*out_part];
}

static enum status file_record(struct convert *c, size_t source, const struct taken *t,
                               struct cache_writer *w, enum part part, struct errbuf *err)
{
    enum status st;
    c->lines_all++;
    c->result.lines[part]++;
    if (t->fault != NULL) {
        cache_writer_row_undo(w);
        c->result.bad[part]++;
        st = quarantine_add(&c->quarantine, c->sources.item[source].path, t->line, t->fault, err);
        if (st == ST_OK)
            st = quarantine_judge(&c->quarantine, c->lines_all, false, err);
    } else if (c->sequences) {
        st = sequence_add(&c->sequence, w, c->intake.time, (uint32_t)source, t->offset, err);
    } else {
        st = w == &c->all ? deal_add(&c->deal, part, &c->intake, err) : ST_OK;
        const struct cache_row row = intake_row(&c->intake, (uint32_t)source, t->offset);
        if (st == ST_OK)
            st = cache_writer_row_end(w, &row, err);
    }
    if (st == ST_OK && c->lines_all % POLL_LINES == 0) {
        show_progress(c, t->in_bytes);
        if (stopped(c))
            st = interrupted(err);
    }
    return st;
}

static enum status parse_source(struct convert *c, size_t source, struct errbuf *err)
{
    const struct source *file = &c->sources.item[source];
    struct records *records;
    struct record r;
    enum status st = records_open(c->job, file->path, &c->intake, &records, err);
    if (st != ST_OK)
        return st;
    while ((st = records_next(records, &r, err)) == ST_OK) {
        enum part part;
        struct cache_writer *w = writer_for(c, file, records, &r, &part);
        struct taken t = {r.raw, NULL, r.raw_n, r.line, r.offset, records_in_bytes(records)};
        t.fault = records_take(records, w);
        if (t.fault == NULL && c->sequences)
            t.fault = sequence_fault(&c->sequence, w, c->intake.time);
        st = file_record(c, source, &t, w, part, err);
        if (st != ST_OK)
            break;
    }
    records_close(records);
    return st == ST_END ? ST_OK : st;
}

static enum status open_writers(struct convert *c, struct errbuf *err)
{
    const struct encoder *line = c->intake.encoder;
    bool timed = line->schema.time != SCHEMA_NONE;
    struct cache_shape shape = cache_shape_of(&c->encoder->schema, timed);
    struct cache_shape all = cache_shape_of(&line->schema, timed);
    enum status st = ST_OK;
    for (int p = 0; st == ST_OK && p < PARTS; p++) {
        char *path = cache_path(c->dir, (enum part)p);
        st = cache_writer_open(&c->part[p], path, &shape, c->encoder, err);
        free(path);
    }
    if (st == ST_OK && (deal_waits_any(&c->deal) || c->sequences)) {
        char *path = file_join(c->dir, "all");
        st = cache_writer_open(&c->all, path, &all, line, err);
        c->all.raw = true;
        free(path);
    }
    return st;
}

static enum status parse(struct convert *c, struct errbuf *err)
{
    enum status st = open_writers(c, err);
    if (st == ST_OK)
        st = joins_load(&c->joins, c->job, &c->intake.encoder->schema, &c->sources, &c->quarantine,
                        err);
    for (size_t i = 0; i < c->sources.used; i++)
        c->bytes_all += c->sources.item[i].bytes;
    for (size_t i = 0; st == ST_OK && i < c->sources.used; i++) {
        if (c->sources.item[i].list != SOURCE_JOIN)
            st = parse_source(c, i, err);
        c->bytes_before += c->sources.item[i].bytes;
    }
    for (int p = 0; st == ST_OK && p < PARTS; p++)
        st = cache_writer_end_rows(&c->part[p], err);
    if (st == ST_OK)
        st = quarantine_judge(&c->quarantine, c->lines_all, true, err);
    if (st == ST_OK && !c->fixed)
        st = intake_check_met(&c->intake, err);
    for (size_t i = 0; i < c->joins.used; i++) {
        c->result.joined += c->joins.item[i].asked;
        c->result.not_joined += c->joins.item[i].not_there;
    }
    /* The reasons are worth most when the run stops because of them. */
    if (st == ST_OK || st == ST_BAD_DATA) {
        enum status kept = quarantine_commit(&c->quarantine, st == ST_OK ? err : NULL);
        st = st == ST_OK ? kept : st;
    }
    return st;
}

/* The rows of `all` go to their parts. */
static enum status deal_parts(struct convert *c, struct errbuf *err)
{
    enum status st = cache_writer_end_rows(&c->all, err);
    if (st == ST_OK)
        st = deal_out(&c->deal, &c->all, c->part, c->stop, err);
    for (int p = 0; st == ST_OK && p < PARTS; p++) {
        st = cache_writer_end_rows(&c->part[p], err);
        c->result.lines[p] = c->part[p].rows_all + c->result.bad[p];
    }
    cache_writer_close(&c->all);
    return st;
}

/* ---- 3 fit, 4 seal, 5 show ---------------------------------------------------------------------- */

static enum status check_rows(const struct convert *c, struct errbuf *err)
{
    if (c->fixed ? c->part[PART_TEST].rows_all > 0 : c->part[PART_TRAIN].rows_all > 0)
        return ST_OK;
    if (c->by != JOB_SPLIT_FILES && c->lines_all > 0)
        return errbuf_set(err, ST_BAD_DATA,
                          "data.split leaves no record for training (of %llu lines in %s ...)",
                          (unsigned long long)c->lines_all, c->sources.item[0].path);
    return errbuf_set(err, ST_BAD_DATA, "no usable line in %s%s", c->sources.item[0].path,
                      c->sources.used > 1 ? " ..." : "");
}

static enum status fit_and_seal(struct convert *c, struct errbuf *err)
{
    enum status st = ST_OK;
    if (!c->encoder->fitted) {
        struct fit fit;
        fit_begin(&fit, c->encoder);
        st = c->sequences
                 ? sequence_fit(&c->sequence, &fit, err)
                 : cache_writer_fit(&c->part[PART_TRAIN],
                                    c->by == JOB_SPLIT_WINDOW ? c->job->data.split.window : 0, &fit,
                                    err);
        if (st == ST_OK)
            st = fit_end(&fit, err);
        else
            fit_release(&fit);
    }
    for (int p = 0; st == ST_OK && p < PARTS; p++) {
        st = cache_writer_seal(&c->part[p], err);
        if (st == ST_OK && stopped(c))
            st = interrupted(err);
    }
    return st;
}

/* Equal in all files of one conversion and in no other. */
static uint64_t stamp_of(const struct convert *c)
{
    struct buffer b = BUFFER_INIT;
    buffer_u64(&b, c->schema_hash);
    buffer_u64(&b, c->encoder->hash);
    buffer_put(&b, c->result.lines, sizeof c->result.lines);
    buffer_put(&b, c->result.bad, sizeof c->result.bad);
    buffer_put(&b, c->result.rows, sizeof c->result.rows);
    buffer_put(&b, c->result.positives, sizeof c->result.positives);
    sources_write(&c->sources, &b);
    uint64_t stamp = hash_bytes(b.data, b.used, 0);
    buffer_release(&b);
    return stamp;
}

static enum status finish_parts(struct convert *c, struct errbuf *err)
{
    struct cache_header h;
    enum status st = ST_OK;
    memset(&h, 0, sizeof h);
    h.schema_hash = c->schema_hash;
    h.encoder_hash = c->encoder->hash;
    h.stamp = stamp_of(c);
    memcpy(h.counts.lines, c->result.lines, sizeof h.counts.lines);
    memcpy(h.counts.bad, c->result.bad, sizeof h.counts.bad);
    memcpy(h.counts.rows, c->result.rows, sizeof h.counts.rows);
    memcpy(h.counts.positives, c->result.positives, sizeof h.counts.positives);
    for (int p = 0; st == ST_OK && p < PARTS; p++) {
        if (c->result.rows[p] == 0)
            continue;
        h.part = (uint32_t)p;
        st = cache_writer_finish(&c->part[p], &h, &c->sources, err);
        c->result.bytes += h.tail_offset + h.tail_bytes;
    }
    return st;
}

static enum status save_catalog(struct convert *c, struct errbuf *err)
{
    struct catalog items;
    enum status st = sequence_catalog(&c->sequence, c->encoder, &items, err);
    if (st != ST_OK)
        return st;
    items.stamp = stamp_of(c);
    st = catalog_save(&items, c->dir, err);
    c->result.sequence = items.counts;
    c->result.items = items.n;
    catalog_release(&items);
    return st;
}

/* train is shown last: where it stands, the others do. */
static enum status show(struct convert *c, struct errbuf *err)
{
    char *path = file_join(c->dir, "encoder.bin");
    for (int p = 0; p < PARTS; p++) {
        c->result.rows[p] = c->part[p].rows_all;
        c->result.positives[p] = c->part[p].positives;
    }
    enum status st = encoder_save(c->encoder, path, err);
    free(path);
    if (st == ST_OK && c->sequences)
        st = save_catalog(c, err);
    if (st == ST_OK)
        st = finish_parts(c, err);
    for (int p = PARTS - 1; st == ST_OK && p >= 0; p--) {
        if (c->result.rows[p] > 0)
            st = cache_writer_commit(&c->part[p], err);
        else
            unlink(c->part[p].path);
    }
    if (st == ST_OK)
        st = file_sync_dir(c->dir, err);
    c->result.encoder_hash = c->encoder->hash;
    return st;
}

/* ---- all of it ---------------------------------------------------------------------------------- */

static enum status work(struct convert *c, const struct texts *only, struct errbuf *err)
{
    enum status st = c->sequences ? sequence_init(&c->sequence, c->job, c->fixed, err) : ST_OK;
    if (st == ST_OK)
        st = find_sources(c, only, err);
    if (st == ST_OK && !c->fixed)
        st = encoder_new(c->job, &c->encoder, err);
    if (st == ST_OK && c->fixed && !c->sequences)
        st = schema_derive(&c->encoder->schema, c->job, err);
    if (st != ST_OK)
        return st;
    c->schema_hash = schema_hash(&c->encoder->schema, c->job);
    const struct encoder *line = c->sequences ? c->sequence.line : c->encoder;
    deal_init(&c->deal, c->job, c->by, c->encoder);
    if (c->deal.late && line->schema.time == SCHEMA_NONE)
        return errbuf_set(err, ST_USAGE, "data.split.by: %s needs a field of type time",
                          c->by == JOB_SPLIT_TIME ? "time" : "window");
    if (c->by == JOB_SPLIT_LEAVE_ONE_OUT && !c->sequences)
        return errbuf_set(err, ST_USAGE,
                          "data.split.by: leave_one_out needs data.records=sequences");
    if (c->by == JOB_SPLIT_FOLD && c->encoder->schema.user == SCHEMA_NONE)
        return errbuf_set(err, ST_USAGE, "data.split.by: fold needs a field of type user");
    st = file_mkdirs(c->dir, err);
    if (st == ST_OK)
        st = take_lock(c, err);
    if (st != ST_OK)
        return st;
    remove_leftovers(c->dir);
    if (reusable(c))
        return ST_OK;
    intake_init(&c->intake, line, &c->joins, c->deal.late && !c->sequences);
    quarantine_init(&c->quarantine, c->dir, c->job->data.bad_max);
    c->begun_us = clock_now_us();
    st = parse(c, err);
    if (st == ST_OK && deal_waits_any(&c->deal) && !c->sequences)
        st = deal_parts(c, err);
    if (st == ST_OK && c->sequences)
        st = sequence_deal(&c->sequence, c->part, c->stop, err);
    if (st == ST_OK)
        st = check_rows(c, err);
    if (st == ST_OK)
        st = fit_and_seal(c, err);
    if (st == ST_OK)
        st = show(c, err);
    return st;
}

static enum status run(struct convert *c, const struct texts *only, struct convert_result *out,
                       struct errbuf *err)
{
    c->lock = -1;
    c->sequences = c->job->data.records == JOB_SEQUENCES;
    c->live = c->job->data.format == JOB_QUERY && strstr(c->job->data.query, "{file}") == NULL;
    enum status st = work(c, only, err);
    for (int p = 0; p < PARTS; p++)
        cache_writer_close(&c->part[p]);
    cache_writer_close(&c->all);
    if (c->lock >= 0)
        close(c->lock);
    if (c->quarantine.path != NULL)
        quarantine_release(&c->quarantine);
    intake_release(&c->intake);
    sequence_release(&c->sequence);
    deal_release(&c->deal);
    joins_release(&c->joins);
    encoder_free(c->encoder);
    sources_release(&c->sources);
    if (st == ST_OK)
        *out = c->result;
    return st;
}

enum status convert_job(const struct job *job, const char *cache_dir, struct progress *progress,
                        const volatile int *stop, struct convert_result *out, struct errbuf *err)
{
    struct convert c = {
        .job = job, .dir = cache_dir, .progress = progress, .stop = stop, .by = job->data.split.by};
    return run(&c, NULL, out, err);
}

enum status convert_files(const struct job *job, const char *encoder_path,
                          const struct texts *files, const char *cache_dir,
                          struct progress *progress, const volatile int *stop,
                          struct convert_result *out, struct errbuf *err)
{
    struct convert c = {.job = job,
                        .dir = cache_dir,
                        .progress = progress,
                        .stop = stop,
                        .by = JOB_SPLIT_FILES,
                        .fixed = true};
    enum status st = encoder_load(encoder_path, &c.encoder, err);
    if (st != ST_OK)
        return st;
    return run(&c, files, out, err);
}
