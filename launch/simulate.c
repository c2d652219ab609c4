/* simulate.c - see simulate.h. A slot is an easy handle of curl and the bytes of its answer; a multi handle moves
 * them all. Proxies of the environment are not asked: the node is what is meant to be measured. */
#include "launch/simulate.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

struct slot {
    CURL *easy;
    struct buffer body; /* of the answer so far */
    char why[CURL_ERROR_SIZE];
    uint64_t sent_us;
    bool busy;
};

struct simulate {
    CURLM *multi;
    struct curl_slist *headers;
    struct slot *slot;
    size_t slots, busy;
};

static size_t take_bytes(char *bytes, size_t each, size_t n, void *arg)
{
    struct slot *t = arg;
    if (t->body.used + each * n > SIMULATE_BODY_MAX)
        return 0; /* curl calls it a write error: no answer */
    buffer_put(&t->body, bytes, each * n);
    return each * n;
}

static bool slot_open(struct simulate *s, struct slot *t, uint64_t deadline_us)
{
    CURL *e = t->easy = curl_easy_init();
    return e != NULL && curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HTTPHEADER, s->headers) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(deadline_us / 1000)) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take_bytes) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEDATA, t) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->why) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PRIVATE, (char *)t) == CURLE_OK;
}

static bool add_header(struct simulate *s, const char *text)
{
    struct curl_slist *more = curl_slist_append(s->headers, text);
    if (more != NULL)
        s->headers = more;
    return more != NULL;
}

enum status simulate_open(size_t slots, uint64_t deadline_us, const char *token,
                          struct simulate **out, struct errbuf *err)
{
    assert(slots > 0 && slots <= SIMULATE_SLOTS_MAX);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return errbuf_set(err, ST_INTERNAL, "libcurl can't be used");
    struct simulate *s = mem_zalloc(sizeof *s);
    struct buffer bearer = BUFFER_INIT;
    s->slot = mem_array(slots, sizeof *s->slot);
    s->slots = slots;
    s->multi = curl_multi_init();
    buffer_printf(&bearer, "Authorization: Bearer %s", token != NULL ? token : "");
    /* Without "Expect:" a longer body would wait for the server's leave first. */
    bool good = s->multi != NULL && add_header(s, "Content-Type: application/json") &&
                add_header(s, "Expect:") &&
                (token == NULL || add_header(s, buffer_text(&bearer))) &&
                curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, (long)slots) == CURLM_OK;
    buffer_release(&bearer);
    for (size_t i = 0; good && i < slots; i++)
        good = slot_open(s, &s->slot[i], deadline_us);
    if (!good) {
        simulate_close(s);
        return errbuf_set(err, ST_INTERNAL, "libcurl gives no handle for %zu requests", slots);
    }
    *out = s;
    return ST_OK;
}

void simulate_close(struct simulate *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->slots; i++) {
        if (s->slot[i].busy)
            curl_multi_remove_handle(s->multi, s->slot[i].easy);
        curl_easy_cleanup(s->slot[i].easy);
        buffer_release(&s->slot[i].body);
    }
    curl_multi_cleanup(s->multi);
    curl_slist_free_all(s->headers);
    free(s->slot);
    free(s);
    curl_global_cleanup();
}

void simulate_send(struct simulate *s, size_t slot, const char *method, const char *url,
                   const char *body, size_t n)
{
    struct slot *t = &s->slot[slot];
    assert(slot < s->slots && !t->busy);
    buffer_reset(&t->body);
    t->why[0] = '\0';
    t->sent_us = clock_now_us();
    /* HTTPGET first: it forgets the body of the request before. */
    bool good = curl_easy_setopt(t->easy, CURLOPT_HTTPGET, 1L) == CURLE_OK &&
                curl_easy_setopt(t->easy, CURLOPT_URL, url) == CURLE_OK &&
                curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK;
    if (good && body != NULL)
        good = curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n) == CURLE_OK &&
               curl_easy_setopt(t->easy, CURLOPT_COPYPOSTFIELDS, body) == CURLE_OK;
    if (!good || curl_multi_add_handle(s->multi, t->easy) != CURLM_OK) {
        fprintf(stderr, "penstock simulate: libcurl refused a request to %s\n", url);
        abort(); /* out of memory, or our mistake: curl has no other reason here */
    }
    t->busy = true;
    s->busy++;
}

size_t simulate_in_flight(const struct simulate *s)
{
    return s->busy;
}

static void take_answer(struct simulate *s, const CURLMsg *m, struct simulate_answer *out)
{
    char *arg = NULL;
    long code = 0;
    curl_off_t retry = 0;
    CURLcode result = m->data.result;
    curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &arg);
    curl_easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_getinfo(m->easy_handle, CURLINFO_RETRY_AFTER, &retry);
    struct slot *t = (struct slot *)(void *)arg;
    curl_multi_remove_handle(s->multi, t->easy);
    t->busy = false;
    s->busy--;
    if (result != CURLE_OK && t->why[0] == '\0')
        snprintf(t->why, sizeof t->why, "%s", curl_easy_strerror(result));
    *out = (struct simulate_answer){
        .slot = (size_t)(t - s->slot),
        .status = result == CURLE_OK ? (int)code : 0,
        .took_us = clock_now_us() - t->sent_us,
        .retry_us = retry > 0 ? (uint64_t)retry * 1000000 : 0,
        .body = buffer_text(&t->body),
        .n = t->body.used,
        .why = t->why,
    };
}

static bool take_done(struct simulate *s, struct simulate_answer *out)
{
    int left;
    const CURLMsg *m;
    while ((m = curl_multi_info_read(s->multi, &left)) != NULL)
        if (m->msg == CURLMSG_DONE) {
            take_answer(s, m, out);
            return true;
        }
    return false;
}

bool simulate_next(struct simulate *s, uint64_t wait_us, struct simulate_answer *out)
{
    uint64_t until = clock_now_us() + wait_us;
    for (;;) {
        int running;
        if (take_done(s, out))
            return true;
        curl_multi_perform(s->multi, &running);
        if (take_done(s, out))
            return true;
        uint64_t now = clock_now_us();
        if (now >= until)
            return false;
        int ms = (int)((until - now + 999) / 1000);
        curl_multi_poll(s->multi, NULL, 0, ms < 1000 ? ms : 1000, NULL);
    }
}
