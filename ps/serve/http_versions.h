/* http_versions.h - which versions a node keeps, and which one it shows: list, pin, unpin, rollback. */
#ifndef PENSTOCK_PS_SERVE_HTTP_VERSIONS_H
#define PENSTOCK_PS_SERVE_HTTP_VERSIONS_H

struct call;

void http_versions_list(struct call *c);
void http_versions_pin(struct call *c); /* {"snapshot_version": k} */
void http_versions_unpin(struct call *c);
void http_versions_rollback(struct call *c);

#endif
