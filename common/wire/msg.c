/* msg.c - messages come from a free list, because they come by the hundred thousand a second.
 *
 * A struct msg is some ten kilobytes, since an ORDER carries the bucket map; what a pull or push needs of it
 * is two hundred bytes. So msg_new clears only the part of its kind. The list is bounded: a burst is given
 * back to malloc. Its lock is held for two pointers; a message is often freed by another thread than the one
 * that made it, which is why the lists aren't a thread's own.
 */
#include "common/wire/msg.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

enum { KEPT_MAX = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* -- under lock -- */
static struct msg *kept[KEPT_MAX];
static size_t kept_used;

static size_t body_bytes(enum msg_kind kind)
{
    const struct msg *m = NULL;
    switch (kind) {
    case MSG_ORDER: return sizeof m->u.order;
    case MSG_WORKER_STATE: return sizeof m->u.worker;
    case MSG_SHARD_STATE: return sizeof m->u.shard;
    case MSG_LEASE: return sizeof m->u.lease;
    case MSG_PULL: return sizeof m->u.pull;
    case MSG_ROWS: return sizeof m->u.rows;
    case MSG_PUSH: return sizeof m->u.push;
    case MSG_ACK: return sizeof m->u.ack;
    case MSG_REFUSED: return sizeof m->u.refused;
    case MSG_WATCH: return sizeof m->u.watch;
    case MSG_CUT: return sizeof m->u.cut;
    case MSG_FETCH: return sizeof m->u.fetch;
    case MSG_PIECE: return sizeof m->u.piece;
    case MSG_STATUS:
    case MSG_REPORT: return sizeof m->u.want_stop;
    }
    return sizeof m->u;
}

struct msg *msg_new(enum msg_kind kind)
{
    struct msg *m = NULL;
    pthread_mutex_lock(&lock);
    if (kept_used > 0)
        m = kept[--kept_used];
    pthread_mutex_unlock(&lock);
    if (m == NULL)
        m = mem_alloc(sizeof *m);
    memset(m, 0, offsetof(struct msg, u));
    memset(&m->u, 0, body_bytes(kind));
    memset(m->frame, 0, sizeof m->frame);
    m->frames = 0;
    m->kind = kind;
    return m;
}

void msg_free(struct msg *m)
{
    if (m == NULL)
        return;
    for (uint32_t i = 0; i < m->frames; i++)
        frame_release(&m->frame[i]);
    if (m->kind == MSG_ORDER)
        free(m->u.order.member);
    pthread_mutex_lock(&lock);
    if (kept_used < KEPT_MAX) {
        kept[kept_used++] = m;
        m = NULL;
    }
    pthread_mutex_unlock(&lock);
    free(m);
}

static void free_text(void *data, void *hint)
{
    (void)hint;
    TAKEN_OVER(data);
    free(data);
}

void msg_set_text(struct msg *m, const char *text)
{
    if (m->frames > 0)
        frame_release(&m->frame[0]);
    m->frames = 1;
    m->frame[0] = (struct frame){0};
    if (text[0] == '\0')
        return;
    m->frame[0] =
        (struct frame){.data = mem_strdup(text), .bytes = strlen(text), .release = free_text};
}

void msg_text(const struct msg *m, char *dst, size_t cap)
{
    size_t n = m->frames > 0 ? m->frame[0].bytes : 0;
    if (n > cap - 1)
        n = cap - 1;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = ((const unsigned char *)m->frame[0].data)[i];
        dst[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    dst[n] = '\0';
}

const char *msg_kind_name(enum msg_kind kind)
{
    static const char *const name[] = {
        "?",   "ORDER",  "WORKER_STATE", "SHARD_STATE", "LEASE", "PULL", "ROWS",  "PUSH",
        "ACK", "STATUS", "REPORT",       "REFUSED",     "WATCH", "CUT",  "FETCH", "PIECE"};
    return (unsigned)kind < sizeof name / sizeof name[0] ? name[kind] : "?";
}

const char *mode_name(enum mode mode)
{
    static const char *const name[] = {"-", "RECOVER", "RUN", "HOLD", "TAKE", "STOP"};
    return (unsigned)mode < sizeof name / sizeof name[0] ? name[mode] : "?";
}

const char *role_name(enum role role)
{
    static const char *const name[] = {"?", "head", "shard", "worker", "front", "follower"};
    return (unsigned)role < sizeof name / sizeof name[0] ? name[role] : "?";
}
