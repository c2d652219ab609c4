/* index.c - key -> slot: an extendible directory of segments of one-line groups.
 *
 * A group is one cache line: 12 tags, an overflow count, 12 slots. A lookup reads one directory word, one
 * group, and the record it was going to read anyway, whose first 8 bytes are the key: two misses where
 * separate arrays of tags, keys and slots have three before the record. A tag is 8 bits of the hash, so one
 * lookup in 30 or so looks at a record in vain.
 *
 * An entry that finds its group full goes to the next one of its probe sequence, and each group it passes
 * counts it (F14's overflow count). A lookup stops at the first group with count 0, and removing an entry
 * takes its counts away: there are no tombstones and nothing decays. A count that has reached 255 stays:
 * lookups through it are slower, never wrong.
 *
 * Growth: a segment doubles from 4 groups to 4096 (48 Ki slots), then splits by one more hash bit; at most
 * one segment is rehashed by an add (a third of a millisecond), never the table. A rehash must read the keys
 * out of the records, and prefetches them a few groups ahead.
 *
 * Hash bits of hash_u64 (the top 12 choose the shard, all rows here share some of them):
 *   63..52 bucket | 51.. directory | 19..12 tag | 11..0 group
 */
#include "ps/store/index.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "common/base/hash.h"
#include "common/base/mem.h"

#define GROUP_BYTES  64u
#define LANES        12u
#define OVERFLOW_AT  12u /* byte of the group that counts entries which passed it */
#define SLOTS_AT     16u
#define FIRST_LOG2   2u
#define BIG_LOG2     12u
#define BIG_BYTES    ((size_t)GROUP_BYTES << BIG_LOG2)
#define DEPTH_MAX    30u
#define SKEW_MAX     64u /* directory words a segment: honest keys need 4, made-up ones any number */
#define ENTRY_LOG2   63u /* low bits of a directory word */
#define REHASH_AHEAD 4u  /* groups */
#define LATE         32u
#define RING         64u /* keys under way in a lookup; a power of two */
#define AHEAD        24u /* keys between two stages of a lookup; 2 * AHEAD < RING */

static const unsigned char no_group[GROUP_BYTES] __attribute__((aligned(64)));

/* -- a group -- */

/* Bit l: lane l has this tag. */
static inline uint32_t match(const unsigned char *group, uint8_t tag)
{
#if defined(__SSE2__)
    __m128i tags = _mm_load_si128((const __m128i *)(const void *)group);
    uint32_t m = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8((char)tag)));
    return m & ((1u << LANES) - 1);
#else
    uint32_t m = 0;
    for (uint32_t l = 0; l < LANES; l++)
        m |= (uint32_t)(group[l] == tag) << l;
    return m;
#endif
}

static inline uint32_t *slots_of(unsigned char *group)
{
    return (uint32_t *)(void *)(group + SLOTS_AT);
}

static inline uint32_t slot_at(const unsigned char *group, uint32_t lane)
{
    return ((const uint32_t *)(const void *)(group + SLOTS_AT))[lane];
}

static inline uint8_t tag_of(uint64_t h)
{
    uint8_t tag = (uint8_t)(h >> BIG_LOG2);
    return tag == 0 ? 1 : tag; /* 0 = an empty lane */
}

/* Odd, so that the sequence visits every group; by tag, so that neighbours don't pile up. */
static inline size_t step_of(uint64_t h)
{
    return 2u * (size_t)tag_of(h) + 1;
}

static inline size_t dir_at(const struct index *ix, uint64_t h)
{
    return (size_t)((h & (((uint64_t)1 << 52) - 1)) >> (52 - ix->depth));
}

static inline unsigned char *entry_groups(uint64_t entry)
{
    return (unsigned char *)(uintptr_t)(entry & ~(uint64_t)ENTRY_LOG2);
}

static inline size_t entry_mask(uint64_t entry)
{
    return ((size_t)1 << (entry & ENTRY_LOG2)) - 1;
}

static inline uint64_t key_of(const struct index *ix, uint32_t slot)
{
    uint64_t key;
    memcpy(&key, slab_piece(ix->rows, slot), sizeof key);
    return key;
}

static uint32_t segment_max(const struct segment *s)
{
    uint32_t lanes = LANES << s->log2;
    return lanes - lanes / 8;
}

/* -- lookup -- */

static uint32_t find_hashed(const struct index *ix, uint64_t key, uint64_t h)
{
    const uint64_t entry = ix->dir[dir_at(ix, h)];
    const unsigned char *groups = entry_groups(entry);
    const size_t mask = entry_mask(entry);
    size_t g = h & mask;
    for (size_t i = 0; i <= mask; i++) {
        const unsigned char *group = groups + g * GROUP_BYTES;
        for (uint32_t m = match(group, tag_of(h)); m != 0; m &= m - 1) {
            uint32_t slot = slot_at(group, (uint32_t)__builtin_ctz(m));
            if (key_of(ix, slot) == key)
                return slot;
        }
        if (group[OVERFLOW_AT] == 0)
            break;
        g = (g + step_of(h)) & mask;
    }
    return SLAB_NONE;
}

uint32_t index_find_one(const struct index *ix, uint64_t key)
{
    return find_hashed(ix, key, hash_u64(key));
}

/* What a lookup remembers of a key between its stages. */
struct flying {
    uint64_t h;
    const unsigned char *group;
    size_t at; /* of the key in the batch; kept for late ones only */
};

/* Keys that their first candidate did not settle: one in twelve, but each with two misses one after the
 * other, which cost as much as all the others together. So they too go in stages. */
struct late {
    struct flying key[LATE];
    size_t used;
};

static inline void start(const struct index *ix, uint64_t key, struct flying *f)
{
    f->h = hash_u64(key);
    const uint64_t entry = ix->dir[dir_at(ix, f->h)];
    f->group = entry_groups(entry) + (f->h & entry_mask(entry)) * GROUP_BYTES;
    __builtin_prefetch(f->group);
}

static inline void prefetch_record(const struct index *ix, const unsigned char *group, uint32_t m,
                                   size_t touch)
{
    const char *piece = slab_piece(ix->rows, slot_at(group, (uint32_t)__builtin_ctz(m)));
    for (size_t at = 0; at < touch; at += 64)
        __builtin_prefetch(piece + at);
}

/* The first lane with the tag is nearly always the one; without one the group may still have passed it on. */
static inline uint32_t candidate(const struct index *ix, const struct flying *f, size_t touch)
{
    uint32_t m = match(f->group, tag_of(f->h));
    if (m == 0)
        return SLAB_NONE;
    prefetch_record(ix, f->group, m, touch);
    return slot_at(f->group, (uint32_t)__builtin_ctz(m));
}

static const unsigned char *second_group(const struct index *ix, uint64_t h)
{
    const uint64_t entry = ix->dir[dir_at(ix, h)];
    return entry_groups(entry) + ((h + step_of(h)) & entry_mask(entry)) * GROUP_BYTES;
}

static void settle_late(const struct index *ix, const uint64_t *keys, struct late *l, size_t touch,
                        uint32_t *slots)
{
    for (size_t i = 0; i < l->used; i++) {
        const struct flying *f = &l->key[i];
        uint32_t m = match(f->group, tag_of(f->h));
        m &= m - 1; /* the first one was not it */
        if (m != 0)
            prefetch_record(ix, f->group, m, touch);
        else if (f->group[OVERFLOW_AT] != 0)
            __builtin_prefetch(second_group(ix, f->h));
    }
    for (size_t i = 0; i < l->used; i++) {
        const struct flying *f = &l->key[i];
        const unsigned char *group = second_group(ix, f->h);
        uint32_t m;
        if (f->group[OVERFLOW_AT] != 0 && (m = match(group, tag_of(f->h))) != 0)
            prefetch_record(ix, group, m, touch);
    }
    for (size_t i = 0; i < l->used; i++)
        slots[l->key[i].at] = find_hashed(ix, keys[l->key[i].at], l->key[i].h);
    l->used = 0;
}

void index_find(const struct index *ix, const uint64_t *keys, size_t n, size_t touch,
                uint32_t *slots)
{
    struct flying ring[RING];
    struct late late = {.used = 0};
    for (size_t i = 0; i < n + 2 * AHEAD; i++) {
        if (i < n)
            start(ix, keys[i], &ring[i % RING]);
        const size_t b = i - AHEAD, c = i - 2 * AHEAD; /* huge until i is large enough */
        if (b < n)
            slots[b] = candidate(ix, &ring[b % RING], touch);
        if (c >= n)
            continue;
        const struct flying *f = &ring[c % RING];
        if (slots[c] == SLAB_NONE ? f->group[OVERFLOW_AT] == 0 : key_of(ix, slots[c]) == keys[c])
            continue;
        late.key[late.used++] = (struct flying){f->h, f->group, c};
        if (late.used == LATE)
            settle_late(ix, keys, &late, touch, slots);
    }
    settle_late(ix, keys, &late, touch, slots);
}

/* -- insert and remove in a segment -- */

static void put(struct index *ix, struct segment *s, uint64_t h, uint32_t slot)
{
    const size_t mask = ((size_t)1 << s->log2) - 1;
    size_t g = h & mask;
    uint32_t looked = 1;
    uint32_t empty;
    while ((empty = match(s->groups + g * GROUP_BYTES, 0)) == 0) {
        uint8_t *passed = &s->groups[g * GROUP_BYTES + OVERFLOW_AT];
        *passed = (uint8_t)(*passed + (*passed < 255));
        g = (g + step_of(h)) & mask;
        looked++;
    }
    unsigned char *group = s->groups + g * GROUP_BYTES;
    uint32_t lane = (uint32_t)__builtin_ctz(empty);
    group[lane] = tag_of(h);
    slots_of(group)[lane] = slot;
    s->used++;
    ix->probe_sum += looked;
    if (looked > ix->probe_max)
        ix->probe_max = looked;
}

static void take_out(struct index *ix, struct segment *s, uint64_t h, uint32_t slot)
{
    const size_t mask = ((size_t)1 << s->log2) - 1;
    size_t g = h & mask;
    for (uint32_t looked = 1; looked <= mask + 1; looked++) {
        unsigned char *group = s->groups + g * GROUP_BYTES;
        for (uint32_t m = match(group, tag_of(h)); m != 0; m &= m - 1) {
            uint32_t lane = (uint32_t)__builtin_ctz(m);
            if (slot_at(group, lane) != slot)
                continue;
            group[lane] = 0;
            slots_of(group)[lane] = 0;
            s->used--;
            ix->probe_sum -= looked;
            return;
        }
        uint8_t *passed = &group[OVERFLOW_AT];
        *passed = (uint8_t)(*passed - (*passed < 255));
        g = (g + step_of(h)) & mask;
    }
    assert(!"a row is not in its table's index");
}

void index_insert(struct index *ix, uint64_t key, uint32_t slot)
{
    uint64_t h = hash_u64(key);
    put(ix, &ix->segment[ix->segment_of[dir_at(ix, h)]], h, slot);
    ix->rows_used++;
}

void index_remove(struct index *ix, uint64_t key, uint32_t slot)
{
    assert(ix->segments > 0);
    uint64_t h = hash_u64(key);
    take_out(ix, &ix->segment[ix->segment_of[dir_at(ix, h)]], h, slot);
    ix->rows_used--;
}

/* -- growth -- */

static enum status charge(struct index *ix, uint64_t bytes, struct errbuf *err)
{
    if (!budget_take(ix->budget, bytes))
        return errbuf_set(err, ST_AGAIN,
                          "an index of %" PRIu64 " bytes more would exceed the budget: %" PRIu64
                          " of %" PRIu64 " used",
                          bytes, ix->budget->used, ix->budget->max);
    ix->bytes += bytes;
    return ST_OK;
}

static void discharge(struct index *ix, uint64_t bytes)
{
    budget_give(ix->budget, bytes);
    ix->bytes -= bytes;
}

static enum status make_groups(struct index *ix, uint32_t log2, struct segment *s,
                               struct errbuf *err)
{
    const size_t bytes = (size_t)GROUP_BYTES << log2;
    s->log2 = log2;
    s->used = 0;
    s->big = log2 == BIG_LOG2;
    if (s->big) {
        uint32_t number;
        enum status st = slab_take(&ix->big, &number, err);
        if (st != ST_OK)
            return st;
        s->groups = slab_piece(&ix->big, number);
        memset(s->groups, 0, bytes);
        return ST_OK;
    }
    enum status st = charge(ix, bytes, err);
    if (st == ST_OK)
        s->groups = mem_aligned(GROUP_BYTES, bytes);
    return st;
}

static void free_groups(struct index *ix, struct segment *s)
{
    if (s->big)
        return; /* full-size segments are never given back one by one */
    free(s->groups);
    discharge(ix, (uint64_t)GROUP_BYTES << s->log2);
}

static void prefetch_keys(const struct index *ix, const struct segment *s, size_t g)
{
    if (g >> s->log2 != 0)
        return;
    const unsigned char *group = s->groups + g * GROUP_BYTES;
    for (uint32_t l = 0; l < LANES; l++)
        if (group[l] != 0)
            __builtin_prefetch(slab_piece(ix->rows, slot_at(group, l)));
}

/* Point every directory word of segment number `at` to its groups. h: any hash in it. */
static void point(struct index *ix, uint32_t at, size_t dir_first)
{
    const struct segment *s = &ix->segment[at];
    size_t n = (size_t)1 << (ix->depth - s->depth);
    for (size_t i = 0; i < n; i++) {
        ix->dir[dir_first + i] = (uint64_t)(uintptr_t)s->groups | s->log2;
        ix->segment_of[dir_first + i] = at;
    }
}

static size_t dir_first(const struct index *ix, const struct segment *s, size_t any)
{
    return any >> (ix->depth - s->depth) << (ix->depth - s->depth);
}

static enum status double_segment(struct index *ix, size_t dir, struct errbuf *err)
{
    const uint32_t at = ix->segment_of[dir];
    struct segment old = ix->segment[at], new = old;
    enum status st = make_groups(ix, old.log2 + 1, &new, err);
    if (st != ST_OK)
        return st;
    for (size_t g = 0; g >> old.log2 == 0; g++) {
        prefetch_keys(ix, &old, g + REHASH_AHEAD);
        unsigned char *group = old.groups + g * GROUP_BYTES;
        for (uint32_t l = 0; l < LANES; l++) {
            if (group[l] == 0)
                continue;
            uint32_t slot = slot_at(group, l);
            uint64_t h = hash_u64(key_of(ix, slot));
            take_out(ix, &old, h, slot);
            put(ix, &new, h, slot);
        }
    }
    free_groups(ix, &old);
    ix->segment[at] = new;
    point(ix, at, dir_first(ix, &new, dir));
    return ST_OK;
}

static enum status double_directory(struct index *ix, struct errbuf *err)
{
    const size_t n = (size_t)1 << ix->depth;
    if (ix->depth == DEPTH_MAX || n > (size_t)SKEW_MAX * ix->segments)
        return errbuf_set(err, ST_AGAIN, "keys that agree in %u bits of their hash fill a segment",
                          ix->depth);
    enum status st = charge(ix, n * (sizeof *ix->dir + sizeof *ix->segment_of), err);
    if (st != ST_OK)
        return st;
    ix->dir = mem_realloc(ix->dir, 2 * n * sizeof *ix->dir);
    ix->segment_of = mem_realloc(ix->segment_of, 2 * n * sizeof *ix->segment_of);
    for (size_t i = 2 * n; i-- > 0;) { /* downwards: word i is read after those above are written */
        ix->dir[i] = ix->dir[i / 2];
        ix->segment_of[i] = ix->segment_of[i / 2];
    }
    ix->depth++;
    return ST_OK;
}

static enum status grow_segments(struct index *ix, struct errbuf *err)
{
    if (ix->segments < ix->segments_cap)
        return ST_OK;
    uint32_t cap = ix->segments_cap == 0 ? 1 : ix->segments_cap * 2;
    enum status st = charge(ix, (cap - ix->segments_cap) * sizeof *ix->segment, err);
    if (st != ST_OK)
        return st;
    ix->segment = mem_realloc(ix->segment, cap * sizeof *ix->segment);
    ix->segments_cap = cap;
    return ST_OK;
}

/* The upper half (one more hash bit set) moves to a new segment; the rest stays where it is. */
static void move_upper(struct index *ix, struct segment *s, struct segment *upper)
{
    const uint64_t bit = (uint64_t)1 << (52 - upper->depth);
    for (size_t g = 0; g >> s->log2 == 0; g++) {
        prefetch_keys(ix, s, g + REHASH_AHEAD);
        unsigned char *group = s->groups + g * GROUP_BYTES;
        for (uint32_t l = 0; l < LANES; l++) {
            if (group[l] == 0)
                continue;
            uint32_t slot = slot_at(group, l);
            uint64_t h = hash_u64(key_of(ix, slot));
            if ((h & bit) == 0)
                continue;
            take_out(ix, s, h, slot);
            put(ix, upper, h, slot);
        }
    }
}

static enum status split_segment(struct index *ix, uint64_t h, struct errbuf *err)
{
    enum status st = grow_segments(ix, err);
    if (st != ST_OK)
        return st;
    const uint32_t at = ix->segment_of[dir_at(ix, h)];
    if (ix->segment[at].depth == ix->depth && (st = double_directory(ix, err)) != ST_OK)
        return st;
    struct segment *s = &ix->segment[at], upper = {.depth = s->depth + 1};
    st = make_groups(ix, BIG_LOG2, &upper, err);
    if (st != ST_OK)
        return st;
    const size_t first = dir_first(ix, s, dir_at(ix, h));
    s->depth++;
    move_upper(ix, s, &upper);
    ix->segment[ix->segments] = upper;
    point(ix, ix->segments, first + ((size_t)1 << (ix->depth - upper.depth)));
    ix->segments++;
    return ST_OK;
}

static enum status first_segment(struct index *ix, struct errbuf *err)
{
    enum status st = grow_segments(ix, err);
    if (st != ST_OK)
        return st;
    struct segment s = {.depth = 0};
    const uint64_t words = sizeof *ix->dir + sizeof *ix->segment_of;
    if ((st = charge(ix, words, err)) != ST_OK)
        return st;
    if ((st = make_groups(ix, FIRST_LOG2, &s, err)) != ST_OK) {
        discharge(ix, words);
        return st;
    }
    ix->dir = mem_array(1, sizeof *ix->dir);
    ix->segment_of = mem_array(1, sizeof *ix->segment_of);
    ix->segment[ix->segments++] = s;
    point(ix, 0, 0);
    return ST_OK;
}

enum status index_reserve(struct index *ix, uint64_t key, struct errbuf *err)
{
    enum status st = ix->segments == 0 ? first_segment(ix, err) : ST_OK;
    const uint64_t h = hash_u64(key);
    while (st == ST_OK) {
        const size_t dir = dir_at(ix, h);
        const struct segment *s = &ix->segment[ix->segment_of[dir]];
        if (s->used < segment_max(s))
            return ST_OK;
        /* Again after a split whose keys all went one way: rare, and each turn costs a bit of depth. */
        st = s->log2 < BIG_LOG2 ? double_segment(ix, dir, err) : split_segment(ix, h, err);
    }
    return st;
}

/* -- life -- */

void index_init(struct index *ix, const struct slab *rows, struct budget *budget)
{
    memset(ix, 0, sizeof *ix);
    ix->rows = rows;
    ix->budget = budget;
    ix->no_dir = (uint64_t)(uintptr_t)no_group;
    ix->dir = &ix->no_dir;
    slab_init(&ix->big, BIG_BYTES, budget);
}

void index_release(struct index *ix)
{
    for (uint32_t i = 0; i < ix->segments; i++)
        free_groups(ix, &ix->segment[i]);
    if (ix->segments > 0) {
        free(ix->dir);
        free(ix->segment_of);
    }
    free(ix->segment);
    discharge(ix, ix->bytes);
    slab_release(&ix->big);
    memset(ix, 0, sizeof *ix);
}

void index_clear(struct index *ix)
{
    const struct slab *rows = ix->rows;
    struct budget *budget = ix->budget;
    index_release(ix);
    index_init(ix, rows, budget);
}

uint64_t index_bytes(const struct index *ix)
{
    return ix->bytes + ix->big.bytes;
}

static void check_segment(const struct index *ix, uint32_t at, uint64_t *sum)
{
    const struct segment *s = &ix->segment[at];
    const size_t mask = ((size_t)1 << s->log2) - 1;
    uint32_t used = 0;
    for (size_t g = 0; g <= mask; g++) {
        const unsigned char *group = s->groups + g * GROUP_BYTES;
        for (uint32_t l = 0; l < LANES; l++) {
            if (group[l] == 0)
                continue;
            const uint32_t slot = slot_at(group, l);
            assert(slab_holds(ix->rows, slot));
            const uint64_t key = key_of(ix, slot), h = hash_u64(key);
            assert(group[l] == tag_of(h));
            assert(ix->segment_of[dir_at(ix, h)] == at);
            assert(find_hashed(ix, key, h) == slot); /* so: reachable, and there once */
            for (size_t i = h & mask; i != g; i = (i + step_of(h)) & mask) {
                assert(s->groups[i * GROUP_BYTES + OVERFLOW_AT] > 0);
                ++*sum;
            }
            used++;
        }
    }
    assert(used == s->used && used <= segment_max(s));
    *sum += used;
}

void index_check(const struct index *ix)
{
    uint64_t used = 0, sum = 0, bytes = ix->segments_cap * sizeof *ix->segment;
    for (uint32_t i = 0; i < ix->segments; i++) {
        const struct segment *s = &ix->segment[i];
        assert(s->depth <= ix->depth && s->big == (s->log2 == BIG_LOG2));
        check_segment(ix, i, &sum);
        used += s->used;
        bytes += s->big ? 0 : (uint64_t)GROUP_BYTES << s->log2;
    }
    for (size_t d = 0; ix->segments > 0 && d >> ix->depth == 0; d++) {
        const struct segment *s = &ix->segment[ix->segment_of[d]];
        assert(ix->dir[d] == ((uint64_t)(uintptr_t)s->groups | s->log2));
        bytes += sizeof *ix->dir + sizeof *ix->segment_of;
    }
    assert(used == ix->rows_used && sum == ix->probe_sum && bytes == ix->bytes);
    assert(ix->budget->used <= ix->budget->max);
    (void)used, (void)sum, (void)bytes;
}
