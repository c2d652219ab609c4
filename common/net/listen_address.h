/* listen_address.h - from `cluster.bind` to the address that a server of this host listens on.
 *
 * One job file is read on every host, and each host has an address of its own. So besides an address
 * (one host: 127.0.0.1) the option takes what is the same everywhere:
 *
 *   10.77.0.1      this address, which must be one of this host's
 *   10.77.0.0/24   the address that this host has in this network
 *   eth0           the first address of this interface
 *
 * Only IPv4. "Every address" (0.0.0.0, *, /0) is refused: who listens there has no address to tell its
 * peers, and is open to networks that nobody chose.
 */
#ifndef PENSTOCK_COMMON_NET_LISTEN_ADDRESS_H
#define PENSTOCK_COMMON_NET_LISTEN_ADDRESS_H

#include "common/base/errbuf.h"
#include "common/wire/msg.h"

struct sockaddr_in; /* <netinet/in.h> */

/* The form alone, so that a front can refuse it before anything starts. ST_USAGE names cluster.bind. */
MUST_CHECK enum status listen_address_check(const char *bind, struct errbuf *err);
/* Whether it can serve a run on several hosts: neither loopback nor the address of one host. ST_USAGE says
 * what to write instead. */
MUST_CHECK enum status listen_address_check_hosts(const char *bind, struct errbuf *err);
/* What endpoint_bind takes, the port left to the system: "tcp://10.77.0.1:*". ST_USAGE: the form, or this
 * host has no such address; then the text lists what it has. */
MUST_CHECK enum status listen_address(const char *bind, char out[ADDRESS_MAX], struct errbuf *err);
/* "[HOST:]PORT" with an IPv4 address (or localhost), by default on loopback. what: the option, for ST_USAGE. */
MUST_CHECK enum status listen_address_parse(const char *text, const char *what,
                                            struct sockaddr_in *out, struct errbuf *err);
/* The same as endpoint_bind takes it: "tcp://HOST:PORT", port 0 as "*". */
MUST_CHECK enum status listen_address_port(const char *text, const char *what,
                                           char out[ADDRESS_MAX], struct errbuf *err);

#endif
