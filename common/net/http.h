/* http.h - a page: one path, one text that its owner replaces. For /metrics of a running job.
 *
 * A thin use of http_server.h with one loop; open to whoever reaches it, for nothing in it is secret.
 */
#ifndef PENSTOCK_COMMON_NET_HTTP_H
#define PENSTOCK_COMMON_NET_HTTP_H

#include <stddef.h>

#include "common/base/errbuf.h"
#include "common/net/http_server.h"

struct http_page; /* opaque */

/* Listen, as http_server_start says. The page is empty until the first set. path ("/metrics") and content_type: borrowed for
 * good. what: the option's name, for errors. */
MUST_CHECK enum status http_page_open(const char *address, const char *what, const char *path,
                                      const char *content_type, struct http_page **out,
                                      struct errbuf *err);
void http_page_set(struct http_page *p, const char *text, size_t n); /* copied; any thread */
const char *http_page_address(const struct http_page *p); /* "127.0.0.1:9100"; borrowed */
void http_page_close(struct http_page *p);                /* waits; NULL-safe */

#endif
