/* http_experiments.c - see http_experiments.h. */
#include "ps/serve/http_experiments.h"

#include "ps/serve/call.h"

void http_experiments(struct call *c)
{
    c->request.id = c->id[0];
    call_write(c);
}
