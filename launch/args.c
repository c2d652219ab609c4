/* args.c - see args.h. Flags may stand before, between or behind the other arguments; "--" ends them.
 *
 * --help=WORD is the same for all commands: it searches the one option table of job files, since that is
 * where nearly everything is set.
 */
#include "launch/args.h"

#include <stdio.h>
#include <string.h>

#include "common/base/job.h"

static void print_help(const struct args_spec *spec)
{
    printf("usage: penstock %s\n\n%s\n", spec->usage, spec->about);
    if (spec->flags_used > 0) {
        printf("\n");
    }
    for (size_t i = 0; i < spec->flags_used; i++) {
        const struct args_flag *f = &spec->flags[i];
        char left[64];
        snprintf(left, sizeof(left), "%s%s%s", f->name, f->value != NULL ? " " : "",
                 f->value != NULL ? f->value : "");
        printf("  %-26s %s\n", left, f->help);
    }
    printf("\n  %-26s %s\n", "--help[=WORD]",
           "this page; with WORD: options of job files with that word");
}

static size_t common_prefix(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] != '\0' && a[n] == b[n]) {
        n++;
    }
    return n;
}

static enum status unknown(const struct args_spec *spec, const char *arg, struct errbuf *err)
{
    const char *best = "--help";
    for (size_t i = 0; i < spec->flags_used; i++) {
        if (common_prefix(spec->flags[i].name, arg) > common_prefix(best, arg)) {
            best = spec->flags[i].name;
        }
    }
    return errbuf_set(err, ST_USAGE, "%s: no such flag; the nearest is %s (see --help)", arg, best);
}

static enum status store(const struct args_flag *f, const char *value, struct errbuf *err)
{
    switch (f->kind) {
    case ARGS_SWITCH: *(bool *)f->dst = true; return ST_OK;
    case ARGS_TEXT:
        if (*value == '\0') {
            return errbuf_set(err, ST_USAGE, "%s: needs a %s", f->name, f->value);
        }
        *(const char **)f->dst = value;
        return ST_OK;
    case ARGS_U64: return option_parse_u64(value, f->name, 0, UINT64_MAX, (uint64_t *)f->dst, err);
    case ARGS_LIST: {
        struct args_list *l = f->dst;
        if (l->used == sizeof(l->item) / sizeof(l->item[0])) {
            return errbuf_set(err, ST_USAGE, "%s: more than %zu times", f->name, l->used);
        }
        l->item[l->used++] = value;
        return ST_OK;
    }
    }
    return errbuf_set(err, ST_INTERNAL, "%s: unknown kind of flag", f->name);
}

/* The flag that argv[*at] names, its value taken from behind '=' or from the next argument. */
static enum status take_flag(const struct args_spec *spec, int argc, char **argv, int *at,
                             struct errbuf *err)
{
    const char *arg = argv[*at];
    const char *eq = strchr(arg, '=');
    size_t len = eq != NULL ? (size_t)(eq - arg) : strlen(arg);
    for (size_t i = 0; i < spec->flags_used; i++) {
        const struct args_flag *f = &spec->flags[i];
        if (strlen(f->name) != len || strncmp(f->name, arg, len) != 0) {
            continue;
        }
        if (f->kind == ARGS_SWITCH) {
            if (eq != NULL) {
                return errbuf_set(err, ST_USAGE, "%s takes no value", f->name);
            }
            return store(f, "", err);
        }
        if (eq != NULL) {
            return store(f, eq + 1, err);
        }
        if (*at + 1 >= argc) {
            return errbuf_set(err, ST_USAGE, "%s: needs a %s", f->name, f->value);
        }
        *at += 1;
        return store(f, argv[*at], err);
    }
    return unknown(spec, arg, err);
}

enum status args_parse(const struct args_spec *spec, int argc, char **argv,
                       struct args_list *out_rest, struct errbuf *err)
{
    bool flags_end = false;
    out_rest->used = 0;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (!flags_end && strcmp(arg, "--") == 0) {
            flags_end = true;
        } else if (!flags_end && (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)) {
            print_help(spec);
            return ST_END;
        } else if (!flags_end && strncmp(arg, "--help=", 7) == 0) {
            job_help(arg + 7, stdout);
            return ST_END;
        } else if (!flags_end && arg[0] == '-' && arg[1] != '\0') {
            enum status st = take_flag(spec, argc, argv, &i, err);
            if (st != ST_OK) {
                return st;
            }
        } else if (out_rest->used >= spec->rest_max) {
            return errbuf_set(err, ST_USAGE, "%s: one argument too many; usage: penstock %s", arg,
                              spec->usage);
        } else {
            out_rest->item[out_rest->used++] = arg;
        }
    }
    if (out_rest->used < spec->rest_min) {
        return errbuf_set(err, ST_USAGE, "an argument is missing; usage: penstock %s", spec->usage);
    }
    return ST_OK;
}

int args_fail(const char *command, enum status st, const struct errbuf *err)
{
    if (st == ST_END || st == ST_OK) {
        return 0;
    }
    fprintf(stderr, "penstock %s: %s\n", command, err->text);
    return status_exit_code(st);
}
