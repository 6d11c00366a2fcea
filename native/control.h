/* control.h - the structures behind a bump_t, and the words that several threads write.
 *
 * Several instances of this library (each Worker loads its own copy) reach a region by its address. Three rules keep
 * this safe: - a chunk that ever held a shared region stays mapped while the process lives; once its instance and its
 * last region are gone, its pages are zeroed, and zeros are refused as stale; - generation and number of holds are one
 * word, so a hold is only added to the very region whose key was compared;
 *  - everything reached through a region lives in mapped memory, never in an instance's statics.
 */
#ifndef BUMP_CONTROL_H
#define BUMP_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "bump.h"
#include "offset.h"
#include "os.h"
#include "recycle.h"

_Static_assert(sizeof(size_t) == 8 && sizeof(void *) == 8, "offsets, sizes and addresses share one width");

typedef struct region region_t;
typedef struct chunk chunk_t;
typedef struct instance instance_t;
typedef struct { _Atomic uint32_t taken; } spin_t;

/* Addresses for a region. */
typedef struct {
  unsigned char *base;
  uint64_t room;     /* bytes at `base` that are ours: the capacity, a guard page, and room to move up into */
  uint64_t capacity; /* whole pages; 0 for a remainder too small for a region */
  uint32_t flags;
  bool whole;        /* all of one os_reserve, else a part */
} mapping_t;

/* The common beginning of regions and holds. */
typedef struct block {
  _Atomic uint64_t magic; /* magic_of() while it is alive */
  chunk_t *chunk;
  struct block *next_free;
} block_t;

struct region {
  _Alignas(64) block_t block;
  _Atomic uint64_t key;   /* 0 until shared */
  _Atomic uint64_t state; /* generation << 32 | excluded << 31 | number of holds */
  mapping_t at;           /* fixed, except in bump_reset, which excludes all others */
  recycle_t *recycle;     /* belongs to the block for good */
  mapping_t next;         /* the place of the next move; `room` is 0 if there is none yet */

  _Alignas(64) _Atomic uint64_t cursor; /* has a cache line of its own, because every thread writes it */

  _Alignas(64) _Atomic uint64_t committed;
  _Atomic uint64_t high;      /* the cursor's highest value ever */
  _Atomic uint64_t kept_from; /* the kept span; none while kept_to is 0 */
  _Atomic uint64_t kept_to;
  _Atomic uint64_t populated;      /* pages below were made resident for native blocks */
  _Atomic uint64_t populate_limit; /* pages above were given back once: not populated in advance */
  _Atomic uint64_t lost;      /* bytes below stay accessible: a thread that held the region has ended */
};

struct bump { /* a hold */
  _Alignas(64) block_t block;
  region_t *region;
  uint64_t thread;       /* 0: held for ever, by no thread */
  instance_t *instance;
  bump_t *previous, *next; /* the instance's other holds */
};

static inline void lock(spin_t *spin) {
  while (atomic_exchange_explicit(&spin->taken, 1, memory_order_acquire) != 0) os_yield();
}

static inline void unlock(spin_t *spin) { atomic_store_explicit(&spin->taken, 0, memory_order_release); }

static inline uint64_t get(_Atomic uint64_t *value) { return atomic_load_explicit(value, memory_order_acquire); }

static inline void set(_Atomic uint64_t *value, uint64_t to) {
  atomic_store_explicit(value, to, memory_order_release);
}

static inline bool swap(_Atomic uint64_t *value, uint64_t *expected, uint64_t to) {
  return atomic_compare_exchange_weak_explicit(value, expected, to, memory_order_acq_rel, memory_order_acquire);
}

/* Returns the value before. */
static inline uint64_t raise_to(_Atomic uint64_t *value, uint64_t to) {
  uint64_t seen = get(value);
  while (seen < to && !swap(value, &seen, to)) {}
  return seen;
}

static inline void lower_to(_Atomic uint64_t *value, uint64_t to) {
  uint64_t seen = get(value);
  while (seen > to && !swap(value, &seen, to)) {}
}

static inline int32_t system_error(int code) { return BUMP_SYSTEM - code; }

/* control.c */
static region_t *region_of(bump_t *bump); /* NULL if stale */
static bump_t *hold_for_ever(bump_t *bump); /* a hold that nothing drops; NULL if stale or without memory */

/* recycle.c */
static void recycle_reset(region_t *region);     /* its bytes were taken back, so the freed blocks are forgotten */
static void recycle_give_back(region_t *region); /* gives the pages of freed large blocks back */

#endif
