/* http_rules.h - what a request must be before anybody acts on it: its target and the headers that frame it. Pure.
 *
 * libmicrohttpd takes two Content-Lengths, a length beside an encoding, `Content-Length : 5` and codings it doesn't
 * know without a word; what two servers in a row read differently is how requests are smuggled. So the rules are
 * ours (RFC 9112, sections 3.2, 5.1, 6.1 and 6.3; RFC 3986 for the target), the strict reading of each: whatever could be
 * read in two ways is a 400.
 */
#ifndef PENSTOCK_COMMON_NET_HTTP_RULES_H
#define PENSTOCK_COMMON_NET_HTTP_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/errbuf.h"

#define HTTP_TARGET_MAX   4096u /* bytes of path and query */
#define HTTP_SEGMENTS_MAX 8u
#define HTTP_PAIRS_MAX    16u

/* "/v1/users/a%2Fb?n=3": segments {"v1", "users", "a/b"}, pairs {n: "3"}. Decoded: UTF-8 without control
 * characters. A '+' is a '+'. */
struct http_target {
    char *text; /* owned: what the pointers below point into */
    const char *segment[HTTP_SEGMENTS_MAX];
    size_t segments;
    struct http_pair {
        const char *key, *value; /* value "" without '=' */
    } pair[HTTP_PAIRS_MAX];
    size_t pairs;
};

/* raw: the target of the request line, "/path?query" or "http://host/path?query". ST_BAD_DATA with a text: a bad escape,
 * too long, no path, a key given twice ... */
MUST_CHECK enum status http_target_parse(const char *raw, struct http_target *out,
                                         struct errbuf *err);
void http_target_release(struct http_target *t);
/* The value of a query's key; NULL: it isn't there. */
const char *http_target_get(const struct http_target *t, const char *key);

/* What the headers of one request say about its frame. Zeroed, then header by header, then judged. */
struct http_frame {
    unsigned lengths, encodings, hosts, tokens, expects;
    uint64_t length; /* of the body, if lengths */
    bool chunked, bad_length, bad_encoding, bad_expect;
    bool bad_name, bad_value;
    bool cross_site; /* a browser says that a page of another site asks */
};

void http_frame_header(struct http_frame *f, const char *name, size_t name_n, const char *value,
                       size_t value_n);
/* 0, or the code to answer with a text: 400, 403, 417. modern: HTTP/1.1. A page that a browser shows may not ask a node on the
 * reader's own loopback: 403 by Sec-Fetch-Site (W3C Fetch Metadata). */
unsigned http_frame_judge(const struct http_frame *f, bool modern, struct errbuf *err);

/* Whether the value of an Authorization header is "Bearer " and this token; the time taken does not tell where they
 * differ. */
bool http_token_right(const char *authorization, const char *token);

#endif
