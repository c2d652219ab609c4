/* node_ask.h - one small request to a serving node, and its JSON answer.
 *
 * A plain socket, HTTP/1.1, "Connection: close", at most 1 MiB: what the front asks a node is a line long, and libcurl stays
 * where many requests are made (launch/simulate.c).
 */
#ifndef PENSTOCK_LAUNCH_NODE_ASK_H
#define PENSTOCK_LAUNCH_NODE_ASK_H

#include "common/base/errbuf.h"
#include "common/base/json.h"

/* node: "HOST:PORT", with or without "http://". token, body: NULL = none. An answer that is not 2xx is ST_REFUSED (ST_NOT_FOUND
 * for 404, ST_USAGE for 400) with the node's own words. ST_IO: nobody answers; ST_TIMEOUT: not within wait_us. */
MUST_CHECK enum status node_ask(const char *node, const char *method, const char *path,
                                const char *token, const char *body, uint64_t wait_us,
                                struct json **out, struct errbuf *err);

#endif
