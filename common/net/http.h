/* http.h - a small page server: one path, one text that its owner replaces; the only door to microhttpd.h.
 *
 * For /metrics of a running job: seldom asked, small answers, a thread of its own. (Serving at a fleet's rate is
 * another thing; this is not the place for it.) Requests other than GET and HEAD are refused, as are all with a
 * body: nobody has one to send here, and two ways of giving its length are how requests are smuggled.
 */
#ifndef PENSTOCK_COMMON_NET_HTTP_H
#define PENSTOCK_COMMON_NET_HTTP_H

#include <stddef.h>

#include "common/base/errbuf.h"

struct http_page; /* opaque */

#define HTTP_ADDRESS_MAX 64

/* Only the form of "[HOST:]PORT", HOST an IPv4 address or localhost. what: the option's name, for the text. */
MUST_CHECK enum status http_page_check(const char *address, const char *what, struct errbuf *err);
/* Listen. Without HOST on 127.0.0.1; port 0 is chosen by the system. The page is empty until the first set. path
 * and content_type: borrowed for good. */
MUST_CHECK enum status http_page_open(const char *address, const char *what, const char *path,
                                      const char *content_type, struct http_page **out,
                                      struct errbuf *err);
void http_page_set(struct http_page *p, const char *text, size_t n); /* copied; any thread */
const char *http_page_address(const struct http_page *p); /* "127.0.0.1:9100"; borrowed */
void http_page_close(struct http_page *p);                /* waits; NULL-safe */

#endif
