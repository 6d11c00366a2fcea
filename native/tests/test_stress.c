/* test_stress.c - native threads on bump_alloc beside threads that attach and lease, as Workers do. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../bump.h"
#include "check.h"
#include "stress.h"

enum { LEASERS = 4, NATIVE = 4, BLOCKS = 20000, LEASES = 300 };

static double address, key;
static _Atomic unsigned long leased;

static void *lease(void *unused) {
  (void)unused;
  int32_t error;
  bump_t *bump = bump_attach(address, key, &error);
  for (int i = 0; bump != NULL && i < LEASES; i++) {
    bump_lease_t lease;
    if (bump_lease(bump, 100, 65536, 1, &lease) != BUMP_OK) break;
    memset((char *)bump_base(bump) + (size_t)lease.start, 0x5a, (size_t)(lease.end - lease.start));
    leased += (unsigned long)(lease.end - lease.start);
    if (i == LEASES - 1 && bump_unlease(bump, lease.end - 10, lease.end) == 1) leased -= 10;
  }
  if (bump == NULL || bump_close(bump, 0) != BUMP_OK) CHECK(!"attached, and closed");
  return NULL;
}

int main(void) {
  int32_t error;
  bump_t *bump = bump_create(1 << 28, 0, &error);
  key = bump_share(bump), address = (double)(uintptr_t)bump;
  pthread_t threads[LEASERS];
  for (int i = 0; i < LEASERS; i++) pthread_create(&threads[i], NULL, lease, NULL);
  CHECK(stress_start((stress_alloc_t *)bump_alloc, bump, NATIVE, BLOCKS, 1) == 0);
  stress_join();
  for (int i = 0; i < LEASERS; i++) pthread_join(threads[i], NULL);
  CHECK(stress_count() == NATIVE * BLOCKS);
  double *list = malloc(2 * NATIVE * BLOCKS * sizeof *list), taken = (double)leased;
  CHECK(stress_list((double)(uintptr_t)bump_base(bump), list) == 0);
  for (size_t i = 1; i < 2 * NATIVE * BLOCKS; i += 2) taken += list[i];
  CHECK(taken == bump_cursor(bump)); /* without alignment there is no padding */
  CHECK(bump_stranded(bump) <= 10 * LEASERS);
  CHECK(bump_reset(bump, 0) == BUMP_OK && bump_stranded(bump) == 0);
  CHECK(bump_close(bump, 0) == BUMP_OK);
  free(list);
  return conclude("stress");
}
