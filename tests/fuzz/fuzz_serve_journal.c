/* fuzz_serve_journal.c - a node's journal: any bytes as a file, and any bytes as the payload of a frame that is whole.
 *
 * The first byte says which. The second half is the deeper one: no checksum stands before it. What is accepted must
 * leave users and items that can be written for a snapshot, and these bytes must be accepted, too.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "ps/serve/journal.h"
#include "ps/serve/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum status frame(void *arg, uint64_t lsn, const uint8_t *payload, size_t n,
                         struct errbuf *err)
{
    return state_apply(arg, lsn, payload, n, err);
}

static void write_all(struct state *s, struct buffer *b)
{
    for (uint32_t i = 0; i < atomic_load(&s->items.used); i++)
        state_full_item((const struct item *)registry_at(&s->items, i), b);
    for (uint32_t i = 0; i < atomic_load(&s->users.used); i++)
        state_full_user(s, (const struct user *)registry_at(&s->users, i), b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct interaction none; /* off */
    struct fields fields = {0};
    struct errbuf err = ERRBUF_INIT;
    struct state *s = mem_aligned(64, sizeof(*s)), *again = mem_aligned(64, sizeof(*again));
    (void)fields_add(&fields, "price", NULL, true);
    const struct state_conf conf = {.dir = "fuzz",
                                    .users_max = 100,
                                    .items_max = 100,
                                    .history_max = 5,
                                    .seen_max = 10,
                                    .keep_negatives = true,
                                    .fields = &fields,
                                    .interaction = &none};
    state_open(s, &conf);
    state_open(again, &conf);
    s->replaying = again->replaying = true;
    enum status st = ST_OK;
    if (size > 0 && data[0] % 2 == 0) {
        const struct journal_text text = {data + 1, size - 1, 1, data[0] % 4 == 0};
        const struct journal_reader reader = {s, frame};
        uint64_t lsn = 0;
        size_t good;
        bool ended;
        st = journal_parse(&text, &lsn, &reader, &good, &ended, &err);
        assert(good <= size);
    } else if (size > 1) {
        st = state_apply(s, 1, data + 1, size - 1, &err);
    }
    assert(st == ST_OK || ((st == ST_BAD_DATA || st == ST_AGAIN) && err.text[0] != '\0'));
    struct buffer b = BUFFER_INIT, c = BUFFER_INIT;
    write_all(s, &b);
    st = state_apply(again, 0, b.data, b.used, &err);
    assert(st == ST_OK);
    write_all(again, &c);
    assert(atomic_load(&again->users.alive) == atomic_load(&s->users.alive));
    buffer_release(&b);
    buffer_release(&c);
    state_close(s);
    state_close(again);
    free(s);
    free(again);
    fields_release(&fields);
    return 0;
}
