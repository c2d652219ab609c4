/* cut_writer.c - a queue of commands, a file a slot, and a thread (cut_writer.h).
 *
 * Bound: bytes on their way are reserved before they are made, so the queue holds at most bytes_max of them
 * plus a few commands a slot. Memory for them comes from the process's pool.
 * Threads: the writer owns `file`; a slot's thread is the only one that reserves for and commands it; the
 * two meet in queues.
 */
#include "ps/train/cut_writer.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/queue.h"
#include "common/base/thread.h"
#include "ps/snapshot/cut_file.h"

enum { COMMANDS_MAX = 1 << 16, RESULTS_MAX = 64, WAIT_US = 200000 };

enum command_kind { COMMAND_BEGIN, COMMAND_BYTES, COMMAND_END, COMMAND_ABORT };

struct command {
    enum command_kind kind;
    uint32_t slot;
    struct manifest_file what; /* begin */
    struct frame bytes;        /* bytes; owned */
};

struct slot {
    /* -- set once in attach -- */
    const struct wake *wake; /* borrowed */
    struct queue *results;   /* of struct cut_result, owned */
    /* -- writer thread only -- */
    struct cut_file *file; /* NULL: none open, or it failed */
    struct manifest_file what;
};

struct cut_writer {
    /* -- set once in start -- */
    struct cut_writer_conf conf;
    struct queue *commands;
    struct slot *slot; /* (slots) */
    struct thread thread;
    /* -- any thread -- */
    _Atomic uint64_t reserved;
};

static void tell(struct slot *s, enum status status, const char *text)
{
    struct cut_result *r = mem_zalloc(sizeof(*r));
    r->status = status;
    r->file = s->what;
    snprintf(r->text, sizeof(r->text), "%s", text);
    if (queue_push(s->results, r, WAIT_US) != ST_OK) {
        log_error("writer: shard %u takes no results; that of cut %llu is lost", s->what.shard,
                  (unsigned long long)s->what.k);
        free(r);
    }
    wake_signal(s->wake);
}

static void begin(struct cut_writer *w, struct slot *s, const struct command *c)
{
    struct errbuf err = ERRBUF_INIT;
    if (s->file != NULL)
        cut_file_abort(s->file);
    s->file = NULL;
    s->what = c->what;
    enum status st = cut_file_open(w->conf.dir, c->what.k, c->what.e, c->what.shard, c->what.full,
                                   true, &s->file, &err);
    if (st != ST_OK) {
        s->file = NULL;
        tell(s, st, err.text);
    }
}

static void add(struct slot *s, const struct command *c)
{
    struct errbuf err = ERRBUF_INIT;
    if (s->file == NULL)
        return;
    enum status st = cut_file_add(s->file, c->bytes.data, c->bytes.bytes, &err);
    if (st != ST_OK) {
        cut_file_abort(s->file);
        s->file = NULL;
        tell(s, st, err.text);
    }
}

static void end(struct slot *s)
{
    struct errbuf err = ERRBUF_INIT;
    struct manifest_file file = s->what;
    if (s->file == NULL)
        return;
    enum status st = cut_file_finish(s->file, &file, &err);
    s->file = NULL;
    if (st == ST_OK)
        s->what = file;
    tell(s, st, err.text);
}

static void obey(struct cut_writer *w, struct command *c)
{
    struct slot *s = &w->slot[c->slot];
    switch (c->kind) {
    case COMMAND_BEGIN: begin(w, s, c); break;
    case COMMAND_BYTES: add(s, c); break;
    case COMMAND_END: end(s); break;
    case COMMAND_ABORT:
        if (s->file != NULL)
            cut_file_abort(s->file);
        s->file = NULL;
        break;
    }
    if (c->kind == COMMAND_BYTES) {
        cut_writer_unreserve(w, c->bytes.bytes);
        wake_signal(s->wake);
    }
    frame_release(&c->bytes);
    free(c);
}

static void *run(void *arg)
{
    struct cut_writer *w = arg;
    for (;;) {
        void *c = NULL;
        enum status st = queue_pop(w->commands, &c, WAIT_US);
        if (st == ST_OK)
            obey(w, c);
        else if (st == ST_END)
            return NULL;
    }
}

enum status cut_writer_start(const struct cut_writer_conf *conf, struct cut_writer **out,
                             struct errbuf *err)
{
    struct cut_writer *w = mem_zalloc(sizeof(*w));
    w->conf = *conf;
    w->commands = queue_new(COMMANDS_MAX);
    w->slot = mem_array(conf->slots > 0 ? conf->slots : 1, sizeof(*w->slot));
    for (uint32_t i = 0; i < conf->slots; i++)
        w->slot[i].results = queue_new(RESULTS_MAX);
    enum status st = thread_start(&w->thread, "writer", run, w, err);
    if (st != ST_OK) {
        cut_writer_stop(w);
        return st;
    }
    *out = w;
    return ST_OK;
}

void cut_writer_stop(struct cut_writer *w)
{
    if (w == NULL)
        return;
    queue_close(w->commands);
    thread_stop(&w->thread);
    for (uint32_t i = 0; i < w->conf.slots; i++) {
        struct cut_result ignored;
        if (w->slot[i].file != NULL)
            cut_file_abort(w->slot[i].file);
        while (cut_writer_result(w, i, &ignored))
            continue;
        queue_free(w->slot[i].results);
    }
    queue_free(w->commands);
    free(w->slot);
    free(w);
}

void cut_writer_attach(struct cut_writer *w, uint32_t slot, const struct wake *wake)
{
    assert(slot < w->conf.slots);
    w->slot[slot].wake = wake;
}

bool cut_writer_reserve(struct cut_writer *w, size_t bytes)
{
    uint64_t now = atomic_load(&w->reserved);
    while (now + bytes <= w->conf.bytes_max)
        if (atomic_compare_exchange_weak(&w->reserved, &now, now + bytes))
            return true;
    return false;
}

void cut_writer_unreserve(struct cut_writer *w, size_t bytes)
{
    atomic_fetch_sub(&w->reserved, bytes);
}

static void command(struct cut_writer *w, const struct command *c)
{
    struct command *copy = mem_alloc(sizeof(*copy));
    *copy = *c;
    /* Cannot be full: the bytes on their way are bounded, and so are the commands between them. */
    if (queue_push(w->commands, copy, WAIT_US) != ST_OK) {
        log_error("writer: the queue is full or closed; a command of slot %u is lost", c->slot);
        frame_release(&copy->bytes);
        free(copy);
    }
}

void cut_writer_begin(struct cut_writer *w, uint32_t slot, const struct manifest_file *what)
{
    command(w, &(struct command){.kind = COMMAND_BEGIN, .slot = slot, .what = *what});
}

void cut_writer_bytes(struct cut_writer *w, uint32_t slot, const void *bytes, size_t n)
{
    struct command c = {.kind = COMMAND_BYTES, .slot = slot};
    c.bytes = frame_pool_get(w->conf.pool, n);
    memcpy(c.bytes.data, bytes, n);
    command(w, &c);
}

void cut_writer_end(struct cut_writer *w, uint32_t slot)
{
    command(w, &(struct command){.kind = COMMAND_END, .slot = slot});
}

void cut_writer_abort(struct cut_writer *w, uint32_t slot)
{
    command(w, &(struct command){.kind = COMMAND_ABORT, .slot = slot});
}

bool cut_writer_result(struct cut_writer *w, uint32_t slot, struct cut_result *out)
{
    void *item = NULL;
    if (queue_pop(w->slot[slot].results, &item, 0) != ST_OK)
        return false;
    *out = *(struct cut_result *)item;
    free(item);
    return true;
}
