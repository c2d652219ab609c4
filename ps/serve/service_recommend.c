/* service_recommend.c - RECOMMEND and SIMILAR: all items of a shelf, or the popular ones, filtered.
 *
 * A model of sequences scores every item: states (n users, width) times the shelf's rows, exact; who has no history gets
 * popular items. A click model ranks popular items (or the allowed ones), at most candidates_max of them: it has no
 * vector of a user that items could be retrieved by. Filters are asked only of items that would be among the best.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/math/gemm.h"
#include "ps/serve/service_int.h"

/* ---- filters ------------------------------------------------------------------------------------ */

struct filter { /* of one request; numbers in the worker's scratch */
    const struct service *service;
    const struct service_work *w;
    const struct user *user;
    const uint32_t *seen, *deny, *allow; /* rising */
    size_t seen_n, deny_n, allow_n;
};

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static bool has(const uint32_t *list, size_t n, uint32_t v)
{
    return n > 0 && bsearch(&v, list, n, sizeof(*list), by_number) != NULL;
}

/* Numbers of ids that somebody has named; others can't be among the items anyway. */
static size_t add_number(struct service_worker *s, size_t used, const char *id, size_t n)
{
    const struct item *item = state_item(&s->service->state, id, n);
    if (item != NULL)
        s->number[used++] = item->head.number;
    return used;
}

static void fill_filter(struct service_worker *s, const struct service_work *w,
                        const struct user *user, struct filter *f)
{
    const size_t seen = user != NULL && w->seen ? user->events : 0;
    size_t used = 0;
    mem_grow(&s->number, &s->number_cap, seen + w->denies + w->items + 1, sizeof(*s->number));
    *f = (struct filter){.service = s->service, .w = w, .user = user, .seen = s->number};
    for (size_t i = 0; i < seen; i++)
        if (user->event[i].positive)
            s->number[used++] = user->event[i].item;
    f->seen_n = used;
    f->deny = s->number + used;
    for (size_t i = 0; i < w->denies; i++)
        used = add_number(s, used, work_text(w, &w->deny[i]), w->deny[i].n);
    f->deny_n = (size_t)(s->number + used - f->deny);
    f->allow = s->number + used;
    for (size_t i = 0; i < w->items && w->allow; i++)
        used = add_number(s, used, work_text(w, &w->item_list[i].id), w->item_list[i].id.n);
    f->allow_n = (size_t)(s->number + used - f->allow);
    qsort(s->number, f->seen_n, sizeof(*s->number), by_number);
    qsort(s->number + f->seen_n, f->deny_n, sizeof(*s->number), by_number);
    qsort(s->number + f->seen_n + f->deny_n, f->allow_n, sizeof(*s->number), by_number);
}

/* One of the item's categories (a bag has several, with | between) is one of the request's. */
static bool in_category(const struct filter *f, const struct item *item)
{
    const struct cell *cell = cells_find(&item->profile, f->service->category);
    if (cell == NULL || cell->missing)
        return false;
    for (const char *at = cell->text, *end = cell->text + cell->n; at <= end;) {
        const char *bar = memchr(at, '|', (size_t)(end - at));
        const size_t n = (size_t)((bar != NULL ? bar : end) - at);
        for (size_t i = 0; i < f->w->categories_used; i++) {
            const struct span_text *c = &f->w->categories[i];
            if (c->n == n && memcmp(work_text(f->w, c), at, n) == 0)
                return true;
        }
        at += n + 1;
    }
    return false;
}

static bool passes(const struct filter *f, uint32_t number)
{
    const struct item *item = state_item_at(&f->service->state, number);
    if ((f->w->in_stock && !item->in_stock) || (!item->in_stock && !item->known))
        return false; /* the latter: it was deleted */
    if (f->w->allow && !has(f->allow, f->allow_n, number))
        return false;
    if (has(f->seen, f->seen_n, number) || has(f->deny, f->deny_n, number))
        return false;
    return f->w->categories_used == 0 || in_category(f, item);
}

/* ---- the best n --------------------------------------------------------------------------------- */

static bool worse(const struct top *a, const struct top *b)
{
    return a->score < b->score || (a->score == b->score && a->at > b->at);
}

/* A heap of the best so far, the worst of them on top. */
static void sift(struct top *heap, size_t n, size_t at)
{
    for (;;) {
        size_t least = at;
        for (size_t c = 2 * at + 1; c <= 2 * at + 2 && c < n; c++)
            if (worse(&heap[c], &heap[least]))
                least = c;
        if (least == at)
            return;
        const struct top swap = heap[at];
        heap[at] = heap[least];
        heap[least] = swap;
        at = least;
    }
}

static void raise_up(struct top *heap, size_t at)
{
    while (at > 0 && worse(&heap[at], &heap[(at - 1) / 2])) {
        const struct top swap = heap[at];
        heap[at] = heap[(at - 1) / 2];
        heap[(at - 1) / 2] = swap;
        at = (at - 1) / 2;
    }
}

static void offer(struct top *heap, size_t *used, size_t max, struct top x)
{
    if (*used < max) {
        heap[(*used)++] = x;
        raise_up(heap, *used - 1);
    } else {
        heap[0] = x;
        sift(heap, max, 0);
    }
}

/* The heap becomes a list by falling score. */
static void unheap(struct top *heap, size_t n)
{
    for (size_t end = n; end > 1; end--) {
        const struct top swap = heap[0];
        heap[0] = heap[end - 1];
        heap[end - 1] = swap;
        sift(heap, end - 1, 0);
    }
}

static size_t best(struct service_worker *s, const struct shelf *shelf, const float *logit,
                   size_t max, const struct filter *f, uint32_t but)
{
    size_t used = 0;
    mem_grow(&s->top, &s->top_cap, max, sizeof(*s->top));
    for (uint32_t i = 0; i < shelf->n; i++) {
        const struct top x = {(double)logit[i], i};
        if (shelf->norm[i] == 0 || i == but || isnan(x.score) ||
            (used == max && !worse(&s->top[0], &x)) || !passes(f, i))
            continue;
        offer(s->top, &used, max, x);
    }
    unheap(s->top, used);
    return used;
}

static void show(struct service_worker *s, struct service_work *w, size_t n)
{
    w->shown = mem_array(n + 1, sizeof(*w->shown));
    w->shown_n = n;
    for (size_t i = 0; i < n; i++)
        w->shown[i] =
            (struct shown){.number = s->top[i].at, .wanted = SIZE_MAX, .score = s->top[i].score};
}

/* ---- recommend ---------------------------------------------------------------------------------- */

/* Popular items that pass, at most max, into s->top. */
static size_t popular(struct service_worker *s, const struct stream *stream, const struct filter *f,
                      size_t max)
{
    const struct popular_list *list = atomic_load(&stream->popular.list);
    size_t used = 0;
    mem_grow(&s->top, &s->top_cap, max, sizeof(*s->top));
    for (uint32_t i = 0; i < list->n && used < max; i++)
        if (passes(f, list->item[i].item))
            s->top[used++] = (struct top){(double)list->item[i].score, list->item[i].item};
    return used;
}

/* What a click model ranks: the allowed items, whatever their fame, else the popular ones. */
static size_t candidates(struct service_worker *s, const struct stream *stream,
                         const struct filter *f)
{
    const size_t max = s->service->conf.candidates_max;
    size_t used = 0;
    if (!f->w->allow)
        return popular(s, stream, f, max);
    mem_grow(&s->top, &s->top_cap, max, sizeof(*s->top));
    for (size_t i = 0; i < f->allow_n && used < max; i++)
        if ((i == 0 || f->allow[i] != f->allow[i - 1]) && passes(f, f->allow[i]))
            s->top[used++] = (struct top){0, f->allow[i]};
    return used;
}

static void fill_ask(struct service_worker *s, struct service_work *w, struct ask *ask)
{
    const struct state *state = &s->service->state;
    const bool user = w->user.there && !state_user_gone(state, work_text(w, &w->user), w->user.n);
    memset(ask, 0, sizeof(*ask));
    ask->user = user ? work_text(w, &w->user) : NULL;
    ask->user_n = user ? w->user.n : 0;
    ask->known = user ? state_user(state, ask->user, ask->user_n) : NULL;
    ask->context = (struct cells){w->cell, w->context};
    ask->time = w->time;
}

static bool has_history(const struct ask *ask)
{
    const struct user *u = ask->known;
    for (size_t i = u != NULL ? u->events : 0; i-- > 0;)
        if (u->event[i].positive && u->event[i].time <= ask->time)
            return true;
    return false;
}

static void by_popularity(struct service_worker *s, uint32_t stream, uint64_t version,
                          const struct filter *f, const struct ask *ask, struct service_request *r)
{
    show(s, r->work, popular(s, &s->service->stream[stream], f, r->work->n));
    service_answer_items(s->service, r, stream, version, ask->unknown, "popular");
}

static int by_rank(const void *a, const void *b)
{
    return worse(a, b) ? 1 : worse(b, a) ? -1 : 0;
}

static void by_model(struct service_worker *s, uint32_t stream, const struct version *v,
                     const struct filter *f, struct ask *ask, struct service_request *r)
{
    const struct model_view *view = &s->service->stream[stream].view;
    const size_t n = candidates(s, &s->service->stream[stream], f);
    mem_grow(&s->candidate, &s->candidate_cap, n + 1, sizeof(*s->candidate));
    mem_grow(&s->score, &s->score_cap, (n + 1) * view->tasks, sizeof(*s->score));
    for (size_t i = 0; i < n; i++) {
        const struct item *item = state_item_at(&s->service->state, s->top[i].at);
        s->candidate[i] =
            (struct candidate){.id = item->head.id, .id_n = item->head.id_n, .item = item};
    }
    ask->candidate = s->candidate;
    ask->n = n;
    ask->score = s->score;
    predict_scores(&s->predict[stream], v, ask, 1);
    atomic_fetch_add(&s->service->scored, n);
    for (size_t i = 0; i < n; i++) {
        const double score = s->score[i * view->tasks + view->judged];
        s->top[i].score = isnan(score) ? -INFINITY : score;
    }
    qsort(s->top, n, sizeof(*s->top), by_rank);
    show(s, r->work, n < r->work->n ? n : r->work->n);
    service_answer_items(s->service, r, stream, version_cut(v), ask->unknown, "ranked");
}

static void retrieve(struct service_worker *s, uint32_t stream, const struct version *v,
                     const struct shelf *shelf, struct service_request *const *r, size_t n)
{
    const struct model_view *view = &s->service->stream[stream].view;
    struct predict *p = &s->predict[stream];
    mem_grow(&s->logit, &s->logit_cap, shelf->n, sizeof(*s->logit));
    predict_states(p, v, s->ask, n, s->state);
    atomic_fetch_add(&s->service->scored, n);
    for (size_t i = 0; i < n; i++) {
        struct filter f;
        fill_filter(s, r[i]->work, s->ask[i].known, &f);
        if (!has_history(&s->ask[i])) {
            by_popularity(s, stream, version_cut(v), &f, &s->ask[i], r[i]);
            continue;
        }
        gemm_nt(&(struct gemm){.m = 1,
                               .n = shelf->n,
                               .k = view->width,
                               .a = s->state + i * view->width,
                               .lda = view->width,
                               .b = shelf->row,
                               .ldb = view->width,
                               .c = s->logit,
                               .ldc = shelf->n,
                               .bias = shelf->bias});
        show(s, r[i]->work, best(s, shelf, s->logit, r[i]->work->n, &f, UINT32_MAX));
        service_answer_items(s->service, r[i], stream, version_cut(v), s->ask[i].unknown,
                             "sequence");
    }
}

void service_recommend(struct service_worker *s, uint32_t stream, const struct version *v,
                       const struct shelf *shelf, struct service_request *const *r, size_t n)
{
    const struct model_view *view = &s->service->stream[stream].view;
    const size_t F = view->fields > 0 ? view->fields : 1, most = view->batch_max;
    mem_grow(&s->state, &s->state_cap, most * (view->width + 1), sizeof(*s->state));
    for (size_t from = 0; from < n; from += most) {
        const size_t many = n - from < most ? n - from : most;
        mem_grow(&s->ask, &s->ask_cap, many, sizeof(*s->ask));
        mem_grow(&s->unknown, &s->unknown_cap, many * F, sizeof(*s->unknown));
        memset(s->unknown, 0, many * F * sizeof(*s->unknown));
        for (size_t i = 0; i < many; i++) {
            fill_ask(s, r[from + i]->work, &s->ask[i]);
            s->ask[i].unknown = s->unknown + i * F;
        }
        if (view->ranks && shelf != NULL) {
            retrieve(s, stream, v, shelf, r + from, many);
            continue;
        }
        for (size_t i = 0; i < many; i++) {
            struct filter f;
            fill_filter(s, r[from + i]->work, s->ask[i].known, &f);
            if (view->ranks)
                by_popularity(s, stream, version_cut(v), &f, &s->ask[i], r[from + i]);
            else
                by_model(s, stream, v, &f, &s->ask[i], r[from + i]);
        }
    }
}

/* ---- similar ------------------------------------------------------------------------------------ */

void service_similar(struct service_worker *s, const struct shelf *shelf, struct service_request *r)
{
    struct service_work *w = r->work;
    const struct item *item = state_item(&s->service->state, work_text(w, &w->item), w->item.n);
    const uint32_t number = item != NULL ? item->head.number : UINT32_MAX;
    struct filter f;
    if (item == NULL || number >= shelf->n || shelf->norm[number] == 0) {
        service_answer_error(r, 404,
                             item == NULL ? "no such item on this node"
                                          : "the model has not learned this item yet");
        return;
    }
    fill_filter(s, w, NULL, &f);
    mem_grow(&s->logit, &s->logit_cap, shelf->n, sizeof(*s->logit));
    gemm_nt(&(struct gemm){.m = 1,
                           .n = shelf->n,
                           .k = shelf->width,
                           .a = shelf->row + (size_t)number * shelf->width,
                           .lda = shelf->width,
                           .b = shelf->row,
                           .ldb = shelf->width,
                           .c = s->logit,
                           .ldc = shelf->n});
    for (uint32_t i = 0; i < shelf->n; i++)
        s->logit[i] *= shelf->norm[i] * shelf->norm[number];
    const size_t n = best(s, shelf, s->logit, w->n, &f, number);
    struct json *list = json_array();
    r->answer = json_object();
    json_set_str(r->answer, "item_id", item->head.id);
    json_set_u64(r->answer, "snapshot_version", shelf->cut);
    for (size_t i = 0; i < n; i++) {
        struct json *one = json_object();
        json_set_str(one, "item_id", state_item_at(&s->service->state, s->top[i].at)->head.id);
        json_set_f64(one, "score", s->top[i].score);
        json_add(list, one);
    }
    json_set(r->answer, "items", list);
    r->answered = shelf->cut;
    r->status = 200;
}
