/* stress.c - threads that allocate from a region at the same time as Workers. Loaded by tests/workers/stress_test.ts,
 * and run under TSan by run.sh beside threads that take chunks like Workers. */
#include "stress.h"

#include <pthread.h>
#include <stdlib.h>

enum { MOST = 16 };

typedef struct {
  stress_alloc_t *alloc;
  void *bump;
  uint32_t seed, align_bits;
  size_t count, done;
  unsigned char **blocks;
  uint32_t *sizes;
} thread_t;

static thread_t threads[MOST];
static pthread_t handles[MOST];
static size_t running;

static uint32_t below(uint32_t *state, uint32_t limit) {
  *state ^= *state << 13, *state ^= *state >> 17, *state ^= *state << 5;
  return *state % limit;
}

static unsigned char pattern(uint32_t id, uint32_t i) { return (unsigned char)(id * 31 + i * 7); }

static void *run(void *argument) {
  thread_t *me = argument;
  uint32_t state = me->seed | 1;
  for (; me->done < me->count; me->done++) {
    const uint32_t size = 1 + below(&state, below(&state, 100) == 0 ? 4000 : 96);
    const size_t align = (size_t)1 << below(&state, me->align_bits);
    unsigned char *block = me->alloc(me->bump, size, align);
    if (block == NULL || (uintptr_t)block % align != 0) break;
    for (uint32_t i = 0; i < size; i++) block[i] = pattern(me->seed + (uint32_t)me->done, i);
    me->blocks[me->done] = block;
    me->sizes[me->done] = size;
  }
  return NULL;
}

int stress_start(stress_alloc_t *alloc, void *bump, uint32_t count, uint32_t blocks, uint32_t align_bits) {
  for (running = 0; running < count && running < MOST; running++) {
    thread_t *thread = &threads[running];
    *thread = (thread_t){alloc, bump, (uint32_t)(running + 1) * 7919, align_bits, blocks, 0, NULL, NULL};
    thread->blocks = malloc(blocks * sizeof *thread->blocks);
    thread->sizes = malloc(blocks * sizeof *thread->sizes);
    if (thread->blocks == NULL || thread->sizes == NULL) return -1;
    if (pthread_create(&handles[running], NULL, run, thread) != 0) return -1;
  }
  return 0;
}

void stress_join(void) {
  for (size_t t = 0; t < running; t++) pthread_join(handles[t], NULL);
}

double stress_count(void) {
  double count = 0;
  for (size_t t = 0; t < running; t++) count += (double)threads[t].done;
  return count;
}

double stress_list(double base, double *list) {
  double wrong = 0;
  for (size_t t = 0; t < running; t++) {
    const thread_t *thread = &threads[t];
    for (size_t b = 0; b < thread->done; b++) {
      *list++ = (double)(uintptr_t)thread->blocks[b] - base;
      *list++ = thread->sizes[b];
      int right = 1;
      for (uint32_t i = 0; i < thread->sizes[b]; i++) right &= thread->blocks[b][i] == pattern(thread->seed + (uint32_t)b, i);
      wrong += !right;
    }
    free(thread->blocks);
    free(thread->sizes);
  }
  running = 0;
  return wrong;
}
