/* columns.c - see columns.h. Names are sorted once; values of a column are a list threaded through one array. */
#include "common/data/columns.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/feature/number.h"

static int compare(const char *a, size_t a_n, const char *b, size_t b_n)
{
    int c = memcmp(a, b, a_n < b_n ? a_n : b_n);
    return c != 0 ? c : (a_n > b_n) - (a_n < b_n);
}

/* "name[3]" is the fourth value of name; anything else is a name as it stands. */
static void take_name(struct column *col, const char *name)
{
    size_t n = strlen(name);
    const char *open = strrchr(name, '[');
    col->name = mem_strdup(name);
    col->name_n = n;
    if (open == NULL || open == name || name[n - 1] != ']')
        return;
    if (number_parse_u64(open + 1, n - 2 - (size_t)(open - name), &col->index)) {
        col->one = true;
        col->name_n = (size_t)(open - name);
        col->name[col->name_n] = 0;
    }
}

void columns_init(struct columns *c, const char *const *names, size_t used)
{
    memset(c, 0, sizeof *c);
    c->used = used;
    c->column = mem_array(used + 1, sizeof *c->column);
    c->order = mem_array(used + 1, sizeof *c->order);
    c->set = mem_array(used + 1, sizeof *c->set);
    for (size_t i = 0; i < used; i++) {
        take_name(&c->column[i], names[i]);
        size_t at = i; /* insertion: some dozens of columns, once a file */
        while (at > 0) {
            const struct column *before = &c->column[c->order[at - 1]];
            if (compare(before->name, before->name_n, c->column[i].name, c->column[i].name_n) <= 0)
                break;
            c->order[at] = c->order[at - 1];
            at--;
        }
        c->order[at] = i;
    }
}

void columns_watch(struct columns *c,
                   void (*seen)(void *arg, const char *name, size_t n, const struct given *v),
                   void *arg)
{
    c->seen = seen;
    c->arg = arg;
}

void columns_release(struct columns *c)
{
    for (size_t i = 0; i < c->used; i++)
        free(c->column[i].name);
    free(c->column);
    free(c->order);
    free(c->set);
    free(c->value);
    buffer_release(&c->text);
    memset(c, 0, sizeof *c);
}

void columns_reset(struct columns *c)
{
    memset(c->set, 0, c->used * sizeof *c->set);
    c->values = 0;
    buffer_reset(&c->text);
}

/* The first place in order whose name is not below; c->used if none. */
static size_t lower(const struct columns *c, const char *name, size_t n)
{
    size_t low = 0, high = c->used;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct column *col = &c->column[c->order[mid]];
        if (compare(col->name, col->name_n, name, n) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool named(const struct columns *c, size_t place, const char *name, size_t n)
{
    if (place >= c->used)
        return false;
    const struct column *col = &c->column[c->order[place]];
    return col->name_n == n && memcmp(col->name, name, n) == 0;
}

bool columns_want(const struct columns *c, const char *name, size_t n)
{
    return named(c, lower(c, name, n), name, n);
}

static void append(struct columns *c, struct value_set *set, const struct given *v)
{
    if (c->values == c->values_cap)
        mem_grow(&c->value, &c->values_cap, c->values + 1, sizeof *c->value);
    struct value *to = &c->value[c->values++];
    *to = (struct value){.at = v->at, .n = v->n, .weight = v->weight, .copied = v->copy};
    if (v->copy) {
        to->at = NULL;
        to->offset = c->text.used;
        buffer_put(&c->text, v->at, v->n);
    }
    if (set->last != 0)
        c->value[set->last - 1].next = (uint32_t)c->values;
    else
        set->first = (uint32_t)c->values;
    set->last = (uint32_t)c->values;
    set->n++;
}

const char *columns_give(struct columns *c, const char *name, size_t n, const struct given *v)
{
    if (c->seen != NULL)
        c->seen(c->arg, name, n, v);
    for (size_t place = lower(c, name, n); named(c, place, name, n); place++) {
        size_t i = c->order[place];
        struct value_set *set = &c->set[i];
        if (set->met > 0 && !(set->list && v->list))
            return "a name is given twice in one record";
        if (c->values >= COLUMNS_VALUES_MAX)
            return "more than 4194304 values in one record";
        set->list |= v->list;
        if (!c->column[i].one || c->column[i].index == set->met)
            append(c, set, v);
        set->met++;
    }
    return NULL;
}

void columns_give_list(struct columns *c, const char *name, size_t n)
{
    for (size_t place = lower(c, name, n); named(c, place, name, n); place++)
        c->set[c->order[place]].list = true;
}

void columns_end(struct columns *c)
{
    if (c->text.used == 0 && c->text.data == NULL)
        buffer_text(&c->text); /* empty values have an address, too */
    for (size_t i = 0; i < c->values; i++)
        if (c->value[i].copied)
            c->value[i].at = (const char *)c->text.data + c->value[i].offset;
}

const struct value *columns_first(const struct columns *c, size_t i)
{
    return c->set[i].first == 0 ? NULL : &c->value[c->set[i].first - 1];
}

const struct value *columns_next(const struct columns *c, const struct value *v)
{
    return v->next == 0 ? NULL : &c->value[v->next - 1];
}
