/* data_sequence.c - events of users to records of a next-item model: order, ties, splits, nothing of the future, the
 * catalog, the baseline, limits. Small logs by hand, and a random one against a model that is slow and plain.
 */
#include "tests/unit/data_case.h"

#include "common/base/hash.h"
#include "common/base/rng.h"
#include "common/data/baselines.h"
#include "common/data/catalog.h"
#include "common/data/convert.h"
#include "common/data/dataset.h"
#include "common/data/popularity_rank.h"
#include "common/feature/encode.h"

static struct job job;
static struct convert_result r;
static uint64_t oov;

static void begin(const char *text, const char *more)
{
    char data[2048];
    snprintf(data, sizeof data,
             "  train: %s\n  format: delimited\n  header: false\n  delimiter: ' '\n"
             "  records: sequences\n%s",
             case_text("log", text), more);
    case_job(&job, data);
}

static void release(void)
{
    job_release(&job);
    memset(&job, 0, sizeof job);
}

#define FIELDS "  fields:\n    - {name: user, type: user}\n    - {name: item, type: item}\n"
#define TIMED  FIELDS "    - {name: at, type: time}\n"

static enum status convert(const char *cache)
{
    return convert_job(&job, case_path(cache), NULL, NULL, &r, &err);
}

static void must(enum status st)
{
    if (st != ST_OK)
        print_error("%s\n", err.text);
    assert_int_equal(st, ST_OK);
}

static void refuses(const char *text, const char *more, enum status st, const char *why)
{
    begin(text, more);
    assert_int_equal(convert("refused"), st);
    if (strstr(err.text, why) == NULL)
        print_error("%s\n", err.text);
    assert_non_null(strstr(err.text, why));
    release();
}

/* ---- reading back ------------------------------------------------------------------------------- */

static uint64_t key(const char *cell)
{
    return hash_bytes(cell, strlen(cell), hash_bytes("item", 4, 0));
}

/* Items are called by one letter in these logs. */
static char name_of(uint64_t k)
{
    for (char c = 'a'; c <= 'z'; c++)
        if (key((char[]){c, 0}) == k)
            return c;
    return k == oov ? '*' : '?';
}

/* "abc>d<xy" is history, target, earlier; all records of a part, blanks between. */
static const char *part_text(const char *cache, enum part part)
{
    static char text[4096];
    struct dataset *d;
    struct batch b;
    size_t used = 0;
    text[0] = 0;
    if (dataset_open(&job, case_path(cache), part, &d, &err) != ST_OK)
        return "";
    assert_int_equal(dataset_fields(d), 3);
    assert_int_equal(dataset_floats(d), 0);
    batch_init(&b, d, 1);
    for (uint64_t i = 0; i < dataset_rows(d); i++) {
        must(dataset_batch(d, &i, 1, &b, &err));
        assert_true(b.labels[0] == 1);
        if (i > 0)
            text[used++] = ' ';
        for (size_t f = 0; f < 3; f++) {
            if (f > 0)
                text[used++] = f == 1 ? '>' : '<';
            for (size_t k = b.offsets[f]; k < b.offsets[f + 1]; k++)
                text[used++] = name_of(b.keys[b.index[k]]);
        }
    }
    text[used] = 0;
    batch_release(&b);
    dataset_close(d);
    return text;
}

static uint64_t count_of(const struct catalog *c, const char *cell)
{
    size_t at = catalog_find(c, key(cell));
    return at == CATALOG_NONE ? UINT64_MAX : c->count[at];
}

/* ---- splits ------------------------------------------------------------------------------------- */

static const char LOG[] = "u a\nv x\nu b\nu c\nw a\nv y\nu d\nu e\nw b\nv z\n";

static void leave_one_out(void **state)
{
    size_t F, D;
    struct catalog c;
    (void)state;
    begin(LOG, "  sequence: {max: 2}\n" FIELDS);
    assert_int_equal(job.data.split.by, JOB_SPLIT_LEAVE_ONE_OUT); /* their default */
    must(convert("loo"));
    schema_counts(&job, &F, &D);
    assert_true(F == 3 && D == 0);
    assert_string_equal(part_text("loo", PART_TRAIN), "abc><"); /* v has one event left, w is out */
    assert_string_equal(part_text("loo", PART_VALID), "bc>d<a x>y<");
    assert_string_equal(part_text("loo", PART_TEST), "cd>e<ab xy>z<");
    assert_int_equal(r.lines[PART_TRAIN], 10);
    assert_int_equal(r.sequence.users, 2);
    assert_int_equal(r.sequence.events, 8);
    assert_int_equal(r.sequence.positions, 2);
    assert_int_equal(r.sequence.users_short, 1);
    assert_int_equal(r.sequence.events_short, 2);
    must(catalog_load(case_path("loo"), &c, &err));
    assert_int_equal(c.n, 8);
    assert_int_equal(r.items, 8);
    assert_int_equal(count_of(&c, "a"), 1); /* w's is not counted */
    assert_int_equal(count_of(&c, "x"), 1);
    assert_int_equal(count_of(&c, "d"), 0); /* valid only */
    assert_int_equal(count_of(&c, "e"), 0);
    assert_true(count_of(&c, "q") == UINT64_MAX);
    catalog_release(&c);
    release();
}

static void order_and_ties(void **state)
{
    (void)state;
    /* By time, lines of one time as they stand. */
    begin("u d 40\nu a 10\nu b 20\nu c 20\nu f 50\nu e 40\n", TIMED);
    must(convert("order"));
    assert_string_equal(part_text("order", PART_TRAIN), "abcd><");
    assert_string_equal(part_text("order", PART_VALID), "abcd>e<");
    assert_string_equal(part_text("order", PART_TEST), "abcde>f<");
    release();
    /* Without a field of type time: as they stand. */
    begin("u d 40\nu a 10\nu b 20\nu c 20\nu f 50\nu e 40\n",
          FIELDS "    - {name: at, type: skip}\n");
    must(convert("file_order"));
    assert_string_equal(part_text("file_order", PART_TEST), "dabcf>e<");
    release();
}

static void long_histories(void **state)
{
    (void)state;
    begin("u a\nu b\nu c\nu d\nu e\nu f\n", "  sequence: {max: 2}\n" FIELDS);
    must(convert("long"));
    assert_string_equal(part_text("long", PART_TRAIN),
                        "bcd><"); /* max inputs and the last target */
    assert_string_equal(part_text("long", PART_VALID), "cd>e<ab");
    assert_int_equal(r.sequence.positions, 2);
    release();
    begin("u a\nu b\n", "  sequence: {min: 2}\n" FIELDS);
    assert_int_equal(convert("two"), ST_BAD_DATA); /* nobody has anything to train on */
    release();
}

static void by_time(void **state)
{
    (void)state;
    begin("u a 1\nv a 2\nu b 3\nv c 4\nu d 5\nw a 6\nu e 7\nw b 8\nw c 9\nv d 10\n",
          "  split: {by: time, valid: .2, test: .2}\n" TIMED);
    must(convert("time"));
    assert_string_equal(part_text("time", PART_TRAIN), "abd>< ac><"); /* w: one event */
    assert_string_equal(part_text("time", PART_VALID), "abd>e< a>b<");
    assert_string_equal(part_text("time", PART_TEST), "ac>d< ab>c<");
    assert_int_equal(r.sequence.no_history, 0);
    release();
    begin("u a 1\nu b 2\nu c 3\nu d 4\nu e 5\nw a 6\nw b 7\nw c 8\nw d 9\nw e 10\n",
          "  split: {by: time, valid: 0, test: .5}\n" TIMED);
    must(convert("time"));
    assert_string_equal(part_text("time", PART_TRAIN), "abcde><");
    assert_string_equal(part_text("time", PART_VALID), "");
    assert_string_equal(part_text("time", PART_TEST), "a>b< ab>c< abc>d< abcd>e<");
    assert_int_equal(r.sequence.no_history, 1);
    release();
}

static void rare_items(void **state)
{
    struct encoder *e;
    struct catalog c;
    (void)state;
    /* In train a stands three times, b once; x only later. Rare ones are one item. */
    begin("u a\nu b\nu a\nu x\nu a\nv a\nv a\nv b\n",
          "  fields:\n    - {name: user, type: user}\n    - {name: item, type: item, min_count: "
          "2}\n");
    must(convert("rare"));
    char path[1100];
    snprintf(path, sizeof path, "%s/encoder.bin", case_path("rare"));
    must(encoder_load(path, &e, &err));
    oov = e->vocab[0].oov;
    assert_true(e->schema.sequences);
    assert_int_equal(e->schema.ids_used, 3);
    assert_string_equal(e->schema.field[0].name, "history");
    assert_string_equal(part_text("rare", PART_TRAIN), "a*a><");
    assert_string_equal(part_text("rare", PART_VALID), "a*a>*< a>a<");
    must(catalog_load(case_path("rare"), &c, &err));
    assert_int_equal(c.n, 2);
    assert_int_equal(count_of(&c, "a"), 3);
    assert_int_equal(c.count[catalog_find(&c, oov)], 1);
    catalog_release(&c);
    /* The same encoder judges other files: each event with something before it. */
    struct texts files = {.used = 1};
    char *one = (char *)(uintptr_t)case_text("other", "k a\nk b\nk a\nm a\n");
    files.item = &one;
    must(convert_files(&job, path, &files, case_path("other_cache"), NULL, NULL, &r, &err));
    assert_string_equal(part_text("other_cache", PART_TEST), "a>*< a*>a<");
    assert_int_equal(r.rows[PART_TRAIN] + r.rows[PART_VALID], 0);
    encoder_free(e);
    oov = 0;
    release();
}

/* Histories of other files are of the job's log and theirs, in the order of time; what both have is one event. */
static void other_files(void **state)
{
    struct texts files = {.used = 1};
    char path[1100];
    (void)state;
    begin("u a 1\nu b 2\nu c 5\nu c 6\nv a 1\nv b 2\nv c 3\nv c 4\n", TIMED);
    must(convert("mine"));
    snprintf(path, sizeof path, "%s/encoder.bin", case_path("mine"));
    char *one =
        (char *)(uintptr_t)case_text("theirs", "u d 3\nu b 2\nu e 9\nv f 3\nw a 1\nw b 2\n");
    files.item = &one;
    must(convert_files(&job, path, &files, case_path("theirs_cache"), NULL, NULL, &r, &err));
    assert_string_equal(part_text("theirs_cache", PART_TEST), "a>b< ab>d< abdcc>e< abc>f< a>b<");
    release();
}

/* ---- what is not clean -------------------------------------------------------------------------- */

static void bad_lines(void **state)
{
    char text[1024], path[1100];
    (void)state;
    begin("u a 1\nNA b 2\nu NA 3\nu c NA\nu d x\nu e\nu f 4\nu g 5\nu h 6\n",
          "  bad_max: .9\n" TIMED);
    must(convert("bad"));
    assert_int_equal(r.bad[PART_TRAIN], 5);
    assert_int_equal(r.lines[PART_TRAIN], 9);
    assert_string_equal(part_text("bad", PART_TEST), "afg>h<");
    snprintf(path, sizeof path, "%s/quarantine.tsv", case_path("bad"));
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    assert_non_null(strstr(text, "\t2\tno user\n"));
    assert_non_null(strstr(text, "\t3\tno item\n"));
    assert_non_null(strstr(text, "\t4\tno time, and a history is in the order of time\n"));
    assert_non_null(strstr(text, "\t6\t2 columns instead of 3\n"));
    release();
}

static void refused(void **state)
{
    (void)state;
    refuses(LOG, "  sequence: {memory: 399}\n" FIELDS, ST_NO_MEMORY,
            "more than 9 events, which is what data.sequence.memory holds at 40 bytes each");
    refuses(LOG, FIELDS "    - {name: y, type: label}\n", ST_USAGE,
            "data.fields: y: with data.records=sequences a field is of type user, item, time");
    refuses(LOG, "  fields:\n    - {name: a, type: skip}\n    - {name: item, type: item}\n",
            ST_USAGE, "needs one field of type user and one of type item (there are 0 and 1)");
    refuses(LOG, "  split: {by: ratio}\n" FIELDS, ST_USAGE, "leave_one_out or time");
    refuses(LOG, "  split: {by: files}\n" FIELDS, ST_USAGE, "leave_one_out or time");
    refuses(LOG, "  split: {by: time}\n" FIELDS, ST_USAGE, "time needs a field of type time");
    refuses(LOG, "  valid: x\n" FIELDS, ST_USAGE,
            "data.valid names files, but data.split cuts that part out of data.train");
    refuses("u a\nu b\n", FIELDS, ST_BAD_DATA, "leaves no record for training");
    char events[1200];
    snprintf(events, sizeof events,
             "  train: %s\n  split: {by: leave_one_out}\n  fields:\n"
             "    - {name: y, type: label}\n    - {name: item, type: item}\n",
             case_text("log", LOG));
    case_job(&job, events);
    assert_int_equal(convert("no"), ST_USAGE);
    assert_string_equal(err.text, "data.split.by: leave_one_out needs data.records=sequences");
    release();
}

/* What can be seen in a job alone is refused before a log is read. */
static void checked(const char *more, const char *why)
{
    begin(LOG, more);
    job.model.family = JOB_SASREC;
    if (why == NULL) {
        must(job_check(&job, &err));
    } else {
        assert_int_equal(job_check(&job, &err), ST_USAGE);
        assert_non_null(strstr(err.text, why));
    }
    release();
}

static void jobs_are_checked(void **state)
{
    (void)state;
    checked(FIELDS, NULL);
    checked("  split: {by: time}\n" TIMED, NULL);
    checked("  split: {by: time}\n" FIELDS, "time needs a field of type time");
    checked("  split: {by: files}\n" FIELDS, "sequences are split by leave_one_out or time");
    checked("  test: x\n" FIELDS, "data.test: is given");
    checked(FIELDS "    - {name: y, type: label}\n", "else only type skip");
    static const char *const EXAMPLES[] = {"launch/jobs/beauty.yaml", "launch/jobs/ml1m.yaml"};
    for (size_t i = 0; i < 2; i++) {
        must(job_load(EXAMPLES[i], NULL, 0, &job, &err));
        must(job_check(&job, &err));
        assert_int_equal(job.data.split.by, JOB_SPLIT_LEAVE_ONE_OUT);
        release();
    }
}

/* ---- the cache ---------------------------------------------------------------------------------- */

static void used_again(void **state)
{
    char path[1100];
    (void)state;
    begin(LOG, FIELDS);
    must(convert("again"));
    assert_false(r.reused);
    memset(&r, 0, sizeof r);
    must(convert("again"));
    assert_true(r.reused && r.sequence.users == 2 && r.items == 8 && r.lines[PART_TRAIN] == 10);
    snprintf(path, sizeof path, "%s/catalog.bin", case_path("again"));
    assert_int_equal(unlink(path), 0);
    must(convert("again"));
    assert_false(r.reused);
    release();
    begin(LOG, "  sequence: {max: 3}\n" FIELDS); /* another cut of the same lines */
    must(convert("again"));
    assert_false(r.reused);
    release();
}

static void sources_of_records(void **state)
{
    struct dataset *d;
    const char *path;
    uint64_t at;
    (void)state;
    begin(LOG, FIELDS);
    must(convert("source"));
    must(dataset_open(&job, case_path("source"), PART_TRAIN, &d, &err));
    dataset_source(d, 0, &path, &at);
    assert_int_equal(at, 12); /* "u c" */
    dataset_close(d);
    must(dataset_open(&job, case_path("source"), PART_TEST, &d, &err));
    dataset_source(d, 1, &path, &at);
    assert_int_equal(at, 36); /* "v z" */
    dataset_close(d);
    release();
}

static void damaged_catalog(void **state)
{
    struct catalog c = {0}, got;
    uint64_t keys[3] = {1, 5, 9}, counts[3] = {4, 0, 2}, recent[3] = {1, 0, 2};
    struct buffer b = BUFFER_INIT;
    (void)state;
    c.key = keys;
    c.count = counts;
    c.recent = recent;
    c.n = 3;
    c.stamp = 77;
    c.counts.users = 5;
    catalog_write(&c, &b);
    assert_int_equal(b.used, 88 + 3 * 24);
    must(catalog_parse(b.data, b.used, "c", &got, &err));
    assert_true(got.n == 3 && got.stamp == 77 && got.counts.users == 5 && got.count[2] == 2);
    assert_true(got.recent[0] == 1 && got.recent[2] == 2);
    assert_true(catalog_find(&got, 5) == 1 && catalog_find(&got, 6) == CATALOG_NONE);
    catalog_release(&got);
    for (size_t i = 0; i < b.used; i++) {
        b.data[i] ^= 1;
        assert_int_equal(catalog_parse(b.data, b.used, "c", &got, &err), ST_BAD_DATA);
        b.data[i] ^= 1;
        assert_int_equal(catalog_parse(b.data, i, "c", &got, &err), ST_BAD_DATA);
    }
    buffer_reset(&b);
    keys[1] = 1; /* signed, but not in order */
    catalog_write(&c, &b);
    assert_int_equal(catalog_parse(b.data, b.used, "c", &got, &err), ST_BAD_DATA);
    assert_int_equal(catalog_load(case_path("nowhere"), &got, &err), ST_NOT_FOUND);
    buffer_release(&b);
}

static void candidates(void **state)
{
    struct dataset *d;
    struct batch b;
    struct catalog c;
    uint64_t rows[2] = {1, 0}, few[2] = {key("z"), key("a")};
    (void)state;
    begin(LOG, FIELDS);
    must(convert("cand"));
    must(dataset_open(&job, case_path("cand"), PART_TEST, &d, &err));
    must(catalog_load(case_path("cand"), &c, &err));
    batch_init(&b, d, 2);
    for (int round = 0; round < 3; round++) {
        must(dataset_batch(d, rows, 2, &b, &err));
        assert_int_equal(b.candidates, 0);
        assert_int_equal(b.unique, 8); /* xyz and abcde */
        batch_candidates(&b, few, 2);
        assert_int_equal(b.candidates, 2);
        assert_true(b.unique == 8 && b.keys[b.candidate[0]] == few[0] &&
                    b.keys[b.candidate[1]] == few[1]);
        uint64_t other[1000];
        for (size_t i = 0; i < 1000; i++)
            other[i] = hash_u64(i + 1);
        batch_candidates(&b, other, 1000);
        assert_int_equal(b.unique, 1008);
        batch_candidates(&b, c.key, c.n);
        assert_int_equal(b.unique, 1008);
        for (size_t i = 0; i < c.n; i++)
            assert_true(b.keys[b.candidate[i]] == c.key[i]);
        for (size_t k = 0; k < b.offsets[6]; k++)
            assert_true(b.index[k] < 8);
    }
    batch_release(&b);
    catalog_release(&c);
    dataset_close(d);
    release();
}

/* ---- against the slow and plain ----------------------------------------------------------------- */

enum { EVENTS = 1500, USERS = 40, ITEMS = 25 };

struct line {
    unsigned user, item, time;
};

static struct line lines[EVENTS];

/* A user's lines in the order of time, those of one time as they stand. */
static size_t lines_of(unsigned user, const struct line **out)
{
    size_t n = 0;
    for (unsigned t = 0; t < 200; t++)
        for (size_t i = 0; i < EVENTS; i++)
            if (lines[i].user == user && lines[i].time == t)
                out[n++] = &lines[i];
    return n;
}

static void random_log(void)
{
    char *text = malloc(EVENTS * 32);
    size_t used = 0;
    for (size_t i = 0; i < EVENTS; i++) {
        uint64_t x = hash_u64(i + 99);
        lines[i].user = (unsigned)(x % USERS);
        lines[i].item = (unsigned)((x >> 20) % ITEMS * ((x >> 40) % ITEMS) / ITEMS);
        lines[i].time = (unsigned)(x >> 50) % 200;
        used += (size_t)sprintf(text + used, "u%u %c %u\n", lines[i].user, 'a' + (int)lines[i].item,
                                lines[i].time + 1000);
    }
    begin(text, "  sequence: {max: 7}\n" TIMED);
    free(text);
}

static void put(char *text, const struct line *const *of, size_t from, size_t end)
{
    size_t used = strlen(text);
    for (size_t i = from; i < end; i++)
        text[used++] = (char)('a' + of[i]->item);
    text[used] = 0;
}

/* What a part should be: users in the order of their first lines. */
static void expect_part(enum part part, char *text)
{
    bool done[USERS] = {false};
    text[0] = 0;
    for (size_t i = 0; i < EVENTS; i++) {
        const struct line *of[EVENTS];
        if (done[lines[i].user])
            continue;
        done[lines[i].user] = true;
        size_t n = lines_of(lines[i].user, of), at = n - (part == PART_TEST ? 1 : 2);
        size_t inputs = part == PART_TRAIN ? 8 : 7, from = at > inputs ? at - inputs : 0;
        assert_true(n >= 4);
        strcat(text, text[0] != 0 ? " " : "");
        put(text, of, from, at);
        strcat(text, ">");
        if (part != PART_TRAIN)
            put(text, of, at, at + 1);
        strcat(text, "<");
        if (part != PART_TRAIN)
            put(text, of, 0, from);
    }
}

/* HR, NDCG and MRR of train counts, counted one by one. */
static void expect_ranks(struct ranking *out)
{
    double count[ITEMS] = {0};
    bool known[ITEMS] = {false};
    memset(out, 0, sizeof *out);
    for (unsigned u = 0; u < USERS; u++) {
        const struct line *of[EVENTS];
        size_t n = lines_of(u, of);
        for (size_t i = 0; i < n; i++)
            count[of[i]->item] += i + 2 < n;
        for (size_t i = 0; i < n; i++)
            known[of[i]->item] = true;
    }
    for (unsigned u = 0; u < USERS; u++) {
        const struct line *of[EVENTS];
        bool seen[ITEMS] = {false};
        size_t n = lines_of(u, of);
        unsigned target = of[n - 1]->item;
        double rank = 1;
        for (size_t i = 0; i + 1 < n; i++)
            seen[of[i]->item] = true;
        for (unsigned x = 0; x < ITEMS; x++)
            if (known[x] && !seen[x] && x != target)
                rank += count[x] > count[target] ? 1 : count[x] == count[target] ? .5 : 0;
        ranking_add(out, rank);
    }
}

static void as_the_plain_one(void **state)
{
    static char text[EVENTS * 4];
    struct ranking want, got;
    (void)state;
    random_log();
    must(convert("random"));
    for (int p = 0; p < PARTS; p++) {
        expect_part((enum part)p, text);
        assert_string_equal(part_text("random", (enum part)p), text);
    }
    expect_ranks(&want);
    must(popularity_rank(&job, case_path("random"), PART_TEST, NULL, false, &got, &err));
    assert_int_equal(got.count, USERS);
    for (int k = 0; k < RANKING_CUTS; k++)
        assert_true(want.hr[k] == got.hr[k] && want.ndcg[k] - got.ndcg[k] < 1e-9 &&
                    got.ndcg[k] - want.ndcg[k] < 1e-9);
    assert_true(want.mrr - got.mrr < 1e-9 && got.mrr - want.mrr < 1e-9);
    assert_int_equal(
        popularity_rank(&job, case_path("random"), PART_TRAIN, NULL, false, &got, &err), ST_USAGE);
    struct baselines score;
    assert_int_equal(baselines_of(&job, case_path("random"), PART_TEST, NULL, &score, &err),
                     ST_NOT_FOUND);
    release();
}

/* ---- logs as they are in the world -------------------------------------------------------------- */

static bool real(const char *name, const char *data)
{
    char path[PATH_MAX], text[PATH_MAX + 4096];
    if (!case_real(name, path))
        return false;
    snprintf(text, sizeof text, "  train: %s\n  records: sequences\n  bad_max: 0\n%s", path, data);
    case_job(&job, text);
    must(convert("real"));
    return true;
}

static void beauty(void **state)
{
    struct ranking ranks;
    (void)state;
    if (!real("beauty/beauty.tsv", "  format: recbole\n  sequence: {max: 300, min: 5}\n  fields:\n"
                                   "    - {name: user, type: user, column: user_id}\n"
                                   "    - {name: item, type: item, column: item_id}\n"
                                   "    - {name: at, type: time, column: timestamp}\n")) {
        skip();
        return;
    }
    assert_int_equal(r.sequence.users, 22363);
    assert_int_equal(r.sequence.events, 198502);
    assert_int_equal(r.items, 12101);
    assert_int_equal(r.sequence.positions, 131413); /* no history is as long as max */
    must(popularity_rank(&job, case_path("real"), PART_TEST, NULL, false, &ranks, &err));
    struct ranking mean = ranking_value(&ranks);
    assert_true(mean.hr[RANKING_10] > .01095 && mean.hr[RANKING_10] < .01105);
    assert_true(mean.ndcg[RANKING_10] > .00525 && mean.ndcg[RANKING_10] < .00535);
    release();
}

static void ml_1m(void **state)
{
    (void)state;
    if (!real("ml-1m/ml-1m.txt",
              "  delimiter: ' '\n  header: false\n  sequence: {max: 200}\n" FIELDS)) {
        skip();
        return;
    }
    assert_int_equal(r.sequence.users, 6040);
    assert_int_equal(r.sequence.events, 999611);
    assert_int_equal(r.items, 3416);
    assert_int_equal(r.rows[PART_TEST], 6040);
    release();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leave_one_out),
        cmocka_unit_test(order_and_ties),
        cmocka_unit_test(long_histories),
        cmocka_unit_test(by_time),
        cmocka_unit_test(rare_items),
        cmocka_unit_test(other_files),
        cmocka_unit_test(bad_lines),
        cmocka_unit_test(refused),
        cmocka_unit_test(used_again),
        cmocka_unit_test(jobs_are_checked),
        cmocka_unit_test(sources_of_records),
        cmocka_unit_test(damaged_catalog),
        cmocka_unit_test(candidates),
        cmocka_unit_test(as_the_plain_one),
        cmocka_unit_test(beauty),
        cmocka_unit_test(ml_1m),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
