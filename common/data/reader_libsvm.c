/* reader_libsvm.c - see reader_libsvm.h. */
#include "common/data/reader_libsvm.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/data/lines.h"
#include "common/feature/number.h"

struct reader_libsvm {
    struct lines *lines;
    uint64_t *id;
    float *value;
    size_t used, ids_cap, values_cap;
};

enum status reader_libsvm_open(const char *path, uint64_t bytes_max, struct reader_libsvm **out,
                               struct errbuf *err)
{
    struct lines *lines;
    enum status st = lines_open(path, bytes_max, &lines, err);
    if (st != ST_OK)
        return st;
    struct reader_libsvm *r = mem_zalloc(sizeof *r);
    r->lines = lines;
    *out = r;
    return ST_OK;
}

void reader_libsvm_close(struct reader_libsvm *r)
{
    if (r == NULL)
        return;
    lines_close(r->lines);
    free(r->id);
    free(r->value);
    free(r);
}

uint64_t reader_libsvm_in_bytes(const struct reader_libsvm *r)
{
    return lines_in_bytes(r->lines);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* The next run of bytes that are not blank; false at the end of the line. */
static bool next_token(const char **p, const char *end, const char **out, size_t *out_n)
{
    const char *at = *p;
    while (at < end && is_blank(*at))
        at++;
    *out = at;
    while (at < end && !is_blank(*at))
        at++;
    *out_n = (size_t)(at - *out);
    *p = at;
    return *out_n > 0;
}

static const char *take_pair(struct reader_libsvm *r, const char *token, size_t n)
{
    const char *colon = memchr(token, ':', n);
    size_t id_n = colon != NULL ? (size_t)(colon - token) : n;
    double value = 1;
    if (id_n == 3 && memcmp(token, "qid", 3) == 0)
        return NULL;
    if (r->used == r->ids_cap)
        mem_grow(&r->id, &r->ids_cap, r->used + 1, sizeof *r->id);
    if (r->used == r->values_cap)
        mem_grow(&r->value, &r->values_cap, r->used + 1, sizeof *r->value);
    if (!number_parse_u64(token, id_n, &r->id[r->used]))
        return "an id that is not an unsigned 64-bit number";
    if (colon != NULL) {
        const char *wrong = number_parse(colon + 1, n - id_n - 1, &value);
        if (wrong != NULL)
            return "a value that is not a finite number of magnitude up to 1e30";
    }
    r->value[r->used++] = (float)value;
    return NULL;
}

static const char *take_line(struct reader_libsvm *r, const char *p, size_t text_n, double *label)
{
    const char *comment = memchr(p, '#', text_n);
    const char *end = comment != NULL ? comment : p + text_n, *token;
    size_t n;
    r->used = 0;
    if (!next_token(&p, end, &token, &n))
        return NULL;
    if (number_parse(token, n, label) != NULL)
        return "a label that is not a finite number";
    while (next_token(&p, end, &token, &n)) {
        const char *fault = take_pair(r, token, n);
        if (fault != NULL)
            return fault;
    }
    return NULL;
}

static bool only_comment(const struct line *line)
{
    size_t i = 0;
    while (i < line->n && is_blank(line->text[i]))
        i++;
    return i == line->n || line->text[i] == '#';
}

enum status reader_libsvm_next(struct reader_libsvm *r, struct libsvm_record *out,
                               struct errbuf *err)
{
    struct line line;
    enum status st;
    double label = 0;
    do
        st = lines_next(r->lines, &line, err);
    while (st == ST_OK && line.fault == NULL && only_comment(&line));
    if (st != ST_OK)
        return st;
    const char *fault = line.fault;
    if (fault == NULL)
        fault = take_line(r, line.text, line.n, &label);
    *out = (struct libsvm_record){
        .label = label,
        .id = r->id,
        .value = r->value,
        .n = fault == NULL ? r->used : 0,
        .raw = line.text,
        .raw_n = line.n,
        .line = line.number,
        .offset = line.offset,
        .fault = fault,
    };
    return ST_OK;
}
