/* offset.h - arithmetic on offsets. It touches no memory and makes no system call, so that it can be fuzzed alone. */
#ifndef BUMP_OFFSET_H
#define BUMP_OFFSET_H

#include <stdbool.h>
#include <stdint.h>

#define OFFSET_MAX (UINT64_C(1) << 53) /* the largest integer up to which a double is exact */

/* False for NaN, infinities, negatives, fractions and anything above 2^53. */
static inline bool offset_from_double(double number, uint64_t *offset) {
  /* The comparison is false for NaN. A number that passes fits int64_t, so the conversion is defined. */
  if (!(number >= 0 && number <= (double)OFFSET_MAX)) return false;
  const int64_t whole = (int64_t)number;
  if ((double)whole != number) return false;
  *offset = (uint64_t)whole;
  return true;
}

static inline bool offset_is_power_of_two(uint64_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

/* `unit` is a power of two. Callers pass values and units of at most 2^53, so the sum is below 2^54. */
static inline uint64_t offset_round_up(uint64_t value, uint64_t unit) {
  return (value + (unit - 1)) & ~(unit - 1);
}

static inline uint64_t offset_round_down(uint64_t value, uint64_t unit) {
  return value & ~(unit - 1);
}

static inline uint64_t offset_min(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t offset_max(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* Bytes between `address` and the next multiple of `align`, a power of two. The negation is modulo 2^64, which every
 * power of two divides, so the result is right even if address + align wraps. */
static inline uint64_t offset_padding(uint64_t address, uint64_t align) {
  return (0 - address) & (align - 1);
}

/* Start and end of a block of `minimum` to `preferred` bytes taken at `cursor`. The address base + start is aligned,
 * not the offset. False if the block does not fit. Requires cursor <= capacity, minimum <= preferred, `align` a power
 * of two. */
static inline bool offset_take(uint64_t base, uint64_t cursor, uint64_t capacity, uint64_t minimum,
                               uint64_t preferred, uint64_t align, uint64_t *start, uint64_t *end) {
  const uint64_t left = capacity - cursor; /* cursor <= capacity */
  const uint64_t padding = offset_padding(base + cursor, align);
  if (padding > left || minimum > left - padding) return false; /* subtractions only: nothing can wrap */
  *start = cursor + padding;                                     /* <= cursor + left = capacity */
  *end = *start + offset_min(preferred, left - padding);         /* <= capacity likewise */
  return true;
}

/* The end of the last block, [start, cursor), after resizing it to `size` bytes. */
static inline bool offset_resize(uint64_t start, uint64_t capacity, uint64_t size, uint64_t *end) {
  if (start > capacity || size > capacity - start) return false;
  *end = start + size; /* <= capacity */
  return true;
}

#endif
