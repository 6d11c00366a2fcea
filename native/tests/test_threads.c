/* test_threads.c - many threads on one region, and regions that end while others attach. */
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
  bump_chunk_t chunk;
  if (bump_take(me->bump, (double)size, (double)size, (double)align, &chunk) != BUMP_OK) return NULL;
  unsigned char *at = (unsigned char *)bump_base(me->bump) + (size_t)chunk.start;
  for (size_t i = (size_t)(chunk.fresh_from - chunk.start); i < size; i++) if (at[i] != 0) CHECK(!"fresh bytes are zero");
  return at;
}

/* Sometimes gives the block back, if it is still the last. */
static int give_back(worker_t *me, unsigned char *block, size_t size) {
  if (rand_r(&me->seed) % 4 != 0) return 0;
  const double from = (double)(block - (unsigned char *)bump_base(me->bump));
  return bump_give(me->bump, from, from + (double)size) == 1;
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
  bump_t *bump = bump_create(REGION, 0, NULL);
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
    CHECK(bump_reset(bump, 0, 1, NULL) == BUMP_OK);
  }
  CHECK(bump_close(bump) == BUMP_OK);
}

/* The handle that share() sends to other Workers. Token and key of different regions may be mixed, which is stale too.
 * */
static _Atomic double shared_token, shared_key;
static atomic_int over;
static atomic_ulong attached;

static void *attach_and_close(void *unused) {
  (void)unused;
  while (!over) {
    bump_region_t region = {0, 0, 0};
    bump_t *bump = bump_attach(shared_token, shared_key, &region);
    if (bump == NULL) {
      if (region.error != BUMP_STALE) CHECK(!"stale, or attached");
      continue;
    }
    attached++;
    for (int i = 0; i < 3; i++) { /* it does not move while it is held */
      if (bump_base(bump) != bump_pointer(region.address)) CHECK(!"an attached region stays in place");
      sched_yield();
    }
    bump_t *more = bump_hold(bump, NULL);
    unsigned char *block = bump_alloc(bump, 64, 8);
    if (block == NULL || more == NULL || bump_holders(bump) < 2) CHECK(!"an attached region lives");
    else memset(block, 1, 64);
    if (bump_close(bump) != BUMP_OK || bump_close(more) != BUMP_OK) CHECK(!"a hold closes once");
  }
  return NULL;
}

static void attach_while_closing(void) {
  pthread_t threads[THREADS - 1];
  for (int i = 0; i < THREADS - 1; i++) pthread_create(&threads[i], NULL, attach_and_close, NULL);
  unsigned long moved = 0;
  for (int i = 0; i < LIVES; i++) {
    bump_t *bump = bump_create(1 << 20, 0, NULL);
    shared_key = bump_share(bump);
    shared_token = bump_token(bump);
    if (i % 8 == 0) sched_yield();
    unsigned char *kept = bump_alloc(bump, 64, 8);
    CHECK(kept != NULL);
    memset(kept, 7, 64);
    /* Nothing can attach while it moves, so nothing writes to the old addresses afterwards. */
    const double from = (double)(kept - (unsigned char *)bump_base(bump));
    CHECK(bump_keep(bump, from, from + 64) == BUMP_OK);
    const int32_t code = bump_reset(bump, 0, 1, NULL);
    moved += code == BUMP_MOVED;
    CHECK(code == BUMP_MOVED || code == BUMP_SHARED);
    unsigned char *block = bump_alloc(bump, 64, 8);
    CHECK(block != NULL && block != kept);
    memset(block, 8, 64);
    for (int k = 0; k < 64; k++) CHECK(kept[k] == 7);
    CHECK(bump_close(bump) == BUMP_OK);
  }
  over = 1;
  for (int i = 0; i < THREADS - 1; i++) pthread_join(threads[i], NULL);
  CHECK(attached > 0);
  CHECK(moved > 0);
}

/* One instance for all threads, as on Windows: they make, retire and reuse regions. */
static void *make_and_close(void *seed) {
  unsigned state = (unsigned)(size_t)seed;
  bump_t *bumps[8] = {NULL};
  for (int i = 0; i < 4 * LIVES; i++) {
    bump_t **bump = &bumps[rand_r(&state) % 8];
    if (*bump != NULL) {
      const unsigned char *base = bump_base(*bump);
      if (base[0] != (unsigned char)(size_t)seed || base[999] != base[0]) CHECK(!"a region belongs to one thread");
      if (bump_close(*bump) != BUMP_OK) CHECK(!"closes");
    }
    *bump = bump_create(4096 << rand_r(&state) % 3, 0, NULL);
    bump_chunk_t chunk;
    if (*bump == NULL || bump_take(*bump, 1000, 1000, 1, &chunk) != BUMP_OK || chunk.start != 0) CHECK(!"makes");
    else memset(bump_base(*bump), (int)(size_t)seed, 1000);
  }
  for (int i = 0; i < 8; i++) if (bumps[i] != NULL && bump_close(bumps[i]) != BUMP_OK) CHECK(!"closes at the end");
  return NULL;
}

static void make_beside_each_other(void) {
  pthread_t threads[THREADS];
  for (size_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, make_and_close, (void *)(i + 1));
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  CHECK(attached > 0);
}

int main(void) {
  fill_together();
  attach_while_closing();
  make_beside_each_other();
  return conclude("threads");
}
