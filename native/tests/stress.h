/* stress.h - what stress.c offers. Nothing of the library is linked: it is told where bump_alloc is. */
#ifndef STRESS_H
#define STRESS_H

#include <stddef.h>
#include <stdint.h>

typedef void *stress_alloc_t(void *bump, size_t size, size_t align);

/* Threads that take `blocks` blocks each, of alignments below 1 << align_bits. -1 when the system refuses. */
int stress_start(stress_alloc_t *alloc, void *bump, uint32_t threads, uint32_t blocks, uint32_t align_bits);
void stress_join(void);
double stress_count(void); /* blocks that all threads took */
/* Writes offset and size of each, checks its bytes, and forgets them; returns how many were wrong. */
double stress_list(double base, double *list);

#endif
