/* serve_stores.c - what a serving node keeps: cells, registry, journal, seen ids, lines of the interaction log. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "ps/serve/state.h"

/* ---- cells -------------------------------------------------------------------------------------- */

static void parse_cells(const char *text, const char *except, enum status want, const char *said)
{
    struct fields f = {0};
    struct errbuf err = ERRBUF_INIT;
    struct buffer b = BUFFER_INIT, bytes = BUFFER_INIT;
    struct cell cell[CELLS_MAX], again[CELLS_MAX];
    struct json *j;
    size_t used;
    (void)fields_add(&f, "price", NULL, true);
    (void)fields_add(&f, "tags", "|", false);
    (void)fields_add(&f, "brand", NULL, false);
    assert_int_equal(json_parse(text, strlen(text), "test", &j, &err), ST_OK);
    const enum status st = cells_of_json(&f, j, "context", except, &b, cell, &used, &err);
    assert_int_equal(st, want);
    if (st != ST_OK) {
        assert_non_null(strstr(err.text, said));
    } else {
        /* Bytes and back, a copy, and out again as JSON. */
        struct cells read, c = {cell, used};
        struct reader in;
        cells_settle(cell, used, &b);
        cells_write(&c, &bytes);
        reader_init(&in, bytes.data, bytes.used);
        assert_true(cells_read(&f, &in, again, &read));
        void *copy = mem_alloc(cells_bytes(&read) + 8);
        const struct cells copied = cells_copy(&read, copy);
        struct json *out = cells_json(&copied);
        char *said_back = json_text(out, 0);
        assert_string_equal(said_back, said);
        free(said_back);
        json_free(out);
        free(copy);
    }
    json_free(j);
    buffer_release(&b);
    buffer_release(&bytes);
    fields_release(&f);
}

static void test_cells(void **state)
{
    (void)state;
    parse_cells("{\"price\": 2.5, \"brand\": \"x\", \"tags\": [\"a\", 7, \"c\"]}", "", ST_OK,
                "{\"price\": \"2.5\", \"brand\": \"x\", \"tags\": \"a|7|c\"}");
    parse_cells("{\"brand\": null, \"own\": true, \"item_id\": 3}", NULL, ST_OK,
                "{\"brand\": null, \"own\": \"1\", \"item_id\": \"3\"}");
    parse_cells("{\"item_id\": 3, \"brand\": 9007199254740993}", "item_id", ST_OK,
                "{\"brand\": \"9007199254740993\"}");
    parse_cells("{\"bramd\": 1}", "item_id", ST_USAGE, "context.bramd: the job has no such field");
    parse_cells("{\"price\": 1e300}", "", ST_USAGE, "context.price");
    parse_cells("{\"brand\": [1]}", "", ST_USAGE, "only fields of type ids");
    parse_cells("{\"tags\": [\"a|b\"]}", "", ST_USAGE, "separates ids");
    parse_cells("{\"brand\": {}}", "", ST_USAGE, "context.brand: expected");
    parse_cells("[1]", "", ST_USAGE, "expected an object");
}

/* ---- registry ----------------------------------------------------------------------------------- */

struct record {
    struct entry head;
    uint64_t value, twice;
    char id[24];
};

static struct record *record_new(const char *id, uint64_t value)
{
    struct record *r = mem_zalloc(sizeof(*r));
    snprintf(r->id, sizeof(r->id), "%s", id);
    r->head.id = r->id;
    r->head.id_n = (uint16_t)strlen(id);
    r->head.bytes = sizeof(*r);
    r->value = value;
    r->twice = 2 * value;
    registry_hash(id, strlen(id), &r->head.hash, &r->head.check);
    return r;
}

struct race {
    struct epoch *epoch;
    struct registry *registry;
    atomic_bool stop;
    atomic_bool wrong;
};

/* A record is whole and never older than one seen before, through growth and replacement. */
static void *read_on(void *arg)
{
    struct race *race = arg;
    struct epoch_reader *reader = epoch_join(race->epoch);
    uint64_t last[16] = {0};
    while (!atomic_load(&race->stop)) {
        epoch_enter(race->epoch, reader);
        for (unsigned i = 0; i < 16; i++) {
            char id[8];
            snprintf(id, sizeof(id), "k%u", i);
            const struct record *r =
                (const struct record *)registry_find(race->registry, id, strlen(id));
            if (r == NULL)
                continue;
            if (r->twice != 2 * r->value || r->value < last[i])
                atomic_store(&race->wrong, true);
            last[i] = r->value;
        }
        epoch_leave(reader);
    }
    epoch_part(reader);
    return NULL;
}

static void test_registry(void **state)
{
    (void)state;
    struct epoch *epoch = mem_aligned(64, sizeof(*epoch));
    struct registry *r = mem_zalloc(sizeof(*r));
    struct errbuf err = ERRBUF_INIT;
    struct race race = {.epoch = epoch, .registry = r};
    pthread_t thread[2];
    epoch_init(epoch);
    registry_init(r, epoch, 5000);
    for (unsigned t = 0; t < 2; t++)
        assert_int_equal(pthread_create(&thread[t], NULL, read_on, &race), 0);
    for (uint64_t n = 1; n <= 5000; n++) {
        char id[24];
        snprintf(id, sizeof(id), "n%llu", (unsigned long long)n);
        if (n > 16)
            assert_int_equal(registry_put(r, &record_new(id, n)->head, &err), ST_OK);
        snprintf(id, sizeof(id), "k%llu", (unsigned long long)(n % 16));
        assert_int_equal(registry_put(r, &record_new(id, n)->head, &err), ST_OK);
        registry_reclaim(r);
    }
    atomic_store(&race.stop, true);
    for (unsigned t = 0; t < 2; t++)
        pthread_join(thread[t], NULL);
    assert_false(atomic_load(&race.wrong));
    assert_int_equal(atomic_load(&r->alive), 5000);
    struct record *more = record_new("one more", 1);
    assert_int_equal(registry_put(r, &more->head, &err), ST_AGAIN);
    free(more);
    registry_reclaim(r);
    assert_int_equal(r->retired_used, r->retired_first); /* nobody is inside: all was freed */
    registry_release(r);
    free(r);
    free(epoch);
}

/* ---- journal ------------------------------------------------------------------------------------ */

struct heard {
    uint64_t lsn[64];
    char text[64][16];
    size_t n;
};

static enum status hear(void *arg, uint64_t lsn, const uint8_t *payload, size_t n,
                        struct errbuf *err)
{
    struct heard *h = arg;
    (void)err;
    h->lsn[h->n] = lsn;
    memcpy(h->text[h->n], payload, n);
    h->text[h->n++][n] = '\0';
    return ST_OK;
}

static void open_journal(struct journal *j, const char *dir, struct heard *h, uint64_t *cut)
{
    const struct journal_reader reader = {h, hear};
    struct errbuf err = ERRBUF_INIT;
    memset(h, 0, sizeof(*h));
    const enum status st = journal_open(j, dir, &reader, cut, &err);
    if (st != ST_OK)
        print_message("%s\n", err.text);
    assert_int_equal(st, ST_OK);
}

/* Cut anywhere: whole frames stay, the journal goes on with the next lsn; a flipped byte ends it there. */
static void test_journal_torn_anywhere(void **state)
{
    char dir[] = "/tmp/penstock-journal.XXXXXX", path[128];
    struct journal j;
    struct heard h;
    struct errbuf err = ERRBUF_INIT;
    uint64_t cut;
    char *bytes;
    size_t n;
    (void)state;
    assert_non_null(mkdtemp(dir));
    open_journal(&j, dir, &h, &cut);
    for (int i = 0; i < 3; i++) {
        (void)journal_add(&j, "abcd", 4);
        (void)journal_add(&j, "ef", 2);
        assert_int_equal(journal_sync(&j, &err), ST_OK);
    }
    (void)journal_add(&j, "lost", 4); /* never synced */
    journal_close(&j);
    snprintf(path, sizeof(path), "%s/journal.0000000000000001", dir);
    assert_int_equal(file_read(path, 1 << 20, &bytes, &n, &err), ST_OK);
    const size_t pair = 2 * JOURNAL_FRAME + 6;
    assert_int_equal(n, JOURNAL_HEADER + 3 * pair);
    for (size_t at = 0; at <= n; at++) {
        const size_t in = at < JOURNAL_HEADER ? 0 : (at - JOURNAL_HEADER) % pair;
        const size_t whole =
            at < JOURNAL_HEADER ? 0 : (at - JOURNAL_HEADER) / pair * 2 + (in >= JOURNAL_FRAME + 4);
        assert_int_equal(file_write_atomic(path, bytes, at, &err), ST_OK);
        open_journal(&j, dir, &h, &cut);
        assert_int_equal(h.n, whole);
        assert_int_equal(journal_add(&j, "xyz", 3), whole + 1);
        assert_int_equal(journal_sync(&j, &err), ST_OK);
        journal_close(&j);
        open_journal(&j, dir, &h, &cut);
        assert_int_equal(cut, 0);
        assert_int_equal(h.n, whole + 1);
        assert_string_equal(h.text[whole], "xyz");
        journal_close(&j);
    }
    for (size_t at = JOURNAL_HEADER; at < n; at++) {
        bytes[at] = (char)(bytes[at] ^ 16);
        assert_int_equal(file_write_atomic(path, bytes, n, &err), ST_OK);
        open_journal(&j, dir, &h, &cut);
        assert_true(h.n < 6 && cut > 0);
        journal_close(&j);
        bytes[at] = (char)(bytes[at] ^ 16);
    }
    free(bytes);
}

static void test_journal_snapshot(void **state)
{
    char dir[] = "/tmp/penstock-journal.XXXXXX", path[128];
    struct journal j;
    struct heard h;
    struct errbuf err = ERRBUF_INIT;
    uint64_t cut;
    (void)state;
    assert_non_null(mkdtemp(dir));
    open_journal(&j, dir, &h, &cut);
    (void)journal_add(&j, "one", 3);
    assert_int_equal(journal_sync(&j, &err), ST_OK);
    assert_int_equal(journal_snapshot_begin(&j, &err), ST_OK);
    (void)journal_add(&j, "two", 3); /* while it is written */
    assert_int_equal(journal_sync(&j, &err), ST_OK);
    assert_int_equal(journal_snapshot_add(&j, "all of one", 10, &err), ST_OK);
    journal_close(&j); /* died before its end: as if it had never been begun */
    snprintf(path, sizeof(path), "%s/snapshot.0000000000000002.tmp", dir);
    FILE *left = fopen(path, "w"); /* what kill -9 leaves of it: it goes */
    assert_non_null(left);
    assert_int_equal(fclose(left), 0);
    open_journal(&j, dir, &h, &cut);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(h.n, 2);
    assert_string_equal(h.text[0], "one");
    assert_string_equal(h.text[1], "two");
    assert_int_equal(journal_snapshot_begin(&j, &err), ST_OK);
    assert_int_equal(journal_snapshot_add(&j, "all", 3, &err), ST_OK);
    assert_int_equal(journal_snapshot_end(&j, &err), ST_OK);
    (void)journal_add(&j, "three", 5);
    assert_int_equal(journal_sync(&j, &err), ST_OK);
    journal_close(&j);
    open_journal(&j, dir, &h, &cut);
    assert_int_equal(h.n, 2);
    assert_string_equal(h.text[0], "all");
    assert_int_equal(h.lsn[0], 0);
    assert_string_equal(h.text[1], "three");
    assert_int_equal(h.lsn[1], 3);
    journal_close(&j);
    /* A snapshot that is damaged is not passed by in silence. */
    snprintf(path, sizeof(path), "%s/snapshot.0000000000000003", dir);
    assert_int_equal(truncate(path, 60), 0);
    const struct journal_reader reader = {&h, hear};
    assert_int_equal(journal_open(&j, dir, &reader, &cut, &err), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "snapshot.0000000000000003: damaged at byte"));
}

/* ---- seen --------------------------------------------------------------------------------------- */

static void test_seen(void **state)
{
    struct seen s;
    (void)state;
    seen_init(&s, 100);
    for (uint64_t i = 1; i <= 1000; i++) {
        assert_true(seen_add(&s, i * i));
        assert_false(seen_add(&s, i * i));
        if (i > 100)
            assert_true(seen_at(&s, 0) == (i - 99) * (i - 99));
    }
    seen_undo(&s, 3);
    assert_false(seen_add(&s, 997 * 997));
    assert_true(seen_add(&s, 998 * 998));
    assert_true(seen_add(&s, 1));
    seen_release(&s);
}

/* ---- lines -------------------------------------------------------------------------------------- */

static void line_is(const char *yaml, const char *want_header, const char *want_line)
{
    char dir[] = "/tmp/penstock-lines.XXXXXX", path[128];
    struct job job;
    struct errbuf err = ERRBUF_INIT;
    struct fields f = {0};
    struct interaction x;
    const struct texts joined = {0};
    assert_non_null(mkdtemp(dir));
    const enum status st = job_parse(yaml, strlen(yaml), "job.yaml", dir, NULL, 0, &job, &err);
    if (st != ST_OK)
        print_message("%s\n", err.text);
    assert_int_equal(st, ST_OK);
    for (size_t i = 0; i < job.data.fields_used; i++)
        (void)fields_add(&f, job.data.fields[i].name, NULL, false);
    assert_int_equal(interaction_open(&x, dir, &job, &f, &joined, 100, &err), ST_OK);
    const struct cell cell = {.field = fields_find(&f, "brand", 5), .text = "a,\"b\"\tc", .n = 7};
    const struct cells own = {&cell, 1};
    struct interaction_row row = {
        .user = "u,1", .user_n = 3, .item = "i1", .item_n = 2, .time = 1700000000500000};
    row.sources[0] = &own;
    row.extra[EXTRA_REC] = "R";
    row.extra[EXTRA_POSITION] = "4";
    struct buffer line = BUFFER_INIT, whole = BUFFER_INIT;
    uint32_t file;
    uint64_t at;
    const char *const label[JOB_TASKS_MAX] = {x.positive};
    interaction_line(&x, &row, &line);
    interaction_label(&x, (const char *)line.data, line.used, label, &whole);
    interaction_place(&x, &file, &at);
    assert_int_equal(at, strlen(want_header));
    interaction_write(&x, file, at, (const char *)whole.data, whole.used);
    assert_int_equal(interaction_settle(&x, &err), ST_OK);
    snprintf(path, sizeof(path), "%s/job.00000001.%s", dir, x.suffix);
    char *text;
    size_t n;
    assert_int_equal(file_read(path, 1 << 20, &text, &n, &err), ST_OK);
    assert_memory_equal(text, want_header, strlen(want_header));
    assert_string_equal(text + strlen(want_header), want_line);
    free(text);
    /* Full: the next lines go into a new file. */
    interaction_place(&x, &file, &at);
    assert_int_equal(file, whole.used + strlen(want_header) >= 100 ? 2 : 1);
    buffer_release(&line);
    buffer_release(&whole);
    interaction_close(&x);
    fields_release(&f);
    job_release(&job);
}

#define FIELDS                                                                                     \
    "fields: [{name: brand, type: id}, {name: user, type: user}, {name: item, type: item}, "       \
    "{name: click, type: label}, {name: time, type: time}, {name: position, type: id}, "           \
    "{name: liked, type: history, of: item}]"
#define EXTRA                                                                                      \
    "serve_rec,serve_version,serve_experiment,serve_variant,serve_propensity,serve_position,"      \
    "serve_score"

static void test_lines(void **state)
{
    (void)state;
    line_is("model: {family: lr}\ndata: {train: log, " FIELDS "}\n",
            "brand,user,item,click,time,position," EXTRA "\n",
            "\"a,\"\"b\"\"\tc\",\"u,1\",i1,1,1700000000.500000,4,R,,,,,4,\n");
    line_is("model: {family: lr}\ndata: {train: log, label_above: 3, delimiter: \"\\t\", quote: "
            "\"\", " FIELDS "}\n",
            "brand\tuser\titem\tclick\ttime\tposition\tserve_rec\tserve_version\tserve_"
            "experiment\tserve_variant\t"
            "serve_propensity\tserve_position\tserve_score\n",
            "a,\"b\" c\tu,1\ti1\t4\t1700000000.500000\t4\tR\t\t\t\t\t4\t\n");
    line_is("model: {family: lr}\ndata: {train: log, header: false, fields: [{name: item, type: "
            "item, column: 3}, "
            "{name: click, type: label, column: 1}]}\n",
            "", ",1,,i1,R,,,,,4,\n");
    line_is("model: {family: lr}\ndata: {train: log, format: json, fields: [{name: brand, type: "
            "id}, {name: click, "
            "type: label}, {name: "
            "item, type: item}]}\n",
            "",
            "{\"brand\":\"a,\\\"b\\\"\\u0009c\",\"click\":1,\"item\":\"i1\",\"serve_rec\":\"R\","
            "\"serve_position\":\"4\"}\n");
}

/* ---- what a snapshot knows ---------------------------------------------------------------------- */

static void state_at(struct state *s, const char *dir, struct fields *fields, struct interaction *x)
{
    const struct state_conf conf = {.dir = dir,
                                    .users_max = 100,
                                    .items_max = 100,
                                    .history_max = 10,
                                    .seen_max = 100,
                                    .exposures_max = 1u << 20,
                                    .compact_bytes = UINT64_MAX,
                                    .fields = fields,
                                    .interaction = x};
    struct errbuf err = ERRBUF_INIT;
    state_open(s, &conf);
    assert_int_equal(state_replay(s, &err), ST_OK);
}

static void commit(struct state *s)
{
    struct errbuf err = ERRBUF_INIT;
    assert_int_equal(state_end(s, &err), ST_OK);
    assert_int_equal(state_commit(s, &err), ST_OK);
}

static void put_user_of(struct state *s, const char *id)
{
    static const struct cells none;
    struct errbuf err = ERRBUF_INIT;
    state_begin(s);
    assert_int_equal(state_put_user(s, id, strlen(id), &none, &err), ST_OK);
    commit(s);
}

static void put_user(struct state *s)
{
    put_user_of(s, "u");
}

static void put_shown(struct state *s, const char *rec)
{
    const struct exposure_row row = {.item = "i", .item_n = 1, .text = "row", .n = 3};
    struct exposure_put put = {.time = 1, .row = &row, .rows = 1};
    memcpy(put.rec, rec, EXPOSURE_REC);
    registry_hash("u", 1, &put.user_hash, &put.user_check);
    state_begin(s);
    state_put_exposure(s, &put);
    commit(s);
}

/* A user who is deleted and put again while a snapshot is written: what was shown before does not come back by a replay of
 * the frames beside the snapshot, and what was shown behind it stays, with its outcome. */
static void test_deleted_beside_snapshot(void **state)
{
    static const char before[] = "before--------------------",
                      behind[] = "behind--------------------";
    char dir[] = "/tmp/penstock-state.XXXXXX";
    struct state *s = mem_aligned(64, sizeof(*s));
    struct fields fields = {0};
    struct interaction x = {.fd = -1};
    struct errbuf err = ERRBUF_INIT;
    (void)state;
    assert_non_null(mkdtemp(dir));
    state_at(s, dir, &fields, &x);
    put_user(s);
    assert_int_equal(journal_snapshot_begin(&s->journal, &err), ST_OK);
    s->snapshot_at = SNAPSHOT_ITEMS;
    put_shown(s, before);
    state_begin(s);
    state_put_user_gone(s, "u", 1);
    commit(s);
    put_user(s);
    put_shown(s, behind);
    state_begin(s);
    state_put_outcome(s, behind, "i", 1, 0);
    commit(s);
    assert_int_equal(s->exposures.used, 1);
    state_tick(s, 2, UINT32_MAX);
    assert_int_equal(s->snapshot_at, SNAPSHOT_NONE);
    assert_true(s->snapshot_live > 0);
    state_close(s);
    state_at(s, dir, &fields, &x);
    assert_null(exposures_find(&s->exposures, before));
    assert_non_null(exposures_find(&s->exposures, behind));
    assert_int_equal(exposures_find(&s->exposures, behind)->done[0], 1);
    state_close(s);
    free(s);
}

/* The journal beside a snapshot lost its end, but the snapshot knows what stood there: what is kept from then on is there
 * at the start after next, too. */
static void test_journal_behind_snapshot(void **state)
{
    char dir[] = "/tmp/penstock-state.XXXXXX", path[128];
    struct state *s = mem_aligned(64, sizeof(*s));
    struct fields fields = {0};
    struct interaction x = {.fd = -1};
    struct errbuf err = ERRBUF_INIT;
    struct stat about;
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/journal.0000000000000002", dir);
    state_at(s, dir, &fields, &x);
    put_user(s);
    assert_int_equal(journal_snapshot_begin(&s->journal, &err), ST_OK);
    s->snapshot_at = SNAPSHOT_ITEMS;
    put_user(s);
    put_user_of(s, "v");
    put_user_of(s, "w");
    state_tick(s, 2, UINT32_MAX);
    assert_true(s->snapshot_live > 0);
    state_close(s);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(truncate(path, about.st_size - 40), 0); /* into the last but one */
    state_at(s, dir, &fields, &x);
    put_user_of(s, "kept");
    state_close(s);
    state_at(s, dir, &fields, &x);
    assert_non_null(state_user(s, "w", 1));
    assert_non_null(state_user(s, "kept", 4));
    state_close(s);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells),
        cmocka_unit_test(test_registry),
        cmocka_unit_test(test_journal_torn_anywhere),
        cmocka_unit_test(test_journal_snapshot),
        cmocka_unit_test(test_seen),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_deleted_beside_snapshot),
        cmocka_unit_test(test_journal_behind_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
