/* sim_outcome.c - what a run left: all records of its newest cut, read back, and the recipe's text. */
#include <stdlib.h>
#include <string.h>

#include "ps/optim/optim.h"
#include "ps/train/recipe.h"
#include "tests/support/sim_world.h"

void sim_outcome_take(struct sim_world *w, struct sim_outcome *o)
{
    struct manifest m;
    struct store *store = sim_load(w, 0, &m);
    *o = (struct sim_outcome){0};
    sim_rows_take(&o->rows, store);
    for (size_t t = 0; t < store->tables; t++)
        o->record_bytes[t] = table_record_bytes(store->table[t]);
    o->step = m.step;
    o->applied = m.applied;
    o->recipe = strdup(m.recipe);
    store_free(store);
    manifest_release(&m);
}

void sim_outcome_release(struct sim_outcome *o)
{
    sim_rows_release(&o->rows);
    free(o->recipe);
}

/* The recipe names cut numbers, which may differ; its decisions and results may not. */
static bool same_recipe(const struct sim_outcome *a, const struct sim_outcome *b)
{
    struct recipe x, y;
    if (recipe_parse(a->recipe, &x, NULL) != ST_OK || recipe_parse(b->recipe, &y, NULL) != ST_OK)
        abort();
    bool same = x.best_epoch == y.best_epoch && x.epochs == y.epochs &&
                memcmp(&x.best_value, &y.best_value, sizeof x.best_value) == 0 &&
                memcmp(&x.schedule, &y.schedule, sizeof x.schedule) == 0;
    for (size_t i = 0; i < x.epochs && same; i++)
        same = memcmp(&x.epoch[i].auc, &y.epoch[i].auc, sizeof x.epoch[i].auc) == 0;
    recipe_release(&x);
    recipe_release(&y);
    return same;
}

const char *sim_outcome_differs(const struct sim_outcome *a, const struct sim_outcome *b)
{
    if (a->step != b->step || a->applied != b->applied)
        return "the number of steps or records";
    for (size_t t = 0; t < PLAN_TABLES_MAX; t++) {
        if (a->rows.n[t] != b->rows.n[t])
            return "the number of rows";
        if (a->rows.n[t] == 0)
            continue;
        if (memcmp(a->rows.key[t], b->rows.key[t], a->rows.n[t] * sizeof(uint64_t)) != 0)
            return "a key";
        if (memcmp(a->rows.record[t], b->rows.record[t], a->rows.n[t] * a->record_bytes[t]) != 0)
            return "a record";
    }
    return same_recipe(a, b) ? NULL : "the recipe";
}
