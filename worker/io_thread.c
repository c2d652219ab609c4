/* io_thread.c - the loop around the client core (client_step.h).
 *
 * One turn: wait (messages, works from the other threads, the next tick), then give the core filled and
 * computed works, the head's words, the shards' answers, and the tick.
 *
 * Works: filled ones become CLIENT_BATCH; CLIENT_ROWS sends one to compute; computed ones become CLIENT_GRADS
 * (training) or CLIENT_DROP (scored, or void after a reset); CLIENT_DONE sends it home to idle. A filled work
 * of an older generation goes home at once: the core never saw it.
 *
 * Everything here belongs to the io thread.
 */
#include "worker/io_thread.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/thread.h"
#include "common/net/head_link.h"
#include "common/net/listen_clock.h"

enum { POOL_BYTES_MAX = 256 << 20, LEASES_AT_ONCE = 2, ORDERS_A_TURN = 16, ANSWERS_A_TURN = 64 };

struct io_thread {
    /* -- set once in start -- */
    struct pipeline *p; /* borrowed */
    struct endpoint_hub *hub;
    struct frame_pool *pool;
    struct endpoint_conf conf;
    struct thread thread;
    uint64_t tick_every_us;
    /* -- io thread only -- */
    struct client *core;
    struct listen_clock clock;
    struct head_link head;
    struct endpoint **shard; /* (shards) owned */
    uint32_t shards;
    struct endpoint_set *set;
    uint64_t tick_us, rss_bytes;
    bool fault_told;
};

static void step(struct io_thread *t, const struct client_event *ev);

static void connect_shards(struct io_thread *t, const struct msg_order *o)
{
    struct errbuf err = ERRBUF_INIT;
    for (uint32_t s = o->shards; s < t->shards; s++)
        endpoint_close(t->shard[s]);
    t->shard = mem_realloc(t->shard, o->shards * sizeof(struct endpoint *));
    for (uint32_t s = t->shards; s < o->shards; s++)
        t->shard[s] = NULL;
    t->shards = o->shards;
    for (uint32_t s = 0; s < o->shards; s++) {
        const char *address = o->member[s].address;
        if (t->shard[s] != NULL && strcmp(endpoint_address(t->shard[s]), address) == 0)
            continue;
        endpoint_close(t->shard[s]);
        t->shard[s] = NULL;
        enum status st = endpoint_dial(t->hub, &t->conf, address, &t->shard[s], &err);
        if (st != ST_OK)
            pipeline_fault(t->p, st, "shard %" PRIu32 ": %s", s, err.text);
        else
            log_info("shard %" PRIu32 ": at %s", s, address);
    }
    /* The order of records is a function of their number: both sides must mean the same log. */
    if (!t->p->run->job.train.window && !job_follows(&t->p->run->job) &&
        o->records != t->p->train_rows)
        pipeline_fault(t->p, ST_FAULT,
                       "the head's log has %" PRIu64 " records, the cache here %" PRIu64,
                       o->records, t->p->train_rows);
}

static void send(struct io_thread *t, uint32_t to, struct msg *m)
{
    if (to == CLIENT_TO_HEAD)
        head_link_send(&t->head, &m);
    else if (to < t->shards && t->shard[to] != NULL)
        (void)endpoint_send(t->shard[to], ENDPOINT_PEER, &m);
    else
        msg_free(m);
}

static void give_task(struct io_thread *t, enum task_kind kind, const struct msg_lease *lease,
                      bool of_train)
{
    struct task *task = mem_zalloc(sizeof(*task));
    task->kind = kind;
    task->generation = atomic_load(&t->p->generation);
    task->lease = *lease;
    task->of_train = of_train;
    if (queue_push(t->p->tasks, task, 0) != ST_OK) {
        pipeline_fault(t->p, ST_FAULT, "more leases than this worker can remember");
        free(task);
    }
}

static void begin_evaluation(struct io_thread *t, uint64_t number, const struct msg_order *o)
{
    const bool of_train = o->evaluate_records > 0;
    const uint64_t rows = of_train ? o->evaluate_records : t->p->valid_rows;
    struct msg_lease share = {
        .first = o->evaluate_first, .records = o->evaluate_records, .segment = o->evaluate_segment};
    if (of_train && o->evaluate_segment == 0 &&
        (o->evaluate_first > t->p->train_rows ||
         o->evaluate_records > t->p->train_rows - o->evaluate_first)) {
        pipeline_fault(t->p, ST_FAULT, "a window of records behind the end of the train part");
        return;
    }
    pipeline_share(t->p, rows, &share.begin, &share.end);
    struct work *token = mem_zalloc(sizeof(*token));
    token->share = share.end - share.begin;
    token->kind = WORK_EVALUATE;
    token->generation = atomic_load(&t->p->generation);
    token->evaluate = number;
    log_info("evaluation %" PRIu64 ": records [%" PRIu64 ", %" PRIu64 ") of %" PRIu64 "%s", number,
             share.begin, share.end, rows,
             o->evaluate_segment > 0 ? " of the next segment"
             : of_train              ? " of the next window"
                                     : "");
    /* First the token, then its batches. */
    pipeline_pass(t->p, t->p->ready, token);
    give_task(t, TASK_EVALUATE, &share, of_train);
}

static void act(struct io_thread *t, const struct client_action *a)
{
    struct pipeline *p = t->p;
    switch (a->kind) {
    case CLIENT_SEND: send(t, a->to, a->msg); break;
    case CLIENT_CONNECT: connect_shards(t, a->order); break;
    case CLIENT_ROWS: pipeline_pass(p, p->ready, a->flight->user); break;
    case CLIENT_DONE: pipeline_pass(p, p->idle, a->flight->user); break;
    case CLIENT_LEASE: give_task(t, TASK_LEASE, &a->lease, true); break;
    case CLIENT_EVALUATE: begin_evaluation(t, a->evaluate, a->order); break;
    case CLIENT_RESET:
        atomic_fetch_add(&p->generation, 1);
        log_info("a new incarnation: all that was under way is void");
        break;
    case CLIENT_NOTE: log_info("%s", a->text); break;
    case CLIENT_EXIT:
        log_at(a->code == 0 ? LOG_INFO : LOG_ERROR, "ends with code %d: %s", a->code, a->text);
        pipeline_end(p, a->code, a->text);
        break;
    }
}

static void step(struct io_thread *t, const struct client_event *ev)
{
    const struct client_action *a = NULL;
    size_t n = 0;
    client_step(t->core, ev, &a, &n);
    for (size_t i = 0; i < n; i++)
        act(t, &a[i]);
}

/* -- works -- */

static void take_filled(struct io_thread *t)
{
    void *item = NULL;
    while (queue_pop(t->p->filled, &item, 0) == ST_OK) {
        struct work *w = item;
        if (!pipeline_valid(t->p, w->generation)) {
            pipeline_pass(t->p, t->p->idle, w);
            continue;
        }
        step(t, &(struct client_event){.kind = CLIENT_BATCH,
                                       .now_us = listen_clock_now(&t->clock),
                                       .flight = &w->flight});
    }
}

static void take_computed(struct io_thread *t)
{
    void *item = NULL;
    while (queue_pop(t->p->computed, &item, 0) == ST_OK) {
        struct work *w = item;
        struct client_event ev = {.now_us = listen_clock_now(&t->clock)};
        if (w->kind == WORK_EVALUATE) {
            ev.kind = CLIENT_EVALUATED;
            ev.evaluate = w->evaluate;
            ev.result = w->result;
            if (pipeline_valid(t->p, w->generation))
                step(t, &ev);
            free(w);
            continue;
        }
        ev.kind = w->computed ? CLIENT_GRADS : CLIENT_DROP;
        ev.flight = &w->flight;
        step(t, &ev);
    }
}

static void take_messages(struct io_thread *t)
{
    struct msg *m = NULL;
    uint64_t route = 0;
    for (unsigned i = 0; i < ORDERS_A_TURN; i++) {
        m = head_link_recv(&t->head, listen_clock_now(&t->clock));
        if (m == NULL)
            break;
        step(t, &(struct client_event){
                    .kind = CLIENT_MSG, .now_us = listen_clock_now(&t->clock), .msg = m});
    }
    for (uint32_t s = 0; s < t->shards; s++) {
        for (unsigned i = 0; i < ANSWERS_A_TURN && t->shard[s] != NULL; i++) {
            if (endpoint_recv(t->shard[s], &m, &route) != ST_OK)
                break;
            step(t, &(struct client_event){
                        .kind = CLIENT_MSG, .now_us = listen_clock_now(&t->clock), .msg = m});
        }
    }
}

static void tell_fault(struct io_thread *t)
{
    char fault[WHY_MAX];
    pthread_mutex_lock(&t->p->lock);
    memcpy(fault, t->p->fault, sizeof(fault));
    int code = t->p->fault_code;
    pthread_mutex_unlock(&t->p->lock);
    if (fault[0] == 0 || t->fault_told)
        return;
    t->fault_told = true;
    step(t, &(struct client_event){.kind = CLIENT_FAULT,
                                   .now_us = listen_clock_now(&t->clock),
                                   .fault = fault,
                                   .fault_code = code});
}

/* Each turn, not each tick: the STATE that says "idle" goes out at once and ends the epoch. */
static void refresh_totals(struct io_thread *t)
{
    struct client_epoch totals;
    pipeline_totals(t->p, &totals);
    client_totals(t->core, &totals, t->rss_bytes);
}

static void tick(struct io_thread *t, uint64_t now_us)
{
    if (now_us < t->tick_us)
        return;
    t->tick_us = now_us + t->tick_every_us;
    t->rss_bytes = mem_rss_peak_bytes();
    head_link_tick(&t->head, now_us);
    step(t, &(struct client_event){.kind = CLIENT_TICK, .now_us = now_us});
}

/* -- the loop -- */

static void wait(struct io_thread *t)
{
    uint64_t now_us = listen_clock_now(&t->clock);
    endpoint_set_clear(t->set);
    size_t fd = endpoint_set_add_fd(t->set, t->p->io_wake.fd);
    if (t->head.ep != NULL)
        endpoint_set_add(t->set, t->head.ep);
    for (uint32_t s = 0; s < t->shards; s++)
        if (t->shard[s] != NULL)
            endpoint_set_add(t->set, t->shard[s]);
    endpoint_set_wait(t->set, t->tick_us > now_us ? t->tick_us - now_us : 0);
    if (endpoint_set_ready(t->set, fd))
        wake_clear(&t->p->io_wake);
}

static void say_end(const struct io_thread *t)
{
    const struct histogram *stalls = client_stalls(t->core);
    log_info("%" PRIu64 " pushes; a computed batch waited for its push %.0f us on average, at most "
             "%" PRIu64 " us",
             stalls->count, histogram_mean(stalls), stalls->max);
}

static void *run(void *arg)
{
    struct io_thread *t = arg;
    listen_clock_init(&t->clock, t->tick_every_us);
    while (!atomic_load(&t->p->ended)) {
        wait(t);
        refresh_totals(t);
        take_filled(t);
        take_computed(t);
        take_messages(t);
        tell_fault(t);
        tick(t, listen_clock_now(&t->clock));
    }
    say_end(t);
    return NULL;
}

static struct client *make_core(struct io_thread *t, uint64_t world)
{
    const struct job *job = &t->p->run->job;
    struct client_conf conf = {.job = t->conf.job,
                               .boot = t->conf.boot,
                               .world = world,
                               .rank = t->p->rank,
                               .world_size = t->p->size,
                               .plan = &t->p->run->plan,
                               .permits = (uint32_t)job->train.staleness + 1,
                               .dealt = job_deals(job),
                               .clocks = job->train.consistency != JOB_ASYNC,
                               .allreduce = job_allreduces(job),
                               .dense_apart =
                                   job_allreduces(job) && job->train.consistency != JOB_BSP,
                               .leases_max = LEASES_AT_ONCE,
                               .beat_us = job->cluster.beat,
                               .resend_us = job->cluster.resend,
                               .orphan_us = job->cluster.orphan,
                               .pool = t->pool};
    return client_new(&conf);
}

enum status io_thread_start(struct pipeline *p, uint64_t world, struct io_thread **out,
                            struct errbuf *err)
{
    const struct job *job = &p->run->job;
    struct io_thread *t = mem_zalloc(sizeof(*t));
    t->p = p;
    t->tick_every_us =
        job->cluster.beat < job->cluster.resend / 2 ? job->cluster.beat : job->cluster.resend / 2;
    t->set = endpoint_set_new();
    enum status st = endpoint_hub_new(&t->hub, err);
    if (st == ST_OK) {
        t->pool = frame_pool_new(POOL_BYTES_MAX);
        t->conf = (struct endpoint_conf){.job = p->run->job_id,
                                         .boot = rng_os_u64(),
                                         .role = ROLE_WORKER,
                                         .sender = p->rank,
                                         .pool = t->pool};
        head_link_init(&t->head, t->hub, p->run->path, &t->conf, job->cluster.beat);
        t->core = make_core(t, world);
        st = thread_start(&t->thread, "io", run, t, err);
    }
    if (st != ST_OK) {
        io_thread_stop(t);
        return st;
    }
    *out = t;
    return ST_OK;
}

void io_thread_stop(struct io_thread *t)
{
    if (t == NULL)
        return;
    thread_stop(&t->thread);
    client_free(t->core);
    head_link_release(&t->head);
    for (uint32_t s = 0; s < t->shards; s++)
        endpoint_close(t->shard[s]);
    free(t->shard);
    endpoint_set_free(t->set);
    /* Frames on their way belong to ZeroMQ until its context has ended. */
    endpoint_hub_free(t->hub);
    frame_pool_free(t->pool);
    free(t);
}
