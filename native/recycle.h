/* recycle.h - size classes and lists of freed blocks, which recycle.c reuses.
 *
 * Sizes are in units of 16 bytes. There is a class for each of 1 to 16 units, then eight classes for each doubling up
 * to 64 KiB, then two for each doubling: larger blocks are rarely touched as a whole, so they waste addresses, not
 * memory. The arithmetic touches no memory, as in offset.h.
 */
#ifndef BUMP_RECYCLE_H
#define BUMP_RECYCLE_H

#include <stdatomic.h>
#include <stdint.h>

#define RECYCLE_UNIT UINT64_C(16)

/* preload.c has its own. */
#if !defined(RECYCLE_LARGE)
#define RECYCLE_LARGE (UINT64_C(128) * 1024) /* bytes; the pages of larger freed blocks are worth a system call */
#define RECYCLE_CLASSES 112 /* classes of up to 4 GiB; larger blocks are reused only as the last block */
#endif

enum {
  RECYCLE_SMALL = 32,        /* classes of up to 1 KiB */
  RECYCLE_SMALL_UNITS = 64,
  RECYCLE_FINE_UNITS = 4096, /* 64 KiB */
  RECYCLE_OWN = 2 * RECYCLE_SMALL,
  RECYCLE_LISTS = RECYCLE_SMALL + RECYCLE_CLASSES,
};

/* A chain of one thread. */
typedef struct {
  void *_Atomic first;
  _Atomic uint32_t length;
  _Atomic uint32_t epoch; /* the chain is empty unless this is the region's epoch */
} recycle_own_t;

/* A region's freed blocks; recycle.c explains the words. All zero if nothing was ever freed. */
typedef struct {
  _Atomic uint64_t owner;                /* the thread with chains of its own; 0: none yet */
  _Atomic uint32_t epoch;                /* changes at each reset */
  _Atomic uint32_t used;                 /* 0: only last blocks were freed in this epoch */
  _Atomic uint64_t idle;                 /* bytes of listed large blocks that still have their pages */
  _Atomic uint64_t idle_less;            /* the same of those that are too small to give them back when the region grows */
  uint64_t spare;                        /* so many of them keep their pages when the region grows, too */
  recycle_own_t own[RECYCLE_OWN];        /* small blocks without a header first, then those with one */
  _Atomic uint64_t lists[RECYCLE_LISTS]; /* shared: small blocks without a header, then all classes with one */
} recycle_t;

static inline unsigned recycle_log2(uint64_t value) { return 63 - (unsigned)__builtin_clzll(value); }

/* Number, from 0, of the largest class of at most `units`, which is at least 1. */
static inline unsigned recycle_class(uint64_t units) {
  if (units < 8) return (unsigned)units - 1;
  const unsigned log = recycle_log2(units);
  if (units < RECYCLE_FINE_UNITS) return 8 * log + (unsigned)(units >> (log - 3)) - 25;
  return 2 * log + (unsigned)(units >> (log - 1)) + 53;
}

/* The class of each small size, in a table because it is looked up most often. */
static const uint8_t recycle_small_class[RECYCLE_SMALL_UNITS + 1] = {
  0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 16, 17, 17, 18, 18, 19, 19, 20, 20, 21, 21, 22, 22,
  23, 23, 24, 24, 24, 24, 25, 25, 25, 25, 26, 26, 26, 26, 27, 27, 27, 27, 28, 28, 28, 28, 29, 29, 29, 29, 30, 30, 30,
  30, 31, 31, 31, 31,
};
static const uint8_t recycle_small_units[RECYCLE_SMALL] = {
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 26, 28, 30, 32, 36, 40, 44, 48, 52, 56, 60,
  64,
};

/* The size of a class of at most RECYCLE_FINE_UNITS. */
static inline uint64_t recycle_units(unsigned class) {
  return class < 8 ? class + 1 : (uint64_t)(8 + (class + 17) % 8) << ((class + 17) / 8 - 3);
}

/* Size of the smallest class of at least `units`, which is from 1 to 2^60. */
static inline uint64_t recycle_round_up(uint64_t units) {
  if (units <= 16) return units;
  const uint64_t step = UINT64_C(1) << (recycle_log2(units - 1) - (units <= RECYCLE_FINE_UNITS ? 3 : 1));
  return (units + step - 1) & ~(step - 1);
}

#endif
