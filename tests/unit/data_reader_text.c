/* data_reader_text.c - delimited text with everything people put into it. */
#include "tests/unit/data_case.h"

#include "common/base/rng.h"
#include "common/data/lines.h"
#include "common/data/reader_text.h"

/* The whole file as one text: cells in brackets, faults as !reason, a record a line with line and offset. */
static const char *all_of(const char *bytes, size_t n, const char *delimiter, const char *quote)
{
    static char out[1 << 16];
    size_t used = 0;
    struct reader_text *r;
    struct text_record rec;
    const char *path = case_write("in.txt", bytes, n);
    enum status st = reader_text_open(path, 1 << 30, delimiter, quote, &r, &err);
    assert_int_equal(st, ST_OK);
    while ((st = reader_text_next(r, &rec, &err)) == ST_OK) {
        used += (size_t)snprintf(out + used, sizeof out - used, "%d@%d", (int)rec.line,
                                 (int)rec.offset);
        if (rec.fault != NULL)
            used += (size_t)snprintf(out + used, sizeof out - used, "!%s", rec.fault);
        for (size_t c = 0; c < rec.cells_used; c++)
            used += (size_t)snprintf(out + used, sizeof out - used, "[%.*s]", (int)rec.cell[c].n,
                                     rec.cell[c].at);
        used += (size_t)snprintf(out + used, sizeof out - used, "\n");
    }
    assert_int_equal(st, ST_END);
    out[used] = 0;
    reader_text_close(r);
    return out;
}

static const char *text(const char *bytes)
{
    return all_of(bytes, strlen(bytes), ",", "\"");
}

static void plain(void **state)
{
    (void)state;
    assert_string_equal(text("a,b\nc,d\n"), "1@0[a][b]\n2@4[c][d]\n");
    assert_string_equal(text("a,b\nc,d"), "1@0[a][b]\n2@4[c][d]\n");
    assert_string_equal(text("a,,\n,\nx\n"), "1@0[a][][]\n2@4[][]\n3@6[x]\n");
    assert_string_equal(text("\n\na\n\n\nb\n\n"), "3@2[a]\n6@6[b]\n");
    assert_string_equal(text("\n"), "");
}

static void line_ends(void **state)
{
    (void)state;
    assert_string_equal(text("a,b\r\nc,d\r\n"), "1@0[a][b]\n2@5[c][d]\n");
    assert_string_equal(text("a,b\r\nc,d\r"), "1@0[a][b]\n2@5[c][d]\n");
    assert_string_equal(text("\r\na\r\n\r\n"), "2@2[a]\n");
    assert_string_equal(text("a\rb,c\n"), "1@0[a\rb][c]\n");
}

static void byte_order_mark(void **state)
{
    (void)state;
    assert_string_equal(text("\xEF\xBB\xBF"
                             "a,b\nc\n"),
                        "1@3[a][b]\n2@7[c]\n");
    assert_string_equal(text("\xEF\xBB\xBF"
                             "\"a\",b\n"),
                        "1@3[a][b]\n");
    assert_string_equal(text("\xEF\xBB"), "1@0[\xEF\xBB]\n");
    assert_string_equal(text("a\n\xEF\xBB\xBF"
                             "b\n"),
                        "1@0[a]\n2@2[\xEF\xBB\xBF"
                        "b]\n");
}

static void delimiters(void **state)
{
    (void)state;
    assert_string_equal(all_of("1::a b::::x:y\n", 14, "::", ""), "1@0[1][a b][][x:y]\n");
    assert_string_equal(all_of("a\tb\t\n", 5, "\t", "\""), "1@0[a][b][]\n");
    assert_string_equal(all_of("a::\"b::c\"::d\n", 13, "::", "\""), "1@0[a][b::c][d]\n");
    assert_string_equal(all_of("\"a\",b\n", 6, ",", ""), "1@0[\"a\"][b]\n");
    assert_string_equal(all_of("'a,b',c\n", 8, ",", "'"), "1@0[a,b][c]\n");
}

static void quotes(void **state)
{
    (void)state;
    assert_string_equal(text("\"a\",\"b,c\"\n"), "1@0[a][b,c]\n");
    assert_string_equal(text("\"\",x\n"), "1@0[][x]\n");
    assert_string_equal(text("\"say \"\"hi\"\"\",\"\"\"\"\n"), "1@0[say \"hi\"][\"]\n");
    assert_string_equal(text("a \"b\" c,5\"\n"), "1@0[a \"b\" c][5\"]\n");
    assert_string_equal(text("x,\"a\nb\"\ny\n"), "1@0[x][a\nb]\n3@8[y]\n");
    assert_string_equal(text("x,\"a\r\n\r\nb\",z\r\ny\n"), "1@0[x][a\r\n\r\nb][z]\n4@14[y]\n");
    assert_string_equal(text("\"a\""), "1@0[a]\n");
}

/* A stray quote costs its own line. */
static void broken_quotes(void **state)
{
    (void)state;
    assert_string_equal(text("\"a\nb,c\nd\n"),
                        "1@0!a quote that is not closed\n2@3[b][c]\n3@7[d]\n");
    assert_string_equal(text("\"a\"x,b\nc\n"), "1@0!text behind a closing quote\n2@7[c]\n");
    assert_string_equal(
        text("a,\"b\nc,\"d\ne\n"),
        "1@0!text behind a closing quote\n2@5!a quote that is not closed\n3@10[e]\n");
    assert_string_equal(text("\""), "1@0!a quote that is not closed\n");
}

static void nul_bytes(void **state)
{
    static const char bytes[] = "a\0b\nc\n\"d\n\0\",e\nf\n";
    (void)state;
    assert_string_equal(
        all_of(bytes, sizeof bytes - 1, ",", "\""),
        "1@0!a NUL byte (a binary file?)\n2@4[c]\n"
        "3@6!a NUL byte (a binary file?)\n4@9!a NUL byte (a binary file?)\n5@14[f]\n");
}

static void long_lines(void **state)
{
    size_t n = LINE_BYTES_MAX;
    char *bytes = malloc(3 * n + 100);
    struct reader_text *r;
    struct text_record rec;
    (void)state;
    /* the longest allowed with CRLF, one more, one far more, and a good one */
    memset(bytes, 'x', 3 * n + 100);
    memcpy(bytes + n, "\r\n", 2);
    memcpy(bytes + 2 * n + 3, "\n", 1);
    memcpy(bytes + 3 * n + 90, "\ny\n", 3);
    const char *path = case_write("long.txt", bytes, 3 * n + 93);
    assert_int_equal(reader_text_open(path, 1 << 30, ",", "\"", &r, &err), ST_OK);
    assert_int_equal(reader_text_next(r, &rec, &err), ST_OK);
    assert_null(rec.fault);
    assert_int_equal(rec.cell[0].n, n);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(reader_text_next(r, &rec, &err), ST_OK);
        assert_non_null(strstr(rec.fault, "1048576"));
    }
    assert_int_equal(reader_text_next(r, &rec, &err), ST_OK);
    assert_null(rec.fault);
    assert_int_equal(rec.line, 4);
    assert_int_equal(rec.offset, 3 * n + 91);
    assert_int_equal(rec.cell[0].n, 1);
    assert_int_equal(reader_text_next(r, &rec, &err), ST_END);
    reader_text_close(r);
    /* a quoted cell that never ends in a file longer than the bound */
    bytes[0] = '"';
    path = case_write("long.txt", bytes, 3 * n + 93);
    assert_int_equal(reader_text_open(path, 1 << 30, ",", "\"", &r, &err), ST_OK);
    assert_int_equal(reader_text_next(r, &rec, &err), ST_OK);
    assert_non_null(rec.fault);
    reader_text_close(r);
    free(bytes);
}

static void many_columns(void **state)
{
    char *bytes = malloc(70001);
    (void)state;
    memset(bytes, ',', 70000);
    bytes[70000] = '\n';
    assert_non_null(strstr(all_of(bytes, 70001, ",", "\""), "more than 65536 columns"));
    bytes[0] = bytes[1] = '"';
    assert_non_null(strstr(all_of(bytes, 70001, ",", "\""), "more than 65536 columns"));
    free(bytes);
}

/* Windows move: long random records, some quoted, must come out as they went in wherever a chunk ends. */
static void windows(void **state)
{
    enum { RECORDS = 3000 };
    static char *want[RECORDS];
    size_t used = 0, cap = 64 << 20;
    char *bytes = malloc(cap);
    struct rng rng = {3, 0};
    struct reader_text *r;
    struct text_record rec;
    (void)state;
    for (int i = 0; i < RECORDS; i++) {
        size_t n = (size_t)rng_below(&rng, i % 100 == 0 ? 200000 : 2000);
        bool quoted = rng_below(&rng, 2);
        want[i] = malloc(n + 1);
        if (quoted)
            bytes[used++] = '"';
        for (size_t j = 0; j < n; j++) {
            static const char letters[] = "abcdef \n\",";
            char c = letters[rng_below(&rng, quoted ? 10 : 7)];
            want[i][j] = c;
            if (c == '"')
                bytes[used++] = c;
            bytes[used++] = c;
        }
        want[i][n] = 0;
        if (quoted)
            bytes[used++] = '"';
        used += (size_t)sprintf(bytes + used, ",%d\n", i);
    }
    const char *path = case_write("window.txt", bytes, used);
    assert_int_equal(reader_text_open(path, 1 << 30, ",", "\"", &r, &err), ST_OK);
    for (int i = 0; i < RECORDS; i++) {
        assert_int_equal(reader_text_next(r, &rec, &err), ST_OK);
        assert_null(rec.fault);
        assert_int_equal(rec.cells_used, 2);
        assert_int_equal(rec.cell[0].n, strlen(want[i]));
        assert_memory_equal(rec.cell[0].at, want[i], rec.cell[0].n);
        assert_memory_equal(bytes + rec.offset, rec.raw, rec.raw_n);
        free(want[i]);
    }
    assert_int_equal(reader_text_next(r, &rec, &err), ST_END);
    reader_text_close(r);
    free(bytes);
}

static void wrong_calls(void **state)
{
    struct reader_text *r;
    const char *path = case_text("x.txt", "a\n");
    (void)state;
    assert_int_equal(reader_text_open(path, 100, "", "\"", &r, &err), ST_USAGE);
    assert_int_equal(reader_text_open(path, 100, ",", "''", &r, &err), ST_USAGE);
    assert_int_not_equal(reader_text_open("/no/such", 100, ",", "", &r, &err), ST_OK);
    assert_non_null(strstr(err.text, "/no/such"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),           cmocka_unit_test(line_ends),
        cmocka_unit_test(byte_order_mark), cmocka_unit_test(delimiters),
        cmocka_unit_test(quotes),          cmocka_unit_test(broken_quotes),
        cmocka_unit_test(nul_bytes),       cmocka_unit_test(long_lines),
        cmocka_unit_test(many_columns),    cmocka_unit_test(windows),
        cmocka_unit_test(wrong_calls),
    };
    return cmocka_run_group_tests(tests, NULL, case_cleanup);
}
