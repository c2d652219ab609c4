/* manifest.c - cuts/<k>.json as text: writing, and reading what may be damaged.
 *
 * The text is JSON whose first field is its own checksum:
 *
 *     {
 *      "xxh3": "5f0c3d8a9b7e6142",      16 lower-case hex digits: xxh3-64, seed 0, of the whole text
 *      "format": "penstock-cut-1",      (the newline at the end included) with these digits as zeros
 *      ...
 *
 * The checksum is compared before the JSON is parsed, so damage is named as damage and not as whatever
 * field it happened to hit. What passes is still checked field by field: a manifest decides which files
 * are opened and how much memory is asked for, and a checksum is no signature.
 *
 * Long lists of small numbers are texts, so that people can read a manifest: the bucket map is run-length,
 * "0*1024 1*1024 2*2048" (shard*buckets, "*1" left out), the positions are "split:upto split:upto".
 * All fields: README.md.
 */
#include "ps/snapshot/manifest.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "ps/snapshot/names.h"

#define FORMAT      "penstock-cut-1"
#define SUM_DIGITS  16u
#define SHARDS_MOST 4096u
#define FILES_MAX   ((size_t)1 << 18)
#define SPLITS_MAX  ((size_t)1 << 22)

static const char sum_field[] = "{\n \"xxh3\": \"";
static const char sum_zeros[] = "0000000000000000";

void manifest_init(struct manifest *m)
{
    memset(m, 0, sizeof *m);
}

void manifest_release(struct manifest *m)
{
    free(m->files);
    free(m->splits);
    free(m->recipe);
    memset(m, 0, sizeof *m);
}

/* -- writing -- */

static void set_map(struct json *j, const struct manifest *m)
{
    struct buffer text = BUFFER_INIT;
    for (uint32_t b = 0; b < BUCKETS;) {
        uint32_t run = 1;
        while (b + run < BUCKETS && m->map[b + run] == m->map[b])
            run++;
        buffer_printf(&text, "%s%u", b > 0 ? " " : "", m->map[b]);
        if (run > 1)
            buffer_printf(&text, "*%u", run);
        b += run;
    }
    json_set_str(j, "map", buffer_text(&text));
    buffer_release(&text);
}

static void set_files(struct json *j, const struct manifest *m)
{
    struct json *files = json_array();
    for (size_t i = 0; i < m->files_used; i++) {
        const struct manifest_file *f = &m->files[i];
        struct json *one = json_object();
        json_set_str(one, "name", f->name);
        json_set_u64(one, "k", f->k);
        json_set_u64(one, "e", f->e);
        json_set_u64(one, "shard", f->shard);
        json_set_bool(one, "full", f->full);
        json_set_u64(one, "bytes", f->bytes);
        json_set_u64(one, "rows", f->rows);
        json_set_u64(one, "xxh3", f->xxh3);
        json_add(files, one);
    }
    json_set(j, "files", files);
}

static void set_tables(struct json *j, const struct manifest *m)
{
    struct json *tables = json_array();
    for (uint32_t t = 0; t < m->tables; t++) {
        struct json *one = json_object();
        json_set_str(one, "name", m->table_name[t]);
        json_set_u64(one, "rows", m->rows[t]);
        json_set_u64(one, "hash", m->hash[t]);
        json_set_u64(one, "weights", m->weights[t]);
        json_add(tables, one);
    }
    json_set(j, "tables", tables);
}

static void set_positions(struct json *j, const struct manifest *m)
{
    json_set_u64(j, "epoch", m->epoch);
    json_set_u64(j, "records", m->records);
    json_set_u64(j, "split_records", m->split_records);
    struct buffer text = BUFFER_INIT;
    for (size_t i = 0; i < m->splits_used; i++)
        buffer_printf(&text, "%s%" PRIu64 ":%" PRIu64, i > 0 ? " " : "", m->splits[i].split,
                      m->splits[i].upto);
    json_set_str(j, "splits", buffer_text(&text));
    buffer_release(&text);
    json_set_u64(j, "applied", m->applied);
}

static void set_recipe(struct json *j, const struct manifest *m)
{
    struct json *recipe;
    if (m->recipe == NULL)
        return;
    enum status st = json_parse(m->recipe, strlen(m->recipe), "recipe", &recipe, NULL);
    assert(st == ST_OK && "the recipe is JSON: its maker wrote it just now");
    (void)st;
    json_set(j, "recipe", recipe);
}

static uint64_t checksum(const char *text, size_t n)
{
    size_t at = sizeof sum_field - 1;
    struct hash_stream *h = hash_stream_new();
    hash_stream_add(h, text, at);
    hash_stream_add(h, sum_zeros, SUM_DIGITS);
    hash_stream_add(h, text + at + SUM_DIGITS, n - at - SUM_DIGITS);
    uint64_t sum = hash_stream_value(h);
    hash_stream_free(h);
    return sum;
}

char *manifest_text(const struct manifest *m)
{
    struct json *j = json_object();
    json_set_str(j, "xxh3", sum_zeros);
    json_set_str(j, "format", FORMAT);
    json_set_u64(j, "job", m->job);
    json_set_u64(j, "k", m->k);
    json_set_u64(j, "e", m->e);
    json_set_u64(j, "prev", m->prev);
    json_set_u64(j, "wall_us", m->wall_us);
    json_set_u64(j, "step", m->step);
    json_set_u64(j, "rendered", m->rendered);
    json_set_u64(j, "best", m->best);
    set_positions(j, m);
    json_set_u64(j, "seed", m->seed);
    json_set_u64(j, "config_hash", m->config_hash);
    json_set_u64(j, "plan_hash", m->plan_hash);
    json_set_u64(j, "encoder_hash", m->encoder_hash);
    set_tables(j, m);
    json_set_u64(j, "shards", m->shards);
    set_map(j, m);
    set_files(j, m);
    set_recipe(j, m);
    char *body = json_text(j, 1);
    json_free(j);
    size_t n = strlen(body);
    assert(n > sizeof sum_field + SUM_DIGITS && memcmp(body, sum_field, sizeof sum_field - 1) == 0);
    char *text = mem_realloc(body, n + 2);
    text[n++] = '\n';
    text[n] = '\0';
    char digits[SUM_DIGITS + 1];
    snprintf(digits, sizeof digits, "%016" PRIx64, checksum(text, n));
    memcpy(text + sizeof sum_field - 1, digits, SUM_DIGITS);
    return text;
}

/* -- reading -- */

static enum status check_sum(const char *text, size_t n, struct errbuf *err)
{
    size_t at = sizeof sum_field - 1;
    if (n < at + SUM_DIGITS || memcmp(text, sum_field, at) != 0)
        return errbuf_set(err, ST_BAD_DATA, "damaged: it does not begin with its checksum");
    char digits[SUM_DIGITS + 1];
    snprintf(digits, sizeof digits, "%016" PRIx64, checksum(text, n));
    if (memcmp(text + at, digits, SUM_DIGITS) != 0)
        return errbuf_set(err, ST_BAD_DATA, "damaged: its checksum is %s, it says %.16s", digits,
                          text + at);
    return ST_OK;
}

static enum status parse_numbers(const struct json *j, struct manifest *m, struct errbuf *err)
{
    uint64_t shards = 0;
    const struct {
        const char *key;
        uint64_t *at;
    } fields[] = {{"job", &m->job},
                  {"k", &m->k},
                  {"e", &m->e},
                  {"prev", &m->prev},
                  {"wall_us", &m->wall_us},
                  {"step", &m->step},
                  {"rendered", &m->rendered},
                  {"best", &m->best},
                  {"epoch", &m->epoch},
                  {"records", &m->records},
                  {"split_records", &m->split_records},
                  {"applied", &m->applied},
                  {"seed", &m->seed},
                  {"config_hash", &m->config_hash},
                  {"plan_hash", &m->plan_hash},
                  {"encoder_hash", &m->encoder_hash},
                  {"shards", &shards}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        enum status st = json_need_u64(j, fields[i].key, fields[i].at, err);
        if (st != ST_OK)
            return st;
    }
    if (m->k == 0 || m->e == 0)
        return errbuf_set(err, ST_BAD_DATA, "k or e is 0");
    if (m->prev >= m->k)
        return errbuf_set(err, ST_BAD_DATA, "prev %" PRIu64 " is not below k %" PRIu64, m->prev,
                          m->k);
    if (m->best > m->k)
        return errbuf_set(err, ST_BAD_DATA, "best %" PRIu64 " is above k %" PRIu64, m->best, m->k);
    if (m->rendered > m->step)
        return errbuf_set(err, ST_BAD_DATA, "rendered is above step");
    if (shards == 0 || shards > SHARDS_MOST)
        return errbuf_set(err, ST_BAD_DATA, "shards is %" PRIu64 " (allowed: 1 to %u)", shards,
                          SHARDS_MOST);
    m->shards = (uint32_t)shards;
    return ST_OK;
}

/* A number of at most 20 digits at *at, which moves behind it. */
static bool take_number(const char **at, uint64_t *out)
{
    char digits[24];
    size_t n = strspn(*at, "0123456789");
    if (n == 0 || n >= sizeof digits)
        return false;
    memcpy(digits, *at, n);
    digits[n] = '\0';
    *at += n;
    return names_parse_number(digits, out);
}

static bool take_char(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

static enum status parse_map(const struct json *j, struct manifest *m, struct errbuf *err)
{
    const char *at;
    enum status st = json_need_str(j, "map", &at, err);
    if (st != ST_OK)
        return st;
    uint64_t filled = 0;
    while (*at != '\0') {
        uint64_t shard, run = 1;
        if ((filled > 0 && !take_char(&at, ' ')) || !take_number(&at, &shard) ||
            (take_char(&at, '*') && !take_number(&at, &run)))
            return errbuf_set(err, ST_BAD_DATA, "map is no list of shard*buckets");
        if (shard >= m->shards)
            return errbuf_set(err, ST_BAD_DATA, "map names shard %" PRIu64 " of %u", shard,
                              m->shards);
        if (run == 0 || run > BUCKETS - filled)
            return errbuf_set(err, ST_BAD_DATA, "map has not %u buckets", BUCKETS);
        for (; run > 0; run--)
            m->map[filled++] = (uint16_t)shard;
    }
    if (filled != BUCKETS)
        return errbuf_set(err, ST_BAD_DATA, "map has %" PRIu64 " buckets, not %u", filled, BUCKETS);
    return ST_OK;
}

static enum status parse_file(const struct json *j, const struct manifest *m,
                              struct manifest_file *f, struct errbuf *err)
{
    const char *name;
    uint64_t shard = 0;
    struct names_file named;
    memset(f, 0, sizeof *f);
    enum status st = json_need_str(j, "name", &name, err);
    if (st == ST_OK)
        st = json_need_u64(j, "k", &f->k, err);
    if (st == ST_OK)
        st = json_need_u64(j, "e", &f->e, err);
    if (st == ST_OK)
        st = json_need_u64(j, "shard", &shard, err);
    if (st == ST_OK)
        st = json_need_u64(j, "bytes", &f->bytes, err);
    if (st == ST_OK)
        st = json_need_u64(j, "rows", &f->rows, err);
    if (st == ST_OK)
        st = json_need_u64(j, "xxh3", &f->xxh3, err);
    if (st != ST_OK)
        return st;
    f->full = json_bool(j, "full", false);
    /* Only "data/" and a name of the one form that we make: nothing here can lead out of DIR. */
    if (strlen(name) >= sizeof f->name || strncmp(name, "data/", 5) != 0 ||
        !names_parse_data(name + 5, &named) || named.tmp)
        return errbuf_set(err, ST_BAD_DATA, "name is no data file: %.95s", name);
    if (named.k != f->k || named.e != f->e || named.shard != shard || named.full != f->full)
        return errbuf_set(err, ST_BAD_DATA, "its name %s differs from its k, e, shard or full",
                          name);
    if (f->k == 0 || f->k > m->k || f->e == 0 || f->e > m->e || shard >= SHARDS_MOST)
        return errbuf_set(err, ST_BAD_DATA, "%s can't be part of cut %" PRIu64 " of e %" PRIu64,
                          name, m->k, m->e);
    f->shard = (uint32_t)shard;
    memcpy(f->name, name, strlen(name) + 1);
    return ST_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum status check_twice(const struct manifest *m, struct errbuf *err)
{
    const char **names = mem_array(m->files_used, sizeof *names);
    for (size_t i = 0; i < m->files_used; i++)
        names[i] = m->files[i].name;
    qsort(names, m->files_used, sizeof *names, by_name);
    enum status st = ST_OK;
    for (size_t i = 1; i < m->files_used && st == ST_OK; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            st = errbuf_set(err, ST_BAD_DATA, "files: %s stands there twice", names[i]);
    free(names);
    return st;
}

static enum status parse_files(const struct json *j, struct manifest *m, struct errbuf *err)
{
    const struct json *files = json_get(j, "files");
    size_t n = json_len(files);
    if (n < 1 || n > FILES_MAX)
        return errbuf_set(err, ST_BAD_DATA, "files: %zu entries (allowed: 1 to %zu)", n, FILES_MAX);
    m->files = mem_array(n, sizeof *m->files);
    for (size_t i = 0; i < n; i++) {
        enum status st = parse_file(json_at(files, i), m, &m->files[i], err);
        if (st != ST_OK)
            return errbuf_wrap(err, st, "files: %zu: ", i);
        if (i > 0 && m->files[i].k < m->files[i - 1].k)
            return errbuf_set(err, ST_BAD_DATA, "files: %s stands behind a newer one",
                              m->files[i].name);
        m->files_used = i + 1;
    }
    if (m->files[n - 1].k != m->k)
        return errbuf_set(err, ST_BAD_DATA, "files: none is of cut %" PRIu64, m->k);
    return check_twice(m, err);
}

static bool is_name(const char *s)
{
    size_t n = strlen(s);
    if (n == 0 || n >= PLAN_NAME_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] <= ' ' || (unsigned char)s[i] >= 0x7f)
            return false;
    return true;
}

static enum status parse_tables(const struct json *j, struct manifest *m, struct errbuf *err)
{
    const struct json *tables = json_get(j, "tables");
    size_t n = json_len(tables);
    if (n < 1 || n > PLAN_TABLES_MAX)
        return errbuf_set(err, ST_BAD_DATA, "tables: %zu entries (allowed: 1 to %u)", n,
                          PLAN_TABLES_MAX);
    for (size_t i = 0; i < n; i++) {
        const struct json *one = json_at(tables, i);
        const char *name = NULL;
        enum status st = json_need_str(one, "name", &name, err);
        if (st == ST_OK)
            st = json_need_u64(one, "rows", &m->rows[i], err);
        if (st == ST_OK)
            st = json_need_u64(one, "hash", &m->hash[i], err);
        if (st == ST_OK)
            st = json_need_u64(one, "weights", &m->weights[i], err);
        if (st == ST_OK && !is_name(name))
            st = errbuf_set(err, ST_BAD_DATA, "name is not 1 to %u printable characters",
                            PLAN_NAME_MAX - 1);
        if (st != ST_OK)
            return errbuf_wrap(err, st, "tables: %zu: ", i);
        for (size_t k = 0; k < i; k++)
            if (strcmp(m->table_name[k], name) == 0)
                return errbuf_set(err, ST_BAD_DATA, "tables: %s stands there twice", name);
        snprintf(m->table_name[i], sizeof m->table_name[i], "%s", name);
    }
    m->tables = (uint32_t)n;
    return ST_OK;
}

static enum status parse_splits(const struct json *j, struct manifest *m, struct errbuf *err)
{
    const char *at;
    size_t cap = 0;
    enum status st = json_need_str(j, "splits", &at, err);
    if (st != ST_OK)
        return st;
    while (*at != '\0') {
        struct manifest_split s;
        if ((m->splits_used > 0 && !take_char(&at, ' ')) || !take_number(&at, &s.split) ||
            !take_char(&at, ':') || !take_number(&at, &s.upto) || m->splits_used >= SPLITS_MAX)
            return errbuf_set(err, ST_BAD_DATA, "splits is no list of split:upto");
        if (m->split_records == 0 || s.split > m->records / m->split_records)
            return errbuf_set(err, ST_BAD_DATA, "splits: there is no split %" PRIu64, s.split);
        uint64_t begin = s.split * m->split_records;
        uint64_t left = m->records - begin;
        uint64_t end = begin + (left < m->split_records ? left : m->split_records);
        if (s.upto < begin || s.upto > end)
            return errbuf_set(err, ST_BAD_DATA,
                              "splits: %" PRIu64 ":%" PRIu64 " lies outside its [%" PRIu64
                              ", %" PRIu64 "]",
                              s.split, s.upto, begin, end);
        if (m->splits_used > 0 && m->splits[m->splits_used - 1].split >= s.split)
            return errbuf_set(err, ST_BAD_DATA, "splits: %" PRIu64 " is out of order", s.split);
        mem_grow(&m->splits, &cap, m->splits_used + 1, sizeof *m->splits);
        m->splits[m->splits_used++] = s;
    }
    return ST_OK;
}

static enum status parse_fields(const struct json *j, struct manifest *m, struct errbuf *err)
{
    if (strcmp(json_str(j, "format", ""), FORMAT) != 0)
        return errbuf_set(err, ST_BAD_DATA, "format is not " FORMAT);
    enum status st = parse_numbers(j, m, err);
    if (st == ST_OK)
        st = parse_map(j, m, err);
    if (st == ST_OK)
        st = parse_files(j, m, err);
    if (st == ST_OK)
        st = parse_tables(j, m, err);
    if (st == ST_OK)
        st = parse_splits(j, m, err);
    const struct json *recipe = json_get(j, "recipe");
    if (st == ST_OK && recipe != NULL)
        m->recipe = json_text(recipe, 0);
    return st;
}

enum status manifest_parse(const char *text, size_t n, const char *name, struct manifest *out,
                           struct errbuf *err)
{
    enum status st = check_sum(text, n, err);
    if (st != ST_OK)
        return errbuf_wrap(err, st, "%s: ", name);
    struct json *j;
    st = json_parse(text, n, name, &j, err);
    if (st != ST_OK)
        return st;
    struct manifest m;
    manifest_init(&m);
    st = parse_fields(j, &m, err);
    json_free(j);
    if (st != ST_OK) {
        manifest_release(&m);
        return errbuf_wrap(err, st, "%s: ", name);
    }
    *out = m;
    return ST_OK;
}
