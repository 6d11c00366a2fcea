/* recycle.c - blocks for native callers, taken from the lists of freed blocks or else at the cursor.
 *
 * Freed blocks are linked to chains of up to CHAIN_MOST blocks: the first 8 bytes of a block hold the address of the
 * next one. Each size class has a list, a stack of chains that all threads share. Bytes 8 to 16 of a chain's first
 * block hold the number of the next chain and, above it, the chain's length. A chain's number is its offset in units
 * plus 1; 0 is none. The list's word holds the number of the newest chain and, above it, a tag that each push raises.
 * The first thread also has one chain of each small class to itself. It works on that without atomic exchanges, which
 * take half of the time of a call, and trades whole chains with the list.
 *
 * There is no lock, so a terminated thread leaves nothing behind but the blocks of its own chains. - A pop reads the
 * link of a chain that another thread may have taken since. These bytes are inside the region and committed, so they
 * can be read. The result is used only if the word is unchanged, tag included. - Listed blocks are below the cursor,
 * which moves back only over the last block. - A reset changes the epoch. Headers and own chains from before it are
 * invalid. A push that it overtakes lists nothing: the push compares the epoch after it has read the word, and the
 * reset changes the word after the epoch.
 */
#include "control.h"

#define LARGE_UNITS (RECYCLE_LARGE / RECYCLE_UNIT)
#define GIVEN_BACK_UNITS (UINT64_C(128) * 1024 / RECYCLE_UNIT) /* smaller ones cost more calls than their pages are worth */
#define IDLE_LIMIT (UINT64_C(64) << 20)          /* as much as glibc may keep at the top of its heap */
#define CHAIN_MOST 32

#define HOT static inline __attribute__((always_inline))
#define COLD static __attribute__((noinline))

/* ---- shared lists ------------------------------------------------------- */

/* The link in a block, to the next one of its chain. */
HOT unsigned char **next_in(unsigned char *block) { return (unsigned char **)(void *)block; }

/* The word in a chain's first block: the number of the next chain, and the length of this one. */
#define LENGTH_SHIFT 56
HOT uint64_t *link_in(unsigned char *block) { return (uint64_t *)(void *)block + 1; }

/* Races by design with plain writes of a thread that has taken the chain in the meantime. */
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#if defined(UNDER_TSAN)
__attribute__((noinline, no_sanitize("thread"))) static uint64_t peek(const uint64_t *link) {
  return *(const volatile uint64_t *)link;
}
#else
static uint64_t peek(const uint64_t *link) { return __atomic_load_n(link, __ATOMIC_RELAXED); }
#endif

static uint32_t epoch_of(region_t *region) { return atomic_load_explicit(&region->recycle->epoch, memory_order_acquire); }

/* Number of bits in a word that hold a chain's number. */
static unsigned number_bits(const region_t *region) { return recycle_log2(region->at.capacity / RECYCLE_UNIT) + 1; }

static uint64_t number_in(uint64_t word, unsigned bits) { return word & ((UINT64_C(1) << bits) - 1); }

static uint64_t number_of(const region_t *region, const unsigned char *block) {
  return (uint64_t)(block - region->at.base) / RECYCLE_UNIT + 1;
}

/* The chain of a number. NULL for 0, and for numbers that a program corrupted by writing to freed blocks: no link out
 * of the region is followed. */
static unsigned char *numbered(region_t *region, uint64_t number) {
  const bool valid = number != 0 && number <= get(&region->cursor) / RECYCLE_UNIT;
  return valid ? region->at.base + (number - 1) * RECYCLE_UNIT : NULL;
}

HOT bool is_used(region_t *region) { return atomic_load_explicit(&region->recycle->used, memory_order_relaxed) != 0; }

static void note_use(region_t *region) {
  if (!is_used(region)) atomic_store(&region->recycle->used, 1);
}

/* Lists a chain of blocks freed in this epoch. */
COLD void push(region_t *region, _Atomic uint64_t *list, unsigned char *first, uint64_t length, uint32_t epoch) {
  const unsigned bits = number_bits(region);
  note_use(region); /* before it reads the epoch; a reset does it the other way round, so one of the two sees the other */
  uint64_t word = get(list);
  do {
    if (atomic_load(&region->recycle->epoch) != epoch) return;
    *link_in(first) = number_in(word, bits) | length << LENGTH_SHIFT;
  } while (!swap(list, &word, ((word >> bits) + 1) << bits | number_of(region, first)));
}

/* Takes a chain; NULL if there is none. */
COLD unsigned char *pop(region_t *region, _Atomic uint64_t *list, uint64_t *length) {
  const unsigned bits = number_bits(region);
  uint64_t word = get(list), link;
  unsigned char *first;
  do {
    first = numbered(region, number_in(word, bits));
    if (first == NULL) return NULL;
    link = peek(link_in(first));
  } while (!swap(list, &word, word >> bits << bits | number_in(link, bits)));
  *length = link >> LENGTH_SHIFT;
  return first;
}

/* ---- one thread's chains ------------------------------------------------ */

HOT bool owns_chains(recycle_t *recycle) {
  return atomic_load_explicit(&recycle->owner, memory_order_relaxed) == os_thread();
}

HOT bool own_holds(recycle_own_t *own, uint32_t epoch) {
  return atomic_load_explicit(&own->epoch, memory_order_relaxed) == epoch;
}

HOT unsigned char *own_first(recycle_own_t *own) { return atomic_load_explicit(&own->first, memory_order_relaxed); }

HOT uint32_t own_length(recycle_own_t *own) { return atomic_load_explicit(&own->length, memory_order_relaxed); }

HOT void own_set(recycle_own_t *own, unsigned char *first, uint32_t length) {
  atomic_store_explicit(&own->first, first, memory_order_relaxed);
  atomic_store_explicit(&own->length, length, memory_order_relaxed);
}

/* The caller's chain of a list, off the hot path. Makes the caller the owner if there is none yet, and empties a chain
 * of another epoch. NULL if another thread is the owner. */
static recycle_own_t *own_chain(recycle_t *recycle, unsigned list, uint32_t epoch) {
  if (list >= RECYCLE_OWN) return NULL;
  uint64_t nobody = 0;
  atomic_compare_exchange_strong(&recycle->owner, &nobody, os_thread());
  if (!owns_chains(recycle)) return NULL;
  recycle_own_t *own = &recycle->own[list];
  if (!own_holds(own, epoch)) {
    own_set(own, NULL, 0);
    atomic_store_explicit(&own->epoch, epoch, memory_order_relaxed);
  }
  return own;
}

COLD void give_other(region_t *region, unsigned list, unsigned char *block, uint32_t epoch) {
  recycle_t *recycle = region->recycle;
  recycle_own_t *own = own_chain(recycle, list, epoch);
  note_use(region);
  *next_in(block) = NULL;
  if (own == NULL) {
    push(region, &recycle->lists[list], block, 1, epoch);
    return;
  }
  unsigned char *full = own_first(own);
  const uint32_t length = own_length(own);
  own_set(own, block, 1);
  if (length != 0) push(region, &recycle->lists[list], full, length, epoch);
}

/* The hot path of most calls. False if it does not suffice. */
HOT bool own_push(recycle_t *recycle, unsigned list, unsigned char *block, uint32_t epoch) {
  if (!owns_chains(recycle)) return false;
  recycle_own_t *own = &recycle->own[list];
  const uint32_t length = own_length(own);
  if (length == 0 || length >= CHAIN_MOST || !own_holds(own, epoch)) return false;
  *next_in(block) = own_first(own);
  own_set(own, block, length + 1);
  return true;
}

/* NULL if the hot path does not suffice. */
HOT unsigned char *own_pop(recycle_t *recycle, unsigned list, uint32_t epoch) {
  if (!owns_chains(recycle)) return NULL;
  recycle_own_t *own = &recycle->own[list];
  unsigned char *block = own_first(own);
  if (block == NULL || !own_holds(own, epoch)) return NULL;
  own_set(own, *next_in(block), own_length(own) - 1);
  return block;
}

static void give(region_t *region, unsigned list, unsigned char *block, uint32_t epoch) {
  if (list < RECYCLE_OWN && own_push(region->recycle, list, block, epoch)) return;
  give_other(region, list, block, epoch);
}

COLD unsigned char *serve_other(region_t *region, unsigned list) {
  uint64_t length;
  const uint32_t epoch = epoch_of(region);
  recycle_t *recycle = region->recycle;
  unsigned char *block = pop(region, &recycle->lists[list], &length);
  if (block == NULL) return NULL;
  unsigned char *rest = *next_in(block);
  if (rest == NULL) return block;
  recycle_own_t *own = own_chain(recycle, list, epoch);
  if (own != NULL) own_set(own, rest, (uint32_t)length - 1);
  else push(region, &recycle->lists[list], rest, length - 1, epoch);
  return block;
}

/* A freed block of the class. NULL when there is none. */
static unsigned char *serve(region_t *region, unsigned list) {
  if (!is_used(region)) return NULL;
  unsigned char *block = list < RECYCLE_OWN ? own_pop(region->recycle, list, epoch_of(region)) : NULL;
  return block != NULL ? block : serve_other(region, list);
}

/* ---- large blocks ------------------------------------------------------- */

/* Behind its links, a freed large block stores how many of its bytes may have pages. The page of the links stays. */
static uint64_t *idle_in(unsigned char *block) { return (uint64_t *)(void *)block + 2; }

/* Whole pages of these bytes go, and are zero after that. */
static void pages_back(unsigned char *start, uint64_t size) {
  const uint64_t page = os_page_size(), from = offset_padding((uintptr_t)start, page);
  if (from + page <= size) (void)os_discard(start + from, offset_round_down(size - from, page)); /* a refusal costs only RAM */
}

static void give_pages_back(unsigned char *block, uint64_t size) {
  const uint64_t kept = 3 * sizeof(uint64_t);
  *idle_in(block) = 0;
  pages_back(block + kept, size - kept);
}

/* The counter for a large block of this class. */
static _Atomic uint64_t *idle_of(region_t *region, unsigned class) {
  const bool all = GIVEN_BACK_UNITS == LARGE_UNITS;
  return all || class >= recycle_class(GIVEN_BACK_UNITS) ? &region->recycle->idle : &region->recycle->idle_less;
}

static void no_longer_idle(region_t *region, unsigned class, uint64_t size) {
  atomic_fetch_sub_explicit(idle_of(region, class), size, memory_order_relaxed);
}

static void give_large(region_t *region, unsigned class, unsigned char *block, uint64_t size, uint32_t epoch) {
  const uint64_t idle = atomic_fetch_add_explicit(idle_of(region, class), size, memory_order_relaxed);
  *idle_in(block) = size;
  if (idle + size > IDLE_LIMIT) {
    give_pages_back(block, size);
    no_longer_idle(region, class, size);
  }
  give(region, RECYCLE_SMALL + class, block, epoch);
}

/* Gives the pages of listed large blocks back. */
static void recycle_give_back(region_t *region) {
  if (atomic_load_explicit(&region->recycle->idle, memory_order_relaxed) <= region->recycle->spare) return;
  const uint32_t epoch = epoch_of(region);
  for (unsigned class = recycle_class(GIVEN_BACK_UNITS); class < RECYCLE_CLASSES; class++) {
    _Atomic uint64_t *list = &region->recycle->lists[RECYCLE_SMALL + class];
    uint64_t length;
    unsigned char *all = NULL;
    for (unsigned char *block; (block = pop(region, list, &length)) != NULL; all = block) {
      const uint64_t idle = *idle_in(block);
      if (idle != 0) give_pages_back(block, idle), no_longer_idle(region, class, idle);
      *next_in(block) = all;
    }
    for (unsigned char *block = all, *next; block != NULL; block = next) {
      next = *next_in(block);
      *next_in(block) = NULL;
      push(region, list, block, 1, epoch);
    }
  }
}

/* ---- blocks with a header ----------------------------------------------- */

/* The 8 bytes in front of a live block: its size in units, the padding in front of it when it was taken at the cursor,
 * and a check that identifies live blocks of this epoch. The header of a freed block is zero. */
#define HEADER ((uint64_t)sizeof(uint64_t))
#define CHECK_BITS 20
#define PADDING_BITS 4

HOT uint64_t header_for(const unsigned char *block, uint64_t units, uint64_t padding, uint32_t epoch) {
  const uint64_t says = units << PADDING_BITS | padding;
  const uint64_t check = says ^ (uint64_t)(uintptr_t)block / RECYCLE_UNIT ^ epoch;
  return says << CHECK_BITS | (check & ((UINT64_C(1) << CHECK_BITS) - 1));
}

HOT uint64_t *header_of(unsigned char *block) { return (uint64_t *)(void *)(block - HEADER); }

HOT void *finish(unsigned char *block, uint64_t units, uint64_t padding, uint32_t epoch) {
  *header_of(block) = header_for(block, units, padding, epoch);
  return block;
}

/* A live block, by its header. */
typedef struct {
  uint64_t units; /* 0: not a live block of this region */
  uint64_t padding, end; /* offset of the byte behind it */
  uint32_t epoch;
} headed_t;

/* Reads nothing before it has checked that the bytes are taken. */
HOT headed_t headed_at(region_t *region, unsigned char *block, uint64_t *cursor) {
  const headed_t none = {0, 0, 0, 0};
  if (region == NULL) return none;
  const uint64_t offset = (uint64_t)((uintptr_t)block - (uintptr_t)region->at.base); /* huge when below the region */
  *cursor = get(&region->cursor);
  if (offset < RECYCLE_UNIT || offset > *cursor || offset % RECYCLE_UNIT != 0) return none;
  const uint64_t header = *header_of(block), units = header >> (CHECK_BITS + PADDING_BITS);
  const uint64_t padding = header >> CHECK_BITS & (RECYCLE_UNIT - 1), end = offset - HEADER + units * RECYCLE_UNIT;
  const uint32_t epoch = epoch_of(region);
  if (units == 0 || end > *cursor || header != header_for(block, units, padding, epoch)) return none;
  return (headed_t){units, padding, end, epoch};
}

#define SIZE_LIMIT (UINT64_C(1) << 43) /* 8 TiB, the largest size that fits in a header */

/* Units for a block of `size` bytes, with room for the header, and for both links once it is freed. */
HOT uint64_t least_units(size_t size) { return (offset_max(size, 2 * HEADER) + HEADER + RECYCLE_UNIT - 1) / RECYCLE_UNIT; }

/* The class for a size; *units becomes the size of the class. */
HOT unsigned class_for(uint64_t *units) {
  if (*units <= RECYCLE_SMALL_UNITS) {
    const unsigned class = recycle_small_class[*units];
    *units = recycle_small_units[class];
    return class;
  }
  *units = recycle_round_up(*units);
  return recycle_class(*units);
}

COLD void *headed_bump(region_t *region, size_t size, uint64_t units, unsigned char **fresh) {
  uint64_t padding;
  unsigned char *start = take(region, units * RECYCLE_UNIT, RECYCLE_UNIT, HEADER, fresh, &padding);
  if (start == NULL) { /* there may be room for the size without rounding */
    units = least_units(size);
    start = take(region, units * RECYCLE_UNIT, RECYCLE_UNIT, HEADER, fresh, &padding);
  }
  return start == NULL ? NULL : finish(start + HEADER, units, padding, epoch_of(region));
}

/* A freed block of the class. NULL when there is none. */
static void *headed_again(region_t *region, uint64_t units, unsigned class) {
  if (class >= RECYCLE_CLASSES) return NULL;
  unsigned char *block = serve(region, RECYCLE_SMALL + class);
  if (block == NULL) return NULL;
  if (units >= LARGE_UNITS) no_longer_idle(region, class, *idle_in(block));
  return finish(block, units, 0, epoch_of(region));
}

/* Takes a block; bytes from *fresh upwards are zero. NULL when the region is full. */
static void *headed_take(region_t *region, size_t size, unsigned char **fresh) {
  if (region == NULL || size >= SIZE_LIMIT) return NULL;
  uint64_t units = least_units(size);
  const unsigned class = class_for(&units);
  unsigned char *block = headed_again(region, units, class);
  if (block == NULL) return headed_bump(region, size, units, fresh);
  *fresh = block + size;
  return block;
}

COLD void *headed_alloc_other(region_t *region, size_t size) {
  unsigned char *fresh;
  return headed_take(region, size, &fresh);
}

static void *headed_alloc(bump_t *bump, size_t size) {
  region_t *region = region_of(bump);
  if (region != NULL && size <= RECYCLE_SMALL_UNITS * RECYCLE_UNIT - HEADER) {
    const uint32_t epoch = epoch_of(region);
    const unsigned class = recycle_small_class[least_units(size)];
    unsigned char *block = own_pop(region->recycle, RECYCLE_SMALL + class, epoch);
    if (block != NULL) return finish(block, recycle_small_units[class], 0, epoch);
  }
  return headed_alloc_other(region, size);
}

static void *headed_alloc_zeroed(bump_t *bump, size_t size) {
  unsigned char *fresh, *block = headed_take(region_of(bump), size, &fresh);
  if (block != NULL && fresh > block) os_clear(block, offset_min(size, (uint64_t)(fresh - block)));
  return block;
}

COLD void headed_free_other(region_t *region, unsigned char *block) {
  uint64_t cursor;
  const headed_t freed = headed_at(region, block, &cursor);
  if (freed.units == 0) return;
  *header_of(block) = 0; /* before another thread can take it */
  const uint64_t size = freed.units * RECYCLE_UNIT;
  if (freed.end == cursor && move_cursor(region, cursor, cursor - size - freed.padding)) return;
  const unsigned class = recycle_class(freed.units);
  if (freed.units < LARGE_UNITS) give(region, RECYCLE_SMALL + class, block, freed.epoch);
  else if (class < RECYCLE_CLASSES) give_large(region, class, block, size - HEADER, freed.epoch);
  else give_pages_back(block, size - HEADER);
}

static void headed_free(bump_t *bump, void *block) {
  region_t *region = region_of(bump);
  uint64_t cursor;
  const headed_t freed = headed_at(region, block, &cursor);
  if (freed.units == 0) return;
  if (freed.end != cursor && freed.units <= RECYCLE_SMALL_UNITS) {
    const unsigned list = RECYCLE_SMALL + recycle_small_class[freed.units];
    if (own_push(region->recycle, list, block, freed.epoch)) {
      *header_of(block) = 0;
      return;
    }
  }
  headed_free_other(region, block);
}

/* Prefers a freed block to the bytes behind the last one: blocks that always grew into these would leave ever more
 * large blocks behind, and take ever more small ones. */
static void *headed_resize(bump_t *bump, void *block, size_t size) {
  uint64_t cursor;
  unsigned char *fresh;
  region_t *region = region_of(bump);
  if (block == NULL) return headed_alloc(bump, size);
  const headed_t old = headed_at(region, block, &cursor);
  if (old.units == 0 || size >= SIZE_LIMIT) return NULL;
  uint64_t units = least_units(size);
  const unsigned class = class_for(&units);
  if (units <= old.units && units > old.units / 2) return block; /* it keeps the rest, and may grow into it again */
  void *moved = headed_again(region, units, class);
  if (moved == NULL) {
    const uint64_t least = least_units(size);
    if (resize_last(region, header_of(block), old.units * RECYCLE_UNIT, units * RECYCLE_UNIT)) {
      return finish(block, units, old.padding, old.epoch);
    }
    if (resize_last(region, header_of(block), old.units * RECYCLE_UNIT, least * RECYCLE_UNIT)) {
      return finish(block, least, old.padding, old.epoch);
    }
    moved = headed_bump(region, size, units, &fresh);
    if (moved == NULL) return units < old.units ? block : NULL;
  }
  os_copy(moved, block, offset_min(units, old.units) * RECYCLE_UNIT - HEADER);
  headed_free(bump, block);
  return moved;
}

static size_t headed_usable(bump_t *bump, void *block) {
  uint64_t cursor;
  const uint64_t units = headed_at(region_of(bump), block, &cursor).units;
  return units == 0 ? 0 : (size_t)(units * RECYCLE_UNIT - HEADER);
}

/* The usable size without the check, for callers that only ask about their own blocks. 0 for addresses outside of the
 * region. */
static size_t headed_usable_as_said(bump_t *bump, void *block) {
  region_t *region = region_of(bump);
  if (region == NULL) return 0;
  const uint64_t offset = (uint64_t)((uintptr_t)block - (uintptr_t)region->at.base);
  if (offset < RECYCLE_UNIT || offset > get(&region->cursor)) return 0;
  return (size_t)((*header_of(block) >> (CHECK_BITS + PADDING_BITS)) * RECYCLE_UNIT - HEADER);
}

/* ---- blocks without a header --------------------------------------------- */

#define BARE_LIMIT (RECYCLE_SMALL_UNITS * RECYCLE_UNIT)

/* The class of a size from 1 to BARE_LIMIT. */
HOT unsigned bare_class(size_t size) { return recycle_small_class[(size + RECYCLE_UNIT - 1) / RECYCLE_UNIT]; }

HOT uint64_t bare_bytes(unsigned class) { return recycle_small_units[class] * RECYCLE_UNIT; }

COLD void *bare_alloc_other(region_t *region, unsigned class) {
  uint64_t padding;
  unsigned char *fresh, *block = serve(region, class);
  return block != NULL ? block : take(region, bare_bytes(class), RECYCLE_UNIT, 0, &fresh, &padding);
}

HOT void *bare_alloc(bump_t *bump, size_t size) {
  region_t *region = region_of(bump);
  if (region == NULL) return NULL;
  const unsigned class = bare_class(size);
  unsigned char *block = own_pop(region->recycle, class, epoch_of(region));
  return block != NULL ? block : bare_alloc_other(region, class);
}

COLD void bare_free_other(region_t *region, unsigned char *block, unsigned class, uint32_t epoch) {
  const uint64_t start = (uint64_t)(block - region->at.base);
  if (!move_cursor(region, start + bare_bytes(class), start)) give(region, class, block, epoch);
}

HOT void bare_free(bump_t *bump, void *block, size_t size) {
  region_t *region = region_of(bump);
  if (region == NULL) return;
  const unsigned class = bare_class(size);
  const uint32_t epoch = epoch_of(region);
  const uint64_t offset = (uint64_t)((uintptr_t)block - (uintptr_t)region->at.base), cursor = get(&region->cursor);
  const uint64_t end = offset + bare_bytes(class);
  if (offset > cursor || end > cursor || offset % RECYCLE_UNIT != 0) return;
  if (end == cursor || !own_push(region->recycle, class, block, epoch)) bare_free_other(region, block, class, epoch);
}

/* Like headed_resize. */
static void *bare_resize(bump_t *bump, void *block, size_t old_size, size_t size) {
  region_t *region = region_of(bump);
  const unsigned old = bare_class(old_size), class = bare_class(size);
  if (class == old || region == NULL) return class == old ? block : NULL;
  uint64_t padding;
  unsigned char *fresh, *moved = serve(region, class);
  if (moved == NULL) {
    if (resize_last(region, block, bare_bytes(old), bare_bytes(class))) return block;
    moved = take(region, bare_bytes(class), RECYCLE_UNIT, 0, &fresh, &padding);
    if (moved == NULL) return class < old ? block : NULL;
  }
  os_copy(moved, block, offset_min(bare_bytes(class), bare_bytes(old)));
  bare_free(bump, block, old_size);
  return moved;
}

/* ---- reset -------------------------------------------------------------- */

/* Forgets all blocks. Tags keep rising, so that an exchange which this overtakes fails. */
static void recycle_reset(region_t *region) {
  const unsigned bits = number_bits(region);
  recycle_t *recycle = region->recycle;
  atomic_fetch_add(&recycle->epoch, UINT32_C(0x9e3779b1)); /* odd: all 2^32 values occur; neighbours differ much */
  set(&recycle->owner, 0);
  if (atomic_load(&recycle->used) == 0) return;
  atomic_store(&recycle->used, 0);
  for (unsigned i = 0; i < RECYCLE_LISTS; i++) set(&recycle->lists[i], ((get(&recycle->lists[i]) >> bits) + 1) << bits);
  set(&recycle->idle, 0);
  set(&recycle->idle_less, 0);
}
