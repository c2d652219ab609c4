/* exposure.c - see exposure.h. */
#include "ps/serve/exposure.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

#define SLOTS (1u << 16)

void exposures_init(struct exposures *x)
{
    memset(x, 0, sizeof(*x));
    x->slots = SLOTS;
    x->slot = mem_array(x->slots, sizeof(*x->slot));
}

void exposures_release(struct exposures *x)
{
    while (x->oldest != NULL)
        exposures_remove(x, x->oldest);
    free(x->slot);
    memset(x, 0, sizeof(*x));
}

static struct exposure **slot_of(const struct exposures *x, const char rec[EXPOSURE_REC])
{
    return &x->slot[hash_bytes(rec, EXPOSURE_REC, 0) & (x->slots - 1)];
}

struct exposure *exposures_find(const struct exposures *x, const char rec[EXPOSURE_REC])
{
    struct exposure *e = *slot_of(x, rec);
    while (e != NULL && memcmp(e->put.rec, rec, EXPOSURE_REC) != 0)
        e = e->next;
    return e;
}

void exposures_add(struct exposures *x, const struct exposure_put *p)
{
    size_t bytes = sizeof(struct exposure) + p->rows * sizeof(struct exposure_row);
    if (exposures_find(x, p->rec) != NULL)
        return;
    for (size_t i = 0; i < p->rows; i++)
        bytes += p->row[i].item_n + p->row[i].n;
    struct exposure *e = mem_zalloc(bytes);
    struct exposure_row *row = (struct exposure_row *)(e + 1);
    char *text = (char *)(row + p->rows);
    e->put = *p;
    e->put.row = row;
    e->bytes = bytes;
    for (size_t i = 0; i < p->rows; i++) {
        row[i] = p->row[i];
        row[i].item = memcpy(text, p->row[i].item, p->row[i].item_n);
        text += row[i].item_n;
        row[i].text = memcpy(text, p->row[i].text, p->row[i].n);
        text += row[i].n;
    }
    struct exposure **slot = slot_of(x, e->put.rec);
    e->next = *slot;
    *slot = e;
    e->older = x->newest;
    if (x->newest != NULL)
        x->newest->newer = e;
    else
        x->oldest = e;
    x->newest = e;
    x->used++;
    x->bytes += bytes;
}

size_t exposure_row_of(const struct exposure *e, const char *item, size_t n)
{
    for (size_t i = 0; i < e->put.rows; i++)
        if (e->put.row[i].item_n == n && memcmp(e->put.row[i].item, item, n) == 0)
            return i;
    return SIZE_MAX;
}

void exposures_remove(struct exposures *x, struct exposure *e)
{
    struct exposure **at = slot_of(x, e->put.rec);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    *(e->newer != NULL ? &e->newer->older : &x->newest) = e->older;
    *(e->older != NULL ? &e->older->newer : &x->oldest) = e->newer;
    x->used--;
    x->bytes -= e->bytes;
    free(e);
}

void exposures_remove_user(struct exposures *x, uint64_t hash, uint64_t check)
{
    for (struct exposure *e = x->oldest, *newer; e != NULL; e = newer) {
        newer = e->newer;
        if (e->put.user_hash == hash && e->put.user_check == check)
            exposures_remove(x, e);
    }
}

uint64_t exposure_outcome(const char rec[EXPOSURE_REC], const char *item, size_t n, size_t task)
{
    return hash_bytes(item, n, hash_bytes(rec, EXPOSURE_REC, 1 + task));
}

void exposure_write(const struct exposure_put *p, struct buffer *out)
{
    buffer_put(out, p->rec, EXPOSURE_REC);
    buffer_u64(out, p->time);
    buffer_u64(out, p->user_hash);
    buffer_u64(out, p->user_check);
    buffer_u16(out, (uint16_t)p->rows);
    for (size_t i = 0; i < p->rows; i++) {
        const struct exposure_row *r = &p->row[i];
        buffer_u16(out, (uint16_t)r->item_n);
        buffer_put(out, r->item, r->item_n);
        buffer_u32(out, r->n);
        buffer_put(out, r->text, r->n);
    }
}

bool exposure_read(struct reader *in, struct exposure_row *rows, struct exposure_put *out)
{
    const uint8_t *rec = reader_view(in, EXPOSURE_REC);
    if (rec != NULL)
        memcpy(out->rec, rec, EXPOSURE_REC);
    out->time = reader_u64(in);
    out->user_hash = reader_u64(in);
    out->user_check = reader_u64(in);
    out->rows = reader_u16(in);
    out->row = rows;
    if (out->rows > EXPOSURE_ITEMS_MAX)
        in->bad = true;
    for (size_t i = 0; i < out->rows && !in->bad; i++) {
        rows[i].item_n = reader_u16(in);
        rows[i].item = (const char *)reader_view(in, rows[i].item_n);
        rows[i].n = reader_u32(in);
        rows[i].text = (const char *)reader_view(in, rows[i].n);
    }
    return !in->bad;
}
