/* schema.c - see schema.h. A schema is filled field by field, from a job or from bytes, and then
 * finished: slots, vocabularies and all checks are one piece of code for both.
 */
#include "common/feature/schema.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

#define TEXT_MAX 65535u

bool schema_is_id(int type)
{
    return type == FIELD_ID || type == FIELD_IDS || type == FIELD_USER || type == FIELD_ITEM ||
           type == FIELD_HISTORY;
}

const char *schema_type_name(int type)
{
    switch (type) {
    case FIELD_ID: return "id";
    case FIELD_IDS: return "ids";
    case FIELD_FLOAT: return "float";
    case FIELD_TIME: return "time";
    case FIELD_LABEL: return "label";
    case FIELD_USER: return "user";
    case FIELD_ITEM: return "item";
    case FIELD_SKIP: return "skip";
    case FIELD_HISTORY: return "history";
    default: return "?";
    }
}

bool schema_missing(const struct schema *s, const char *cell, size_t n)
{
    if (n > s->missing_max)
        return false;
    for (size_t i = 0; i < s->missing_used; i++)
        if (s->missing_n[i] == n && memcmp(s->missing[i], cell, n) == 0)
            return true;
    return false;
}

static void set_missing(struct schema *s, char *const *item, size_t used)
{
    s->missing = mem_array(used + 1, sizeof *s->missing);
    s->missing_n = mem_array(used + 1, sizeof *s->missing_n);
    for (size_t i = 0; i < used; i++) {
        s->missing[i] = mem_strdup(item[i]);
        s->missing_n[i] = strlen(item[i]);
        if (s->missing_n[i] > s->missing_max)
            s->missing_max = s->missing_n[i];
    }
    s->missing_used = used;
}

/* ---- finishing ---------------------------------------------------------------------------------- */

static enum status join_vocab(struct schema *s, struct schema_field *f, const char *vocab,
                              struct errbuf *err)
{
    for (size_t v = 0; v < s->vocabs_used; v++) {
        if (strcmp(s->vocab[v], vocab) != 0)
            continue;
        for (struct schema_field *g = s->field; g < f; g++)
            if (g->vocab == v && (g->hash != f->hash || g->min_count != f->min_count))
                return errbuf_set(
                    err, ST_USAGE,
                    "data.fields: %s and %s share the vocab %s, so hash and min_count "
                    "must be the same in both",
                    g->name, f->name, vocab);
        f->vocab = v;
        return ST_OK;
    }
    f->vocab = s->vocabs_used;
    s->vocab[s->vocabs_used++] = mem_strdup(vocab);
    return ST_OK;
}

static enum status place_field(struct schema *s, size_t at, const char *vocab, struct errbuf *err)
{
    struct schema_field *f = &s->field[at];
    f->vocab = SCHEMA_NONE;
    f->slot = SCHEMA_NONE;
    if (schema_is_id(f->type)) {
        f->slot = s->ids_used;
        s->ids[s->ids_used++] = at;
        s->ragged |= f->type == FIELD_IDS;
        if (f->type == FIELD_USER && s->user == SCHEMA_NONE)
            s->user = at;
        if (f->type == FIELD_ITEM && s->item == SCHEMA_NONE)
            s->item = at;
        return join_vocab(s, f, vocab, err);
    }
    if (f->type == FIELD_LABEL) {
        if (s->labels_used == JOB_TASKS_MAX)
            return errbuf_set(err, ST_USAGE, "data.fields: more than %u of type label",
                              JOB_TASKS_MAX);
        s->label = s->labels_used == 0 ? at : s->label;
        f->slot = s->labels_used++;
    } else if (f->type == FIELD_TIME) {
        if (s->time != SCHEMA_NONE)
            return errbuf_set(err, ST_USAGE,
                              "data.fields: %s and %s are both of type time; one is allowed",
                              s->field[s->time].name, f->name);
        s->time = at;
    } else {
        f->slot = s->floats_used;
        s->floats[s->floats_used++] = at;
    }
    return ST_OK;
}

/* vocab: one name a field (used for id kinds). */
static enum status finish(struct schema *s, char *const *vocab, struct errbuf *err)
{
    s->ids = mem_array(s->fields_used + 1, sizeof *s->ids);
    s->floats = mem_array(s->fields_used + 1, sizeof *s->floats);
    s->vocab = mem_array(s->fields_used + 1, sizeof *s->vocab);
    s->label = s->time = s->user = s->item = SCHEMA_NONE;
    for (size_t i = 0; i < s->fields_used; i++) {
        for (size_t j = 0; j < i; j++)
            if (strcmp(s->field[i].name, s->field[j].name) == 0)
                return errbuf_set(err, ST_USAGE, "data.fields: the name %s is used twice",
                                  s->field[i].name);
        enum status st = place_field(s, i, vocab[i], err);
        if (st != ST_OK)
            return st;
    }
    if (s->label == SCHEMA_NONE && !s->sequences)
        return errbuf_set(err, ST_USAGE, "data.fields: no field of type label");
    if (s->ids_used + s->floats_used == 0)
        return errbuf_set(err, ST_USAGE, "data.fields: no field that a model could learn from");
    return ST_OK;
}

/* ---- from a job --------------------------------------------------------------------------------- */

static const char *text_or(const char *text, const char *or_else)
{
    return text != NULL && text[0] != 0 ? text : or_else;
}

static void copy_field(struct schema_field *f, const struct job_field *j, const char *column)
{
    f->name = mem_strdup(j->name);
    f->column = mem_strdup(column);
    f->type = j->type;
    f->sep = mem_strdup(text_or(j->sep, "|"));
    f->hash = j->hash;
    f->min_count = j->min_count;
    f->ids_max = j->ids_max > 0 ? j->ids_max : UINT64_MAX;
    f->norm = j->norm;
}

/* A libsvm log has a label and one bag. A field of type ids in the job, if there is one, gives the bag's
 * name, hash, min_count and vocab. Its length has no bound but that of a line: the ids are all there is. */
static void take_libsvm(struct schema *s, const struct job *job, char **vocab)
{
    struct job_field label = {.name = (char *)"label", .type = FIELD_LABEL};
    struct job_field bag = {.name = (char *)SCHEMA_LIBSVM_FIELD, .type = FIELD_IDS};
    for (size_t i = 0; i < job->data.fields_used; i++)
        if (job->data.fields[i].type == FIELD_IDS)
            bag = job->data.fields[i];
    bag.ids_max = 0;
    s->libsvm = s->weighted = true;
    copy_field(&s->field[0], &label, "0");
    copy_field(&s->field[1], &bag, "1");
    vocab[0] = mem_strdup("");
    vocab[1] = mem_strdup(text_or(bag.vocab, bag.name));
    s->fields_used = 2;
}

/* The field that a history is of; NULL: there is none. */
static const struct job_field *source_of(const struct job *job, const struct job_field *history)
{
    for (size_t i = 0; i < job->data.fields_used; i++)
        if (strcmp(job->data.fields[i].name, text_or(history->of, "")) == 0)
            return &job->data.fields[i];
    return NULL;
}

/* To a model it is a bag that shares the rows of the field it is of. */
static char *take_history(struct schema_field *f, const struct job *job, const struct job_field *j)
{
    const struct job_field *of = source_of(job, j);
    f->type = FIELD_IDS;
    f->ids_max = j->max;
    if (of == NULL)
        return mem_strdup(j->name); /* schema_derive refuses it */
    f->hash = of->hash;
    f->min_count = of->min_count;
    return mem_strdup(text_or(of->vocab, of->name));
}

static void take_fields(struct schema *s, const struct job *job, char **vocab)
{
    for (size_t i = 0; i < job->data.fields_used; i++) {
        const struct job_field *j = &job->data.fields[i];
        char number[24];
        if (j->type == FIELD_SKIP)
            continue;
        snprintf(number, sizeof number, "%zu", i);
        copy_field(&s->field[s->fields_used], j,
                   text_or(j->column, job->data.header ? j->name : number));
        vocab[s->fields_used] = j->type == FIELD_HISTORY
                                    ? take_history(&s->field[s->fields_used], job, j)
                                    : mem_strdup(text_or(j->vocab, j->name));
        s->fields_used++;
    }
    s->weighted = job->data.format == JOB_LIBFFM;
}

/* The bags of a sequence: those of the item, whose column is what a server will be asked with. */
static void take_sequences(struct schema *s, const struct job *job, char **vocab)
{
    static const char *const NAMES[SCHEMA_SEQUENCE_FIELDS] = {"history", "target", "earlier"};
    struct job_field item = {.name = (char *)"item"};
    for (size_t i = 0; i < job->data.fields_used; i++)
        if (job->data.fields[i].type == FIELD_ITEM)
            item = job->data.fields[i];
    const char *shared = text_or(item.vocab, item.name);
    item.type = FIELD_IDS;
    for (size_t f = 0; f < SCHEMA_SEQUENCE_FIELDS; f++) {
        item.ids_max = f == 0 ? job->data.sequence.max : f == 1;
        copy_field(&s->field[f], &item, text_or(item.column, item.name));
        free(s->field[f].name);
        s->field[f].name = mem_strdup(NAMES[f]);
        vocab[f] = mem_strdup(shared);
    }
    s->sequences = true;
    s->fields_used = SCHEMA_SEQUENCE_FIELDS;
}

static void free_texts(char **texts, size_t n)
{
    for (size_t i = 0; texts != NULL && i < n; i++)
        free(texts[i]);
    free(texts);
}

static size_t find_name(const struct schema *s, const char *name)
{
    for (size_t i = 0; i < s->fields_used; i++)
        if (strcmp(s->field[i].name, name) == 0)
            return i;
    return SCHEMA_NONE;
}

enum status schema_derive(struct schema *s, const struct job *job, struct errbuf *err)
{
    for (size_t i = 0; i < job->data.fields_used; i++) {
        const struct job_field *j = &job->data.fields[i];
        size_t at = find_name(s, j->name);
        if (j->type != FIELD_HISTORY || at == SCHEMA_NONE || s->libsvm)
            continue;
        size_t of = find_name(s, text_or(j->of, ""));
        if (of == SCHEMA_NONE ||
            (s->field[of].type != FIELD_ID && s->field[of].type != FIELD_ITEM && of != s->label))
            return errbuf_set(err, ST_USAGE,
                              "data.fields: %s: of: \"%s\" is no field of type id, item or label "
                              "(of several the first)",
                              j->name, text_or(j->of, ""));
        if (s->user == SCHEMA_NONE || s->time == SCHEMA_NONE)
            return errbuf_set(err, ST_USAGE,
                              "data.fields: %s is a history, which needs a field of type user and "
                              "one of type time",
                              j->name);
        s->field[at].derived = true;
        s->field[at].positive = j->when == WHEN_POSITIVE;
        s->field[at].of = of;
    }
    return ST_OK;
}

bool schema_derives(const struct schema *s)
{
    for (size_t i = 0; i < s->fields_used; i++)
        if (s->field[i].derived)
            return true;
    return false;
}

/* take: fills fields and vocabularies. */
static enum status init(struct schema *out, const struct job *job,
                        void (*take)(struct schema *s, const struct job *job, char **vocab),
                        struct errbuf *err)
{
    struct schema s;
    size_t n = job->data.fields_used + SCHEMA_SEQUENCE_FIELDS;
    memset(&s, 0, sizeof s);
    if (n > SCHEMA_FIELDS_MAX)
        return errbuf_set(err, ST_USAGE, "data.fields: more than %u fields", SCHEMA_FIELDS_MAX);
    s.field = mem_array(n, sizeof *s.field);
    char **vocab = mem_array(n, sizeof *vocab);
    take(&s, job, vocab);
    set_missing(&s, job->data.missing.item, job->data.missing.used);
    s.label_above = job->data.label_above;
    enum status st = finish(&s, vocab, err);
    if (st == ST_OK)
        st = schema_derive(&s, job, err);
    free_texts(vocab, n);
    if (st == ST_OK)
        *out = s;
    else
        schema_release(&s);
    return st;
}

enum status schema_init(struct schema *out, const struct job *job, struct errbuf *err)
{
    if (job->data.records != JOB_SEQUENCES)
        return init(out, job, job->data.format == JOB_LIBSVM ? take_libsvm : take_fields, err);
    struct schema events;
    enum status st = schema_init_events(&events, job, err);
    if (st != ST_OK)
        return st;
    schema_release(&events);
    return init(out, job, take_sequences, err);
}

/* A user is known by all of the id, however many rows a model would give it. */
static void take_events(struct schema *s, const struct job *job, char **vocab)
{
    take_fields(s, job, vocab);
    s->weighted = false;
    s->sequences = true;
    for (size_t i = 0; i < s->fields_used; i++)
        if (s->field[i].type == FIELD_USER)
            s->field[i].hash = s->field[i].min_count = 0;
}

enum status schema_init_events(struct schema *out, const struct job *job, struct errbuf *err)
{
    size_t users = 0, items = 0;
    for (size_t i = 0; i < job->data.fields_used; i++) {
        const struct job_field *f = &job->data.fields[i];
        users += f->type == FIELD_USER;
        items += f->type == FIELD_ITEM;
        if (f->type != FIELD_USER && f->type != FIELD_ITEM && f->type != FIELD_TIME &&
            f->type != FIELD_SKIP)
            return errbuf_set(err, ST_USAGE,
                              "data.fields: %s: with data.records=sequences a field is of type "
                              "user, item, time or skip, not %s",
                              f->name, schema_type_name(f->type));
    }
    if (users != 1 || items != 1)
        return errbuf_set(err, ST_USAGE,
                          "data.fields: data.records=sequences needs one field of type user and "
                          "one of type item (there are %zu and %zu)",
                          users, items);
    return init(out, job, take_events, err);
}

void schema_release(struct schema *s)
{
    for (size_t i = 0; i < s->fields_used; i++) {
        free(s->field[i].name);
        free(s->field[i].column);
        free(s->field[i].sep);
    }
    free_texts(s->vocab, s->vocabs_used);
    free_texts(s->missing, s->missing_used);
    free(s->missing_n);
    free(s->field);
    free(s->ids);
    free(s->floats);
    memset(s, 0, sizeof *s);
}

/* ---- bytes -------------------------------------------------------------------------------------- */

static void put_text(struct buffer *out, const char *text)
{
    size_t n = strlen(text);
    buffer_u16(out, (uint16_t)(n < TEXT_MAX ? n : TEXT_MAX));
    buffer_put(out, text, n < TEXT_MAX ? n : TEXT_MAX);
}

void schema_write(const struct schema *s, struct buffer *out)
{
    buffer_u8(out, s->sequences ? 3 : s->libsvm ? 1 : s->weighted ? 2 : 0);
    buffer_f64(out, s->label_above);
    buffer_u32(out, (uint32_t)s->missing_used);
    for (size_t i = 0; i < s->missing_used; i++)
        put_text(out, s->missing[i]);
    buffer_u32(out, (uint32_t)s->fields_used);
    for (size_t i = 0; i < s->fields_used; i++) {
        const struct schema_field *f = &s->field[i];
        put_text(out, f->name);
        put_text(out, f->column);
        put_text(out, f->sep);
        put_text(out, f->vocab == SCHEMA_NONE ? "" : s->vocab[f->vocab]);
        buffer_u8(out, (uint8_t)f->type);
        buffer_u8(out, (uint8_t)f->norm);
        buffer_u64(out, f->hash);
        buffer_u64(out, f->min_count);
        buffer_u64(out, f->ids_max);
    }
}

static char *get_text(struct reader *in)
{
    size_t n = reader_u16(in);
    const uint8_t *at = reader_view(in, n);
    char *text = mem_zalloc((at != NULL ? n : 0) + 1);
    if (at != NULL)
        memcpy(text, at, n);
    return text;
}

static void get_field(struct schema_field *f, char **vocab, struct reader *in)
{
    f->name = get_text(in);
    f->column = get_text(in);
    f->sep = get_text(in);
    *vocab = get_text(in);
    f->type = reader_u8(in);
    f->norm = reader_u8(in);
    f->hash = reader_u64(in);
    f->min_count = reader_u64(in);
    f->ids_max = reader_u64(in);
    if (f->type >= FIELD_SKIP || f->norm > NORM_MINMAX || f->sep[0] == 0)
        in->bad = true;
}

/* A count from bytes: every item takes at least one byte, so it can't ask for more memory than given. */
static size_t get_count(struct reader *in, size_t max)
{
    size_t n = reader_u32(in);
    if (n > max || n > reader_left(in))
        in->bad = true;
    return in->bad ? 0 : n;
}

enum status schema_read(struct schema *out, struct reader *in, struct errbuf *err)
{
    struct schema s;
    memset(&s, 0, sizeof s);
    unsigned kind = reader_u8(in);
    s.libsvm = kind == 1;
    s.weighted = kind == 1 || kind == 2;
    s.sequences = kind == 3;
    in->bad |= kind > 3;
    s.label_above = reader_f64(in);
    size_t missing = get_count(in, SCHEMA_FIELDS_MAX);
    char **texts = mem_array(missing + 1, sizeof *texts);
    for (size_t i = 0; i < missing; i++)
        texts[i] = get_text(in);
    set_missing(&s, texts, missing);
    free_texts(texts, missing);
    size_t n = get_count(in, SCHEMA_FIELDS_MAX);
    char **vocab = mem_array(n + 1, sizeof *vocab);
    s.field = mem_array(n + 1, sizeof *s.field);
    for (; s.fields_used < n; s.fields_used++)
        get_field(&s.field[s.fields_used], &vocab[s.fields_used], in);
    bool fits = !in->bad && isfinite(s.label_above);
    enum status st =
        fits ? finish(&s, vocab, err) : errbuf_set(err, ST_BAD_DATA, "the schema is damaged");
    free_texts(vocab, n);
    if (st == ST_OK)
        *out = s;
    else
        schema_release(&s);
    return st == ST_OK ? ST_OK : ST_BAD_DATA;
}

/* A record holds items alone; whose they are and in which order is in the log. */
static void put_sequences(struct buffer *b, const struct job *job)
{
    for (size_t i = 0; i < job->data.fields_used; i++) {
        const struct job_field *f = &job->data.fields[i];
        if (f->type == FIELD_SKIP)
            continue;
        buffer_u8(b, (uint8_t)f->type);
        put_text(b, text_or(f->column, f->name));
    }
    buffer_u64(b, job->data.sequence.max);
    buffer_u64(b, job->data.sequence.min);
}

static void put_texts(struct buffer *b, const struct texts *list)
{
    buffer_u32(b, (uint32_t)list->used);
    for (size_t i = 0; i < list->used; i++)
        put_text(b, list->item[i]);
}

/* Which file it is, is told by the list of sources. */
static void put_join(struct buffer *b, const struct job_join *j)
{
    put_text(b, j->on);
    put_text(b, j->key);
    put_text(b, j->delimiter);
    put_texts(b, &j->fields);
    put_texts(b, &j->columns);
}

uint64_t schema_hash(const struct schema *s, const struct job *job)
{
    struct buffer b = BUFFER_INIT;
    schema_write(s, &b);
    buffer_u32(&b, (uint32_t)job->data.format);
    if (!s->libsvm) {
        put_text(&b, text_or(job->data.delimiter, ""));
        buffer_u8(&b, job->data.header);
        put_text(&b, text_or(job->data.quote, ""));
    }
    buffer_u32(&b, (uint32_t)job->data.split.by);
    if (job->data.split.by != JOB_SPLIT_FILES) {
        buffer_f64(&b, job->data.split.valid);
        buffer_f64(&b, job->data.split.test);
        buffer_u64(&b, job->data.split.seed);
    }
    if (job->data.split.by == JOB_SPLIT_FOLD) {
        buffer_u64(&b, job->data.split.folds);
        buffer_u64(&b, job->data.split.fold);
    }
    if (job->data.split.by == JOB_SPLIT_WINDOW) /* what the encoder is fitted on */
        buffer_u64(&b, job->data.split.window);
    buffer_u8(&b, job->data.slot_last);
    put_text(&b, text_or(job->data.query, ""));
    for (size_t i = 0; i < job->data.joins_used; i++)
        put_join(&b, &job->data.join[i]);
    if (s->sequences)
        put_sequences(&b, job);
    for (size_t i = 0; i < s->fields_used; i++) {
        if (!s->field[i].derived)
            continue;
        buffer_u64(&b, i);
        buffer_u64(&b, s->field[i].of);
        buffer_u8(&b, s->field[i].positive);
    }
    uint64_t h = hash_bytes(b.data, b.used, 0);
    buffer_release(&b);
    return h;
}
