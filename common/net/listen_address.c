/* listen_address.c - see listen_address.h. */
#include "common/net/listen_address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum form { FORM_ADDRESS, FORM_NETWORK, FORM_INTERFACE };

struct wanted {
    enum form form;
    uint32_t address, mask; /* host order */
};

static const char must[] =
    "it must be an IPv4 address of this host (127.0.0.1), a network in which "
    "each host has one (10.77.0.0/24), or an interface (eth0)";

/* "/24" behind an address: the network's mask. */
static enum status parse_mask(const char *bind, const char *digits, uint32_t *out,
                              struct errbuf *err)
{
    unsigned bits = 0;
    size_t n = strspn(digits, "0123456789");
    if (n == 0 || n > 2 || digits[n] != '\0' || sscanf(digits, "%2u", &bits) != 1 || bits > 32) {
        return errbuf_set(err, ST_USAGE, "cluster.bind: \"%s\": %s", bind, must);
    }
    *out = bits == 0 ? 0 : UINT32_MAX << (32 - bits);
    return ST_OK;
}

static bool interface_name(const char *s)
{
    bool letter = false;
    for (const char *c = s; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && strchr("._-@", *c) == NULL) {
            return false;
        }
        letter = letter || isalpha((unsigned char)*c);
    }
    return letter && strlen(s) < IF_NAMESIZE;
}

static enum status parse(const char *bind, struct wanted *out, struct errbuf *err)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr in;
    const char *slash = strchr(bind, '/');
    size_t n = slash != NULL ? (size_t)(slash - bind) : strlen(bind);
    struct wanted w = {.form = FORM_INTERFACE, .mask = UINT32_MAX};
    enum status st = ST_OK;
    if (n < sizeof(text)) {
        memcpy(text, bind, n);
        text[n] = '\0';
        if (inet_pton(AF_INET, text, &in) == 1) {
            w.form = slash != NULL ? FORM_NETWORK : FORM_ADDRESS;
            w.address = ntohl(in.s_addr);
        }
    }
    if (w.form == FORM_NETWORK) {
        st = parse_mask(bind, slash + 1, &w.mask, err);
    } else if (w.form == FORM_INTERFACE && !interface_name(bind) && strcmp(bind, "*") != 0) {
        st = errbuf_set(err, ST_USAGE, "cluster.bind: \"%s\": %s", bind, must);
    }
    if (st != ST_OK) {
        return st;
    }
    if (strcmp(bind, "*") == 0 || w.mask == 0 || (w.form != FORM_INTERFACE && w.address == 0)) {
        return errbuf_set(err, ST_USAGE,
                          "cluster.bind: \"%s\" means every network of a host, and no address that "
                          "peers could be told; name one: %s",
                          bind, must);
    }
    *out = w;
    return ST_OK;
}

enum status listen_address_check(const char *bind, struct errbuf *err)
{
    struct wanted w;
    return parse(bind, &w, err);
}

enum status listen_address_check_hosts(const char *bind, struct errbuf *err)
{
    struct wanted w;
    enum status st = parse(bind, &w, err);
    if (st != ST_OK) {
        return st;
    }
    bool loopback = w.form == FORM_INTERFACE ? strcmp(bind, "lo") == 0 : w.address >> 24 == 127;
    if (loopback || w.form == FORM_ADDRESS) {
        return errbuf_set(
            err, ST_USAGE,
            "cluster.bind: %s %s; a run on several hosts needs a network in which each "
            "has an address (--set cluster.bind=10.77.0.0/24) or an interface "
            "(--set cluster.bind=eth0)",
            bind, loopback ? "is reached from its own host only" : "is the address of one host");
    }
    return ST_OK;
}

static bool fits(const struct wanted *w, const char *bind, const struct ifaddrs *i, uint32_t ip)
{
    if (w->form == FORM_INTERFACE) {
        return strcmp(i->ifa_name, bind) == 0;
    }
    return (ip & w->mask) == (w->address & w->mask);
}

enum status listen_address(const char *bind, char out[ADDRESS_MAX], struct errbuf *err)
{
    struct wanted w;
    struct ifaddrs *all = NULL;
    char has[256] = "none";
    size_t used = 0;
    enum status st = parse(bind, &w, err);
    if (st != ST_OK) {
        return st;
    }
    if (getifaddrs(&all) != 0) {
        return errbuf_errno(err, ST_IO, "cluster.bind: getifaddrs");
    }
    st = ST_NOT_FOUND;
    for (const struct ifaddrs *i = all; i != NULL && st != ST_OK; i = i->ifa_next) {
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET) {
            continue;
        }
        struct sockaddr_in in;
        char text[INET_ADDRSTRLEN] = "";
        memcpy(&in, i->ifa_addr, sizeof(in));
        inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
        /* Any 127.x.y.z is this host's, listed or not. */
        if (w.form == FORM_ADDRESS && w.address >> 24 == 127) {
            in.sin_addr.s_addr = htonl(w.address);
            inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
        }
        if (fits(&w, bind, i, ntohl(in.sin_addr.s_addr))) {
            snprintf(out, ADDRESS_MAX, "tcp://%s:*", text);
            st = ST_OK;
        } else if (used < sizeof(has) - 1) {
            int n = snprintf(has + used, sizeof(has) - used, "%s%s %s", used > 0 ? ", " : "",
                             i->ifa_name, text);
            used += n > 0 ? (size_t)n : 0;
        }
    }
    freeifaddrs(all);
    if (st != ST_OK) {
        return errbuf_set(err, ST_USAGE,
                          "cluster.bind: this host has no address for \"%s\"; it has %s", bind,
                          has);
    }
    return ST_OK;
}

enum status listen_address_parse(const char *text, const char *what, struct sockaddr_in *out,
                                 struct errbuf *err)
{
    const char *colon = strrchr(text, ':');
    const char *port = colon != NULL ? colon + 1 : text;
    const size_t digits = strspn(port, "0123456789"),
                 n = colon != NULL ? (size_t)(colon - text) : 0;
    char host[INET_ADDRSTRLEN] = "127.0.0.1";
    if (n > 0 && n < sizeof(host) && strncmp(text, "localhost:", n + 1) != 0) {
        memcpy(host, text, n);
        host[n] = '\0';
    }
    memset(out, 0, sizeof(*out));
    out->sin_family = AF_INET;
    if (digits == 0 || digits > 5 || port[digits] != '\0' || n >= sizeof(host) ||
        strtoul(port, NULL, 10) > 65535 || inet_pton(AF_INET, host, &out->sin_addr) != 1) {
        return errbuf_set(err, ST_USAGE,
                          "%s: \"%s\": it must be [HOST:]PORT with an IPv4 address, as 9100 (on "
                          "loopback) or 10.0.0.1:9100; port 0 is chosen by the system",
                          what, text);
    }
    out->sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    return ST_OK;
}

enum status listen_address_port(const char *text, const char *what, char out[ADDRESS_MAX],
                                struct errbuf *err)
{
    struct sockaddr_in in;
    char host[INET_ADDRSTRLEN];
    enum status st = listen_address_parse(text, what, &in, err);
    if (st != ST_OK) {
        return st;
    }
    inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host));
    if (in.sin_port == 0) {
        snprintf(out, ADDRESS_MAX, "tcp://%s:*", host);
    } else {
        snprintf(out, ADDRESS_MAX, "tcp://%s:%u", host, (unsigned)ntohs(in.sin_port));
    }
    return ST_OK;
}
