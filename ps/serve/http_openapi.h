/* http_openapi.h - the description of the HTTP interface, OpenAPI 3.0.3, made from the table of routes. */
#ifndef PENSTOCK_PS_SERVE_HTTP_OPENAPI_H
#define PENSTOCK_PS_SERVE_HTTP_OPENAPI_H

#include "ps/serve/node.h"

/* Owned by the caller. ST_INTERNAL: a schema of the table is no JSON. */
MUST_CHECK enum status http_openapi_text(const struct route *routes, size_t n, char **out,
                                         struct errbuf *err);
void http_openapi(struct call *c);

#endif
