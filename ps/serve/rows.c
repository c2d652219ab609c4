/* rows.c - see rows.h.
 *
 * A directory of segments, chosen by the top bits of the key's hash, never changes its size; a segment is an array of
 * lanes, open addressing, that grows: twofold while it is small, later by an eighth, so that a model which grows a little
 * takes a little more memory. A lane is one word:
 *
 *     63..48 tag (bits 47..32 of the hash) | 47..3 address of the row | 2..0: 0 live, 1 tomb, 2 dead (no address)
 *
 * so a lookup reads the directory's word, one line of lanes, and the row it was going to read anyway; a tag sends one
 * lookup in 65,536 to a row in vain. A directory word is the lanes' address (64-byte aligned) and how many lines of eight there are.
 * Rows stand in chunks, each an eighth of what is there until 2 MiB, so that an overlay of ten rows costs a page and a
 * base is made of huge pages; addresses in lanes make a table of chunks needless.
 *
 * The writer stores a row, then its lane (release); readers load the lane (acquire). A row's key is loaded and stored
 * as an atomic, because a reader whose tag agrees by chance may look at a place that is just being used again: it
 * finds a key that isn't its own, old or new. Floats are plain: nobody looks for a key that is being written.
 */
#include "ps/serve/rows.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define CHUNK_MIN   ((size_t)4 << 10)
#define CHUNK_MAX   ((size_t)2 << 20)
#define CHUNK_PART  8u /* of what there is: a chunk that has just been begun wastes no more */
#define LINE        8u /* lanes: 64 bytes */
#define LINES_MAX   ((UINT32_C(1) << 22) - 1)
#define SMALL       64u /* lines */
#define DIR_MIN     4u
#define DIR_MAX     16u
#define SEGMENT_AIM 4096u /* rows a segment has when the expectation holds */
#define ADDRESS     0x0000fffffffffff8u
#define STATE       7u
#define LIVE        0u
#define TOMB        1u
#define DEAD        2u
#define RECLAIM_AT  64u

struct row {
    _Atomic uint64_t key;
    float w[];
};

struct chunk {
    char *data; /* owned */
    size_t bytes;
    bool slab; /* of mem_slab, else malloc */
};

struct retired { /* lanes that readers may still look at */
    void *lanes; /* owned */
    uint64_t stamp;
    size_t bytes;
};

struct fill { /* of a segment; the writer's */
    uint32_t used, dead;
};

struct rows {
    /* -- set once -- */
    uint32_t dim, dir_log2;
    size_t stride;
    struct epoch *epoch; /* borrowed */
    /* -- readers load, the writer stores -- */
    _Atomic uint64_t *dir; /* (1 << dir_log2), owned */
    _Atomic uint64_t live, tombs;
    /* -- the writer only -- */
    struct fill *fill; /* (1 << dir_log2), owned */
    struct chunk *chunk;
    size_t chunks, chunks_cap, chunk_used;
    struct row *free_rows; /* chained through their first float word; see row_next */
    struct retired *retired;
    size_t retired_used, retired_cap;
    uint64_t bytes;
};

static inline size_t dir_at(const struct rows *r, uint64_t h)
{
    return r->dir_log2 == 0 ? 0 : (size_t)(h >> (64 - r->dir_log2));
}

/* A directory's word: address of the lanes in bits 47..6, number of lines in the rest. */
static inline uint64_t pack(const _Atomic uint64_t *lanes, uint32_t lines)
{
    return (uint64_t)(uintptr_t)lanes | (uint64_t)(lines >> 6) << 48 | (lines & 63);
}

static inline _Atomic uint64_t *lanes_of(uint64_t word)
{
    return (_Atomic uint64_t *)(uintptr_t)(word & ADDRESS & ~(uint64_t)63);
}

static inline uint32_t lines_of(uint64_t word)
{
    return (uint32_t)(word >> 48 << 6 | (word & 63));
}

static inline size_t lanes_in(uint64_t word)
{
    return (size_t)lines_of(word) * LINE;
}

/* Where a key's probe begins: the low half of the hash, scaled. */
static inline size_t begin_of(uint64_t word, uint64_t h)
{
    return (size_t)((h & UINT32_MAX) * lanes_in(word) >> 32);
}

static inline uint64_t tag_of(uint64_t h)
{
    return (h >> 32 & 0xffff) << 48;
}

static inline struct row *row_of(uint64_t lane)
{
    return (struct row *)(uintptr_t)(lane & ADDRESS);
}

static inline uint64_t load_dir(const struct rows *r, uint64_t h)
{
    return atomic_load_explicit(&r->dir[dir_at(r, h)], memory_order_acquire);
}

/* -- making and freeing -- */

static _Atomic uint64_t *new_lanes(struct rows *r, uint32_t lines)
{
    r->bytes += (size_t)lines * LINE * 8;
    return mem_aligned(64, (size_t)lines * LINE * 8);
}

struct rows *rows_new(uint32_t dim, uint64_t about, bool room, struct epoch *epoch)
{
    struct rows *r = mem_zalloc(sizeof(*r));
    r->dim = dim;
    r->stride = (8 + 4 * (size_t)dim + 7) & ~(size_t)7;
    r->epoch = epoch;
    r->dir_log2 = DIR_MIN;
    while (r->dir_log2 < DIR_MAX && about >> r->dir_log2 > SEGMENT_AIM) {
        r->dir_log2++;
    }
    const size_t n = (size_t)1 << r->dir_log2;
    const uint64_t lines = room ? (about >> r->dir_log2) * 3 / 2 / LINE + 1 : 1;
    r->dir = mem_array(n, sizeof(*r->dir));
    r->fill = mem_array(n, sizeof(*r->fill));
    r->bytes = sizeof(*r) + n * (sizeof(*r->dir) + sizeof(*r->fill));
    for (size_t i = 0; i < n; i++) {
        const uint32_t most = lines < LINES_MAX ? (uint32_t)lines : LINES_MAX;
        atomic_store_explicit(&r->dir[i], pack(new_lanes(r, most), most), memory_order_release);
    }
    return r;
}

static void free_chunk(struct rows *r)
{
    struct chunk *c = &r->chunk[--r->chunks];
    r->bytes -= c->bytes;
    if (c->slab) {
        mem_slab_free(c->data, c->bytes);
    } else {
        free(c->data);
    }
}

bool rows_free_some(struct rows *r, size_t chunks)
{
    for (; chunks > 0 && r->chunks > 0; chunks--) {
        free_chunk(r);
    }
    if (r->chunks > 0) {
        return false;
    }
    for (size_t i = 0; i >> r->dir_log2 == 0; i++) {
        free((void *)lanes_of(atomic_load(&r->dir[i])));
    }
    for (size_t i = 0; i < r->retired_used; i++) {
        free(r->retired[i].lanes);
    }
    free(r->retired);
    free(r->chunk);
    free((void *)r->dir);
    free(r->fill);
    free(r);
    return true;
}

void rows_free(struct rows *r)
{
    if (r != NULL) {
        (void)rows_free_some(r, SIZE_MAX);
    }
}

/* -- reading -- */

/* The lane of a key, or its value 0; *out_at says where. */
static inline uint64_t find_lane(uint64_t word, uint64_t key, uint64_t h, size_t *out_at)
{
    _Atomic uint64_t *lanes = lanes_of(word);
    const size_t n = lanes_in(word);
    size_t at = begin_of(word, h);
    for (;; at = at + 1 < n ? at + 1 : 0) {
        const uint64_t lane = atomic_load_explicit(&lanes[at], memory_order_acquire);
        if (lane == 0) {
            return 0; /* one lane in four is empty */
        }
        if (((lane ^ tag_of(h)) >> 48) != 0 || (lane & STATE) == DEAD) {
            continue;
        }
        if (atomic_load_explicit(&row_of(lane)->key, memory_order_relaxed) == key) {
            *out_at = at;
            return lane;
        }
    }
}

enum rows_found rows_find(const struct rows *r, uint64_t key, uint64_t h, const float **out_w)
{
    size_t at;
    const uint64_t lane = find_lane(load_dir(r, h), key, h, &at);
    if (lane == 0) {
        return ROWS_ABSENT;
    }
    if ((lane & STATE) == TOMB) {
        return ROWS_TOMB;
    }
    *out_w = row_of(lane)->w;
    return ROWS_LIVE;
}

void rows_prefetch_lanes(const struct rows *r, const uint64_t *h, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t word = load_dir(r, h[i]);
        __builtin_prefetch((const void *)(lanes_of(word) + begin_of(word, h[i])));
    }
}

/* The row of the first lane with the tag: nearly always the one. */
static inline void prefetch_row(const struct rows *r, uint64_t h)
{
    const uint64_t word = load_dir(r, h);
    const size_t n = lanes_in(word);
    size_t at = begin_of(word, h);
    for (size_t looked = 0; looked < 8; looked++, at = at + 1 < n ? at + 1 : 0) {
        const uint64_t lane = atomic_load_explicit(&lanes_of(word)[at], memory_order_relaxed);
        if (lane == 0) {
            return;
        }
        if (((lane ^ tag_of(h)) >> 48) != 0 || (lane & STATE) == DEAD) {
            continue;
        }
        const char *row = (const char *)row_of(lane);
        for (size_t b = 0; b < r->stride && b < 512; b += 64) {
            __builtin_prefetch(row + b);
        }
        return;
    }
}

void rows_prefetch_rows(const struct rows *r, const uint64_t *h, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        prefetch_row(r, h[i]);
    }
}

bool rows_empty(const struct rows *r)
{
    return rows_live(r) == 0 && rows_tombs(r) == 0;
}

/* -- places for rows -- */

static void row_next(struct row *row, struct row *next)
{
    atomic_store_explicit(&row->key, (uint64_t)(uintptr_t)next, memory_order_relaxed);
}

static void give_row(struct rows *r, struct row *row)
{
    row_next(row, r->free_rows);
    r->free_rows = row;
}

static enum status more_room(struct rows *r, struct errbuf *err)
{
    const size_t least = r->stride * 4 > CHUNK_MIN ? r->stride * 4 : CHUNK_MIN;
    struct chunk c = {NULL, (size_t)(r->bytes / CHUNK_PART) & ~(CHUNK_MIN - 1), false};
    c.bytes = c.bytes < CHUNK_MAX ? c.bytes : CHUNK_MAX;
    c.bytes = c.bytes > least ? c.bytes : least;
    c.slab = c.bytes >= CHUNK_MAX;
    if (c.slab) {
        void *data = NULL;
        enum status st = mem_slab(c.bytes, &data, err);
        if (st != ST_OK) {
            return st;
        }
        c.data = data;
    } else {
        c.data = mem_aligned(64, c.bytes);
    }
    mem_grow(&r->chunk, &r->chunks_cap, r->chunks + 1, sizeof(*r->chunk));
    r->chunk[r->chunks++] = c;
    r->chunk_used = 0;
    r->bytes += c.bytes;
    return ST_OK;
}

static enum status take_row(struct rows *r, struct row **out, struct errbuf *err)
{
    if (r->free_rows != NULL) {
        *out = r->free_rows;
        r->free_rows =
            (struct row *)(uintptr_t)atomic_load_explicit(&(*out)->key, memory_order_relaxed);
        return ST_OK;
    }
    if (r->chunks == 0 || r->chunk_used + r->stride > r->chunk[r->chunks - 1].bytes) {
        enum status st = more_room(r, err);
        if (st != ST_OK) {
            return st;
        }
    }
    *out = (struct row *)(void *)(r->chunk[r->chunks - 1].data + r->chunk_used);
    assert(((uint64_t)(uintptr_t)*out & ~(uint64_t)ADDRESS) == 0 &&
           "48-bit addresses, 8-byte aligned");
    r->chunk_used += r->stride;
    return ST_OK;
}

/* -- writing -- */

void rows_reclaim(struct rows *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->retired_used; i++) {
        if (epoch_passed(r->epoch, r->retired[i].stamp)) {
            r->bytes -= r->retired[i].bytes;
            free(r->retired[i].lanes);
        } else {
            r->retired[kept++] = r->retired[i];
        }
    }
    r->retired_used = kept;
}

static void rehash(struct rows *r, size_t d, uint32_t lines)
{
    const uint64_t old = atomic_load_explicit(&r->dir[d], memory_order_relaxed);
    assert(lines <= LINES_MAX && "25 million rows a segment");
    _Atomic uint64_t *from = lanes_of(old), *to = new_lanes(r, lines);
    const uint64_t word = pack(to, lines);
    const size_t n = lanes_in(word), was = lanes_in(old);
    for (size_t i = 0; i < was; i++) {
        const uint64_t lane = atomic_load_explicit(&from[i], memory_order_relaxed);
        if (lane == 0 || (lane & STATE) == DEAD) {
            continue;
        }
        const uint64_t key = atomic_load_explicit(&row_of(lane)->key, memory_order_relaxed);
        size_t at = begin_of(word, hash_u64(key));
        while (atomic_load_explicit(&to[at], memory_order_relaxed) != 0) {
            at = at + 1 < n ? at + 1 : 0;
        }
        atomic_store_explicit(&to[at], lane, memory_order_relaxed);
    }
    r->fill[d].dead = 0;
    atomic_store(&r->dir[d], word);
    mem_grow(&r->retired, &r->retired_cap, r->retired_used + 1, sizeof(*r->retired));
    r->retired[r->retired_used++] = (struct retired){(void *)from, epoch_retire(r->epoch), was * 8};
    if (r->retired_used % RECLAIM_AT == 0 || was * 8 >= CHUNK_MIN) {
        rows_reclaim(r);
    }
}

/* Room for one more lane in segment d: at most three in four are not empty. */
static void reserve(struct rows *r, size_t d)
{
    const uint64_t word = atomic_load_explicit(&r->dir[d], memory_order_relaxed);
    const struct fill *f = &r->fill[d];
    const uint32_t lines = lines_of(word);
    if (4 * ((uint64_t)f->used + f->dead + 1) <= 3 * (uint64_t)lanes_in(word)) {
        return;
    }
    if (8 * ((uint64_t)f->used + 1) <
        5 * (uint64_t)lanes_in(word)) { /* dead ones were what filled it */
        rehash(r, d, lines);
    } else {
        rehash(r, d, lines < SMALL ? 2 * lines : lines + lines / 8);
    }
}

static void add_lane(struct rows *r, uint64_t h, uint64_t lane)
{
    const size_t d = dir_at(r, h);
    reserve(r, d);
    const uint64_t word = atomic_load_explicit(&r->dir[d], memory_order_relaxed);
    _Atomic uint64_t *lanes = lanes_of(word);
    size_t at = begin_of(word, h);
    uint64_t there;
    while ((there = atomic_load_explicit(&lanes[at], memory_order_relaxed)) != 0 &&
           (there & STATE) != DEAD) {
        at = at + 1 < lanes_in(word) ? at + 1 : 0;
    }
    r->fill[d].dead -= there != 0;
    r->fill[d].used++;
    atomic_store_explicit(&lanes[at], lane, memory_order_release);
}

static void count(struct rows *r, uint64_t state, int by)
{
    _Atomic uint64_t *n = state == TOMB ? &r->tombs : &r->live;
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + (uint64_t)(int64_t)by,
                          memory_order_relaxed);
}

static enum status put(struct rows *r, uint64_t key, const void *w, uint64_t state,
                       struct errbuf *err)
{
    const uint64_t h = hash_u64(key), word = load_dir(r, h);
    size_t at;
    const uint64_t lane = find_lane(word, key, h, &at);
    struct row *row = row_of(lane);
    if (lane == 0) {
        enum status st = take_row(r, &row, err);
        if (st != ST_OK) {
            return st;
        }
        atomic_store_explicit(&row->key, key, memory_order_relaxed);
    }
    if (state == LIVE) {
        memcpy(row->w, w, 4 * (size_t)r->dim);
    }
    if (lane == 0) {
        add_lane(r, h, tag_of(h) | (uint64_t)(uintptr_t)row | state);
        count(r, state, 1);
    } else if ((lane & STATE) != state) {
        atomic_store_explicit(&lanes_of(word)[at], (lane & ~(uint64_t)STATE) | state,
                              memory_order_release);
        count(r, lane & STATE, -1);
        count(r, state, 1);
    }
    return ST_OK;
}

enum status rows_put(struct rows *r, uint64_t key, const void *w, struct errbuf *err)
{
    return put(r, key, w, LIVE, err);
}

enum status rows_put_tomb(struct rows *r, uint64_t key, struct errbuf *err)
{
    return put(r, key, NULL, TOMB, err);
}

void rows_remove(struct rows *r, uint64_t key)
{
    const uint64_t h = hash_u64(key), word = load_dir(r, h);
    size_t at;
    const uint64_t lane = find_lane(word, key, h, &at);
    if (lane == 0) {
        return;
    }
    atomic_store_explicit(&lanes_of(word)[at], DEAD, memory_order_release);
    r->fill[dir_at(r, h)].used--;
    r->fill[dir_at(r, h)].dead++;
    count(r, lane & STATE, -1);
    give_row(r, row_of(lane));
}

/* -- walking -- */

size_t rows_scan(const struct rows *r, uint64_t *cursor, size_t n, struct rows_entry *out)
{
    size_t used = 0;
    size_t d = (size_t)(*cursor >> 32), at = (size_t)(*cursor & UINT32_MAX);
    for (; d >> r->dir_log2 == 0 && used < n; d++, at = 0) {
        const uint64_t word = atomic_load_explicit(&r->dir[d], memory_order_relaxed);
        for (; at < lanes_in(word) && used < n; at++) {
            const uint64_t lane = atomic_load_explicit(&lanes_of(word)[at], memory_order_relaxed);
            if (lane == 0 || (lane & STATE) == DEAD) {
                continue;
            }
            const struct row *row = row_of(lane);
            out[used++] = (struct rows_entry){atomic_load_explicit(&row->key, memory_order_relaxed),
                                              (lane & STATE) == TOMB ? NULL : row->w};
        }
        if (at < lanes_in(word)) {
            break;
        }
    }
    *cursor = (uint64_t)d << 32 | at;
    return used;
}

uint64_t rows_live(const struct rows *r)
{
    return atomic_load_explicit(&r->live, memory_order_relaxed);
}

uint64_t rows_tombs(const struct rows *r)
{
    return atomic_load_explicit(&r->tombs, memory_order_relaxed);
}

uint64_t rows_bytes(const struct rows *r)
{
    return r->bytes;
}
