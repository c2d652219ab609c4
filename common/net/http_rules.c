/* http_rules.c - see http_rules.h. */
#include "common/net/http_rules.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "common/base/utf8.h"

/* -- the target --------------------------------------------------------------------------------- */

static int digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decode text[0, n) in place and terminate it; room for the terminator is the caller's. */
static bool decode(char *text, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '%') {
            int high = i + 2 < n ? digit(text[i + 1]) : -1;
            int low = i + 2 < n ? digit(text[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            c = (unsigned char)(high * 16 + low);
            i += 2;
        }
        if (c < 0x20 || c == 0x7f) {
            return false;
        }
        text[used++] = (char)c;
    }
    text[used] = '\0';
    return utf8_valid(text);
}

static enum status take_path(struct http_target *t, char *path, struct errbuf *err)
{
    for (char *at = path; at != NULL;) {
        char *start = at + 1; /* behind the '/' */
        char *end = strchr(start, '/');
        size_t n = end != NULL ? (size_t)(end - start) : strlen(start);
        if (t->segments == HTTP_SEGMENTS_MAX) {
            return errbuf_set(err, ST_BAD_DATA, "the path has more than %u parts",
                              HTTP_SEGMENTS_MAX);
        }
        if (!decode(start, n)) {
            return errbuf_set(err, ST_BAD_DATA,
                              "part %zu of the path: it must be UTF-8 without control characters, "
                              "with %%XX for what is no letter of a path",
                              t->segments + 1);
        }
        t->segment[t->segments++] = start;
        at = end;
    }
    return ST_OK;
}

static enum status take_query(struct http_target *t, char *query, struct errbuf *err)
{
    char *rest = query;
    for (char *pair; (pair = strsep(&rest, "&")) != NULL;) {
        if (pair[0] == '\0') {
            continue;
        }
        size_t n = strlen(pair);
        char *equals = memchr(pair, '=', n);
        char *value = equals != NULL ? equals + 1 : pair + n;
        size_t value_n = (size_t)(pair + n - value);
        size_t key_n = equals != NULL ? (size_t)(equals - pair) : n;
        if (t->pairs == HTTP_PAIRS_MAX) {
            return errbuf_set(err, ST_BAD_DATA, "the query has more than %u parts", HTTP_PAIRS_MAX);
        }
        if (!decode(value, value_n) || !decode(pair, key_n) || pair[0] == '\0') {
            return errbuf_set(err, ST_BAD_DATA,
                              "part %zu of the query: it must be KEY=VALUE, UTF-8 without control "
                              "characters, with %%XX for what is no letter of a query",
                              t->pairs + 1);
        }
        if (http_target_get(t, pair) != NULL) {
            return errbuf_set(err, ST_BAD_DATA, "the query has %s twice", pair);
        }
        t->pair[t->pairs].key = pair;
        t->pair[t->pairs++].value = value;
    }
    return ST_OK;
}

enum status http_target_parse(const char *raw, struct http_target *out, struct errbuf *err)
{
    struct http_target t = {0};
    size_t n = strlen(raw);
    if (n > HTTP_TARGET_MAX) {
        return errbuf_set(err, ST_BAD_DATA, "the target has %zu bytes, at most %u are taken", n,
                          HTTP_TARGET_MAX);
    }
    if (strncasecmp(raw, "http://", 7) == 0) {
        raw += 7 + strcspn(raw + 7, "/?");
    }
    for (const char *c = raw; *c != '\0'; c++) {
        if (*c <= 0x20 || *c >= 0x7f || *c == '#') {
            return errbuf_set(err, ST_BAD_DATA,
                              "the target must be printable ASCII without spaces and '#', other "
                              "bytes as %%XX");
        }
    }
    if (raw[0] != '/') {
        return errbuf_set(err, ST_BAD_DATA, "the target must begin with /");
    }
    t.text = mem_strdup(raw);
    char *query = strchr(t.text, '?');
    if (query != NULL) {
        *query++ = '\0';
    }
    enum status st = take_path(&t, t.text, err);
    if (st == ST_OK && query != NULL) {
        st = take_query(&t, query, err);
    }
    if (st != ST_OK) {
        http_target_release(&t);
        return st;
    }
    *out = t;
    return ST_OK;
}

void http_target_release(struct http_target *t)
{
    free(t->text);
    memset(t, 0, sizeof(*t));
}

const char *http_target_get(const struct http_target *t, const char *key)
{
    for (size_t i = 0; i < t->pairs; i++) {
        if (strcmp(t->pair[i].key, key) == 0) {
            return t->pair[i].value;
        }
    }
    return NULL;
}

/* -- the frame ---------------------------------------------------------------------------------- */

static bool is(const char *name, size_t n, const char *want)
{
    return n == strlen(want) && strncasecmp(name, want, n) == 0;
}

static bool is_token(const char *name, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL)) {
            return false;
        }
    }
    return n > 0;
}

static bool has_control(const char *value, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)value[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return true;
        }
    }
    return false;
}

static void take_length(struct http_frame *f, const char *value, size_t n)
{
    f->lengths++;
    f->length = 0;
    f->bad_length = f->bad_length || n == 0 || n > 18;
    for (size_t i = 0; i < n && !f->bad_length; i++) {
        f->bad_length = value[i] < '0' || value[i] > '9';
        f->length = f->length * 10 + (uint64_t)(value[i] - '0');
    }
}

void http_frame_header(struct http_frame *f, const char *name, size_t name_n, const char *value,
                       size_t value_n)
{
    f->bad_name = f->bad_name || !is_token(name, name_n);
    f->bad_value = f->bad_value || has_control(value, value_n);
    if (is(name, name_n, "content-length")) {
        take_length(f, value, value_n);
    } else if (is(name, name_n, "transfer-encoding")) {
        f->encodings++;
        f->chunked = is(value, value_n, "chunked");
        f->bad_encoding = f->bad_encoding || !f->chunked;
    } else if (is(name, name_n, "host")) {
        f->hosts++;
    } else if (is(name, name_n, "authorization")) {
        f->tokens++;
    } else if (is(name, name_n, "sec-fetch-site")) {
        f->cross_site = f->cross_site || is(value, value_n, "cross-site");
    } else if (is(name, name_n, "expect")) {
        f->expects++;
        f->bad_expect = f->bad_expect || !is(value, value_n, "100-continue");
    }
}

unsigned http_frame_judge(const struct http_frame *f, bool modern, struct errbuf *err)
{
    const char *why = NULL;
    if (f->bad_name) {
        why = "a header's name may have letters, digits and !#$%&'*+-.^_`|~ only, and no space "
              "before its colon";
    } else if (f->bad_value) {
        why = "a header's value has control characters";
    } else if (f->lengths > 0 && f->encodings > 0) {
        why = "both Content-Length and Transfer-Encoding: one of them";
    } else if (f->lengths > 1 || f->bad_length) {
        why = "Content-Length must be given once, as a number of bytes";
    } else if (f->encodings > 1 || f->bad_encoding) {
        why = "Transfer-Encoding: only chunked is known, given once";
    } else if (f->encodings > 0 && !modern) {
        why = "Transfer-Encoding needs HTTP/1.1";
    } else if (f->hosts > 1 || (modern && f->hosts == 0)) {
        why = "HTTP/1.1 needs one Host header";
    } else if (f->tokens > 1) {
        why = "Authorization must be given once";
    }
    if (why != NULL) {
        (void)errbuf_set(err, ST_BAD_DATA, "%s", why);
        return 400;
    }
    if (f->cross_site) {
        (void)errbuf_set(err, ST_REFUSED, "a page of another site may not ask this node");
        return 403;
    }
    if (f->bad_expect) {
        (void)errbuf_set(err, ST_BAD_DATA, "Expect: only 100-continue is known");
        return 417;
    }
    return 0;
}

bool http_token_right(const char *authorization, const char *token)
{
    if (authorization == NULL || strncasecmp(authorization, "Bearer ", 7) != 0) {
        return false;
    }
    const char *given = authorization + 7;
    size_t given_n = strlen(given), n = strlen(token);
    unsigned differ = given_n != n;
    for (size_t i = 0; i < given_n; i++) {
        /* volatile, so that no compiler may leave the loop at the first difference. */
        const volatile char *want = &token[n > 0 ? i % n : 0];
        differ |= (unsigned)(given[i] ^ *want);
    }
    return differ == 0 && n > 0;
}
