/* http_service.h - routes whose question and answer are the service's own JSON: rank, recommend, events, users, items. */
#ifndef PENSTOCK_PS_SERVE_HTTP_SERVICE_H
#define PENSTOCK_PS_SERVE_HTTP_SERVICE_H

struct call;

void http_service(struct call *c);
/* The end of a check that failed: the service's own status and words. */
void http_service_refused(struct call *c);

#endif
