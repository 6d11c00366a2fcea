/* preload_inside.c - preload.c as one unit, as preload_inside.h has it. It declares what it calls of the system itself, so
 * the tests, which have the system's headers, are another unit. */
#define PRELOADED(name) test_##name
#include "../preload.c"

#include "preload_inside.h"

unsigned inside_regions(void) { return areas_in_use(); }

unsigned inside_heaps(void) {
  unsigned count = 0;
  for (heap_t *heap = atomic_load(&heaps); heap != NULL; heap = heap->next) count++;
  return count;
}

void inside_lock(void) { lock(&instance.lock); }

size_t inside_taken(void) {
  size_t sum = 0;
  for (unsigned i = 0; i < areas_in_use(); i++) sum += get(&areas[i]->region.cursor);
  return sum;
}

size_t inside_resident(void) {
  size_t sum = 0, bytes = 0;
  for (unsigned i = 0; i < areas_in_use(); i++) {
    if (os_resident(areas[i]->region.at.base, get(&areas[i]->region.committed), &bytes) == 0) sum += bytes;
  }
  return sum;
}

bool inside_sizes(void) {
  uint64_t least = 0;
  for (unsigned class = 0; class < RUN_CLASSES; class++) {
    const uint64_t units = recycle_units(class);
    if (units <= least || recycle_class(units) != class || recycle_round_up(units) != units) return false;
    if (class_of(least * RECYCLE_UNIT + 1) != class || class_of(units * RECYCLE_UNIT) != class) return false;
    least = units;
  }
  return least * RECYCLE_UNIT == RUN_SMALL;
}
