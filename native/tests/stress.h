/* stress.h - the functions of stress.c. The library is not linked: the address of bump_alloc is passed in. */
#ifndef STRESS_H
#define STRESS_H

#include <stddef.h>
#include <stdint.h>

typedef void *stress_alloc_t(void *bump, size_t size, size_t align);

/* Starts threads that take `blocks` blocks each, with alignments below 1 << align_bits. -1 if the system refuses. */
int stress_start(stress_alloc_t *alloc, void *bump, uint32_t threads, uint32_t blocks, uint32_t align_bits);
void stress_join(void);
double stress_count(void); /* blocks of all threads */
/* Writes the offset and size of each block, checks its bytes, and forgets the blocks. Returns the number of wrong ones.
 * */
double stress_list(double base, double *list);

#endif
