/* shop_write.c - the shop's log as files: see shop.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/data/cache.h"
#include "common/data/shop.h"
#include "common/data/shop_world.h"

static const char HEADER[] = "time,session,user,item,category,brand,price,hour,position,device,"
                             "user_segment,click,cart,buy\n";

struct text_file {
    char *path, *tmp; /* owned */
    FILE *out;
};

struct shop_files {
    struct text_file log[PARTS], truth[PARTS];
};

static enum status file_begin(struct text_file *f, const char *dir, const char *prefix,
                              enum part part, const char *header, struct errbuf *err)
{
    struct buffer name = BUFFER_INIT;
    buffer_printf(&name, "%s%s.csv", prefix, cache_part_name(part));
    f->path = file_join(dir, buffer_text(&name));
    buffer_reset(&name);
    buffer_printf(&name, "%s.tmp.%ld", f->path, (long)getpid());
    f->tmp = mem_strdup(buffer_text(&name));
    buffer_release(&name);
    f->out = fopen(f->tmp, "we");
    if (f->out == NULL)
        return errbuf_errno(err, ST_IO, "%s", f->tmp);
    fputs(header, f->out);
    return ST_OK;
}

static enum status file_finish(struct text_file *f, struct errbuf *err)
{
    bool sound = !ferror(f->out) && fflush(f->out) == 0 && fsync(fileno(f->out)) == 0;
    if (!sound)
        return errbuf_errno(err, ST_IO, "%s", f->tmp);
    return ST_OK;
}

static enum status file_show(struct text_file *f, struct errbuf *err)
{
    if (rename(f->tmp, f->path) != 0)
        return errbuf_errno(err, ST_IO, "%s", f->path);
    fclose(f->out);
    f->out = NULL;
    return ST_OK;
}

static void file_release(struct text_file *f)
{
    if (f->out != NULL) {
        fclose(f->out);
        unlink(f->tmp);
    }
    free(f->path);
    free(f->tmp);
}

static void put_event(struct shop_files *f, enum part part, const struct shop_event *e)
{
    fprintf(f->log[part].out, "%lld,%llu,%llu,%llu,%u,%u,%.2f,%u,%u,%s,%u,%d,%d,%d\n",
            (long long)e->time, (unsigned long long)e->session, (unsigned long long)e->user,
            (unsigned long long)e->item, e->category, e->brand, e->price, e->hour, e->position,
            shop_device_names[e->device], e->segment, e->click, e->cart, e->buy);
    fprintf(f->truth[part].out, "%.9g,%.9g,%.9g\n", e->truth[SHOP_CLICK], e->truth[SHOP_CART],
            e->truth[SHOP_BUY]);
}

/* The part of line i, which never goes back and changes only where time does. */
static enum part next_part(enum part now, uint64_t i, uint64_t events, bool same_time)
{
    enum part want = i < events / 10 * 8   ? PART_TRAIN
                     : i < events / 10 * 9 ? PART_VALID
                                           : PART_TEST;
    return same_time ? now : want;
}

static enum status write_events(const struct shop_config *config, struct shop *s,
                                struct shop_files *f,
                                void (*seen)(void *arg, enum part part, const struct shop_event *e),
                                void *arg, const volatile int *stop, struct shop_written *out,
                                struct errbuf *err)
{
    enum part part = PART_TRAIN;
    int64_t time = INT64_MIN;
    for (uint64_t i = 0; i < config->events; i++) {
        struct shop_event e;
        shop_next(s, &e);
        part = next_part(part, i, config->events, e.time == time);
        time = e.time;
        put_event(f, part, &e);
        out->lines[part]++;
        out->kinds[part][SHOP_CLICK] += e.click;
        out->kinds[part][SHOP_CART] += e.cart;
        out->kinds[part][SHOP_BUY] += e.buy;
        if (seen != NULL)
            seen(arg, part, &e);
        if (i % 4096 != 0)
            continue;
        if (stop != NULL && *stop != 0)
            return errbuf_set(err, ST_REFUSED, "interrupted");
        if (ferror(f->log[part].out) || ferror(f->truth[part].out))
            return errbuf_errno(err, ST_IO, "%s", f->log[part].tmp);
    }
    return ST_OK;
}

enum status shop_write(const struct shop_config *config, const char *dir,
                       void (*seen)(void *arg, enum part part, const struct shop_event *e),
                       void *arg, const volatile int *stop, struct shop_written *out,
                       struct errbuf *err)
{
    struct shop *s = NULL;
    struct shop_files f;
    struct shop_written written;
    memset(&f, 0, sizeof f);
    memset(&written, 0, sizeof written);
    enum status st = shop_open(config, &s, err);
    if (st == ST_OK)
        st = file_mkdirs(dir, err);
    for (int p = 0; st == ST_OK && p < PARTS; p++) {
        st = file_begin(&f.log[p], dir, "", (enum part)p, HEADER, err);
        if (st == ST_OK)
            st = file_begin(&f.truth[p], dir, "truth.", (enum part)p, "click,cart,buy\n", err);
    }
    if (st == ST_OK)
        st = write_events(config, s, &f, seen, arg, stop, &written, err);
    for (int p = 0; st == ST_OK && p < PARTS; p++) {
        st = file_finish(&f.log[p], err);
        if (st == ST_OK)
            st = file_finish(&f.truth[p], err);
    }
    for (int p = 0; st == ST_OK && p < PARTS; p++) {
        st = file_show(&f.truth[p], err);
        if (st == ST_OK)
            st = file_show(&f.log[p], err);
    }
    for (int p = 0; p < PARTS; p++) {
        file_release(&f.log[p]);
        file_release(&f.truth[p]);
    }
    shop_close(s);
    if (st == ST_OK)
        *out = written;
    return st;
}
