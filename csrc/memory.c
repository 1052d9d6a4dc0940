/* memory.c - blocks for the store, for plans and for scratch: aligned, zeroed, on huge pages when large.
 *
 * First touch of memory costs 1.4 us a 4 KiB page and 0.47 us with huge pages, which Linux gives only
 * when asked (transparent huge pages in `madvise` mode) and only to 2 MiB-aligned ranges.
 */
#define _GNU_SOURCE
#include "fastnn.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LARGE = 4 << 20, HUGE_PAGE = 2 << 20 };

void *fn_alloc(size_t bytes)
{
    void *block = NULL;
    if (bytes == 0)
        bytes = 64;
    if (bytes < LARGE) {
        if (posix_memalign(&block, 64, (bytes + 63) & ~(size_t)63) != 0)
            return NULL;
        memset(block, 0, bytes);
        return block;
    }
    /* Map one huge page more than asked for, and give back the ends. */
    size_t size = (bytes + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1);
    if (size < bytes)
        return NULL;
    char *map = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    char *start = (char *)(((uintptr_t)map + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
    if (start > map)
        munmap(map, (size_t)(start - map));
    size_t tail = (size_t)(map + size + HUGE_PAGE - (start + size));
    if (tail > 0)
        munmap(start + size, tail);
#ifdef MADV_HUGEPAGE
    madvise(start, size, MADV_HUGEPAGE); /* advice: its failure changes nothing but speed */
#endif
    return start;
}

void fn_free(void *block, size_t bytes)
{
    if (block == NULL)
        return;
    if (bytes < LARGE)
        free(block);
    else
        munmap(block, (bytes + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1));
}
