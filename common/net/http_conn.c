/* http_conn.c - see http_conn.h: states and deadlines of connections, and how they are answered. */
#include "common/net/http_conn.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/base/json.h"

/* The loop whose thread this is. */
static __thread struct http_loop *this_loop;

void http_conn_loop_is(struct http_loop *l)
{
    this_loop = l;
}

/* -- the list of deadlines ---------------------------------------------------------------------- */

void http_conn_unlist(struct http_conn *k)
{
    struct http_loop *l = k->loop;
    *(k->before != NULL ? &k->before->after : &l->oldest) = k->after;
    *(k->after != NULL ? &k->after->before : &l->newest) = k->before;
    k->before = k->after = NULL;
}

void http_conn_list(struct http_conn *k)
{
    struct http_loop *l = k->loop;
    k->since_us = clock_now_us();
    k->before = l->newest;
    k->after = NULL;
    *(l->newest != NULL ? &l->newest->after : &l->oldest) = k;
    l->newest = k;
}

/* The deadline begins anew but from IDLE to TAKING. */
void http_conn_turn(struct http_conn *k, enum conn_state to)
{
    struct http_loop *l = k->loop;
    bool was_busy = k->state == CONN_TAKING || k->state == CONN_SENDING;
    bool is_busy = to == CONN_TAKING || to == CONN_SENDING;
    if (to != CONN_TAKING) {
        if (k->state != CONN_HELD) {
            http_conn_unlist(k);
        }
        if (to != CONN_HELD) {
            http_conn_list(k);
        }
    }
    l->held += (to == CONN_HELD) - (size_t)(k->state == CONN_HELD);
    l->busy += is_busy - (size_t)was_busy;
    k->state = to;
}

/* -- answers ------------------------------------------------------------------------------------ */

static char *error_text(const char *why)
{
    struct json *j = json_object();
    json_set_str(j, "error", why);
    char *text = json_text(j, 0);
    json_free(j);
    return text;
}

void http_answer_header(struct http_request *r, const char *name, const char *value)
{
    struct http_conn *k = (struct http_conn *)r;
    if (k->headers < HTTP_HEADERS_MAX) {
        k->header[k->headers][0] = name;
        k->header[k->headers++][1] = value;
    }
}

static void set_answer(struct http_conn *k, unsigned code, char *body, size_t n, const char *type)
{
    free(k->body);
    k->code = code;
    k->body = body;
    k->body_n = body != NULL ? n : 0;
    k->type = type != NULL ? type : "application/json";
    k->answered = true;
}

static void resume(struct http_conn *k)
{
    k->loop->resumed = true;
    MHD_resume_connection(k->mhd);
}

void http_answer(struct http_request *r, unsigned code, char *body, size_t n, const char *type)
{
    struct http_conn *k = (struct http_conn *)r;
    struct http_loop *l = k->loop;
    set_answer(k, code, body, n, type);
    if (this_loop == l) {
        if (k->state == CONN_HELD) { /* else: from `head` */
            resume(k);
        }
        return;
    }
    struct http_conn *top = atomic_load_explicit(&l->answered, memory_order_relaxed);
    do {
        k->answered_next = top;
    } while (!atomic_compare_exchange_weak_explicit(&l->answered, &top, k, memory_order_release,
                                                    memory_order_relaxed));
    if (top == NULL) { /* else whoever put the first has woken the loop, or is about to */
        wake_signal(&l->wake);
    }
}

void http_conn_take_answered(struct http_loop *l)
{
    struct http_conn *k = atomic_exchange_explicit(&l->answered, NULL, memory_order_acquire);
    while (k != NULL) {
        struct http_conn *next = k->answered_next;
        resume(k);
        k = next;
    }
}

void http_answer_error(struct http_request *r, unsigned code, const char *fmt, ...)
{
    char why[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    char *text = error_text(why);
    http_answer(r, code, text, strlen(text), NULL);
}

void http_conn_refuse(struct http_conn *k, unsigned code, const char *why)
{
    char *text = error_text(why);
    set_answer(k, code, text, strlen(text), NULL);
    k->refused = true;
}

/* Into a socket by hand, where libmicrohttpd has no place for an answer; what does not fit at once is lost. */
void http_conn_turn_away(int fd, unsigned code, const char *why)
{
    char text[768];
    char *body = error_text(why);
    int n = snprintf(text, sizeof(text),
                     "HTTP/1.1 %u %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                     "Connection: close\r\n\r\n%s",
                     code, MHD_get_reason_phrase_for(code), strlen(body), body);
    if (n > 0 && (size_t)n < sizeof(text)) {
        (void)!send(fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    free(body);
    (void)shutdown(fd, SHUT_RDWR);
}

void http_conn_cut(struct http_conn *k, unsigned code, const char *why)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(k->mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info != NULL && code != 0) {
        k->code = code;
        http_conn_turn_away(info->connect_fd, code, why);
    } else if (info != NULL) {
        (void)shutdown(info->connect_fd, SHUT_RDWR);
    }
}

enum MHD_Result http_conn_send(struct http_conn *k)
{
    struct MHD_Response *a = MHD_create_response_from_buffer(
        k->body_n, k->body, k->body != NULL ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (a == NULL) {
        return MHD_NO;
    }
    k->body = NULL;
    (void)MHD_add_response_header(a, "Content-Type", k->type);
    for (unsigned i = 0; i < k->headers; i++) {
        (void)MHD_add_response_header(a, k->header[i][0], k->header[i][1]);
    }
    if (k->close || atomic_load_explicit(k->loop->draining, memory_order_relaxed)) {
        (void)MHD_add_response_header(a, "Connection", "close");
    }
    http_conn_turn(k, CONN_SENDING);
    enum MHD_Result queued = MHD_queue_response(k->mhd, k->code, a);
    MHD_destroy_response(a);
    return queued;
}
