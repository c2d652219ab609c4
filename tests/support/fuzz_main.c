/* fuzz_main.c - runs a fuzzer's corpus through it without libFuzzer, so that `make test` needs no clang.
 *
 * Each argument is a file or a folder of files; each file is one input of LLVMFuzzerTestOneInput, besides the empty
 * one, which every fuzzer gets. An input ends in an exactly sized heap block, so that ASan and valgrind
 * see a read past its end. A fuzzer without a corpus has failed: nothing was tested.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t runs;

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) {
        perror(path);
        if (f)
            fclose(f);
        return 1;
    }
    size_t size = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = malloc(size > 0 ? size : 1);
    int bad = !data || fread(data, 1, size, f) != size;
    if (bad) {
        perror(path);
    } else {
        /* Said before the run: a crash then names its input. */
        printf("%s\n", path);
        fflush(stdout);
        LLVMFuzzerTestOneInput(data, size);
        runs++;
    }
    free(data);
    fclose(f);
    return bad;
}

static int run_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        perror(path);
        return 1;
    }
    if (!S_ISDIR(st.st_mode))
        return run_file(path);
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    int bad = n < 0;
    for (int i = 0; i < n; i++) {
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            bad |= run_file(file);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = 0;
    uint8_t *nothing = calloc(1, 1);
    LLVMFuzzerTestOneInput(nothing, 0);
    free(nothing);
    for (int i = 1; i < argc; i++)
        bad |= run_path(argv[i]);
    if (runs == 0)
        fprintf(stderr, "no corpus: put at least one input into tests/fuzz/corpus/<name>/\n");
    return bad || runs == 0;
}
