/* test_threads.c - many threads on one region, and regions that come and go under those who attach. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../bump.h"
#include "check.h"

enum { THREADS = 4, REGION = 16 << 20, BLOCKS = 1 << 16, ROUNDS = 3, LIVES = 4000 };

typedef struct {
  bump_t *bump;
  unsigned char pattern;
  unsigned seed;
  size_t count;
  struct { unsigned char *at; size_t size; } blocks[BLOCKS];
} worker_t;

static worker_t workers[THREADS];

static unsigned char *take(worker_t *me, size_t size, size_t align) {
  if (rand_r(&me->seed) % 2 == 0) return bump_alloc(me->bump, size, align);
  bump_lease_t lease;
  if (bump_lease(me->bump, (double)size, (double)size, (double)align, &lease) != BUMP_OK) return NULL;
  unsigned char *at = (unsigned char *)bump_base(me->bump) + (size_t)lease.start;
  for (size_t i = (size_t)(lease.fresh_from - lease.start); i < size; i++) if (at[i] != 0) CHECK(!"fresh bytes are zero");
  return at;
}

/* Gives the block back again at times, when it is still the last. */
static int give_back(worker_t *me, unsigned char *block, size_t size) {
  if (rand_r(&me->seed) % 4 != 0) return 0;
  const double from = (double)(block - (unsigned char *)bump_base(me->bump));
  return bump_unlease(me->bump, from, from + (double)size) == 1;
}

static void *work(void *argument) {
  worker_t *me = argument;
  for (me->count = 0; me->count < BLOCKS;) {
    const size_t size = 1 + (size_t)rand_r(&me->seed) % 2000, align = (size_t)1 << rand_r(&me->seed) % 8;
    unsigned char *block = take(me, size, align);
    if (block == NULL) break;
    if ((size_t)block % align != 0) CHECK(!"aligned");
    memset(block, me->pattern, size);
    if (give_back(me, block, size)) continue;
    me->blocks[me->count].at = block;
    me->blocks[me->count++].size = size;
  }
  return NULL;
}

static void fill_together(void) {
  int32_t error;
  bump_t *bump = bump_create(REGION, 0, &error);
  pthread_t threads[THREADS];
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < THREADS; i++) {
      workers[i].bump = bump, workers[i].pattern = (unsigned char)(i + 1), workers[i].seed = (unsigned)(round * THREADS + i);
      pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    size_t bytes = 0;
    for (int i = 0; i < THREADS; i++) {
      for (size_t b = 0; b < workers[i].count; b++) {
        const unsigned char *at = workers[i].blocks[b].at;
        size_t wrong = 0;
        for (size_t k = 0; k < workers[i].blocks[b].size; k++) wrong += at[k] != workers[i].pattern;
        CHECK(wrong == 0);
        bytes += workers[i].blocks[b].size;
      }
    }
    CHECK(bytes > REGION / 2 && bump_cursor(bump) <= REGION);
    CHECK(bump_reset(bump, 0) == BUMP_OK);
  }
  CHECK(bump_close(bump, 0) == BUMP_OK);
}

/* What a share() sends to other Workers. Address and key of different lives may be mixed: that too is stale. */
static _Atomic double shared_address, shared_key;
static atomic_int over;
static atomic_ulong attached;

static void *attach_and_close(void *unused) {
  (void)unused;
  while (!over) {
    int32_t error = 0;
    bump_t *bump = bump_attach(shared_address, shared_key, &error);
    if (bump == NULL) {
      if (error != BUMP_STALE) CHECK(!"stale, or attached");
      continue;
    }
    attached++;
    unsigned char *block = bump_alloc(bump, 64, 8);
    if (block == NULL || bump_attached(bump) < 1) CHECK(!"what is attached lives");
    else memset(block, 1, 64);
    if (bump_close(bump, 0) != BUMP_OK) CHECK(!"an attached reference closes once");
  }
  return NULL;
}

static void attach_while_closing(void) {
  pthread_t threads[THREADS - 1];
  for (int i = 0; i < THREADS - 1; i++) pthread_create(&threads[i], NULL, attach_and_close, NULL);
  unsigned long renewed = 0;
  for (int i = 0; i < LIVES; i++) {
    int32_t error;
    bump_t *bump = bump_create(1 << 20, 0, &error);
    shared_key = bump_share(bump);
    shared_address = (double)(uintptr_t)bump;
    if (i % 8 == 0) sched_yield();
    renewed += bump_renew(bump, 0) == BUMP_OK;
    CHECK(bump_alloc(bump, 64, 8) != NULL);
    CHECK(bump_close(bump, 0) == BUMP_OK);
  }
  over = 1;
  for (int i = 0; i < THREADS - 1; i++) pthread_join(threads[i], NULL);
  CHECK(attached > 0);
  CHECK(renewed > 0);
}

int main(void) {
  fill_together();
  attach_while_closing();
  return conclude("threads");
}
