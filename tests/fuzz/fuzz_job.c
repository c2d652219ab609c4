/* fuzz_job.c - any bytes as a job file.
 *
 * The bytes are read as YAML and as a job. A line "#set KEY=VALUE" (a remark to YAML) is given as --set, so
 * that the command line is fuzzed too. A job that is accepted must dump to a job that is accepted and
 * dumps to the same text with the same hash: that is what other processes load.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/job.h"
#include "common/base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SETS_MAX = 8, SET_BYTES_MAX = 512 };

static size_t find_sets(const char *text, size_t n, char *sets[SETS_MAX])
{
    size_t used = 0;
    for (size_t at = 0; at < n && used < SETS_MAX;) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t line = end == NULL ? n - at : (size_t)(end - (text + at));
        if (line > 5 && line < SET_BYTES_MAX && memcmp(text + at, "#set ", 5) == 0)
            sets[used++] = strndup(text + at + 5, line - 5);
        at += line + 1;
    }
    return used;
}

static void check_dump(const struct job *job)
{
    struct buffer first = BUFFER_INIT, second = BUFFER_INIT;
    struct errbuf err = ERRBUF_INIT;
    struct job again;
    job_dump(job, &first);
    if (job_parse(buffer_text(&first), first.used, "resolved.yaml", "/", NULL, 0, &again, &err) !=
        ST_OK) {
        if (first.used > 1 << 20) /* a dump may be longer than a job may be; then it says so */
            goto release;
        fprintf(stderr, "%s\n%s", err.text, buffer_text(&first));
        abort();
    }
    job_dump(&again, &second);
    if (strcmp(buffer_text(&first), buffer_text(&second)) != 0 ||
        job_config_hash(job) != job_config_hash(&again) ||
        job_resume_conflict(job, &again, &err) != NULL)
        abort();
    job_release(&again);
release:
    buffer_release(&first);
    buffer_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct errbuf err = ERRBUF_INIT;
    struct yaml_node *tree;
    struct job job;
    char *sets[SETS_MAX];
    const char *text = (const char *)data;
    if (yaml_parse(text, size, "fuzz.yaml", &tree, &err) == ST_OK)
        yaml_tree_free(tree);
    size_t sets_used = find_sets(text, size, sets);
    if (job_parse(text, size, "fuzz.yaml", "/fuzz", sets, sets_used, &job, &err) == ST_OK) {
        (void)!job_check(&job, &err);
        check_dump(&job);
        job_release(&job);
    } else if (err.text[0] == '\0') {
        abort(); /* no refusal without a reason */
    }
    for (size_t i = 0; i < sets_used; i++)
        free(sets[i]);
    return 0;
}
