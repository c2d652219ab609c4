/* http_health.h - is it alive, may it be asked: /healthz and the Open Inference Protocol's health. */
#ifndef PENSTOCK_PS_SERVE_HTTP_HEALTH_H
#define PENSTOCK_PS_SERVE_HTTP_HEALTH_H

#include <stdbool.h>

struct call;
struct node_loop;

/* A version is shown, and the node is not about to stop. */
bool http_health_is_ready(struct node_loop *l);

void http_health(struct call *c); /* /healthz */
void http_health_live(struct call *c);
void http_health_ready(struct call *c);

#endif
