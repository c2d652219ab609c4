/* inspect_column.c - see inspect_column.h. */
#include "common/data/inspect_column.h"

#include <ctype.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/job.h"
#include "common/feature/encode.h"
#include "common/feature/number.h"

static const char SEPS[4] = {'|', '^', ';', ' '};
static const char *const MISSING[] = {"", "NA", "null", "NULL", "nan", "\\N"};

bool inspect_missing(const char *cell, size_t n)
{
    for (size_t i = 0; i < sizeof MISSING / sizeof MISSING[0]; i++)
        if (strlen(MISSING[i]) == n && memcmp(MISSING[i], cell, n) == 0)
            return true;
    return false;
}

static void add_example(struct inspect_column *c, const char *cell, size_t n)
{
    char text[sizeof c->example[0]];
    size_t used = n < sizeof text - 1 ? n : sizeof text - 1;
    for (size_t i = 0; i < used; i++)
        text[i] = (unsigned char)cell[i] >= 0x20 && cell[i] != 0x7f ? cell[i] : '?';
    text[used] = 0;
    for (size_t i = 0; i < c->examples_used; i++)
        if (strcmp(c->example[i], text) == 0)
            return;
    if (c->examples_used < INSPECT_EXAMPLES)
        memcpy(c->example[c->examples_used++], text, sizeof text);
}

enum status inspect_add(struct inspect_column *c, struct keyset *distinct, const char *cell,
                        size_t n, struct errbuf *err)
{
    double v;
    int64_t time;
    uint64_t whole;
    encoder_trim(&cell, &n);
    if (inspect_missing(cell, n)) {
        c->missing++;
        return ST_OK;
    }
    if (number_parse(cell, n, &v) == NULL) {
        if (c->numbers++ == 0)
            c->min = c->max = v;
        c->min = v < c->min ? v : c->min;
        c->max = v > c->max ? v : c->max;
        size_t sign = cell[0] == '-' || cell[0] == '+';
        c->integers += number_parse_u64(cell + sign, n - sign, &whole);
    } else if (number_parse_time(cell, n, &time) == NULL) {
        c->dates++;
    }
    for (size_t i = 0; i < sizeof SEPS; i++)
        c->with_sep[i] += memchr(cell, SEPS[i], n) != NULL;
    add_example(c, cell, n);
    return keyset_add(distinct, hash_bytes(cell, n, 0), err);
}

/* Lower case, letters and digits only: "User_ID" and "userid" are one name. */
static void plain_name(const char *name, char out[64])
{
    size_t n = 0;
    for (; *name != 0 && n < 63; name++)
        if (isalnum((unsigned char)*name))
            out[n++] = (char)tolower((unsigned char)*name);
    out[n] = 0;
}

static bool named(const struct inspect_column *c, const char *words)
{
    char name[64];
    plain_name(c->name, name);
    size_t n = strlen(name);
    for (const char *w = words; *w != 0;) {
        size_t len = strcspn(w, " ");
        if (len == n && memcmp(w, name, n) == 0)
            return true;
        w += len + (w[len] == ' ');
    }
    return false;
}

static bool zero_one(const struct inspect_column *c)
{
    return c->integers > 0 && c->integers == c->numbers && c->min >= -1 && c->max == 1 &&
           c->distinct == 2;
}

static bool one_to_five(const struct inspect_column *c)
{
    return c->integers == c->numbers && c->min == 1 && c->max == 5 && c->distinct == 5;
}

/* Whole seconds between 1985 and 2049. */
static bool unix_seconds(const struct inspect_column *c)
{
    return c->integers == c->numbers && c->min > 4.7e8 && c->max < 2.5e9;
}

/* By name first, then by the cells; labels are chosen once all columns are known. */
void inspect_type(struct inspect_column *c, uint64_t rows, bool header)
{
    uint64_t filled = rows - c->missing;
    c->type = FIELD_ID;
    c->why = "";
    for (size_t i = 0; i < sizeof SEPS - 1; i++)
        if (c->with_sep[i] * 5 >= filled && filled > 0 && c->dates == 0) {
            c->type = FIELD_IDS;
            c->sep = SEPS[i];
            return;
        }
    bool numeric = filled > 0 && c->numbers == filled;
    bool timely = named(c, "time timestamp ts date datetime eventtime eventdate invoicedate "
                           "timeunix unixtime");
    timely |= !header && numeric && unix_seconds(c);
    if (filled > 0 && (c->dates == filled || (numeric && timely && c->min >= 1e8)))
        c->type = FIELD_TIME;
    else if (named(c, "user userid uid visitorid customerid reviewerid memberid"))
        c->type = FIELD_USER;
    else if (named(c, "item itemid iid movieid adid adgroupid productid asin stockcode goodsid"))
        c->type = FIELD_ITEM;
    else if (numeric && c->integers < c->numbers)
        c->type = FIELD_FLOAT;
    else if (numeric && c->distinct > 20 && named(c, "price cost amount quantity age duration"))
        c->type = FIELD_FLOAT;
    else if (filled == 0 || (c->distinct == rows && rows >= 100))
        c->type = FIELD_SKIP;
    if (c->type == FIELD_SKIP)
        c->why = filled == 0 ? "always missing" : "another value in every line";
}

void inspect_label(struct inspect *in)
{
    static const char *const WORDS[] = {"label click clk isclick clicked y target", "rating stars",
                                        "conversion purchase buy like"};
    struct inspect_column *label = NULL;
    for (size_t w = 0; label == NULL && w < 3; w++)
        for (size_t i = 0; label == NULL && i < in->columns_used; i++)
            if (named(&in->column[i], WORDS[w]) && in->column[i].numbers > 0 &&
                in->column[i].lists == 0)
                label = &in->column[i];
    for (size_t i = 0; label == NULL && i < in->columns_used; i++)
        if (in->column[i].lists == 0 &&
            (zero_one(&in->column[i]) || (!in->header && one_to_five(&in->column[i]))))
            label = &in->column[i];
    /* Two numbers a line and nothing else: who and what. */
    bool pair = label == NULL && !in->header && in->columns_used == 2 &&
                in->column[0].type == FIELD_ID && in->column[1].type == FIELD_ID &&
                in->column[0].integers == in->rows && in->column[1].integers == in->rows;
    if (pair) {
        in->column[0].type = FIELD_USER;
        in->column[1].type = FIELD_ITEM;
        in->column[0].why = in->column[1].why = "one of two ids";
    }
    if (label == NULL)
        return;
    label->type = FIELD_LABEL;
    label->why = label->max > 1 ? "positive above data.label_above" : "";
    for (size_t i = 0; i < in->columns_used; i++)
        if (&in->column[i] != label && zero_one(&in->column[i]) &&
            named(&in->column[i], "click clk cart addtocart buy purchase conversion like order")) {
            in->column[i].type = FIELD_SKIP;
            in->column[i].why = "an outcome: it would give the label away";
        }
    /* One of each: the first stays. */
    for (int type = FIELD_TIME; type <= FIELD_ITEM; type++)
        for (size_t i = 0, n = 0; type != FIELD_LABEL && i < in->columns_used; i++)
            if (in->column[i].type == type && n++ > 0)
                in->column[i].type = type == FIELD_TIME ? FIELD_SKIP : FIELD_ID;
}
