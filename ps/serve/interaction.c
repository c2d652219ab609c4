/* interaction.c - see interaction.h. */
#include "ps/serve/interaction.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/mem.h"

static const char *const EXTRA_NAME[EXTRAS] = {
    "serve_rec",        "serve_version",  "serve_experiment", "serve_variant",
    "serve_propensity", "serve_position", "serve_score",
};

/* ---- columns ------------------------------------------------------------------------------------ */

static const char *recbole_type(int kind)
{
    switch (kind) {
    case FIELD_FLOAT:
    case FIELD_LABEL:
    case FIELD_TIME: return "float";
    case FIELD_IDS: return "token_seq";
    default: return "token";
    }
}

static bool listed(const struct texts *list, const char *name)
{
    for (size_t i = 0; i < list->used; i++)
        if (strcmp(list->item[i], name) == 0)
            return true;
    return false;
}

static struct interaction_column *add_column(struct interaction *x, size_t at)
{
    if (at >= x->columns) {
        x->column = mem_realloc(x->column, (at + 1) * sizeof(*x->column));
        for (size_t i = x->columns; i <= at; i++)
            x->column[i] = (struct interaction_column){
                .field = FIELD_UNKNOWN, .kind = FIELD_SKIP, .extra = -1};
        x->columns = at + 1;
    }
    return &x->column[at];
}

static bool has_column(const struct interaction *x, const char *name)
{
    for (size_t i = 0; i < x->columns; i++)
        if (x->column[i].name != NULL && strcmp(x->column[i].name, name) == 0)
            return true;
    return false;
}

static void add_fields(struct interaction *x, const struct job *job, const struct fields *fields,
                       const struct texts *joined)
{
    for (size_t i = 0; i < job->data.fields_used; i++) {
        const struct job_field *f = &job->data.fields[i];
        char number[24], *end;
        snprintf(number, sizeof(number), "%zu", i);
        const char *name = f->column != NULL && f->column[0] != '\0'   ? f->column
                           : job->data.header || x->format == JOB_JSON ? f->name
                                                                       : number;
        if (f->type == FIELD_SKIP || f->type == FIELD_HISTORY || listed(joined, name) ||
            has_column(x, name))
            continue;
        const size_t place =
            job->data.header || x->format != JOB_DELIMITED ? x->columns : strtoul(name, &end, 10);
        struct interaction_column *c = add_column(x, place);
        c->name = mem_strdup(name);
        c->type = x->format == JOB_RECBOLE ? mem_strdup(recbole_type(f->type)) : NULL;
        c->field = fields_find(fields, f->name, strlen(f->name));
        c->kind = f->type;
        c->is_position = strcmp(f->name, "position") == 0;
        if (f->type == FIELD_LABEL && x->labels < JOB_TASKS_MAX) {
            c->task = x->labels;
            x->task[x->labels++] = mem_strdup(f->name);
        }
    }
    for (int e = 0; e < EXTRAS; e++) {
        struct interaction_column *c = add_column(x, x->columns);
        c->name = mem_strdup(EXTRA_NAME[e]);
        c->type = x->format == JOB_RECBOLE ? mem_strdup("token") : NULL;
        c->extra = e;
    }
}

/* ---- files -------------------------------------------------------------------------------------- */

static char *path_of(const struct interaction *x, uint32_t file)
{
    struct buffer b = BUFFER_INIT;
    buffer_printf(&b, "%s/%s.%08" PRIu32 ".%s", x->dir, x->stem, file, x->suffix);
    char *path = mem_strdup(buffer_text(&b));
    buffer_release(&b);
    return path;
}

/* Files of an earlier state folder are left alone: the next number is free. */
static enum status newest_file(struct interaction *x, struct errbuf *err)
{
    DIR *dir = opendir(x->dir);
    const size_t stem = strlen(x->stem);
    struct dirent *e;
    if (dir == NULL)
        return errbuf_errno(err, ST_IO, "%s", x->dir);
    while ((e = readdir(dir)) != NULL) {
        uint32_t n;
        if (strncmp(e->d_name, x->stem, stem) == 0 &&
            sscanf(e->d_name + stem, ".%8" SCNu32 ".", &n) == 1 && n > x->file)
            x->file = n;
    }
    closedir(dir);
    x->end = UINT64_MAX; /* full, unless the journal knows better */
    return ST_OK;
}

enum status interaction_open(struct interaction *x, const char *dir, const struct job *job,
                             const struct fields *fields, const struct texts *joined,
                             uint64_t bytes_max, struct errbuf *err)
{
    memset(x, 0, sizeof(*x));
    x->fd = -1;
    x->format = job->data.format == JOB_CRITEO ? JOB_DELIMITED : job->data.format;
    if (x->format != JOB_DELIMITED && x->format != JOB_RECBOLE && x->format != JOB_JSON) {
        log_warn("there will be no interaction log: the format of the job's data can't be written; "
                 "delimited, criteo, recbole and json can");
        return ST_OK;
    }
    const enum status st = file_mkdirs(dir, err);
    if (st != ST_OK)
        return st;
    const double above = job->data.label_above;
    x->on = true;
    x->dir = mem_strdup(dir);
    x->stem = mem_strdup(job->name != NULL && job->name[0] != '\0' ? job->name : "log");
    x->delimiter = mem_strdup(x->format == JOB_RECBOLE ? "\t" : job->data.delimiter);
    x->quote = mem_strdup(x->format == JOB_DELIMITED ? job->data.quote : "");
    x->header = x->format == JOB_RECBOLE || (x->format == JOB_DELIMITED && job->data.header);
    x->suffix = x->format == JOB_JSON ? "json" : strcmp(x->delimiter, "\t") == 0 ? "tsv" : "csv";
    x->bytes_max = bytes_max;
    snprintf(x->negative, sizeof(x->negative), "%g", above < 0 ? above : 0);
    snprintf(x->positive, sizeof(x->positive), "%g", above < 1 ? 1 : above + 1);
    add_fields(x, job, fields, joined);
    return newest_file(x, err);
}

void interaction_close(struct interaction *x)
{
    if (!x->on)
        return;
    for (size_t i = 0; i < x->columns; i++) {
        free(x->column[i].name);
        free(x->column[i].type);
    }
    if (x->fd >= 0)
        close(x->fd);
    for (size_t t = 0; t < x->labels; t++)
        free(x->task[t]);
    free(x->column);
    free(x->dir);
    free(x->stem);
    free(x->delimiter);
    free(x->quote);
    buffer_release(&x->owed);
    memset(x, 0, sizeof(*x));
}

/* ---- lines -------------------------------------------------------------------------------------- */

static void put_text(const struct interaction *x, const char *text, size_t n, struct buffer *out)
{
    const bool split = memmem(text, n, x->delimiter, strlen(x->delimiter)) != NULL;
    const char quote = x->quote[0];
    const bool quoted =
        quote != '\0' && (split || memchr(text, quote, n) != NULL || memchr(text, '\n', n) != NULL);
    if (quoted)
        buffer_u8(out, (uint8_t)quote);
    for (size_t i = 0; i < n; i++) {
        if (quoted && text[i] == quote)
            buffer_u8(out, (uint8_t)quote);
        const bool breaks = (text[i] >= 0 && text[i] <= (char)JOB_TASKS_MAX) || text[i] == '\n' ||
                            text[i] == '\r' || (split && !quoted && text[i] == x->delimiter[0]);
        buffer_u8(out, breaks ? ' ' : (uint8_t)text[i]);
    }
    if (quoted)
        buffer_u8(out, (uint8_t)quote);
}

static void put_json(const char *text, size_t n, struct buffer *out)
{
    buffer_u8(out, '"');
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            buffer_printf(out, "\\%c", c);
        else if (c < 0x20)
            buffer_printf(out, "\\u%04x", c);
        else
            buffer_u8(out, c);
    }
    buffer_u8(out, '"');
}

/* The text of a column, or NULL: none. room: 48 bytes. */
static const char *text_of(const struct interaction_column *c, const struct interaction_row *row,
                           char *room, size_t *out_n)
{
    const struct cell *cell = NULL;
    /* Where a thing stood is known by who showed it, whatever a request said to be scored by. */
    if (c->is_position && row->extra[EXTRA_POSITION] != NULL) {
        *out_n = strlen(row->extra[EXTRA_POSITION]);
        return row->extra[EXTRA_POSITION];
    }
    if (c->extra >= 0) {
        const char *text = row->extra[c->extra];
        *out_n = text != NULL ? strlen(text) : 0;
        return text;
    }
    for (size_t i = 0; i < 4 && cell == NULL && c->field != FIELD_UNKNOWN; i++)
        if (row->sources[i] != NULL)
            cell = cells_find(row->sources[i], c->field);
    if (cell != NULL) {
        *out_n = cell->n;
        return cell->missing ? NULL : cell->text;
    }
    if (c->kind == FIELD_TIME) {
        *out_n = (size_t)snprintf(room, 48, "%" PRId64 ".%06" PRId64, row->time / 1000000,
                                  row->time % 1000000);
        return room;
    }
    if (c->kind == FIELD_USER || c->kind == FIELD_ITEM) {
        *out_n = c->kind == FIELD_USER ? row->user_n : row->item_n;
        return *out_n == 0 ? NULL : c->kind == FIELD_USER ? row->user : row->item;
    }
    return NULL;
}

void interaction_line(const struct interaction *x, const struct interaction_row *row,
                      struct buffer *out)
{
    const bool json = x->format == JOB_JSON;
    bool any = false;
    if (json)
        buffer_u8(out, '{');
    for (size_t i = 0; i < x->columns; i++) {
        const struct interaction_column *c = &x->column[i];
        char room[48];
        size_t n = 0;
        const char *text = c->kind == FIELD_LABEL ? NULL : text_of(c, row, room, &n);
        if (json && text == NULL && c->kind != FIELD_LABEL)
            continue;
        if (json ? any : i > 0)
            buffer_put(out, json ? "," : x->delimiter, json ? 1 : strlen(x->delimiter));
        any = true;
        if (json) {
            put_json(c->name, strlen(c->name), out);
            buffer_u8(out, ':');
        }
        if (c->kind == FIELD_LABEL)
            buffer_u8(out, (uint8_t)(1 + c->task));
        else if (json)
            put_json(text, n, out);
        else if (text != NULL)
            put_text(x, text, n, out);
    }
    buffer_put(out, json ? "}\n" : "\n", json ? 2 : 1);
}

void interaction_label(const struct interaction *x, const char *line, size_t n,
                       const char *const *label, struct buffer *out)
{
    for (size_t from = 0, at = 0; at <= n; at++) {
        const unsigned char c = at < n ? (unsigned char)line[at] : 0;
        if (at < n && (c < 1 || c > JOB_TASKS_MAX))
            continue;
        buffer_put(out, line + from, at - from);
        const char *text = at == n                 ? ""
                           : label[c - 1] != NULL  ? label[c - 1]
                           : x->format == JOB_JSON ? "null"
                                                   : "";
        buffer_put(out, text, strlen(text));
        from = at + 1;
    }
}

size_t interaction_task(const struct interaction *x, const char *type, size_t n)
{
    for (size_t t = 0; t < x->labels; t++)
        if (strlen(x->task[t]) == n && memcmp(x->task[t], type, n) == 0)
            return t;
    return 0;
}

/* ---- writing ------------------------------------------------------------------------------------ */

static void header_of(const struct interaction *x, struct buffer *out)
{
    for (size_t i = 0; x->header && i < x->columns; i++) {
        const struct interaction_column *c = &x->column[i];
        if (i > 0)
            buffer_put(out, x->delimiter, strlen(x->delimiter));
        if (c->name != NULL)
            put_text(x, c->name, strlen(c->name), out);
        if (c->type != NULL)
            buffer_printf(out, ":%s", c->type);
    }
    if (x->header)
        buffer_u8(out, '\n');
}

static uint64_t header_bytes(const struct interaction *x)
{
    struct buffer head = BUFFER_INIT;
    header_of(x, &head);
    const uint64_t n = head.used;
    buffer_release(&head);
    return n;
}

void interaction_place(const struct interaction *x, uint32_t *out_file, uint64_t *out_at)
{
    const bool more = x->file != 0 && x->end < x->bytes_max; /* false of UINT64_MAX, too */
    *out_file = more ? x->file : x->file + 1;
    *out_at = more ? x->end : header_bytes(x);
}

static enum status put_bytes(int fd, const void *bytes, size_t n, uint64_t at)
{
    const char *p = bytes;
    while (n > 0) {
        const ssize_t got = pwrite(fd, p, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ST_IO;
        p += got;
        n -= (size_t)got;
        at += (uint64_t)got;
    }
    return ST_OK;
}

/* The file with that number, with its header; an older one is made durable before it is left. */
static enum status turn_to(struct interaction *x, uint32_t file, struct errbuf *err)
{
    struct buffer head = BUFFER_INIT;
    struct stat about;
    if (x->fd >= 0 && x->fd_file == file)
        return ST_OK;
    if (x->fd >= 0 && fdatasync(x->fd) != 0)
        return errbuf_errno(err, ST_IO, "%s/%s.%08" PRIu32, x->dir, x->stem, x->fd_file);
    enum status st = ST_OK;
    char *path = path_of(x, file);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    header_of(x, &head);
    if (fd < 0 || fstat(fd, &about) != 0 ||
        ((uint64_t)about.st_size < head.used && put_bytes(fd, head.data, head.used, 0) != ST_OK))
        st = errbuf_errno(err, ST_IO, "%s", path);
    buffer_release(&head);
    free(path);
    if (st == ST_OK)
        st = file_sync_dir(x->dir, err);
    if (st != ST_OK) {
        if (fd >= 0)
            close(fd);
        return st;
    }
    if (x->fd >= 0)
        close(x->fd);
    x->fd = fd;
    x->fd_file = file;
    return ST_OK;
}

enum status interaction_settle(struct interaction *x, struct errbuf *err)
{
    if (x->owed.used == 0)
        return ST_OK;
    const enum status st = turn_to(x, x->file, err);
    if (st != ST_OK)
        return st;
    if (put_bytes(x->fd, x->owed.data, x->owed.used, x->owed_at) != ST_OK)
        return errbuf_errno(err, ST_IO, "%s/%s.%08" PRIu32, x->dir, x->stem, x->file);
    buffer_reset(&x->owed);
    return ST_OK;
}

void interaction_write(struct interaction *x, uint32_t file, uint64_t at, const char *text,
                       size_t n)
{
    struct errbuf later = ERRBUF_INIT;
    if (!x->on)
        return;
    assert(x->owed.used == 0 || (file == x->file && at == x->end));
    if (x->owed.used == 0)
        x->owed_at = at;
    x->file = file;
    x->end = at + n;
    buffer_put(&x->owed, text, n);
    if (interaction_settle(x, &later) != ST_OK)
        log_warn("%s (kept in the journal until it can be written)", later.text);
}

void interaction_replay(struct interaction *x, uint32_t file, uint64_t at, const char *text,
                        size_t n)
{
    struct stat about;
    if (!x->on || file == 0)
        return;
    char *path = path_of(x, file);
    const bool there = stat(path, &about) == 0;
    free(path);
    const bool written = there && (uint64_t)about.st_size >= at + n;
    const bool taken_away = !there && (at != header_bytes(x) || file < x->file);
    if (!written && !taken_away) {
        interaction_write(x, file, at, text, n);
    } else if (file >= x->file) {
        x->file = file;
        x->end = taken_away || (uint64_t)about.st_size > at + n ? UINT64_MAX : at + n;
    }
}

enum status interaction_sync(struct interaction *x, struct errbuf *err)
{
    const enum status st = interaction_settle(x, err);
    if (st == ST_OK && x->fd >= 0 && fdatasync(x->fd) != 0)
        return errbuf_errno(err, ST_IO, "%s/%s.%08" PRIu32, x->dir, x->stem, x->fd_file);
    return st;
}
