/* inspect_text.c - what inspect.c guessed, for people and as a job; see inspect.h. */
#include <string.h>

#include "common/base/job.h"
#include "common/base/utf8.h"
#include "common/data/inspect.h"
#include "common/feature/schema.h"

/* Text in double quotes as YAML reads it. */
static void put_quoted(struct buffer *out, const char *text)
{
    buffer_u8(out, '"');
    for (const unsigned char *p = (const unsigned char *)text; *p != 0; p++) {
        if (*p == '\t')
            buffer_printf(out, "\\t");
        else if (*p < 0x20 || *p == 0x7f)
            buffer_printf(out, "\\x%02x", *p);
        else if (*p == '"' || *p == '\\')
            buffer_printf(out, "\\%c", *p);
        else
            buffer_u8(out, *p);
    }
    buffer_u8(out, '"');
}

static void put_column(const struct inspect_column *c, uint64_t rows, struct buffer *out)
{
    const char *name = schema_type_name(c->type);
    buffer_printf(out, "  %-24.24s %-6s %9llu %7.1f%%  ", c->name, name,
                  (unsigned long long)c->distinct, 100 * (double)c->missing / (double)rows);
    for (size_t i = 0; i < c->examples_used; i++)
        buffer_printf(out, "%s%.20s", i > 0 ? ", " : "", c->example[i]);
    if (c->why[0] != 0)
        buffer_printf(out, "%s(%s)", c->examples_used > 0 ? "  " : "", c->why);
    buffer_printf(out, "\n");
}

const char *inspect_format_name(int format)
{
    static const char *const NAMES[] = {"delimited", "libsvm", "criteo",   "recbole", "libffm",
                                        "slots",     "json",   "tfrecord", "parquet", "query"};
    return NAMES[format];
}

static void put_text(const struct inspect *in, struct buffer *out)
{
    buffer_printf(out, "%s: ", in->path);
    if (in->format == JOB_PARQUET) {
        buffer_printf(out, "Parquet");
    } else if (in->format != JOB_DELIMITED) {
        buffer_printf(out, "%s%s", inspect_format_name(in->format),
                      in->slot_last ? ", the slot behind the value" : "");
    } else {
        buffer_printf(out, "delimited by ");
        put_quoted(out, in->delimiter);
        buffer_printf(out, in->header ? ", with a header" : ", no header");
    }
    if (in->note != NULL) {
        buffer_printf(out, "; no row was looked at: %s\n", in->note);
        return;
    }
    buffer_printf(out, "; %s %llu rows%s", in->whole ? "all" : "the first",
                  (unsigned long long)in->rows, in->whole ? "" : " looked at");
    if (in->bad > 0)
        buffer_printf(out, ", %llu bad lines (%llu with another number of columns)",
                      (unsigned long long)in->bad, (unsigned long long)in->columns_other);
    buffer_printf(out, "\n");
    if (in->libsvm) {
        buffer_printf(out, "  ids %llu to %llu, %.1f a row; %.1f%% of the labels above .5\n",
                      (unsigned long long)in->id_min, (unsigned long long)in->id_max,
                      (double)in->ids / (double)in->rows,
                      100 * (double)in->positives / (double)in->rows);
        return;
    }
    buffer_printf(out, "\n  %-24s %-6s %9s %8s  %s\n", "column", "type", "distinct", "missing",
                  "examples");
    for (size_t c = 0; c < in->columns_used; c++)
        put_column(&in->column[c], in->rows, out);
}

/* Who did what, and not how it went: a log of histories. The columns of user, item and time; false: it is none. */
static bool histories(const struct inspect *in, const struct inspect_column **out_user,
                      const struct inspect_column **out_item)
{
    size_t users = 0, items = 0, labels = 0;
    for (size_t c = 0; c < in->columns_used; c++) {
        const struct inspect_column *column = &in->column[c];
        labels += column->type == FIELD_LABEL;
        users += column->type == FIELD_USER;
        items += column->type == FIELD_ITEM;
        *out_user = column->type == FIELD_USER ? column : *out_user;
        *out_item = column->type == FIELD_ITEM ? column : *out_item;
    }
    return labels == 0 && users == 1 && items == 1;
}

static void put_histories(const struct inspect *in, struct buffer *out)
{
    const struct inspect_column *user = NULL, *item = NULL;
    if (in->rows > 0 && histories(in, &user, &item) && user->distinct > 0)
        buffer_printf(
            out,
            "\n  no label: histories, of which the next item can be learned; %llu events of "
            "%llu users (%.1f each) and %llu items here\n",
            (unsigned long long)in->rows, (unsigned long long)user->distinct,
            (double)in->rows / (double)user->distinct, (unsigned long long)item->distinct);
}

void inspect_text(const struct inspect *in, struct buffer *out)
{
    size_t begin = out->used;
    put_text(in, out);
    put_histories(in, out);
    (void)buffer_text(out);                     /* ends it with a 0 */
    utf8_tame((char *)out->data + begin, '\n'); /* names and examples are foreign bytes */
}

/* The names of fields are unique and UTF-8; those of columns need not be, and one without a name (an index that
 * pandas wrote) was called c<number>. */
static bool needs_number(const struct inspect *in, size_t at)
{
    char made[24];
    snprintf(made, sizeof made, "c%zu", at);
    for (size_t c = 0; c < in->columns_used; c++)
        if (c != at && strcmp(in->column[c].name, in->column[at].name) == 0)
            return true;
    return (in->header && strcmp(in->column[at].name, made) == 0) || in->column[at].name[0] == 0 ||
           !utf8_valid(in->column[at].name);
}

static void put_name(const struct inspect_column *c, size_t i, struct buffer *out)
{
    struct buffer text = BUFFER_INIT;
    buffer_printf(&text, "%s[%zu]", c->name, i);
    put_quoted(out, buffer_text(&text));
    buffer_release(&text);
}

static void put_field(const struct inspect *in, size_t at, bool sequences, struct buffer *out)
{
    const struct inspect_column *c = &in->column[at];
    if (sequences && c->type != FIELD_USER && c->type != FIELD_ITEM && c->type != FIELD_TIME)
        return;
    buffer_printf(out, "    - {name: ");
    if (c->type == FIELD_FLOAT && c->lists > 0) { /* a float each */
        put_name(c, 0, out);
        for (size_t i = 0; i < c->most; i++) {
            if (i > 0) {
                buffer_printf(out, "    - {name: ");
                put_name(c, i, out);
            }
            buffer_printf(out, ", type: float}\n");
        }
        return;
    }
    if (in->format < JOB_LIBFFM && needs_number(in, at))
        buffer_printf(out, "c%zu, column: %zu", at, at);
    else
        put_quoted(out, c->name);
    buffer_printf(out, ", type: %s", schema_type_name(c->type));
    if (c->type == FIELD_IDS && c->lists == 0)
        buffer_printf(out, ", sep: \"%c\"", c->sep);
    if (c->type == FIELD_FLOAT && (c->max > 10 || c->min < -10))
        buffer_printf(out, ", norm: log");
    buffer_printf(out, "}%s%s\n", c->why[0] != 0 ? "  # " : "", c->why);
}

void inspect_job(const struct inspect *in, struct buffer *out)
{
    const struct inspect_column *user = NULL, *item = NULL;
    bool label = in->libsvm, rating = false, sequences = histories(in, &user, &item);
    for (size_t c = 0; c < in->columns_used; c++)
        if (in->column[c].type == FIELD_LABEL) {
            label = true;
            rating = in->column[c].max > 1;
        }
    buffer_printf(out,
                  "# A guess from the first rows; check the types, then: penstock train FILE.yaml\n"
                  "data:\n  train: ");
    put_quoted(out, in->path);
    buffer_printf(
        out, sequences ? "\n  records: sequences  # each user's last event is test, the last but "
                         "one valid\n"
                       : "\n  split: {by: ratio, valid: .1, test: .1}  # or data.valid, "
                         "data.test\n");
    if (in->format != JOB_DELIMITED)
        buffer_printf(out, "  format: %s\n", inspect_format_name(in->format));
    if (in->slot_last)
        buffer_printf(out, "  slot_last: true\n");
    if (in->note != NULL)
        buffer_printf(out, "  # the columns can't be seen without DuckDB's library\n");
    if (in->format != JOB_LIBSVM && in->format != JOB_CRITEO) {
        if (in->format == JOB_DELIMITED && strcmp(in->delimiter, ",") != 0) {
            buffer_printf(out, "  delimiter: ");
            put_quoted(out, in->delimiter);
            buffer_printf(out, "\n");
        }
        if (in->format == JOB_DELIMITED && !in->header)
            buffer_printf(out, "  header: false\n");
        if (rating)
            buffer_printf(out, "  label_above: 3.5\n");
        buffer_printf(out, "  fields:\n");
        for (size_t c = 0; c < in->columns_used; c++)
            put_field(in, c, sequences, out);
        if (!label && !sequences)
            buffer_printf(out, "    # no column looks like a label: give one the type label\n");
    }
    if (sequences)
        buffer_printf(out, "model: {family: sasrec, embedding: 64, embedding_init: .02}\n"
                           "train: {epochs: 20, batch: 128}\n");
    else
        buffer_printf(out, "model: {family: %s}\ntrain: {epochs: 3}\n",
                      in->libsvm ? "lr" : "dcnv2");
}
