/* undo.c - the image of each record at its first touch in an interval.
 *
 * Two lists that only grow at the end. Entries (24 bytes) stand in chunks of ENTRIES, images in arena
 * chunks of 1 MiB: nothing is ever moved to make room, so an image's address holds until the log is reset,
 * and a push never pays for a copy of the log. A chunk that a reset sets free goes to a spare list and is
 * used again: in the steady state a log calls malloc never. What the last two intervals did not need
 * (plus a quarter) goes back to the system, so that one wild interval does not stay in memory for good.
 *
 *   log        made by            holds                                   left by
 *   open       reset, or swap     first touches since the take            take: becomes taken
 *   taken      take               first touches of the cut being written  complete: reset; abandoned: fold
 *   folded     undo_fold          taken, then open, in one log            it is the open log from then on
 *
 * A row's meta names its image in the log that took the row's last first touch: (stamp, index). A fold moves
 * the indices of the newer log up by what stands before them; rows touched only in the older interval keep
 * the older stamp, and their next touch makes one more entry. So a folded log may hold a row twice: walked
 * backwards the older image is put back last (rollback = base); walked forwards the first entry is the
 * row's old value (the hash), later ones are skipped.
 *
 * After a rollback records carry the meta they had, stamps of former intervals included: the caller must go
 * on with a stamp that was never used before, or a first touch would pass for a second one.
 *
 * Shard thread only. Nothing here fails: memory is bounded by the shard, which asks undo_bytes.
 */
#include "ps/snapshot/undo.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define ENTRIES_BITS 12u
#define ENTRIES      ((size_t)1 << ENTRIES_BITS)
#define ARENA_BYTES  ((size_t)1 << 20)
#define IMAGE_ALIGN  ((size_t)16)

struct block { /* of either list */
    uint8_t *bytes;
    size_t size;
};

struct blocks {
    struct block *item; /* owned, and what they point to */
    size_t used, cap;
};

struct undo {
    struct blocks entries; /* each ENTRIES entries */
    size_t entries_used;
    struct blocks arena;
    size_t arena_at;     /* bytes used of the last arena block */
    struct blocks spare; /* free arena blocks */
    struct blocks spare_entries;
    uint64_t image_bytes;
    size_t arena_before; /* arena blocks the interval before the last reset used */
};

static void blocks_push(struct blocks *b, struct block one)
{
    mem_grow(&b->item, &b->cap, b->used + 1, sizeof *b->item);
    b->item[b->used++] = one;
}

static void blocks_trim(struct blocks *b, size_t keep)
{
    while (b->used > keep)
        free(b->item[--b->used].bytes);
}

static void blocks_release(struct blocks *b)
{
    blocks_trim(b, 0);
    free(b->item);
    memset(b, 0, sizeof *b);
}

static void blocks_move(struct blocks *to, struct blocks *from)
{
    for (size_t i = 0; i < from->used; i++)
        blocks_push(to, from->item[i]);
    from->used = 0;
}

/* The next block of at least `size` bytes: a spare one, or a new one. */
static void blocks_next(struct blocks *to, struct blocks *spare, size_t size)
{
    struct block one = {NULL, 0};
    if (spare->used > 0)
        one = spare->item[--spare->used];
    if (one.size < size) {
        free(one.bytes);
        one.bytes = mem_alloc(size);
        one.size = size;
    }
    blocks_push(to, one);
}

struct undo *undo_new(void)
{
    return mem_zalloc(sizeof(struct undo));
}

void undo_free(struct undo *u)
{
    if (u == NULL)
        return;
    blocks_release(&u->entries);
    blocks_release(&u->arena);
    blocks_release(&u->spare);
    blocks_release(&u->spare_entries);
    free(u);
}

void undo_reset(struct undo *u)
{
    size_t most = u->arena.used > u->arena_before ? u->arena.used : u->arena_before;
    size_t keep = most + most / 4;
    u->arena_before = u->arena.used;
    blocks_move(&u->spare, &u->arena);
    blocks_trim(&u->spare, keep);
    /* The entries of an interval are a small part of its images: the same rule by a bound that is
     * generous for them (4096 entries for each MiB of images, rounded up). */
    blocks_move(&u->spare_entries, &u->entries);
    blocks_trim(&u->spare_entries, 1 + keep * (ARENA_BYTES / (ENTRIES * 32)));
    u->entries_used = 0;
    u->arena_at = 0;
    u->image_bytes = 0;
}

static struct undo_entry *entry(const struct undo *u, size_t i)
{
    struct undo_entry *chunk = (void *)u->entries.item[i >> ENTRIES_BITS].bytes;
    return &chunk[i & (ENTRIES - 1)];
}

static struct undo_entry *entry_add(struct undo *u)
{
    if (u->entries_used == u->entries.used << ENTRIES_BITS)
        blocks_next(&u->entries, &u->spare_entries, ENTRIES * sizeof(struct undo_entry));
    assert(u->entries_used < UINT32_MAX); /* meta.image has 32 bits */
    return entry(u, u->entries_used++);
}

static void *image_room(struct undo *u, size_t bytes)
{
    size_t room = (bytes + IMAGE_ALIGN - 1) & ~(IMAGE_ALIGN - 1);
    if (u->arena.used == 0 || u->arena.item[u->arena.used - 1].size - u->arena_at < room) {
        blocks_next(&u->arena, &u->spare, room > ARENA_BYTES ? room : ARENA_BYTES);
        u->arena_at = 0;
    }
    void *at = u->arena.item[u->arena.used - 1].bytes + u->arena_at;
    u->arena_at += room;
    u->image_bytes += room;
    return at;
}

static void note(struct undo *u, struct row_meta *meta, uint32_t table, uint32_t slot, uint64_t key,
                 uint32_t stamp, void *image)
{
    size_t index = u->entries_used;
    struct undo_entry *e = entry_add(u);
    e->key = key;
    e->table = table;
    e->slot = slot;
    e->image = image;
    meta->stamp = stamp;
    meta->image = (uint32_t)index;
}

void undo_touch(struct undo *u, struct store *s, uint32_t table, uint32_t slot, uint64_t key,
                uint32_t stamp)
{
    struct row_meta *meta = table_record(s->table[table], slot);
    if (meta->stamp == stamp)
        return;
    size_t bytes = table_record_bytes(s->table[table]);
    void *image = image_room(u, bytes);
    memcpy(image, meta, bytes);
    note(u, meta, table, slot, key, stamp, image);
}

void undo_added(struct undo *u, struct store *s, uint32_t table, uint32_t slot, uint64_t key,
                uint32_t stamp)
{
    struct row_meta *meta = table_record(s->table[table], slot);
    assert(meta->stamp != stamp);
    note(u, meta, table, slot, key, stamp, NULL);
}

size_t undo_entries(const struct undo *u)
{
    return u->entries_used;
}

const struct undo_entry *undo_at(const struct undo *u, size_t i)
{
    assert(i < u->entries_used);
    return entry(u, i);
}

uint64_t undo_bytes(const struct undo *u)
{
    return u->image_bytes + u->entries_used * sizeof(struct undo_entry);
}

void undo_fold(struct undo *u, struct undo *newer, struct store *s, uint32_t newer_stamp)
{
    size_t before = u->entries_used;
    for (size_t i = 0; i < newer->entries_used; i++) {
        const struct undo_entry *from = entry(newer, i);
        *entry_add(u) = *from;
        struct row_meta *meta = table_record(s->table[from->table], from->slot);
        /* A newer log that was itself folded holds some rows twice; their meta names the later entry,
         * and nothing of that row comes behind it, so no index is moved twice. */
        if (meta->stamp == newer_stamp && meta->image == i)
            meta->image = (uint32_t)(before + i);
    }
    if (newer->arena.used > 0) {
        blocks_move(&u->arena, &newer->arena);
        u->arena_at = newer->arena_at;
    }
    u->image_bytes += newer->image_bytes;
    undo_reset(newer);
}

void undo_rollback(struct undo *u, struct store *s)
{
    for (size_t i = u->entries_used; i-- > 0;) {
        const struct undo_entry *e = entry(u, i);
        struct table *t = s->table[e->table];
        if (e->image == NULL)
            table_remove(t, e->key, e->slot);
        else
            memcpy(table_record(t, e->slot), e->image, table_record_bytes(t));
    }
    undo_reset(u);
}

/* Every entry's row is where it was; rows with `stamp` name an entry of their own. */
void undo_check(const struct undo *u, const struct store *s, uint32_t stamp)
{
    for (size_t i = 0; i < u->entries_used; i++) {
        const struct undo_entry *e = entry(u, i);
        assert(e->table < s->tables);
        uint32_t slot;
        table_find(s->table[e->table], &e->key, 1, &slot);
        assert(slot == e->slot);
        const struct row_meta *meta = table_record(s->table[e->table], slot);
        if (meta->stamp != stamp)
            continue;
        assert(meta->image < u->entries_used);
        const struct undo_entry *named = entry(u, meta->image);
        assert(named->table == e->table && named->key == e->key && named->slot == e->slot);
        (void)named;
    }
}
