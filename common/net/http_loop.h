/* http_loop.h - one loop of an http_server: a libmicrohttpd daemon on a thread of its own. Inside common/net only.
 */
#ifndef PENSTOCK_COMMON_NET_HTTP_LOOP_H
#define PENSTOCK_COMMON_NET_HTTP_LOOP_H

#include <stdatomic.h>

#include "common/net/http_server.h"

struct http_loop; /* opaque */

/* conf and owner: borrowed as long as the loop lives. draining: the server's flag. */
MUST_CHECK enum status http_loop_start(const struct http_conf *conf, const struct http_owner *owner,
                                       unsigned index, const atomic_bool *draining,
                                       struct http_loop **out, struct errbuf *err);
/* A connected socket, non-blocking; the loop's from here on. false: too many wait already, it is the caller's. Any thread. */
bool http_loop_add(struct http_loop *l, int fd);
uint64_t http_loop_connections(const struct http_loop *l);
void http_loop_stats(const struct http_loop *l, struct http_stats *add_to);
/* After draining is set: when nothing is under way any more, or at until_us (clock_now_us), the thread ends. ST_TIMEOUT: the
 * owner holds requests still. */
MUST_CHECK enum status http_loop_stop(struct http_loop *l, uint64_t until_us);
#endif
