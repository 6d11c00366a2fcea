/* preload_inside.h - preload.c's functions under other names, and what its tests look at inside of it. */
#ifndef PRELOAD_INSIDE_H
#define PRELOAD_INSIDE_H

#include <stdbool.h>
#include <stddef.h>

void *test_malloc(size_t size);
void test_free(void *block);
void test_free_sized(void *block, size_t size);
void test_free_aligned_sized(void *block, size_t align, size_t size);
void *test_calloc(size_t count, size_t size);
void *test_realloc(void *block, size_t size);
void *test_reallocarray(void *block, size_t count, size_t size);
int test_posix_memalign(void **to, size_t align, size_t size);
void *test_aligned_alloc(size_t align, size_t size);
void *test_memalign(size_t align, size_t size);
void *test_valloc(size_t size);
void *test_pvalloc(size_t size);
size_t test_malloc_usable_size(void *block);

unsigned inside_regions(void);
unsigned inside_heaps(void);
size_t inside_taken(void);    /* bytes below the cursors of all regions */
size_t inside_resident(void); /* bytes of all regions that are in RAM */
void inside_lock(void);       /* takes the library's only lock, for good */
bool inside_sizes(void); /* whether the classes of small blocks are what the functions on them say */

#endif
