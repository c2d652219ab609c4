/* http_routes.h - the table of all routes of a serving node. It drives finding, answering and the description. */
#ifndef PENSTOCK_PS_SERVE_HTTP_ROUTES_H
#define PENSTOCK_PS_SERVE_HTTP_ROUTES_H

#include "ps/serve/node.h"

extern const struct route http_routes[];
extern const size_t http_routes_used;
/* Paths that need no token; NULL-terminated. */
extern const char *const http_routes_open[];

/* The row for a target, NULL: none. out_id: (2) what stands for {...}. out_methods: the set of methods (1 << enum
 * http_method) that this path has, whatever was asked; 0: there is no such path. */
const struct route *http_routes_find(enum http_method method, const struct http_target *t,
                                     const char *out_id[2], unsigned *out_methods);

#endif
