/* ps_main.c - penstock-ps: a server process. It hosts shards, and one of them all hosts the head.
 *
 *     penstock-ps --dir DIR --server I --servers N [--head] [--lifeline]
 *
 * The main thread starts a thread for each shard j with j % N == I, the writer, and the head where asked,
 * and then waits: for signals (a signalfd), for the lifeline (standard input, whose end means that the
 * front is gone), and for threads that ended.
 *
 *   first TERM, INT  with the head: it ends the run gracefully; else nothing, the head will end us
 *   second           exit 1 at once
 *   lifeline, HUP    exit 1 at once; HUP comes from the kernel when our parent dies (PR_SET_PDEATHSIG)
 *   a thread ends    with a code: the others are told to end, too; else wait for the rest, with a deadline
 *                    once the head has ended
 *
 * Exit code: that of the head, else of the first shard that ended with one.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/options.h"
#include "common/base/thread.h"
#include "ps/train/head_thread.h"
#include "ps/train/shard_thread.h"
#include "ps/train/stream_thread.h"

enum { POLL_MS = 1000, REST_US = 5000000, CLOSE_US = 10000000 };

struct call {
    const char *dir;
    uint64_t server, servers;
    bool head, lifeline;
};

struct ps {
    struct ps_run run;
    struct head_thread *head;     /* NULL: elsewhere */
    struct stream_thread *stream; /* beside the head; NULL: none */
    struct shard_thread **shard;  /* (shards) */
    uint32_t shards;
    int signals;      /* signalfd */
    unsigned asked;   /* TERM and INT so far */
    uint64_t rest_us; /* deadline for the rest, once the head has ended; 0 = none */
    int code;
};

static const char usage[] =
    "usage: penstock-ps --dir DIR --server I --servers N [--head] [--lifeline]\n"
    "  --dir DIR      the run's folder, prepared by `penstock train`\n"
    "  --server I     this is server I of N; it hosts the shards j with j % N = I\n"
    "  --head         the head of the run lives here, too\n"
    "  --lifeline     end when standard input ends\n";

/* The value behind argv[*i], or NULL. */
static const char *value(int argc, char **argv, int *i)
{
    return *i + 1 < argc ? argv[++*i] : NULL;
}

/* getopt.h is not used: its struct option is not ours. */
static enum status parse_call(int argc, char **argv, struct call *out, struct errbuf *err)
{
    struct call c = {.servers = 1};
    enum status st = ST_OK;
    for (int i = 1; i < argc && st == ST_OK; i++) {
        const char *name = argv[i], *v = NULL;
        if (strcmp(name, "--head") == 0)
            c.head = true;
        else if (strcmp(name, "--lifeline") == 0)
            c.lifeline = true;
        else if ((v = value(argc, argv, &i)) == NULL)
            st = errbuf_set(err, ST_USAGE, "%s is not known or has no value\n%s", name, usage);
        else if (strcmp(name, "--dir") == 0)
            c.dir = v;
        else if (strcmp(name, "--server") == 0)
            st = option_parse_u64(v, name, 0, SHARDS_MAX, &c.server, err);
        else if (strcmp(name, "--servers") == 0)
            st = option_parse_u64(v, name, 1, SHARDS_MAX, &c.servers, err);
        else
            st = errbuf_set(err, ST_USAGE, "%s is not known\n%s", name, usage);
    }
    if (st != ST_OK)
        return st;
    if (c.dir == NULL || c.server >= c.servers)
        return errbuf_set(err, ST_USAGE, "%s", usage);
    *out = c;
    return ST_OK;
}

/* Blocked before any thread is made; from here on they come by the descriptor. */
static enum status take_signals(struct ps *ps, bool lifeline, struct errbuf *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    ps->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (ps->signals < 0)
        return errbuf_errno(err, ST_INTERNAL, "signalfd");
    if (lifeline)
        prctl(PR_SET_PDEATHSIG, SIGHUP);
    return ST_OK;
}

static _Noreturn void leave_now(const char *why)
{
    log_error("%s: exit 1 now", why);
    _exit(1);
}

static void on_signal(struct ps *ps)
{
    struct signalfd_siginfo info;
    while (read(ps->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGHUP)
            leave_now("the process that started this one is gone (or HUP)");
        if (++ps->asked > 1)
            leave_now("asked to end twice");
        log_info("asked to end: %s",
                 ps->head != NULL ? "the head makes a cut first" : "the head will say when");
        if (ps->head != NULL)
            head_thread_ask_stop(ps->head);
    }
}

/* The lifeline is never written to: readable means its end. */
static void on_lifeline(void)
{
    char byte;
    ssize_t n = read(STDIN_FILENO, &byte, 1);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        leave_now("the lifeline broke: the front is gone");
}

static void tell_stop(struct ps *ps)
{
    atomic_store(&ps->run.stop, true);
    for (uint32_t i = 0; i < ps->shards; i++)
        if (ps->shard[i] != NULL)
            shard_thread_wake(ps->shard[i]);
    if (ps->head != NULL)
        head_thread_wake(ps->head);
}

/* Look at all threads; true when all have ended. */
static bool look_around(struct ps *ps)
{
    bool all = true, bad = false, head_ended = false;
    int code = 0, head_code = 0;
    for (uint32_t i = 0; i < ps->shards; i++) {
        if (ps->shard[i] == NULL)
            continue;
        if (!shard_thread_ended(ps->shard[i], &code))
            all = false;
        else if (code != 0) {
            bad = true;
            ps->code = ps->code != 0 ? ps->code : code;
        }
    }
    if (ps->head != NULL) {
        head_ended = head_thread_ended(ps->head, &head_code);
        if (head_ended && head_code != 0)
            ps->code = head_code;
        all = all && head_ended;
    }
    uint64_t now_us = clock_now_us();
    if ((head_ended || bad) && ps->rest_us == 0)
        ps->rest_us = now_us + REST_US;
    if (!all && ps->rest_us != 0 && now_us >= ps->rest_us && !atomic_load(&ps->run.stop)) {
        log_warn("the rest of this process did not end in time: it is told to");
        tell_stop(ps);
    }
    return all;
}

static void wait_for_end(struct ps *ps, bool lifeline)
{
    struct pollfd fd[] = {{.fd = ps->signals, .events = POLLIN},
                          {.fd = ps->run.main_wake.fd, .events = POLLIN},
                          {.fd = lifeline ? STDIN_FILENO : -1, .events = POLLIN}};
    while (!look_around(ps)) {
        if (poll(fd, 3, POLL_MS) < 0)
            continue;
        wake_clear(&ps->run.main_wake);
        on_signal(ps);
        if (lifeline && fd[2].revents != 0)
            on_lifeline();
    }
}

static enum status start_threads(struct ps *ps, const struct call *c, struct errbuf *err)
{
    enum status st = ST_OK;
    ps->shards = ps_run_shards(&ps->run);
    ps->shard = mem_array(ps->shards > 0 ? ps->shards : 1, sizeof(struct shard_thread *));
    for (uint32_t i = 0; st == ST_OK && i < ps->shards; i++)
        st = shard_thread_start(&ps->run, (uint32_t)c->server + i * (uint32_t)c->servers, i,
                                &ps->shard[i], err);
    if (st == ST_OK && c->head)
        st = head_thread_start(&ps->run, &ps->head, err);
    if (st == ST_OK && c->head)
        st = stream_thread_start(&ps->run, &ps->stream, err);
    return st;
}

/* A file system that does not answer must not keep the process: nobody waits for what is closed here. */
static void *watchdog(void *arg)
{
    clock_sleep_us(CLOSE_US);
    log_error("closing takes too long: exit %d", *(int *)arg);
    _exit(*(int *)arg);
}

static void close_all(struct ps *ps)
{
    pthread_t dog;
    static int code;
    code = ps->code != 0 ? ps->code : 1;
    if (pthread_create(&dog, NULL, watchdog, &code) == 0)
        pthread_detach(dog);
    cut_writer_stop(ps->run.writer); /* first: it signals the shards' wakes */
    ps->run.writer = NULL;
    for (uint32_t i = 0; i < ps->shards; i++)
        shard_thread_stop(ps->shard[i]);
    head_thread_stop(ps->head);
    stream_thread_stop(ps->stream);
    free(ps->shard);
    ps_run_close(&ps->run);
    close(ps->signals);
}

static enum status serve(struct ps *ps, const struct call *c, struct errbuf *err)
{
    enum status st = take_signals(ps, c->lifeline, err);
    if (st != ST_OK)
        return st;
    st = ps_run_open(c->dir, (uint32_t)c->server, (uint32_t)c->servers, &ps->run, err);
    if (st != ST_OK) {
        close(ps->signals);
        return st;
    }
    st = start_threads(ps, c, err);
    if (st != ST_OK)
        tell_stop(ps);
    wait_for_end(ps, c->lifeline);
    close_all(ps);
    return st;
}

int main(int argc, char **argv)
{
    struct call call = {.servers = 1};
    struct ps ps = {.signals = -1};
    struct errbuf err = ERRBUF_INIT;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    enum status st = parse_call(argc, argv, &call, &err);
    if (st == ST_OK)
        st = serve(&ps, &call, &err);
    if (st != ST_OK) {
        log_error("%s", err.text);
        fprintf(stderr, "penstock-ps: %s\n", err.text);
        return status_exit_code(st);
    }
    log_info("ended with code %d", ps.code);
    log_close();
    return ps.code;
}
