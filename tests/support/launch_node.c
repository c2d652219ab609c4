/* launch_node.c - see launch_node.h. One lock around everything but sockets: simple, and quick enough. */
#include "tests/support/launch_node.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/mem.h"

#define CONNECTIONS_MAX 256
#define USERS_MAX       20000
#define ITEMS_MAX       20000
#define IDS_MAX         (1u << 17)
#define TIMES_MAX       20000

struct node {
    struct node_ways ways;
    char url[64];
    int listen_fd;
    pthread_t acceptor, server[CONNECTIONS_MAX];
    int fd[CONNECTIONS_MAX];
    size_t connections;
    atomic_uint_fast64_t in_flight;
    pthread_mutex_t lock;
    /* -- under the lock -- */
    struct node_counts counts;
    uint64_t version, events_asked;
    uint64_t *ids; /* (IDS_MAX) hashes of event ids, open addressing */
    uint32_t heard[USERS_MAX];
    bool user[USERS_MAX], item[ITEMS_MAX];
    uint64_t time[TIMES_MAX];
    char problem[300];
};

struct answer {
    int status;
    bool cut, mute;
    struct buffer body;
};

struct call {
    struct node *node;
    size_t at;
};

static void complain(struct node *n, const char *what, const char *body)
{
    if (n->problem[0] == '\0')
        snprintf(n->problem, sizeof n->problem, "%.90s: %.200s", what, body);
}

static bool due(unsigned every, uint64_t count)
{
    return every > 0 && count % every == 0;
}

static uint64_t id_of(const struct json *j, const char *key)
{
    return strtoull(json_str(j, key, "0"), NULL, 10);
}

/* ---- the routes, under the lock ----------------------------------------------------------------- */

struct ranked {
    uint64_t item;
    double score;
};

static int by_score(const void *a, const void *b)
{
    double x = ((const struct ranked *)a)->score, y = ((const struct ranked *)b)->score;
    return x > y ? -1 : x < y;
}

static double score_of(struct node *n, uint64_t user, uint64_t item, const struct json *context)
{
    uint64_t heard = user < USERS_MAX ? n->heard[user] : 0;
    if (n->ways.score != NULL)
        return n->ways.score(n->ways.arg, user, item, json_u64(context, "hour", 99),
                             json_str(context, "device", ""));
    uint64_t x = hash_u64(item * 1000003 + user + n->version * 77 + (n->ways.listens ? heard : 0));
    return (double)(x >> 11) / 9007199254740992.0;
}

static size_t rank_items(struct node *n, const struct json *j, struct ranked *r, size_t max)
{
    const struct json *items = json_get(j, "items");
    size_t k = json_len(items);
    k = k < max ? k : max;
    for (size_t i = 0; i < k; i++) {
        r[i].item = strtoull(json_str(json_at(items, i), NULL, "0"), NULL, 10);
        r[i].score = score_of(n, id_of(j, "user_id"), r[i].item, json_get(j, "context"));
    }
    if (items == NULL) /* of a recommendation: the first fifty */
        for (; k < 50; k++) {
            r[k].item = k + 1;
            r[k].score = score_of(n, id_of(j, "user_id"), k + 1, json_get(j, "context"));
        }
    qsort(r, k, sizeof *r, by_score);
    size_t wanted = (size_t)json_u64(j, "n", k);
    return wanted < k ? wanted : k;
}

static void note_rank(struct node *n, const struct json *j, const char *body)
{
    uint64_t user = id_of(j, "user_id");
    if (n->counts.ranks <= TIMES_MAX)
        n->time[n->counts.ranks - 1] = clock_now_us();
    n->counts.unlogged += !json_bool(j, "log", true);
    n->counts.asked = hash_bytes(body, strlen(body), n->counts.asked);
    if (user == 0 || user >= USERS_MAX || json_get(j, "session_id") == NULL ||
        json_u64(j, "context.hour", 99) > 23)
        complain(n, "rank", body);
}

static void answer_rank(struct node *n, const struct json *j, const char *body, struct answer *a)
{
    const struct node_ways *w = &n->ways;
    struct ranked r[1000];
    uint64_t k = ++n->counts.ranks;
    note_rank(n, j, body);
    if (k == w->stall_at)
        usleep(w->stall_ms * 1000); /* with the lock held: nobody gets an answer */
    if (w->refuses || due(w->busy_every, k) || due(w->down_every, k)) {
        a->status = w->refuses ? 400 : due(w->busy_every, k) ? 429 : 503;
        buffer_printf(&a->body, "{\"error\": \"context.position: the job has no such field\"}");
        return;
    }
    n->version += due(w->new_every, k);
    size_t items = rank_items(n, j, r, 1000);
    bool none = due(w->none_every, k), two = due(w->two_every, k) && !none;
    bool foreign = due(w->foreign_every, k) && !none && !two;
    bool torn = due(w->torn_every, k) && !none && !two && !foreign;
    a->cut = due(w->cut_every, k) && !none && !two && !foreign && !torn;
    buffer_printf(&a->body, "{\"rec_id\": \"r%016" PRIx64 "\", ", hash_u64(k + (uint64_t)getpid()));
    if (!none)
        buffer_printf(&a->body, "\"snapshot_version\": %" PRIu64 ", ", n->version);
    if (w->variants > 0)
        buffer_printf(&a->body, "\"experiment\": \"x\", \"variant\": \"v%" PRIu64 "\", ",
                      id_of(j, "user_id") % w->variants);
    buffer_printf(&a->body, "\"items\": [");
    for (size_t i = 0; i < items; i++)
        buffer_printf(&a->body, "%s{\"item_id\": \"%" PRIu64 "\", \"score\": %.17g%s}",
                      i > 0 ? ", " : "", foreign && i == 3 ? 19999 : r[i].item, r[i].score,
                      two && i == 1 ? ", \"snapshot_version\": 999999" : "");
    buffer_printf(&a->body, "], \"unknown\": {}}");
    if (torn)
        a->body.used /= 2;
    n->counts.none += none;
    n->counts.two += two;
    n->counts.foreign += foreign;
    n->counts.torn += torn;
    n->counts.sound += !none && !two && !foreign && !torn && !a->cut;
}

/* True: it was not there. */
static bool take_id(struct node *n, const char *id)
{
    uint64_t h = hash_bytes(id, strlen(id), 1) | 1;
    size_t at = h % IDS_MAX;
    while (n->ids[at] != 0 && n->ids[at] != h)
        at = (at + 1) % IDS_MAX;
    bool is_new = n->ids[at] == 0;
    n->ids[at] = h;
    return is_new;
}

static void answer_events(struct node *n, const struct json *j, const char *body, struct answer *a)
{
    const struct json *events = json_get(j, "events");
    uint64_t k = ++n->events_asked, accepted = 0, user = id_of(j, "user_id");
    if (due(n->ways.busy_every, k) || due(n->ways.down_every, k)) {
        a->status = due(n->ways.busy_every, k) ? 429 : 503;
        return;
    }
    for (size_t i = 0; i < json_len(events); i++) {
        const struct json *e = json_at(events, i);
        const char *type = json_str(e, "type", "");
        bool typed = strcmp(type, "click") == 0 || strcmp(type, "cart") == 0 ||
                     strcmp(type, "buy") == 0 || strcmp(type, "impression") == 0;
        if (!typed || id_of(e, "item_id") == 0 || json_u64(e, "position", 0) - 1 > 9 ||
            json_str(e, "rec_id", "")[0] != 'r' || json_u64(e, "ts", 0) < 1600000000000)
            complain(n, "events", body);
        accepted += take_id(n, json_str(e, "event_id", ""));
    }
    if (json_len(events) == 0 || user == 0 || user >= USERS_MAX)
        complain(n, "events", body);
    else
        n->heard[user] += accepted > 0;
    n->counts.events += accepted;
    n->counts.doubles += json_len(events) - accepted;
    a->status = 202;
    a->mute = due(n->ways.mute_every, k);
    buffer_printf(&a->body, "{\"accepted\": %" PRIu64 ", \"duplicates\": %" PRIu64 "}", accepted,
                  (uint64_t)json_len(events) - accepted);
}

static void answer_profile(struct node *n, const char *path, const struct json *j, const char *body,
                           struct answer *a)
{
    bool item = strncmp(path, "/v1/items/", 10) == 0;
    uint64_t name = strtoull(path + 10, NULL, 10);
    const char *need = item ? "fields.price" : "fields.user_segment";
    if (json_get(j, "category") !=
        NULL) /* a category stands in the fields: given twice it is refused */
        complain(n, path, body);
    if (name == 0 || name >= (item ? ITEMS_MAX : USERS_MAX) ||
        !(json_f64(j, need, 0) > 0 || strtod(json_str(j, need, "0"), NULL) > 0)) {
        complain(n, path, body);
        return;
    }
    bool *there = item ? &n->item[name] : &n->user[name];
    *(item ? &n->counts.items : &n->counts.users) += !*there;
    *there = true;
    buffer_printf(&a->body, "{}");
}

static void answer(struct node *n, const char *head, const char *body, struct answer *a)
{
    char method[8], path[200];
    struct json *j = NULL;
    a->status = 200;
    if (sscanf(head, "%7s %199s", method, path) != 2) {
        complain(n, "no request", head);
        return;
    }
    char want[100];
    snprintf(want, sizeof want, "Authorization: Bearer %s\r\n", n->ways.token);
    if (n->ways.token != NULL && strstr(head, want) == NULL) {
        a->status = 401;
        return;
    }
    if (strcmp(path, "/healthz") == 0)
        return;
    if (json_parse(body, strlen(body), "body", &j, NULL) != ST_OK) {
        complain(n, path, body);
        return;
    }
    if (strcmp(method, "PUT") == 0)
        answer_profile(n, path, j, body, a);
    else if (strcmp(path, "/v1/events") == 0)
        answer_events(n, j, body, a);
    else if (strcmp(path, "/v1/rank") == 0 || strcmp(path, "/v1/recommend") == 0)
        answer_rank(n, j, body, a);
    else
        complain(n, "no such route", path);
    json_free(j);
}

/* ---- connections -------------------------------------------------------------------------------- */

static bool send_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, bytes, n, MSG_NOSIGNAL);
        if (k <= 0)
            return false;
        bytes += k;
        n -= (size_t)k;
    }
    return true;
}

/* The head (terminated) and the body (behind it, terminated); false: the connection has ended. */
static bool receive(int fd, struct buffer *in, char **out_body)
{
    buffer_reset(in);
    for (;;) {
        char bytes[4096];
        ssize_t k = recv(fd, bytes, sizeof bytes, 0);
        if (k <= 0)
            return false;
        buffer_put(in, bytes, (size_t)k);
        char *text = (char *)(uintptr_t)buffer_text(in), *end = strstr(text, "\r\n\r\n");
        if (end == NULL)
            continue;
        const char *length = strcasestr(text, "content-length:");
        size_t n = length != NULL && length < end ? strtoul(length + 15, NULL, 10) : 0;
        if (in->used < (size_t)(end + 4 - text) + n)
            continue;
        end[2] = '\0';
        *out_body = end + 4;
        return true;
    }
}

static bool serve_one(struct node *n, int fd, struct buffer *in)
{
    struct answer a = {.status = 200};
    char *body, head[200];
    if (!receive(fd, in, &body))
        return false;
    uint64_t now_in = atomic_fetch_add(&n->in_flight, 1) + 1;
    pthread_mutex_lock(&n->lock);
    if (now_in > n->counts.in_flight_max)
        n->counts.in_flight_max = now_in;
    answer(n, buffer_text(in), body, &a);
    pthread_mutex_unlock(&n->lock);
    int k =
        snprintf(head, sizeof head,
                 "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%sContent-Type: application/json\r\n\r\n",
                 a.status, a.body.used, a.status == 429 ? "Retry-After: 0\r\n" : "");
    /* Before it goes out: whoever has the answer may ask again at once. */
    atomic_fetch_sub(&n->in_flight, 1);
    bool good = !a.mute && send_all(fd, head, (size_t)k) &&
                send_all(fd, buffer_text(&a.body), a.cut ? a.body.used / 2 : a.body.used) && !a.cut;
    buffer_release(&a.body);
    return good;
}

static void *serve(void *arg)
{
    struct call c = *(struct call *)arg;
    struct buffer in = BUFFER_INIT;
    free(arg);
    while (serve_one(c.node, c.node->fd[c.at], &in))
        continue;
    shutdown(c.node->fd[c.at],
             SHUT_RDWR); /* node_stop closes it: the number must not be another's */
    buffer_release(&in);
    return NULL;
}

static void *take_connections(void *arg)
{
    struct node *n = arg;
    for (;;) {
        int fd = accept(n->listen_fd, NULL, NULL), one = 1;
        if (fd < 0)
            return NULL;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (n->connections == CONNECTIONS_MAX) {
            close(fd);
            continue;
        }
        struct call *c = mem_alloc(sizeof *c);
        *c = (struct call){n, n->connections};
        n->fd[n->connections] = fd;
        if (pthread_create(&n->server[n->connections], NULL, serve, c) != 0)
            abort();
        n->connections++;
    }
}

struct node *node_start(const struct node_ways *ways)
{
    struct node *n = mem_zalloc(sizeof *n);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    n->ways = *ways;
    n->version = 1;
    n->ids = mem_array(IDS_MAX, sizeof *n->ids);
    pthread_mutex_init(&n->lock, NULL);
    n->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (n->listen_fd < 0 || bind(n->listen_fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(n->listen_fd, 128) != 0 ||
        getsockname(n->listen_fd, (struct sockaddr *)&a, &len) != 0 ||
        pthread_create(&n->acceptor, NULL, take_connections, n) != 0)
        abort();
    snprintf(n->url, sizeof n->url, "http://127.0.0.1:%u", ntohs(a.sin_port));
    return n;
}

void node_stop(struct node *n)
{
    shutdown(n->listen_fd, SHUT_RDWR);
    pthread_join(n->acceptor, NULL);
    close(n->listen_fd);
    for (size_t i = 0; i < n->connections; i++) {
        shutdown(n->fd[i], SHUT_RDWR);
        pthread_join(n->server[i], NULL);
        close(n->fd[i]);
    }
    pthread_mutex_destroy(&n->lock);
    free(n->ids);
    free(n);
}

const char *node_url(const struct node *n)
{
    return n->url;
}

struct node_counts node_counts(struct node *n)
{
    pthread_mutex_lock(&n->lock);
    struct node_counts c = n->counts;
    pthread_mutex_unlock(&n->lock);
    return c;
}

size_t node_times(struct node *n, uint64_t *out, size_t max)
{
    pthread_mutex_lock(&n->lock);
    size_t k = n->counts.ranks < max ? (size_t)n->counts.ranks : max;
    for (size_t i = 0; i < k; i++)
        out[i] = n->time[i] - n->time[0];
    pthread_mutex_unlock(&n->lock);
    return k;
}

bool node_has_user(struct node *n, uint64_t name)
{
    pthread_mutex_lock(&n->lock);
    bool has = name < USERS_MAX && n->user[name];
    pthread_mutex_unlock(&n->lock);
    return has;
}

const char *node_problem(struct node *n)
{
    pthread_mutex_lock(&n->lock);
    const char *text = n->problem;
    pthread_mutex_unlock(&n->lock);
    return text;
}
