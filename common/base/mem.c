/* mem.c - memory: small pieces abort when there is none, slabs return a status.
 *
 * An allocation of a few hundred bytes that fails leaves nothing sensible to do, and a branch for it in
 * every caller is a branch that no test takes. So it ends the process with a message, and the cut before
 * it is the way back: the same path as a kill. Sizes that come from outside (a table's budget, a file's
 * header) are another matter: mem_slab says no and the caller answers.
 *
 * Slabs are aligned to 2 MiB, so that the kernel can back them with huge pages: a row access then misses
 * the TLB once in 2 MiB instead of once in 4 KiB. The mapping is made 2 MiB too large and trimmed at both
 * ends, which costs address space for an instant and no memory.
 */
#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_BYTES ((size_t)2 << 20)

static _Noreturn void die(size_t bytes)
{
    fprintf(stderr, "out of memory: %zu bytes\n", bytes);
    abort();
}

void *mem_alloc(size_t bytes)
{
    void *p = malloc(bytes == 0 ? 1 : bytes);
    if (p == NULL)
        die(bytes);
    return p;
}

void *mem_zalloc(size_t bytes)
{
    return mem_array(bytes, 1);
}

void *mem_array(size_t n, size_t each)
{
    if (n == 0 || each == 0)
        n = each = 1;
    void *p = calloc(n, each); /* refuses a product that overflows */
    if (p == NULL)
        die(each > SIZE_MAX / n ? SIZE_MAX : n * each);
    return p;
}

void *mem_realloc(void *p, size_t bytes)
{
    p = realloc(p, bytes == 0 ? 1 : bytes);
    if (p == NULL)
        die(bytes);
    return p;
}

char *mem_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = mem_alloc(n);
    memcpy(copy, s, n);
    return copy;
}

void *mem_aligned(size_t align, size_t bytes)
{
    void *p = NULL;
    if (align < sizeof(void *))
        align = sizeof(void *);
    if (posix_memalign(&p, align, bytes == 0 ? 1 : bytes) != 0)
        die(bytes);
    memset(p, 0, bytes);
    return p;
}

void mem_grow(void *array, size_t *cap, size_t need, size_t each)
{
    if (need <= *cap)
        return;
    size_t now = *cap < 8 ? 8 : *cap;
    while (now < need)
        now = now > SIZE_MAX / 2 ? need : now * 2;
    if (each != 0 && now > SIZE_MAX / each)
        die(SIZE_MAX);
    void *p; /* *array is a pointer of any type: its bytes are copied, not read through void ** */
    memcpy(&p, array, sizeof p);
    p = mem_realloc(p, now * each);
    memcpy(array, &p, sizeof p);
    *cap = now;
}

static size_t page_round(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (bytes == 0)
        bytes = 1;
    return bytes > SIZE_MAX - page ? 0 : (bytes + page - 1) / page * page;
}

enum status mem_slab(size_t bytes, void **out_slab, struct errbuf *err)
{
    size_t size = page_round(bytes);
    if (size == 0 || size > SIZE_MAX - HUGE_BYTES)
        return errbuf_set(err, ST_NO_MEMORY, "a slab of %zu bytes is too large", bytes);
    size_t mapped = size + HUGE_BYTES;
    char *base = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return errbuf_errno(err, ST_NO_MEMORY, "a slab of %zu bytes", bytes);
    size_t head = (HUGE_BYTES - (uintptr_t)base % HUGE_BYTES) % HUGE_BYTES;
    size_t tail = mapped - head - size;
    if (head > 0)
        munmap(base, head);
    if (tail > 0)
        munmap(base + head + size, tail);
    /* A wish: a kernel without huge pages refuses it, and everything works, slower. */
    (void)madvise(base + head, size, MADV_HUGEPAGE);
    *out_slab = base + head;
    return ST_OK;
}

void mem_slab_free(void *slab, size_t bytes)
{
    if (slab != NULL)
        munmap(slab, page_round(bytes));
}

/* From /proc/self/status and not getrusage: ru_maxrss is inherited over exec, so a child of a large
 * parent would report the parent's peak. */
static uint64_t proc_status_bytes(const char *key)
{
    char text[8192];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    const char *at = strstr(text, key);
    return at == NULL ? 0 : (uint64_t)strtoull(at + strlen(key), NULL, 10) * 1024u;
}

uint64_t mem_rss_peak_bytes(void)
{
    return proc_status_bytes("\nVmHWM:");
}

uint64_t mem_rss_bytes(void)
{
    return proc_status_bytes("\nVmRSS:");
}
