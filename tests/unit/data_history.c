/* data_history.c - fields of type history: the same user's earlier ids, strictly before, in order, whatever the part. A
 * small log by hand, and a random one against a model that is slow and plain.
 */
#include "tests/unit/data_case.h"

#include "common/base/hash.h"
#include "common/data/convert.h"
#include "common/data/dataset.h"
#include "common/feature/encode.h"

static struct job job;
static struct convert_result r;

#define FIELDS                                                                                     \
    "  fields:\n    - {name: y, type: label}\n    - {name: user, type: user}\n"                    \
    "    - {name: item, type: item}\n    - {name: at, type: time}\n"
#define HISTORY "    - {name: before, type: history, of: item, max: 3}\n"
#define LIKED   "    - {name: liked, type: history, of: item, max: 2, when: positive}\n"

static void begin(const char *text, const char *more)
{
    char data[2048];
    snprintf(data, sizeof data, "  train: %s\n  header: false\n  delimiter: ' '\n%s",
             case_text("log", text), more);
    case_job(&job, data);
}

static void release(void)
{
    job_release(&job);
    memset(&job, 0, sizeof job);
}

static void must(enum status st)
{
    if (st != ST_OK)
        print_error("%s\n", err.text);
    assert_int_equal(st, ST_OK);
}

static enum status convert(const char *cache)
{
    return convert_job(&job, case_path(cache), NULL, NULL, &r, &err);
}

static uint64_t key(const char *cell)
{
    return hash_bytes(cell, strlen(cell), hash_bytes("item", 4, 0));
}

static char name_of(uint64_t k)
{
    for (char c = 'a'; c <= 'z'; c++)
        if (key((char[]){c, 0}) == k)
            return c;
    return '?';
}

/* "d:abc d:ab" are the items of a part with their bags `slots`, records with blanks between. */
static const char *part_text(const char *cache, enum part part, size_t first, size_t slots)
{
    static char text[65536];
    struct dataset *d;
    struct batch b;
    size_t used = 0;
    text[0] = 0;
    if (dataset_open(&job, case_path(cache), part, &d, &err) != ST_OK)
        return "";
    size_t F = dataset_fields(d);
    batch_init(&b, d, 1);
    for (uint64_t i = 0; i < dataset_rows(d); i++) {
        must(dataset_batch(d, &i, 1, &b, &err));
        if (i > 0)
            text[used++] = ' ';
        text[used++] = name_of(b.keys[b.index[b.offsets[1]]]);
        assert_true(F >= first + slots);
        for (size_t f = first; f < first + slots; f++) {
            text[used++] = ':';
            for (size_t k = b.offsets[f]; k < b.offsets[f + 1]; k++)
                text[used++] = name_of(b.keys[b.index[k]]);
        }
    }
    text[used] = 0;
    batch_release(&b);
    dataset_close(d);
    return text;
}

static const char LOG[] = "1 u a 10\n"
                          "0 v x 11\n"
                          "1 u b 20\n"
                          "0 u c 20\n" /* the same second as b: neither sees the other */
                          "0 u d 30\n"
                          "1 u e 40\n"
                          "1 v y 41\n"
                          "1 NA z 42\n" /* nobody's */
                          "1 NA z 43\n"
                          "1 u f NA\n" /* at no time */
                          "1 u NA 45\n"
                          "0 u g 50\n"
                          "1 u a 5\n"; /* late in the log, early in time */

static void by_hand(void **state)
{
    (void)state;
    begin(LOG, FIELDS HISTORY LIKED);
    must(convert("hand"));
    assert_int_equal(r.rows[PART_TRAIN], 13);
    assert_string_equal(part_text("hand", PART_TRAIN, 2, 1),
                        "a:a x: b:aa c:aa d:abc e:bcd y:x z: z: f: ?:cde g:cde a:");
    assert_string_equal(part_text("hand", PART_TRAIN, 3, 1),
                        "a:a x: b:aa c:aa d:ab e:ab y: z: z: f: ?:be g:be a:");
    release();
}

/* A history of the label: 1 and 0, rows of its own. */
static void of_the_label(void **state)
{
    struct dataset *d;
    struct batch b;
    const uint64_t seed = hash_bytes("y", 1, 0);
    (void)state;
    begin(LOG, FIELDS "    - {name: moods, type: history, of: y, max: 3}\n"
                      "    - {name: yes, type: history, of: y, max: 1, when: positive}\n");
    must(convert("moods"));
    must(dataset_open(&job, case_path("moods"), PART_TRAIN, &d, &err));
    batch_init(&b, d, 1);
    static const char *const want[][2] = {
        {"1", "1"}, {"", ""}, {"11", "1"}, {"11", "1"},  {"110", "1"}, {"100", "1"}, {"0", ""},
        {"", ""},   {"", ""}, {"", ""},    {"001", "1"}, {"011", "1"}, {"", ""}};
    for (uint64_t i = 0; i < dataset_rows(d); i++) {
        must(dataset_batch(d, &i, 1, &b, &err));
        for (size_t f = 0; f < 2; f++) {
            const size_t from = b.offsets[2 + f], n = b.offsets[3 + f] - from;
            assert_int_equal(n, strlen(want[i][f]));
            for (size_t k = 0; k < n; k++)
                assert_true(b.keys[b.index[from + k]] == hash_bytes(want[i][f] + k, 1, seed));
        }
    }
    batch_release(&b);
    dataset_close(d);
    release();
}

static void shares_rows(void **state)
{
    struct encoder *e;
    char path[1100];
    size_t F, D;
    (void)state;
    begin("1 u a 1\n1 u b 2\n1 u a 3\n1 v a 4\n1 v c 5\n",
          "  split: {by: time, valid: 0, test: .2}\n"
          "  fields:\n    - {name: y, type: label}\n    - {name: user, type: user}\n"
          "    - {name: item, type: item, vocab: things, min_count: 2}\n"
          "    - {name: at, type: time}\n" HISTORY);
    schema_counts(&job, &F, &D);
    assert_true(F == 3 && D == 0);
    must(convert("rare"));
    snprintf(path, sizeof path, "%s/encoder.bin", case_path("rare"));
    must(encoder_load(path, &e, &err));
    assert_int_equal(e->schema.field[4].type, FIELD_IDS); /* to a server it is a bag */
    assert_int_equal(e->schema.field[4].vocab, e->schema.field[2].vocab);
    assert_int_equal(e->schema.field[4].ids_max, 3);
    /* b was in train once, in a history besides: rare all the same. */
    uint64_t b = hash_bytes("b", 1, hash_bytes("things", 6, 0));
    assert_true(encoder_key_fitted(e, 1, b) == e->vocab[e->schema.field[2].vocab].oov);
    struct dataset *d;
    struct batch batch;
    uint64_t row = 2;
    must(dataset_open(&job, case_path("rare"), PART_TRAIN, &d, &err));
    batch_init(&batch, d, 1);
    must(dataset_batch(d, &row, 1, &batch, &err));
    assert_int_equal(batch.offsets[3] - batch.offsets[2], 2);
    assert_int_equal(batch.index[batch.offsets[2]], batch.index[batch.offsets[1]]); /* a */
    assert_true(batch.keys[batch.index[batch.offsets[2] + 1]] ==
                e->vocab[e->schema.field[2].vocab].oov);
    batch_release(&batch);
    dataset_close(d);
    /* Other files judged with this encoder have histories of their own. */
    struct texts files = {.used = 1};
    char *one = (char *)(uintptr_t)case_text("other", "1 u a 9\n1 w a 10\n1 w a 11\n");
    files.item = &one;
    must(convert_files(&job, path, &files, case_path("rare_other"), NULL, NULL, &r, &err));
    must(dataset_open(&job, case_path("rare_other"), PART_TEST, &d, &err));
    batch_init(&batch, d, 1);
    for (row = 0; row < 3; row++) {
        must(dataset_batch(d, &row, 1, &batch, &err));
        assert_int_equal(batch.offsets[3] - batch.offsets[2], row == 2);
    }
    batch_release(&batch);
    dataset_close(d);
    encoder_free(e);
    release();
}

/* However few rows a model has for users, they are who they are. */
static void hashed_users(void **state)
{
    (void)state;
    begin("1 u a 1\n1 v b 2\n1 u c 3\n1 v d 4\n",
          "  fields:\n    - {name: y, type: label}\n    - {name: user, type: user, hash: 1}\n"
          "    - {name: item, type: item}\n    - {name: at, type: time}\n" HISTORY);
    must(convert("hashed"));
    assert_string_equal(part_text("hashed", PART_TRAIN, 2, 1), "a: b: c:a d:b");
    release();
}

static void refuses(const char *more, const char *why)
{
    begin(LOG, more);
    assert_int_equal(job_check(&job, &err), ST_USAGE);
    assert_int_equal(convert("refused"), ST_USAGE);
    if (strstr(err.text, why) == NULL)
        print_error("%s\n", err.text);
    assert_non_null(strstr(err.text, why));
    release();
}

static void refused(void **state)
{
    (void)state;
    refuses(FIELDS "    - {name: h, type: history, of: itm}\n",
            "data.fields: h: of: \"itm\" is no field of type id, item or label");
    refuses(FIELDS "    - {name: h, type: history, of: user}\n",
            "is no field of type id, item or label");
    refuses("  fields:\n    - {name: y, type: label}\n    - {name: user, type: user}\n"
            "    - {name: item, type: item}\n    - {name: h, type: history, of: item}\n",
            "h is a history, which needs a field of type user and one of type time");
    begin(LOG, "  sequence: {memory: 400}\n" FIELDS HISTORY);
    assert_int_equal(convert("refused"), ST_NO_MEMORY);
    assert_non_null(strstr(err.text, "more than 10 events"));
    release();
}

/* Another max, another when, another of: another cache. */
static void cache_knows(void **state)
{
    static const char *const more[] = {
        HISTORY, "    - {name: before, type: history, of: item, max: 4}\n",
        "    - {name: before, type: history, of: item, max: 4, when: positive}\n",
        "    - {name: before, type: history, of: kind, max: 4, when: positive}\n"};
    char data[1024];
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        snprintf(data, sizeof data, "%s    - {name: kind, type: id, column: \"2\"}\n%s", FIELDS,
                 more[i]);
        begin("1 u a 1\n1 u b 2\n", data);
        must(convert("knows"));
        assert_false(r.reused);
        must(convert("knows"));
        assert_true(r.reused);
        release();
    }
}

/* ---- against the slow and plain ----------------------------------------------------------------- */

enum { LINES = 900, USERS = 25, ITEMS = 20, MAX = 3 };

struct line {
    unsigned user, item, time, label;
};

static struct line lines[LINES];

/* Files of valid and test follow that of train. */
static void random_log(const char *more, bool files)
{
    char *text = malloc(LINES * 32), data[2048];
    size_t used = 0, cut[2] = {0, 0};
    for (size_t i = 0; i < LINES; i++) {
        uint64_t x = hash_u64(i + 7);
        lines[i] = (struct line){(unsigned)(x % USERS), (unsigned)((x >> 20) % ITEMS),
                                 (unsigned)((x >> 32) % 100), (x >> 50) % 3 == 0};
        used += (size_t)sprintf(text + used, "%u u%u %c %u\n", lines[i].label, lines[i].user,
                                'a' + (int)lines[i].item, lines[i].time + 1000);
        cut[0] = i == 599 ? used : cut[0];
        cut[1] = i == 749 ? used : cut[1];
    }
    if (files) {
        case_write("test", text + cut[1], used - cut[1]);
        case_write("valid", text + cut[0], cut[1] - cut[0]);
        text[cut[0]] = 0;
    }
    snprintf(data, sizeof data, "%s%s%s%s%s%s", files ? "  valid: " : "",
             files ? case_path("valid") : "", files ? "\n  test: " : "",
             files ? case_path("test") : "", files ? "\n" : "", more);
    begin(text, data);
    free(text);
}

static bool earlier(size_t a, size_t b) /* in the order of time, then of the log */
{
    return lines[a].time != lines[b].time ? lines[a].time < lines[b].time : a < b;
}

/* "d:abc:ab" of line i. */
static size_t expect_line(char *text, size_t i)
{
    size_t used = 0;
    text[used++] = (char)('a' + lines[i].item);
    for (int liked = 0; liked < 2; liked++) {
        size_t of[LINES], n = 0, max = liked ? 2 : MAX;
        for (size_t k = 0; k < LINES; k++)
            if (lines[k].user == lines[i].user && lines[k].time < lines[i].time &&
                (!liked || lines[k].label))
                of[n++] = k;
        for (size_t a = 0; a < n; a++)
            for (size_t b = a + 1; b < n; b++)
                if (earlier(of[b], of[a])) {
                    size_t swap = of[a];
                    of[a] = of[b];
                    of[b] = swap;
                }
        text[used++] = ':';
        for (size_t a = n > max ? n - max : 0; a < n; a++)
            text[used++] = (char)('a' + lines[of[a]].item);
    }
    return used;
}

/* Each record of a part stands at the line that its source says. */
static size_t compare(const char *cache, enum part part)
{
    char want[64];
    const char *at = part_text(cache, part, 2, 2);
    struct dataset *d;
    if (*at == 0)
        return 0;
    must(dataset_open(&job, case_path(cache), part, &d, &err));
    size_t rows = (size_t)dataset_rows(d);
    for (uint64_t i = 0; i < rows; i++) {
        const char *path;
        uint64_t offset, base = 0;
        dataset_source(d, i, &path, &offset);
        const char *name = strrchr(path, '/') + 1;
        size_t line = name[0] == 'v' ? 600 : name[0] == 't' ? 750 : 0;
        for (; base < offset; line++)
            base +=
                (uint64_t)snprintf(NULL, 0, "%u u%u %c %u\n", lines[line].label, lines[line].user,
                                   'a' + (int)lines[line].item, lines[line].time + 1000);
        assert_int_equal(base, offset);
        size_t n = expect_line(want, line);
        if (strncmp(at, want, n) != 0 || (at[n] != ' ' && at[n] != 0))
            print_error("line %zu: %.40s\n%.*s\n", line, at, (int)n, want);
        assert_true(strncmp(at, want, n) == 0 && (at[n] == ' ' || at[n] == 0));
        at += n + 1;
    }
    dataset_close(d);
    return rows;
}

static void as_the_plain_one(void **state)
{
    static const char *const splits[] = {
        "", "  split: {by: time, valid: .2, test: .2}\n", "  split: {by: ratio}\n",
        "  split: {by: fold, folds: 3}\n", "  split: {by: window, window: 10s}\n"};
    char data[1024];
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        snprintf(data, sizeof data, "%s%s", splits[i], FIELDS HISTORY LIKED);
        random_log(data, i == 0);
        must(convert("random"));
        size_t rows = 0;
        for (int p = 0; p < PARTS; p++)
            rows += compare("random", (enum part)p);
        assert_int_equal(rows, LINES);
        assert_int_equal(r.lines[0] + r.lines[1] + r.lines[2], LINES);
        release();
    }
}

/* Ratings as they are: at 80 % of the time test records still see what was valid. */
static void ml_100k(void **state)
{
    char path[PATH_MAX], text[PATH_MAX + 1024];
    (void)state;
    if (!case_real("ml-100k/ml-100k.inter", path))
        skip();
    snprintf(text, sizeof text,
             "  train: %s\n  format: recbole\n  label_above: 3.5\n  bad_max: 0\n"
             "  split: {by: time}\n  fields:\n"
             "    - {name: rating, type: label}\n    - {name: user, type: user, column: user_id}\n"
             "    - {name: item, type: item, column: item_id}\n"
             "    - {name: at, type: time, column: timestamp}\n"
             "    - {name: liked, type: history, of: item, when: positive}\n",
             path);
    case_job(&job, text);
    must(convert("ml"));
    assert_int_equal(r.rows[0] + r.rows[1] + r.rows[2], 100000);
    struct dataset *d;
    struct batch b;
    must(dataset_open(&job, case_path("ml"), PART_TEST, &d, &err));
    batch_init(&b, d, 1);
    uint64_t seen = 0;
    for (uint64_t i = 0; i < dataset_rows(d); i++) {
        must(dataset_batch(d, &i, 1, &b, &err));
        assert_in_range(b.offsets[3] - b.offsets[2], 0, 50);
        seen += b.offsets[3] > b.offsets[2];
    }
    assert_true(seen > dataset_rows(d) / 2);
    batch_release(&b);
    dataset_close(d);
    release();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),          cmocka_unit_test(of_the_label),
        cmocka_unit_test(shares_rows),      cmocka_unit_test(hashed_users),
        cmocka_unit_test(refused),          cmocka_unit_test(cache_knows),
        cmocka_unit_test(as_the_plain_one), cmocka_unit_test(ml_100k),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
