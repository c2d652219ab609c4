/* hosts.c - see hosts.h. */
#include "launch/hosts.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/mem.h"

#define HOSTFILE_BYTES_MAX (1u << 20)
#define NAME_MAX_BYTES     253u /* of a host name, RFC 1035 */
static const char name_bytes[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:";

static enum status add(struct hosts *h, const char *name, size_t n, const char *what, unsigned line,
                       struct errbuf *err)
{
    if (n > NAME_MAX_BYTES || strspn(name, name_bytes) < n || name[0] == '-') {
        return errbuf_set(err, ST_USAGE,
                          "%s:%u: \"%.*s\" is no host name or address; a line is: HOST slots=N",
                          what, line, (int)(n < 60 ? n : 60), name);
    }
    for (size_t i = 0; i < h->used; i++) {
        if (strlen(h->name[i]) == n && strncmp(h->name[i], name, n) == 0) {
            return ST_OK;
        }
    }
    if (h->used == HOSTS_MAX) {
        return errbuf_set(err, ST_USAGE, "%s:%u: more than %d hosts", what, line, HOSTS_MAX);
    }
    char *copy = mem_alloc(n + 1);
    memcpy(copy, name, n);
    copy[n] = '\0';
    h->name[h->used++] = copy;
    return ST_OK;
}

enum status hosts_parse(const char *text, const char *what, struct hosts *out, struct errbuf *err)
{
    struct hosts *h = mem_zalloc(sizeof(*h));
    enum status st = ST_OK;
    unsigned line = 1;
    for (const char *at = text; st == ST_OK && *at != '\0'; line++) {
        size_t line_bytes = strcspn(at, "\n");
        size_t space = strspn(at, " \t\r");
        size_t n = space < line_bytes ? strcspn(at + space, " \t\r\n#") : 0;
        if (n > 0) {
            st = add(h, at + space, n, what, line, err);
        }
        at += line_bytes + (at[line_bytes] == '\n' ? 1 : 0);
    }
    if (st == ST_OK && h->used == 0) {
        st = errbuf_set(err, ST_USAGE, "%s: no host in it; a line is: HOST slots=N", what);
    }
    if (st == ST_OK) {
        *out = *h;
    } else {
        hosts_release(h);
    }
    free(h);
    return st;
}

enum status hosts_read(const char *path, struct hosts *out, struct errbuf *err)
{
    char *text = NULL;
    size_t n = 0;
    enum status st = file_read(path, HOSTFILE_BYTES_MAX, &text, &n, err);
    if (st != ST_OK) {
        return errbuf_wrap(err, ST_USAGE, "--hostfile: ");
    }
    st = hosts_parse(text, path, out, err);
    free(text);
    return st;
}

void hosts_release(struct hosts *h)
{
    for (size_t i = 0; i < h->used; i++) {
        free(h->name[i]);
    }
    h->used = 0;
}

static bool own_address(const char *name)
{
    struct in_addr want;
    struct ifaddrs *all = NULL;
    bool found = false;
    if (inet_pton(AF_INET, name, &want) != 1 || getifaddrs(&all) != 0) {
        return false;
    }
    for (const struct ifaddrs *i = all; i != NULL && !found; i = i->ifa_next) {
        struct sockaddr_in in;
        if (i->ifa_addr != NULL && i->ifa_addr->sa_family == AF_INET) {
            memcpy(&in, i->ifa_addr, sizeof(in));
            found = in.sin_addr.s_addr == want.s_addr;
        }
    }
    freeifaddrs(all);
    return found;
}

bool hosts_is_here(const char *name)
{
    char self[256] = "";
    if (strcmp(name, "localhost") == 0) {
        return true;
    }
    if (gethostname(self, sizeof(self) - 1) == 0 && self[0] != '\0') {
        size_t n = strcspn(self, ".");
        if (strcmp(self, name) == 0 || (strlen(name) == n && strncmp(self, name, n) == 0)) {
            return true;
        }
    }
    return own_address(name);
}

void hosts_quote(struct buffer *out, const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./-_=:,+@%";
    if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
        buffer_put(out, word, strlen(word));
        return;
    }
    buffer_u8(out, '\'');
    for (const char *c = word; *c != '\0'; c++) {
        if (*c == '\'') {
            buffer_put(out, "'\\''", 4);
        } else {
            buffer_u8(out, (uint8_t)*c);
        }
    }
    buffer_u8(out, '\'');
}
