/* An atomic bump in a C loop, the peer of `offset`. */
#include <stdatomic.h>
#include <stdint.h>

static _Atomic uint64_t cursor;

/* Takes `size` bytes `count` times, like a native caller of a bump allocator: aligned, bounded, atomic. */
uint64_t atomic_bump_loop(uint32_t count, uint32_t size, double region) {
  const uint64_t capacity = (uint64_t)region;
  uint64_t sum = 0;
  atomic_store(&cursor, 0);
  for (uint32_t i = 0; i < count; i++) {
    uint64_t seen = atomic_load_explicit(&cursor, memory_order_relaxed);
    uint64_t start;
    do {
      start = (seen + 7) & ~(uint64_t)7;
      if (start + size > capacity) return 0;
    } while (!atomic_compare_exchange_weak_explicit(&cursor, &seen, start + size, memory_order_relaxed,
                                                    memory_order_relaxed));
    sum ^= start;
  }
  return sum;
}
