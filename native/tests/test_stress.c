/* test_stress.c - native threads that call bump_alloc, beside threads that attach and take chunks like Workers. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../bump.h"
#include "check.h"
#include "stress.h"

enum { TAKERS = 4, NATIVE = 4, BLOCKS = 20000, CHUNKS = 300 };

static double token, key;
static _Atomic unsigned long taken;

static void *take(void *unused) {
  (void)unused;
  bump_t *bump = bump_attach(token, key, NULL);
  for (int i = 0; bump != NULL && i < CHUNKS; i++) {
    bump_chunk_t chunk;
    if (bump_take(bump, 100, 65536, 1, &chunk) != BUMP_OK) break;
    memset((char *)bump_base(bump) + (size_t)chunk.start, 0x5a, (size_t)(chunk.end - chunk.start));
    taken += (unsigned long)(chunk.end - chunk.start);
    if (i == CHUNKS - 1 && bump_give(bump, chunk.end - 10, chunk.end) == 1) taken -= 10;
  }
  if (bump == NULL || bump_close(bump) != BUMP_OK) CHECK(!"attached, and closed");
  return NULL;
}

int main(void) {
  bump_t *bump = bump_create(1 << 28, 0, NULL);
  key = bump_share(bump), token = bump_token(bump);
  pthread_t threads[TAKERS];
  for (int i = 0; i < TAKERS; i++) pthread_create(&threads[i], NULL, take, NULL);
  CHECK(stress_start((stress_alloc_t *)bump_alloc, bump, NATIVE, BLOCKS, 1) == 0);
  stress_join();
  for (int i = 0; i < TAKERS; i++) pthread_join(threads[i], NULL);
  CHECK(stress_count() == NATIVE * BLOCKS);
  double *list = malloc(2 * NATIVE * BLOCKS * sizeof *list), all = (double)taken;
  CHECK(stress_list((double)(uintptr_t)bump_base(bump), list) == 0);
  for (size_t i = 1; i < 2 * NATIVE * BLOCKS; i += 2) all += list[i];
  CHECK(all == bump_cursor(bump)); /* without alignment there is no padding */
  CHECK(bump_holders(bump) == 1 && bump_reset(bump, 0, 1, NULL) == BUMP_OK && bump_close(bump) == BUMP_OK);
  free(list);
  return conclude("stress");
}
