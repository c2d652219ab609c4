/* thread.c - start a named thread, join it.
 *
 * Signals are blocked in every thread but the main one: SIGTERM and Ctrl-C then always arrive where the
 * process decides how to end, and never interrupt a shard in the middle of a write. The mask is set
 * before the thread exists, so there is no instant in which it could take one.
 */
#include "common/base/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

enum status thread_start(struct thread *t, const char *name, void *(*run)(void *), void *arg,
                         struct errbuf *err)
{
    sigset_t all, was;
    sigfillset(&all);
    /* A fault of our own must still end the process, with a core. */
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    int code = pthread_create(&t->id, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    if (code != 0) {
        t->started = 0;
        errno = code;
        return errbuf_errno(err, code == EAGAIN ? ST_NO_MEMORY : ST_INTERNAL, "thread %s", name);
    }
    char short_name[16]; /* the kernel's limit */
    snprintf(short_name, sizeof short_name, "%s", name);
    pthread_setname_np(t->id, short_name);
    t->started = 1;
    return ST_OK;
}

void thread_stop(struct thread *t)
{
    if (!t->started)
        return;
    pthread_join(t->id, NULL);
    t->started = 0;
}
