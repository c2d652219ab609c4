/* fetcher.c - see fetcher.h. */
#include "ps/serve/fetcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/wire/limits.h"

#define PATIENCE_US    500000u
#define PATIENCE_TIMES 16u /* what a question's deadline may grow to */

void fetcher_init(struct fetcher *f, uint64_t first_request, uint64_t patience_us)
{
    memset(f, 0, sizeof(*f));
    f->request = first_request;
    f->patience_us = patience_us != 0 ? patience_us : PATIENCE_US;
}

void fetcher_release(struct fetcher *f)
{
    free(f->range);
    memset(f, 0, sizeof(*f));
}

static void begin(struct fetcher *f)
{
    memset(f->ask, 0, sizeof(f->ask));
    free(f->range);
    f->range = NULL;
    f->ranges = f->at_range = 0;
    f->at_byte = 0;
    f->total = 0;
    f->watching = false;
    f->state = FETCHER_BUSY;
}

void fetcher_watch(struct fetcher *f, uint64_t after, uint64_t below, uint64_t wait_us)
{
    begin(f);
    f->watching = true;
    f->watch = (struct msg_watch){.after = after, .below = below, .wait_us = wait_us};
    f->ask[0].wait_us = wait_us + f->patience_us;
}

void fetcher_file(struct fetcher *f, const char *name, uint8_t *to,
                  const struct fetcher_range *range, size_t ranges)
{
    begin(f);
    snprintf(f->name, sizeof(f->name), "%s", name);
    f->to = to;
    f->range = mem_array(ranges > 0 ? ranges : 1, sizeof(*f->range));
    memcpy(f->range, range, ranges * sizeof(*range));
    f->ranges = ranges;
    f->state = ranges > 0 ? FETCHER_BUSY : FETCHER_DONE;
}

/* -- asking -- */

static uint64_t new_request(struct fetcher *f)
{
    f->request += f->request == UINT64_MAX ? 2 : 1; /* 0 means none */
    return f->request;
}

/* The next piece that was never asked for. */
static bool next_piece(struct fetcher *f, struct fetcher_ask *out)
{
    if (f->at_range == f->ranges) {
        return false;
    }
    const struct fetcher_range *r = &f->range[f->at_range];
    const uint64_t left = r->bytes - f->at_byte;
    *out = (struct fetcher_ask){.offset = r->offset + f->at_byte,
                                .bytes = left < WIRE_PIECE_MAX ? left : WIRE_PIECE_MAX,
                                .wait_us = f->patience_us};
    f->at_byte += out->bytes;
    if (f->at_byte == r->bytes) {
        f->at_range++;
        f->at_byte = 0;
    }
    return true;
}

static void spell(struct fetcher *f, struct fetcher_ask *a, uint64_t now_us,
                  struct fetcher_question *out)
{
    if (a->request == 0) {
        a->request = new_request(f);
    } else {
        f->retried++;
        a->wait_us = 2 * a->wait_us < PATIENCE_TIMES * f->patience_us
                         ? 2 * a->wait_us
                         : PATIENCE_TIMES * f->patience_us;
        if (f->watching) {
            a->wait_us = f->watch.wait_us + f->patience_us;
        }
    }
    a->at_us = now_us;
    memset(out, 0, sizeof(*out));
    out->is_watch = f->watching;
    if (f->watching) {
        out->watch = f->watch;
        out->watch.request = a->request;
        return;
    }
    out->fetch.request = a->request;
    out->fetch.offset = a->offset;
    out->fetch.bytes = a->bytes;
    memcpy(out->fetch.name, f->name, sizeof(out->fetch.name));
}

bool fetcher_next(struct fetcher *f, uint64_t now_us, struct fetcher_question *out)
{
    const size_t window = f->watching ? 1 : FETCHER_WINDOW;
    for (size_t i = 0; f->state == FETCHER_BUSY && i < window; i++) {
        struct fetcher_ask *a = &f->ask[i];
        if (a->request != 0 ? now_us - a->at_us >= a->wait_us : f->watching || next_piece(f, a)) {
            spell(f, a, now_us, out);
            return true;
        }
    }
    return false;
}

uint64_t fetcher_wake_us(const struct fetcher *f)
{
    uint64_t wake = UINT64_MAX;
    for (size_t i = 0; i < FETCHER_WINDOW; i++) {
        const struct fetcher_ask *a = &f->ask[i];
        if (a->request != 0 && a->at_us + a->wait_us < wake) {
            wake = a->at_us + a->wait_us;
        }
    }
    return wake;
}

/* -- answers -- */

static struct fetcher_ask *find(struct fetcher *f, uint64_t request)
{
    for (size_t i = 0; f->state == FETCHER_BUSY && request != 0 && i < FETCHER_WINDOW; i++) {
        if (f->ask[i].request == request) {
            return &f->ask[i];
        }
    }
    f->refused++;
    return NULL;
}

bool fetcher_take_cut(struct fetcher *f, const struct msg_cut *c)
{
    if (!f->watching || find(f, c->request) == NULL) {
        return false;
    }
    f->ask[0].request = 0;
    f->cut = *c;
    f->state = FETCHER_DONE;
    return true;
}

static bool all_in(const struct fetcher *f)
{
    for (size_t i = 0; i < FETCHER_WINDOW; i++) {
        if (f->ask[i].request != 0) {
            return false;
        }
    }
    return f->at_range == f->ranges;
}

bool fetcher_take_piece(struct fetcher *f, const struct msg_piece *p, const void *bytes, size_t n)
{
    struct fetcher_ask *a = f->watching ? NULL : find(f, p->request);
    if (a == NULL) {
        return false;
    }
    if (p->gone) {
        f->state = FETCHER_GONE;
        return true;
    }
    /* A shorter piece is the end of a file that is shorter than what was asked for: not the file that was meant. */
    if (p->offset != a->offset || n != a->bytes || hash_bytes(bytes, n, 0) != p->xxh3) {
        const bool ended =
            p->offset + n == p->total && n < a->bytes && hash_bytes(bytes, n, 0) == p->xxh3;
        f->refused++;
        f->total = ended ? p->total : f->total;
        f->state = ended ? FETCHER_GONE : f->state;
        return ended;
    }
    memcpy(f->to + a->offset, bytes, n);
    a->request = 0;
    f->total = p->total;
    f->got_bytes += n;
    f->state = all_in(f) ? FETCHER_DONE : FETCHER_BUSY;
    return true;
}
