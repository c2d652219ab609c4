/* run.c - see run.h.
 *
 * Ending is by protocol first (the head's STOP), then TERM, then KILL. mpirun answers TERM with one second
 * of waiting before its ranks hear of it and another before it kills them; killed itself, its ranks are gone
 * within three. So the grace that callers give is never below that.
 */
#include "launch/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

#define FOUND_US 10000000u

enum status run_init(struct run *r, struct errbuf *err)
{
    memset(r, 0, sizeof(*r));
    if (pipe2(r->lifeline, O_CLOEXEC) != 0) {
        return errbuf_errno(err, ST_IO, "pipe");
    }
    return ST_OK;
}

void run_release(struct run *r)
{
    close(r->lifeline[0]);
    close(r->lifeline[1]);
}

/* In the child: only calls that are safe after fork. */
static void become(const struct run *r, char *const *argv, bool own_group, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (own_group) {
        setpgid(0, 0);
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(1); /* the parent died between fork and prctl */
    }
    if (dup2(r->lifeline[0], STDIN_FILENO) < 0) {
        _exit(127);
    }
    execvp(argv[0], argv);
    dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

enum status run_start(struct run *r, const char *name, char *const *argv, bool own_group,
                      struct errbuf *err)
{
    if (r->children == RUN_CHILDREN_MAX) {
        return errbuf_set(err, ST_REFUSED, "more than %d processes", RUN_CHILDREN_MAX);
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        return errbuf_errno(err, ST_IO, "can't start %s: fork", name);
    }
    if (pid == 0) {
        become(r, argv, own_group, parent);
    }
    struct run_child *c = &r->child[r->children++];
    memset(c, 0, sizeof(*c));
    snprintf(c->name, sizeof(c->name), "%s", name);
    c->pid = pid;
    return ST_OK;
}

static void note_end(struct run_child *c, int status, const struct rusage *use)
{
    c->ended = true;
    c->rss_bytes = (uint64_t)use->ru_maxrss * 1024u;
    if (WIFSIGNALED(status)) {
        c->signal = WTERMSIG(status);
        c->code = 128 + c->signal;
    } else {
        c->code = WEXITSTATUS(status);
    }
}

void run_reap(struct run *r, const struct run_child **out_first_bad)
{
    for (size_t i = 0; i < r->children; i++) {
        struct run_child *c = &r->child[i];
        int status;
        struct rusage use;
        if (!c->ended && wait4(c->pid, &status, WNOHANG, &use) == c->pid) {
            note_end(c, status, &use);
            if (c->code != 0 && out_first_bad != NULL && *out_first_bad == NULL) {
                *out_first_bad = c;
            }
        }
    }
}

size_t run_alive(const struct run *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->children; i++) {
        n += r->child[i].ended ? 0 : 1;
    }
    return n;
}

static void signal_all(const struct run *r, int sig)
{
    for (size_t i = 0; i < r->children; i++) {
        if (!r->child[i].ended) {
            kill(r->child[i].pid, sig);
            if (sig == SIGKILL) {
                kill(-r->child[i].pid, sig); /* its group, where it leads one */
            }
        }
    }
}

static void wait_all(struct run *r, uint64_t until_us)
{
    while (run_alive(r) > 0 && clock_now_us() < until_us) {
        run_reap(r, NULL);
        if (run_alive(r) > 0) {
            clock_sleep_us(10000);
        }
    }
}

void run_end(struct run *r, uint64_t grace_us)
{
    run_reap(r, NULL);
    if (run_alive(r) == 0) {
        return;
    }
    signal_all(r, SIGTERM);
    wait_all(r, clock_now_us() + grace_us);
    signal_all(r, SIGKILL);
    wait_all(r, clock_now_us() + 10000000u);
}

void run_child_text(const struct run_child *c, char *dst, size_t cap)
{
    if (c->signal != 0) {
        snprintf(dst, cap, "%s was ended by signal %d (%s)", c->name, c->signal,
                 strsignal(c->signal));
    } else {
        snprintf(dst, cap, "%s ended with code %d", c->name, c->code);
    }
}

enum status run_program(const char *name, char *dst, size_t cap, struct errbuf *err)
{
    char self[1024];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n <= 0) {
        return errbuf_errno(err, ST_IO, "readlink /proc/self/exe");
    }
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    int used = snprintf(dst, cap, "%s/%s", self, name);
    if (used < 0 || (size_t)used >= cap) {
        return errbuf_set(err, ST_INTERNAL, "%s: path too long", self);
    }
    if (access(dst, X_OK) != 0) {
        return errbuf_set(err, ST_NOT_FOUND,
                          "%s is missing beside penstock; build all programs with `make`", dst);
    }
    return ST_OK;
}

bool run_found(const char *name)
{
    const char *argv[] = {"sh", "-c", "command -v \"$0\" >/dev/null", name, NULL};
    char *text = NULL;
    size_t n = 0;
    int code = 1;
    struct errbuf ignored = ERRBUF_INIT;
    enum status st = run_capture((char *const *)argv, 1, FOUND_US, &text, &n, &code, &ignored);
    free(text);
    return st == ST_OK && code == 0;
}

static void capture_child(int out_fd, char *const *argv)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out_fd, STDOUT_FILENO);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC); /* ssh and srun would read ours */
    if (nothing >= 0) {
        dup2(nothing, STDIN_FILENO);
    }
    execvp(argv[0], argv);
    dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static enum status read_all(int fd, size_t max, uint64_t until_us, struct buffer *buf,
                            struct errbuf *err)
{
    for (;;) {
        uint64_t now = clock_now_us();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (now >= until_us) {
            return errbuf_set(err, ST_TIMEOUT, "no end within the deadline");
        }
        int got = poll(&p, 1, (int)((until_us - now) / 1000u) + 1);
        if (got < 0 && errno != EINTR) {
            return errbuf_errno(err, ST_IO, "poll");
        }
        if (got <= 0) {
            continue;
        }
        char chunk[65536];
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno != EINTR) {
            return errbuf_errno(err, ST_IO, "read");
        }
        if (n == 0) {
            return ST_OK;
        }
        if (n > 0) {
            buffer_put(buf, chunk, (size_t)n);
        }
        if (buf->used > max) {
            return errbuf_set(err, ST_BAD_DATA, "it printed more than %zu bytes", max);
        }
    }
}

enum status run_capture(char *const *argv, size_t max, uint64_t deadline_us, char **out,
                        size_t *out_n, int *out_code, struct errbuf *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return errbuf_errno(err, ST_IO, "pipe");
    }
    pid_t pid = fork();
    if (pid < 0) {
        close(fds[0]);
        close(fds[1]);
        return errbuf_errno(err, ST_IO, "fork");
    }
    if (pid == 0) {
        capture_child(fds[1], argv);
    }
    close(fds[1]);
    struct buffer buf = BUFFER_INIT;
    enum status st = read_all(fds[0], max, clock_now_us() + deadline_us, &buf, err);
    close(fds[0]);
    if (st != ST_OK) {
        kill(pid, SIGKILL);
        errbuf_wrap(err, st, "%s", argv[0]);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (st != ST_OK) {
        buffer_release(&buf);
        return st;
    }
    *out_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    *out_n = buf.used;
    *out = mem_strdup(buffer_text(&buf));
    buffer_release(&buf);
    return ST_OK;
}
