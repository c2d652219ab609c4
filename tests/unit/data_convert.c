/* data_convert.c - logs to caches: cleaning, splits, reuse, and every way a log can be wrong. */
#include "tests/unit/data_case.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "common/data/convert.h"
#include "common/data/dataset.h"

static struct job job;
static struct convert_result r;

#define TWO_FIELDS                                                                                 \
    "  fields:\n"                                                                                  \
    "    - {name: y, type: label}\n"                                                               \
    "    - {name: a, type: id}\n"                                                                  \
    "    - {name: x, type: float}\n"

static int release(void **state)
{
    (void)state;
    job_release(&job);
    memset(&job, 0, sizeof job);
    return 0;
}

static enum status convert(const char *cache)
{
    return convert_job(&job, case_path(cache), NULL, NULL, &r, &err);
}

static void must_convert(const char *cache)
{
    enum status st = convert(cache);
    if (st != ST_OK)
        print_error("%s\n", err.text);
    assert_int_equal(st, ST_OK);
}

/* Files in a cache folder whose names begin so. */
static int count_files(const char *cache, const char *prefix)
{
    DIR *d = opendir(case_path(cache));
    int n = 0;
    if (d == NULL)
        return 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.' && strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    closedir(d);
    return n;
}

static void no_caches(const char *cache)
{
    assert_int_equal(count_files(cache, "train"), 0);
    assert_int_equal(count_files(cache, "valid"), 0);
    assert_int_equal(count_files(cache, "test"), 0);
    assert_int_equal(count_files(cache, "all"), 0);
    assert_int_equal(count_files(cache, "encoder"), 0);
}

/* Labels and one float of a part, in record order. */
static size_t read_part(const char *cache, enum part part, float *labels, float *x, size_t max)
{
    struct dataset *d;
    struct batch b;
    uint64_t rows[4096];
    enum status st = dataset_open(&job, case_path(cache), part, &d, &err);
    if (st == ST_NOT_FOUND)
        return 0;
    assert_int_equal(st, ST_OK);
    size_t n = (size_t)dataset_rows(d);
    assert_true(n <= max && n <= 4096);
    for (size_t i = 0; i < n; i++)
        rows[i] = i;
    batch_init(&b, d, n);
    assert_int_equal(dataset_batch(d, rows, n, &b, &err), ST_OK);
    for (size_t i = 0; i < n; i++) {
        labels[i] = b.labels[i];
        x[i] = dataset_floats(d) > 0 ? b.floats[i * dataset_floats(d)] : 0;
    }
    batch_release(&b);
    dataset_close(d);
    return n;
}

static void two_files(void **state)
{
    float y[10], x[10];
    (void)state;
    case_text("a.csv", "y,a,x\n1,u,0.5\n0,v,\n1,,2\n");
    case_text("b.csv", "x,junk,y,a\r\n7,j,1,u\r\n");
    case_job(&job, "  train: [a.csv, b.csv]\n  test: b.csv\n" TWO_FIELDS);
    must_convert("two");
    assert_int_equal(r.lines[PART_TRAIN], 4);
    assert_int_equal(r.rows[PART_TRAIN], 4);
    assert_int_equal(r.positives[PART_TRAIN], 3);
    assert_int_equal(r.rows[PART_TEST], 1);
    assert_int_equal(r.rows[PART_VALID], 0);
    assert_false(r.reused);
    assert_true(r.encoder_hash != 0 && r.bytes > 0);
    assert_int_equal(read_part("two", PART_TRAIN, y, x, 10), 4);
    assert_true(y[0] == 1 && y[1] == 0 && y[3] == 1);
    assert_true(x[0] == .5f && x[1] == 0 && x[2] == 2 && x[3] == 7);
    assert_int_equal(read_part("two", PART_VALID, y, x, 10), 0);
    struct dataset *d;
    const char *path;
    uint64_t offset;
    assert_int_equal(dataset_open(&job, case_path("two"), PART_TRAIN, &d, &err), ST_OK);
    dataset_source(d, 1, &path, &offset);
    assert_string_equal(path, case_path("a.csv"));
    assert_int_equal(offset, 14);
    dataset_source(d, 3, &path, &offset);
    assert_string_equal(path, case_path("b.csv"));
    assert_int_equal(offset, 12);
    dataset_close(d);
    assert_int_equal(count_files("two", "quarantine"), 0);
}

static void bad_lines_are_filed(void **state)
{
    char *text;
    size_t n;
    (void)state;
    case_text("bad.csv", "y,a,x\n1,u,1\n1,u\n1,u,one\n,u,1\nmaybe,u,1\n0,u,nan\n1,u,1e38\n"
                         "1,\"u,1\n0,v,-1\n");
    case_job(&job, "  train: bad.csv\n  bad_max: .9\n" TWO_FIELDS);
    must_convert("bad");
    assert_int_equal(r.lines[0], 9);
    assert_int_equal(r.bad[0], 6);
    assert_int_equal(r.rows[0], 3);
    assert_int_equal(file_read(case_path("bad/quarantine.tsv"), 10000, &text, &n, &err), ST_OK);
    char want[3000];
    const char *path = case_path("bad.csv");
    snprintf(want, sizeof want,
             "file\tline\treason\n"
             "%s\t3\t2 columns instead of 3\n"
             "%s\t4\tx: not a number: \"one\"\n"
             "%s\t5\ty: no label: \"\"\n"
             "%s\t6\ty: not a number: \"maybe\"\n"
             "%s\t8\tx: magnitude above 1e30: \"1e38\"\n"
             "%s\t9\ta quote that is not closed\n",
             path, path, path, path, path, path);
    assert_string_equal(text, want); /* nan is a word for missing unless the job says otherwise */
    free(text);
    /* The next log of this cache has no bad line: the old file goes. */
    case_text("bad.csv", "y,a,x\n1,u,1\n0,v,2\n");
    must_convert("bad");
    assert_int_equal(count_files("bad", "quarantine"), 0);
}

static void nan_and_inf(void **state)
{
    (void)state;
    case_text("nan.csv", "y,a,x\n1,u,nan\n1,u,-inf\nnan,u,1\n0,v,3\n");
    case_job(&job, "  train: nan.csv\n  missing: [\"\"]\n  bad_max: .9\n" TWO_FIELDS);
    must_convert("nan");
    assert_int_equal(r.bad[0], 3);
    assert_int_equal(r.rows[0], 1);
}

static void too_many_bad(void **state)
{
    (void)state;
    case_text("worse.csv", "y,a,x\n1,u,1\nA,u,1\nB,u,1\nC,u,1\nD,u,1\n0,v,2\n");
    case_job(&job, "  train: worse.csv\n  bad_max: .5\n" TWO_FIELDS);
    assert_int_equal(convert("worse"), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "4 of 6 lines"));
    assert_non_null(strstr(err.text, "bad_max: 0.5"));
    assert_non_null(strstr(err.text, "worse.csv:3: y: not a number: \"A\""));
    assert_non_null(strstr(err.text, "\"C\""));
    assert_null(strstr(err.text, "\"D\""));
    no_caches("worse");
    assert_int_equal(count_files("worse", "quarantine.tsv"), 1);
    assert_int_equal(count_files("worse", ""), 2); /* and the lock */
}

/* A hopeless log is given up long before its end. */
static void stops_early(void **state)
{
    char *text = malloc(1 << 20);
    size_t n = (size_t)sprintf(text, "y,a,x\n");
    (void)state;
    for (int i = 0; i < 30000; i++)
        n += (size_t)sprintf(text + n, i % 2 ? "1,u,1\n" : "?,u,1\n");
    case_write("early.csv", text, n);
    free(text);
    case_job(&job, "  train: early.csv\n  bad_max: .05\n" TWO_FIELDS);
    assert_int_equal(convert("early"), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "of 1001 lines"));
    no_caches("early");
    release(NULL);
    case_job(&job, "  train: early.csv\n  bad_max: 0\n" TWO_FIELDS);
    assert_int_equal(convert("early"), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "1 of 1 lines"));
}

static void wrong_files(void **state)
{
    static const struct {
        const char *train, *word;
    } cases[] = {
        {"nowhere.csv", "nowhere.csv"}, {"empty.csv", "is empty"},
        {"folder", "is a folder"},      {"no*.csv", "no file matches"},
        {"head.csv", "no usable line"}, {"blank.csv", "not even a header"},
        {"cut.csv.gz", "cut.csv.gz"},   {"other.csv", "no column \"a\""},
        {"twice.csv", "2 columns"},
    };
    static const unsigned char gz[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 'x'};
    (void)state;
    case_text("empty.csv", "");
    case_text("head.csv", "y,a,x\n");
    case_text("blank.csv", "\n\n");
    case_text("other.csv", "y,b,x\n1,2,3\n");
    case_text("twice.csv", "y,a,x,a\n1,2,3,4\n");
    case_write("cut.csv.gz", gz, sizeof gz);
    mkdir(case_path("folder"), 0755);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char data[300];
        snprintf(data, sizeof data, "  train: \"%s\"\n" TWO_FIELDS, cases[i].train);
        case_job(&job, data);
        enum status st = convert("wrong");
        if (st != ST_BAD_DATA || strstr(err.text, cases[i].word) == NULL)
            print_error("%s: %d %s\n", cases[i].train, (int)st, err.text);
        assert_int_equal(st, ST_BAD_DATA);
        assert_non_null(strstr(err.text, cases[i].word));
        no_caches("wrong");
        release(NULL);
    }
    if (geteuid() != 0) {
        chmod(case_text("closed.csv", "y,a,x\n1,2,3\n"), 0);
        case_job(&job, "  train: closed.csv\n" TWO_FIELDS);
        assert_int_equal(convert("wrong"), ST_BAD_DATA);
    }
}

static void binary_file(void **state)
{
    char bytes[4096];
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7919 >> 3);
    case_write("binary", bytes, sizeof bytes);
    case_job(&job, "  train: binary\n" TWO_FIELDS);
    assert_int_equal(convert("binary.cache"), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "binary"));
    release(NULL);
    case_job(&job, "  train: binary\n  header: false\n" TWO_FIELDS);
    assert_int_equal(convert("binary.cache"), ST_BAD_DATA);
    no_caches("binary.cache");
}

static void globs(void **state)
{
    float y[10], x[10];
    (void)state;
    case_text("day2.csv", "1,u,2\n");
    case_text("day10.csv", "1,u,10\n");
    case_text("day1[x].csv", "1,u,1\n");
    case_job(
        &job,
        "  train: day?.csv\n  valid: \"day1[x].csv\"\n  test: day*\n  header: false\n" TWO_FIELDS);
    must_convert("glob");
    assert_int_equal(r.rows[PART_TRAIN], 1);
    assert_int_equal(read_part("glob", PART_VALID, y, x, 10), 1);
    assert_true(x[0] == 1);
    assert_int_equal(read_part("glob", PART_TEST, y, x, 10), 3);
    assert_true(x[0] == 10 && x[1] == 1 && x[2] == 2); /* sorted as bytes: "day10" < "day1[" */
}

static void positions(void **state)
{
    float y[4], x[4];
    (void)state;
    case_text("pos.tsv", "j\t1\tu\t5\nj\t0\tv\t6\n");
    case_job(&job, "  train: pos.tsv\n  header: false\n  delimiter: \"\\t\"\n  fields:\n"
                   "    - {name: x, type: float, column: 3}\n"
                   "    - {name: y, type: label, column: 1}\n"
                   "    - {name: a, type: id, column: 2}\n");
    must_convert("pos");
    assert_int_equal(read_part("pos", PART_TRAIN, y, x, 4), 2);
    assert_true(y[0] == 1 && y[1] == 0 && x[0] == 5 && x[1] == 6);
    release(NULL);
    case_job(&job, "  train: pos.tsv\n  header: false\n  delimiter: \"\\t\"\n  fields:\n"
                   "    - {name: s, type: skip}\n"
                   "    - {name: y, type: label}\n"
                   "    - {name: a, type: id}\n"
                   "    - {name: x, type: float}\n");
    must_convert("pos");
    assert_int_equal(read_part("pos", PART_TRAIN, y, x, 4), 2);
    assert_true(x[1] == 6);
}

/* Names of columns may be numbers; a number that is no name is a position. */
static void names_before_numbers(void **state)
{
    float y[4], x[4];
    (void)state;
    case_text("num.csv", "1,0,101\n1,u,7\n0,v,8\n");
    case_job(&job, "  train: num.csv\n  fields:\n"
                   "    - {name: y, type: label, column: \"1\"}\n"
                   "    - {name: x, type: float, column: \"101\"}\n"
                   "    - {name: a, type: id, column: \"0\"}\n");
    must_convert("num");
    assert_int_equal(read_part("num", PART_TRAIN, y, x, 4), 2);
    assert_true(y[0] == 1 && y[1] == 0 && x[0] == 7 && x[1] == 8);
}

static void write_numbers(const char *name, int from, int to)
{
    char *text = malloc(1 << 20);
    size_t n = (size_t)sprintf(text, "y,a,x,t\n");
    for (int i = from; i < to; i++)
        n += (size_t)sprintf(text + n, "%d,u%d,%d,%d\n", i % 2, i % 7, i, i / 10);
    case_write(name, text, n);
    free(text);
}

/* ---- reuse -------------------------------------------------------------------------------------- */

static void used_again(void **state)
{
    (void)state;
    case_text("r.csv", "y,a,x\n1,u,1\n0,v,2\n?,v,2\n");
    case_job(&job, "  train: r.csv\n  test: r.csv\n  bad_max: .5\n" TWO_FIELDS);
    must_convert("reuse");
    struct convert_result first = r;
    must_convert("reuse");
    assert_true(r.reused);
    first.reused = true;
    assert_memory_equal(&first, &r, sizeof r);
    /* The same content in a new file is not the same file. */
    case_text("r.csv.new", "y,a,x\n1,u,1\n0,v,2\n?,v,2\n");
    assert_int_equal(rename(case_path("r.csv.new"), case_path("r.csv")), 0);
    must_convert("reuse");
    assert_false(r.reused);
    must_convert("reuse");
    assert_true(r.reused);
    /* another schema */
    release(NULL);
    case_job(&job, "  train: r.csv\n  test: r.csv\n  bad_max: .5\n  label_above: 2\n" TWO_FIELDS);
    must_convert("reuse");
    assert_false(r.reused);
    assert_int_equal(r.positives[0], 0);
    /* one part fewer */
    release(NULL);
    case_job(&job, "  train: r.csv\n  bad_max: .5\n  label_above: 2\n" TWO_FIELDS);
    must_convert("reuse");
    assert_false(r.reused);
    assert_int_equal(count_files("reuse", "test"), 0);
    /* a part or the encoder is gone */
    unlink(case_path("reuse/encoder.bin"));
    must_convert("reuse");
    assert_false(r.reused);
}

/* The limit is no part of what a cache holds, and yet a stricter one is seen. */
static void stricter_limit(void **state)
{
    (void)state;
    case_text("strict.csv", "y,a,x\n1,u,1\n0,v,2\n?,v,2\n");
    case_job(&job, "  train: strict.csv\n  bad_max: .5\n" TWO_FIELDS);
    must_convert("strict");
    release(NULL);
    case_job(&job, "  train: strict.csv\n  bad_max: .1\n" TWO_FIELDS);
    assert_int_equal(convert("strict"), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "strict.csv:4"));
    release(NULL);
    case_job(&job, "  train: strict.csv\n  bad_max: .4\n" TWO_FIELDS);
    must_convert("strict");
    assert_true(r.reused);
}

/* Workers load resolved.yaml and must find the cache that the front wrote with the user's job. */
static void resolved_job_opens_it(void **state)
{
    struct buffer text = BUFFER_INIT;
    struct dataset *d;
    (void)state;
    write_numbers("res.csv", 0, 500);
    case_job(&job, "  train: res.csv\n  label_above: .1\n  missing: [\"\", \"\\t\", 'x y']\n"
                   "  split: {by: ratio, valid: .07, test: .03, seed: 18446744073709551615}\n"
                   "  fields:\n    - {name: y, type: label}\n    - {name: a, type: ids, hash: 10}\n"
                   "    - {name: x, type: float, norm: standard}\n");
    must_convert("res");
    job_dump(&job, &text);
    release(NULL);
    assert_int_equal(
        job_parse(buffer_text(&text), text.used, "resolved.yaml", "/", NULL, 0, &job, &err), ST_OK);
    assert_int_equal(dataset_open(&job, case_path("res"), PART_TRAIN, &d, &err), ST_OK);
    dataset_close(d);
    must_convert("res");
    assert_true(r.reused);
    buffer_release(&text);
}

static void damaged_header_converts_again(void **state)
{
    char *bytes;
    size_t n;
    (void)state;
    case_text("h.csv", "y,a,x\n1,u,1\n0,v,2\n");
    case_job(&job, "  train: h.csv\n" TWO_FIELDS);
    must_convert("header");
    assert_int_equal(file_read(case_path("header/train.cache"), 1 << 20, &bytes, &n, &err), ST_OK);
    bytes[40] ^= 4;
    case_write("header/train.cache", bytes, n);
    must_convert("header");
    assert_false(r.reused);
    must_convert("header");
    assert_true(r.reused);
    case_write("header/train.cache", bytes, n - 1);
    must_convert("header");
    assert_false(r.reused);
    free(bytes);
}

static void leftovers_go(void **state)
{
    (void)state;
    case_text("l.csv", "y,a,x\n1,u,1\n0,v,2\n");
    mkdir(case_path("left"), 0755);
    case_text("left/train.cache.tmp.12345", "half");
    case_text("left/notes.tmp.mine", "stays");
    case_job(&job, "  train: l.csv\n" TWO_FIELDS);
    must_convert("left");
    assert_int_equal(count_files("left", "train.cache.tmp"), 0);
    assert_int_equal(count_files("left", "notes.tmp.mine"), 1);
}

static void interrupted(void **state)
{
    volatile int stop = 1;
    char *text = malloc(1 << 20);
    size_t n = (size_t)sprintf(text, "y,a,x\n");
    (void)state;
    for (int i = 0; i < 20000; i++)
        n += (size_t)sprintf(text + n, "1,u%d,1\n", i);
    case_write("long.csv", text, n);
    free(text);
    case_job(&job, "  train: long.csv\n" TWO_FIELDS);
    assert_int_equal(convert_job(&job, case_path("int"), NULL, &stop, &r, &err), ST_REFUSED);
    assert_string_equal(err.text, "interrupted");
    no_caches("int");
    stop = 0;
    assert_int_equal(convert_job(&job, case_path("int"), NULL, &stop, &r, &err), ST_OK);
}

/* A disk that is full, played by a limit on the size of files; in a child, as the limit stays. */
static void full_disk(void **state)
{
    char *text = malloc(4 << 20);
    size_t n = (size_t)sprintf(text, "y,a,x\n");
    (void)state;
    for (int i = 0; i < 200000; i++)
        n += (size_t)sprintf(text + n, "%d,u%d,1\n", i % 2, i);
    case_write("full.csv", text, n);
    free(text);
    case_job(&job, "  train: full.csv\n" TWO_FIELDS);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {1 << 20, 1 << 20};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        enum status st = convert("full");
        _exit(st == ST_IO && strstr(err.text, "train.cache") != NULL ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    no_caches("full");
    assert_int_equal(count_files("full", ""), 1); /* the lock */
}

/* ---- splits ------------------------------------------------------------------------------------- */

static void by_ratio(void **state)
{
    static float y[3][4096], x[3][4096];
    static bool seen[4000];
    size_t n[3], all = 0;
    (void)state;
    write_numbers("ratio.csv", 0, 3000);
    case_job(&job,
             "  train: ratio.csv\n  split: {by: ratio, valid: .2, test: .1, seed: 9}\n" TWO_FIELDS);
    must_convert("ratio");
    for (int p = 0; p < 3; p++) {
        n[p] = read_part("ratio", (enum part)p, y[p], x[p], 4096);
        assert_int_equal(n[p], r.rows[p]);
        all += n[p];
        for (size_t i = 0; i < n[p]; i++) {
            assert_false(seen[(int)x[p][i]]);
            seen[(int)x[p][i]] = true;
        }
    }
    assert_int_equal(all, 3000);
    assert_in_range(n[PART_TEST], 240, 360);
    assert_in_range(n[PART_VALID], 510, 690);
    static bool was_test[4000];
    for (size_t i = 0; i < n[PART_TEST]; i++)
        was_test[(int)x[PART_TEST][i]] = true;
    /* More lines in front change no old line's part. */
    write_numbers("ratio0.csv", 3000, 3500);
    release(NULL);
    case_job(&job, "  train: [ratio0.csv, ratio.csv]\n"
                   "  split: {by: ratio, valid: .2, test: .1, seed: 9}\n" TWO_FIELDS);
    must_convert("ratio");
    size_t again = read_part("ratio", PART_TEST, y[0], x[0], 4096), old = 0;
    for (size_t i = 0; i < again; i++)
        if (x[0][i] < 3000) {
            old++;
            assert_true(was_test[(int)x[0][i]]);
        }
    assert_int_equal(old, n[PART_TEST]);
    release(NULL);
    case_job(
        &job,
        "  train: ratio.csv\n  split: {by: ratio, valid: .2, test: .1, seed: 10}\n" TWO_FIELDS);
    must_convert("ratio");
    size_t other = read_part("ratio", PART_TEST, y[0], x[0], 4096), same = 0;
    for (size_t i = 0; i < other; i++)
        same += was_test[(int)x[0][i]];
    assert_true(same * 3 < other);
}

#define TIMED TWO_FIELDS "    - {name: t, type: time}\n"

static void by_time(void **state)
{
    static float y[4096], x[4096];
    (void)state;
    /* later lines first, so that time and not order decides */
    write_numbers("late.csv", 1000, 2000);
    write_numbers("soon.csv", 0, 1000);
    case_job(&job,
             "  train: [late.csv, soon.csv]\n  split: {by: time, valid: .1, test: .25}\n" TIMED);
    must_convert("time");
    /* instants of ten lines are not cut: 1300 and 1500 lie between instants */
    assert_int_equal(r.rows[PART_TRAIN], 1300);
    assert_int_equal(r.rows[PART_VALID], 200);
    assert_int_equal(r.rows[PART_TEST], 500);
    size_t n = read_part("time", PART_VALID, y, x, 4096);
    for (size_t i = 0; i < n; i++)
        assert_true(x[i] >= 1300 && x[i] < 1500);
    n = read_part("time", PART_TEST, y, x, 4096);
    for (size_t i = 0; i < n; i++)
        assert_true(x[i] == (float)(1500 + i)); /* the order of the log stays */
    release(NULL);
    case_job(&job,
             "  train: [late.csv, soon.csv]\n  split: {by: time, valid: 0, test: .2525}\n" TIMED);
    must_convert("time");
    /* the cut falls into the instant of 1490 .. 1499: it is test as a whole */
    assert_int_equal(r.rows[PART_TEST], 510);
    assert_int_equal(r.rows[PART_VALID], 0);
    assert_int_equal(count_files("time", "all"), 0);
}

static void time_is_missing(void **state)
{
    (void)state;
    case_text("t.csv",
              "y,a,x,t\n1,u,1,5\n1,u,1,\n0,v,1,soon\n0,u,1,6\n1,u,1,2020-01-01\n1,u,2,7\n");
    case_job(&job,
             "  train: t.csv\n  bad_max: .9\n  split: {by: time, valid: 0, test: .3}\n" TIMED);
    must_convert("tm");
    assert_int_equal(r.bad[PART_TRAIN], 2);
    assert_int_equal(r.rows[PART_TEST], 1);
    assert_int_equal(r.lines[PART_TRAIN], 5);
    release(NULL);
    case_job(&job, "  train: t.csv\n  bad_max: .9\n" TIMED);
    must_convert("tm");
    assert_int_equal(r.bad[PART_TRAIN], 1); /* without the split a record needs no time */
    release(NULL);
    case_text("t.csv", "y,a,x,t\n1,u,1,5\n1,u,1,5\n");
    case_job(&job, "  train: t.csv\n  split: {by: time, valid: 0, test: .3}\n" TIMED);
    assert_int_equal(convert("tm"), ST_BAD_DATA);
    assert_non_null(strstr(err.text, "no record for training"));
}

/* ---- fitting ------------------------------------------------------------------------------------ */

/* Only train teaches the encoder; other parts and other files are encoded as it says. */
static void fitted_on_train(void **state)
{
    float y[10], x[10];
    struct dataset *d;
    struct batch b;
    uint64_t rows[4] = {0, 1, 2, 3};
    (void)state;
    case_text("f1.csv", "y,a,x\n1,u,0\n0,u,10\n1,v,\n1,w,20\n");
    case_text("f2.csv", "y,a,x\n0,v,5\n1,q,1000\n0,u,-3\n1,,10\n");
    case_job(&job, "  train: f1.csv\n  test: f2.csv\n  fields:\n    - {name: y, type: label}\n"
                   "    - {name: a, type: id, min_count: 2}\n"
                   "    - {name: x, type: float, norm: minmax}\n");
    must_convert("fit");
    assert_int_equal(read_part("fit", PART_TRAIN, y, x, 10), 4);
    assert_true(x[0] == 0 && x[1] == .5f && x[2] == 0 && x[3] == 1);
    assert_int_equal(read_part("fit", PART_TEST, y, x, 10), 4);
    assert_true(x[0] == .25f && x[1] == 1 && x[2] == 0 && x[3] == .5f);
    assert_int_equal(dataset_open(&job, case_path("fit"), PART_TEST, &d, &err), ST_OK);
    batch_init(&b, d, 4);
    assert_int_equal(dataset_batch(d, rows, 4, &b, &err), ST_OK);
    assert_int_equal(b.unique, 3); /* oov twice, u, missing */
    assert_int_equal(b.index[0], b.index[1]);
    uint64_t oov = b.keys[0];
    batch_release(&b);
    dataset_close(d);

    char *item = (char *)(uintptr_t)case_path("f2.csv");
    struct texts files = {&item, 1};
    uint64_t hash = r.encoder_hash;
    assert_int_equal(convert_files(&job, case_path("fit/encoder.bin"), &files, case_path("other"),
                                   NULL, NULL, &r, &err),
                     ST_OK);
    assert_int_equal(r.rows[PART_TEST], 4);
    assert_true(r.encoder_hash == hash);
    assert_int_equal(dataset_open(&job, case_path("other"), PART_TEST, &d, &err), ST_OK);
    batch_init(&b, d, 4);
    assert_int_equal(dataset_batch(d, rows, 4, &b, &err), ST_OK);
    assert_true(b.unique == 3 && b.keys[0] == oov && b.floats[0] == .25f);
    batch_release(&b);
    dataset_close(d);
    assert_int_equal(convert_files(&job, case_path("fit/encoder.bin"), &files, case_path("other"),
                                   NULL, NULL, &r, &err),
                     ST_OK);
    assert_true(r.reused);
    assert_int_equal(
        convert_files(&job, case_path("f1.csv"), &files, case_path("other"), NULL, NULL, &r, &err),
        ST_BAD_DATA);
}

static void split_by_time_and_fit(void **state)
{
    static float y[4096], x[4096];
    (void)state;
    write_numbers("tf.csv", 0, 1000);
    case_job(&job, "  train: tf.csv\n  split: {by: time, valid: 0, test: .5}\n  fields:\n"
                   "    - {name: y, type: label}\n    - {name: a, type: id}\n"
                   "    - {name: x, type: float, norm: standard}\n    - {name: t, type: time}\n");
    must_convert("tf");
    size_t n = read_part("tf", PART_TRAIN, y, x, 4096);
    double sum = 0, squares = 0;
    assert_int_equal(n, 500);
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
        squares += (double)x[i] * x[i];
    }
    assert_true(fabs(sum / 500) < 1e-6 && fabs(squares / 500 - 1) < 1e-6);
    n = read_part("tf", PART_TEST, y, x, 4096);
    assert_true(x[0] > 1.7f);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, release)
    const struct CMUnitTest tests[] = {
        TEST(two_files),
        TEST(bad_lines_are_filed),
        TEST(nan_and_inf),
        TEST(too_many_bad),
        TEST(stops_early),
        TEST(wrong_files),
        TEST(binary_file),
        TEST(globs),
        TEST(positions),
        TEST(names_before_numbers),
        TEST(used_again),
        TEST(stricter_limit),
        TEST(resolved_job_opens_it),
        TEST(damaged_header_converts_again),
        TEST(leftovers_go),
        TEST(interrupted),
        TEST(full_disk),
        TEST(by_ratio),
        TEST(by_time),
        TEST(time_is_missing),
        TEST(fitted_on_train),
        TEST(split_by_time_and_fit),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
