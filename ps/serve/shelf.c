/* shelf.c - see shelf.h. */
#include "ps/serve/shelf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

#define SLICE    2048u  /* items: about a millisecond */
#define QUICK_US 20000u /* a shelf of less work is made anew as often as there is reason to */

void shelves_init(struct shelves *s, const struct model_view *view, struct state *state)
{
    memset(s, 0, sizeof(*s));
    s->view = view;
    s->state = state;
    atomic_flag_clear(&s->building);
}

static void shelf_free(struct shelf *s)
{
    if (s == NULL)
        return;
    free(s->row);
    free(s->bias);
    free(s->norm);
    free(s);
}

void shelves_release(struct shelves *s)
{
    for (size_t i = 0; i < SHELVES_KEPT; i++) {
        shelf_free(atomic_load(&s->shown[i]));
        shelf_free(s->old[i].what);
    }
    shelf_free(s->next);
    memset(s, 0, sizeof(*s));
}

const struct shelf *shelves_find(struct shelves *s, uint64_t cut)
{
    const struct shelf *best = NULL;
    for (size_t i = 0; i < SHELVES_KEPT; i++) {
        const struct shelf *one = atomic_load(&s->shown[i]);
        if (one != NULL && (cut == 0 || one->cut == cut) &&
            (best == NULL || one->cut > best->cut || (one->cut == best->cut && one->n > best->n)))
            best = one;
    }
    if (best == NULL && cut != 0)
        atomic_store(&s->wanted, cut);
    return best;
}

static struct shelf *shelf_new(uint64_t cut, uint32_t n, size_t width)
{
    struct shelf *s = mem_zalloc(sizeof(*s));
    s->cut = cut;
    s->n = n;
    s->width = width;
    s->row = mem_array((size_t)n * width, sizeof(*s->row));
    s->bias = mem_array(n, sizeof(*s->bias));
    s->norm = mem_array(n, sizeof(*s->norm));
    return s;
}

/* One item's row, if the model has one. */
static void put_item(const struct shelves *s, struct shelf *to, uint32_t number,
                     const struct version *v)
{
    const struct item *item = state_item_at(s->state, number);
    float *row = to->row + (size_t)number * to->width;
    size_t unknown = 0;
    uint64_t key;
    double sum = 0;
    if (!model_view_item_key(s->view, item->head.id, item->head.id_n, &key))
        return;
    version_rows(v, (uint32_t)s->view->items_table, &key, 1, row, &unknown);
    if (unknown > 0)
        return;
    if (s->view->bias_table >= 0)
        version_rows(v, (uint32_t)s->view->bias_table, &key, 1, &to->bias[number], NULL);
    for (size_t i = 0; i < to->width; i++)
        sum += (double)row[i] * (double)row[i];
    to->norm[number] = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
}

static void show(struct shelves *s)
{
    const unsigned at = s->turn;
    shelf_free(s->old[at].what); /* may_go said so */
    struct shelf *was = atomic_load(&s->shown[at]);
    atomic_store(&s->shown[at], s->next);
    s->old[at] = (struct registry_retired){epoch_retire(&s->state->epoch), was};
    s->turn = (at + 1) % SHELVES_KEPT;
    s->next = NULL;
}

/* The shelf that gave up this place the last time has no reader any more. */
static bool may_go(struct shelves *s)
{
    const struct registry_retired *r = &s->old[s->turn];
    return r->what == NULL || epoch_passed(&s->state->epoch, r->stamp);
}

/* Begins one if the shown version, or one that was asked for, has none, or new items have come. */
static bool begin(struct shelves *s, struct replica_reader *rd)
{
    uint64_t cut = atomic_exchange(&s->wanted, 0);
    if (cut == 0 && clock_now_us() < s->rest_until_us)
        return false;
    const struct version *v = replica_enter(rd, cut);
    const uint64_t shown = v != NULL ? version_cut(v) : 0;
    replica_leave(rd);
    const uint32_t n = atomic_load(&s->state->items.used);
    if (shown == 0 || n == 0 || !may_go(s))
        return false;
    for (size_t i = 0; i < SHELVES_KEPT; i++) {
        const struct shelf *one = atomic_load(&s->shown[i]);
        if (one != NULL && one->cut == shown && one->n == n)
            return false;
    }
    s->next = shelf_new(shown, n, s->view->width);
    s->done = 0;
    s->spent_us = 0;
    return true;
}

static bool slice(struct shelves *s, struct replica_reader *rd, struct epoch_reader *reader)
{
    if (s->next == NULL && !begin(s, rd))
        return false;
    const struct version *v = replica_enter(rd, s->next->cut);
    if (v == NULL) { /* it went while this was built */
        replica_leave(rd);
        shelf_free(s->next);
        s->next = NULL;
        return true;
    }
    const uint64_t began = clock_now_us();
    epoch_enter(&s->state->epoch, reader);
    const uint32_t left = s->next->n - s->done, end = s->done + (left < SLICE ? left : SLICE);
    for (; s->done < end; s->done++)
        put_item(s, s->next, s->done, v);
    epoch_leave(reader);
    replica_leave(rd);
    s->spent_us += clock_now_us() - began;
    if (s->done == s->next->n) {
        s->rest_until_us = s->spent_us > QUICK_US ? clock_now_us() + 9 * s->spent_us : 0;
        show(s);
    }
    return true;
}

bool shelves_build(struct shelves *s, struct replica_reader *rd)
{
    if (s->view->items_table < 0 || s->view->item_slot == SCHEMA_NONE ||
        atomic_flag_test_and_set(&s->building))
        return false;
    struct epoch_reader *reader = epoch_join(&s->state->epoch);
    const bool more = reader != NULL && slice(s, rd, reader);
    if (reader != NULL)
        epoch_part(reader);
    atomic_flag_clear(&s->building);
    return more;
}
