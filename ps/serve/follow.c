/* follow.c - see follow.h. */
#include "ps/serve/follow.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "ps/serve/stage.h"

static void add(struct follow *f, uint64_t *to)
{
    pthread_mutex_lock(f->lock);
    (*to)++;
    pthread_mutex_unlock(f->lock);
}

static enum status check(const struct follow *f, const struct manifest *m, struct errbuf *err)
{
    const struct {
        const char *what;
        uint64_t mine, its;
    } both[] = {{"job", f->job, m->job},
                {"plan", f->plan_hash, m->plan_hash},
                {"encoder", f->encoder_hash, m->encoder_hash}};
    for (size_t i = 0; i < sizeof(both) / sizeof(both[0]); i++) {
        if (both[i].mine != 0 && both[i].mine != both[i].its) {
            return errbuf_set(err, ST_FOREIGN,
                              "cut %" PRIu64 " has another %s (%016" PRIx64
                              ", this node loaded %016" PRIx64
                              "): start the node again to serve it",
                              m->k, both[i].what, both[i].its, both[i].mine);
        }
    }
    return ST_OK;
}

static enum status read_parts(struct follow *f, struct stage *s, const struct manifest *m,
                              struct errbuf *err)
{
    enum status st = ST_OK;
    struct part *p = mem_alloc(sizeof(*p));
    for (size_t i = stage_first(s); st == ST_OK && i < m->files_used; i++) {
        st = f->source->part(f->source->ctx, m, i, f->plan, p, err);
        if (st == ST_BAD_DATA) {
            add(f, &f->damaged_total);
        }
        if (st == ST_OK) {
            st = stage_part(s, p, err);
            part_close(p);
        }
    }
    free(p);
    return st;
}

/* proved: all parts were in, and what came out was held against the manifest. */
static enum status stage_once(struct follow *f, const struct manifest *m, bool anew,
                              bool *out_proved, struct errbuf *err)
{
    struct stage *s = NULL;
    *out_proved = false;
    enum status st = stage_new(f->vs, m, anew, &s, err);
    if (st != ST_OK) {
        return st;
    }
    st = read_parts(f, s, m, err);
    if (st == ST_OK) {
        *out_proved = true;
        st = stage_prove(s, err);
    }
    if (st == ST_OK || st == ST_REFUSED) {
        pthread_mutex_lock(f->lock);
        if (st == ST_REFUSED) {
            versions_refuse(f->vs, m->k);
            f->refused_total++;
        } else {
            *out_proved = false;
            st = stage_commit(s, clock_wall_us(), err);
            f->shown_total += st == ST_OK;
        }
        pthread_mutex_unlock(f->lock);
    }
    stage_free(s);
    return st;
}

enum status follow_take(struct follow *f, const struct manifest *m, struct errbuf *err)
{
    bool proved = false;
    const struct version *tip = versions_tip(f->vs);
    pthread_mutex_lock(f->lock);
    f->newest_k = m->k > f->newest_k ? m->k : f->newest_k;
    pthread_mutex_unlock(f->lock);
    if (tip != NULL && m->k <= version_cut(tip)) {
        return ST_END;
    }
    enum status st = check(f, m, err);
    if (st != ST_OK) {
        return st;
    }
    st = stage_once(f, m, false, &proved, err);
    if (proved && st == ST_BAD_DATA) {
        add(f, &f->mismatch_total);
    }
    if (proved && tip != NULL && (st == ST_AGAIN || st == ST_BAD_DATA)) {
        add(f, &f->resync_total);
        st = stage_once(f, m, true, &proved, err);
        if (proved && st == ST_BAD_DATA) {
            add(f, &f->mismatch_total);
        }
    }
    return st;
}
