/* bump.c - regions: their addresses, their cursor, their pages. */
#include "control.h"

#define COMMIT_STEP ((uint64_t)256 * 1024)  /* one mprotect (about 1 us) for many small blocks */
#define HIGH_STEP ((uint64_t)4096)
#define POPULATE_BLOCK ((uint64_t)16 * 1024) /* larger blocks are often used in part, as zlib's for a short text */
#define POPULATE_LEAST ((uint64_t)64 * 1024)
#define POPULATE_MOST ((uint64_t)2 * 1024 * 1024)
#define HUGE_PAGE ((uint64_t)2 * 1024 * 1024)

/* ---- the machine ------------------------------------------------------- */

uint32_t bump_abi(void) { return ABI_VERSION; }

double bump_page_size(void) { return (double)os_page_size(); }

void *bump_pointer(double address) {
  uint64_t at;
  return offset_from_double(address, &at) ? (void *)(uintptr_t)at : NULL;
}

/* ---- addresses --------------------------------------------------------- */

/* A region takes two or three mappings. Counting the mappings of the process takes 0.4 us for each, so it is done only
 * after a number of reservations: 64 at first, so that start-up counts none, then a sixteenth of the mappings left,
 * from 64 to 4096. */
static bool mappings_left(void) {
  static _Atomic int64_t unchecked;
  if (atomic_fetch_add(&unchecked, 1) < 64) return true;
  const size_t left = os_mappings_left();
  limit_waiting(left);
  atomic_store(&unchecked, left == 0 ? 64 : 64 - (int64_t)offset_min(offset_max(left / 16, 64), 4096));
  return left != 0;
}

/* The code for memory that the system refuses. Near its limit of mappings, that limit is the reason. */
static int32_t refusal(int error) {
  return error == OS_NO_MEMORY && os_mappings_left() == 0 ? BUMP_MAPPINGS : system_error(error);
}

static uint64_t grain_of(uint32_t flags) { return (flags & BUMP_HUGE_PAGES) != 0 ? HUGE_PAGE : os_page_size(); }

static uint64_t reserved_size(uint64_t capacity) { return capacity + os_page_size(); } /* with the guard page */

/* Reserves a region, with `slack` further bytes to move up into if the system has them. */
static int reserve(uint64_t capacity, uint64_t slack, uint32_t flags, mapping_t *at) {
  void *base;
  const uint64_t size = reserved_size(capacity) + slack; /* at most 2^54 + two pages */
  const int error = os_reserve(size, grain_of(flags), &base);
  if (error != 0) return slack != 0 ? reserve(capacity, 0, flags, at) : error;
  if ((flags & BUMP_HUGE_PAGES) != 0) os_huge_pages(base, size);
  *at = (mapping_t){base, size, capacity, flags, true};
  return 0;
}

static int32_t map_fresh(uint64_t capacity, uint64_t slack, uint32_t flags, mapping_t *at) {
  if (!mappings_left() && !(unmap_retired() && mappings_left())) return BUMP_MAPPINGS;
  int error = reserve(capacity, slack, flags, at);
  if (error != 0 && unmap_retired()) error = reserve(capacity, slack, flags, at);
  return error == 0 ? BUMP_OK : refusal(error);
}

static bool range(const region_t *region, double from, double to, uint64_t *start, uint64_t *end) {
  if (!offset_from_double(from, start) || !offset_from_double(to, end)) return false;
  return *start <= *end && *end <= region->at.capacity;
}

/* Sets the region to these addresses, with nothing taken or kept. */
static void start_at(region_t *region, mapping_t at, uint64_t committed, uint64_t high, uint64_t lost) {
  region->at = at;
  region->next = (mapping_t){0};
  set(&region->cursor, 0);
  set(&region->committed, committed);
  set(&region->high, high);
  set(&region->kept_from, at.capacity);
  set(&region->kept_to, 0);
  set(&region->lost, lost);
  set(&region->populated, 0);
  set(&region->populate_limit, at.capacity);
}

/* ---- committing -------------------------------------------------------- */

/* Makes [0, end) accessible. It commits from a watermark below which all is committed, and raises the watermark only
 * after success. Threads that race commit the same pages twice at worst. */
static int commit_to(region_t *region, uint64_t end) {
  const uint64_t committed = get(&region->committed);
  if (end <= committed) return 0;
  const int error = os_commit(region->at.base + committed, end - committed);
  if (error == 0) raise_to(&region->committed, end);
  return error;
}

/* Commits in steps of `unit`, or of pages if the system does not have that much. */
static int commit_units(region_t *region, uint64_t end, uint64_t unit) {
  /* The capacity is at most 2^53 and a multiple of pages, so rounding neither wraps nor splits a page. */
  const int error = commit_to(region, offset_min(offset_round_up(end, unit), region->at.capacity));
  if (error == 0 || unit == os_page_size()) return error;
  return commit_to(region, offset_round_up(end, os_page_size()));
}

static int commit(region_t *region, uint64_t end, uint64_t unit) {
  if (end <= get(&region->committed)) return 0;
  const int error = commit_units(region, end, offset_max(unit, grain_of(region->at.flags)));
  return error != 0 && unmap_retired() ? commit_units(region, end, os_page_size()) : error;
}

/* ---- life of a region -------------------------------------------------- */

bump_t *bump_create(double capacity, uint32_t flags, bump_region_t *to) {
  uint64_t wanted;
  if (!offset_from_double(capacity, &wanted) || wanted == 0 || (flags & ~(uint32_t)BUMP_HUGE_PAGES) != 0) {
    return refuse(to, BUMP_INVALID);
  }
  const uint64_t size = offset_round_up(wanted, os_page_size());
  retired_t from = {0};
  const int32_t code = take_retired(size, flags, &from) ? BUMP_OK : map_fresh(size, 0, flags, &from.at);
  if (code != BUMP_OK) return refuse(to, code);
  region_t *region = region_take();
  if (region == NULL) {
    unmap(&from);
    return refuse(to, system_error(OS_NO_MEMORY));
  }
  start_at(region, from.at, from.committed, from.high, 0);
  recycle_reset(region);
  set(&region->key, 0);
  set(&region->block.magic, magic_of(region));
  set(&region->state, (get(&region->state) & ~(GENERATION - 1)) + 1);
  return entered(region, to);
}

int32_t bump_keep(bump_t *bump, double from, double to) {
  uint64_t start, end;
  region_t *region = region_of(bump);
  if (region == NULL) return BUMP_STALE;
  if (!range(region, from, to, &start, &end)) return BUMP_INVALID;
  if (start == end) return BUMP_OK;
  lower_to(&region->kept_from, start);
  raise_to(&region->kept_to, end);
  return BUMP_OK;
}

/* Distance that the region must move up in its mapping to clear its kept bytes; 0 if there is no room. */
static uint64_t step_up(region_t *region) {
  const uint64_t up = offset_round_up(kept_span(region).to, grain_of(region->at.flags));
  return up + reserved_size(region->at.capacity) <= region->at.room ? up : 0;
}

static int32_t prepare_move(region_t *region) {
  if (step_up(region) != 0 || region->next.room != 0) return BUMP_OK;
  return map_fresh(region->at.capacity, region->at.capacity, region->at.flags, &region->next);
}

/* Moves the region to new addresses: within its mapping if there is room, so that kept bytes lie side by side. */
static int32_t move(region_t *region) {
  const uint64_t up = step_up(region);
  const int32_t code = prepare_move(region);
  if (code != BUMP_OK) return code;
  mapping_t at = region->at, next = region->next;
  if (up != 0) {
    const uint64_t high = forget_pages(region) ? 0 : less(get(&region->high), up);
    leave_below(region);
    at = (mapping_t){at.base + up, at.room - up, at.capacity, at.flags, false};
    start_at(region, at, less(get(&region->committed), up), high, less(get(&region->lost), up));
    region->next = next;
  } else {
    region->next.room = 0;
    retire(region);
    start_at(region, next, 0, 0, 0);
  }
  return BUMP_MOVED;
}

static void rewind_to(region_t *region, uint64_t target) {
  uint64_t seen = get(&region->cursor);
  while (target <= seen && !swap(&region->cursor, &seen, target)) {}
}

int32_t bump_reset(bump_t *bump, double cursor, bool may_move, bump_region_t *to) {
  uint64_t target;
  int32_t code = BUMP_OK;
  region_t *region = region_of(bump);
  if (region == NULL) code = BUMP_STALE;
  /* Only back, because bytes above may not be committed. */
  else if (!offset_from_double(cursor, &target) || target > get(&region->cursor)) code = BUMP_INVALID;
  else if (!exclude(region)) code = BUMP_SHARED;
  if (code == BUMP_OK) {
    if (kept_span(region).to == 0) rewind_to(region, target);
    else code = may_move ? move(region) : BUMP_SHARED;
    if (code >= BUMP_OK) {
      recycle_reset(region);
      describe(region, to);
    }
    readmit(region);
  }
  if (code < BUMP_OK) (void)refuse(to, code);
  return code;
}

int32_t bump_prepare_reset(bump_t *bump) {
  region_t *region = region_of(bump);
  if (region == NULL) return BUMP_STALE;
  if (!exclude(region)) return BUMP_SHARED;
  const int32_t code = kept_span(region).to != 0 ? prepare_move(region) : BUMP_OK;
  readmit(region);
  return code;
}

/* ---- push -------------------------------------------------------------- */

int32_t bump_take(bump_t *bump, double minimum, double preferred, double align, bump_chunk_t *chunk) {
  uint64_t least, most, alignment, start, end;
  region_t *region = region_of(bump);
  if (region == NULL) return BUMP_STALE;
  if (!offset_from_double(minimum, &least) || !offset_from_double(preferred, &most) || least > most ||
      !offset_from_double(align, &alignment) || !offset_is_power_of_two(alignment)) {
    return BUMP_INVALID;
  }
  uint64_t cursor = get(&region->cursor);
  for (;;) {
    if (!offset_take((uintptr_t)region->at.base, cursor, region->at.capacity, least, most, alignment, &start, &end)) {
      return BUMP_FULL;
    }
    if (end == start) break; /* nothing to take, not even padding */
    const int error = commit(region, end, 1);
    if (error != 0 && end - start <= least) return refusal(error);
    if (error != 0) most = least; /* the system may have this much */
    else if (swap(&region->cursor, &cursor, end)) break;
  }
  /* After the exchange: whoever used these bytes before raised `high` before giving them back. */
  const uint64_t high = end == start ? end : raise_to(&region->high, end);
  chunk->start = (double)start;
  chunk->end = (double)end;
  chunk->fresh_from = (double)offset_max(start, offset_min(high, end));
  return BUMP_OK;
}

/* The address of an empty block: aligned and not NULL, even when the region is full. It is never read or written. */
static void *empty_block(region_t *region, uint64_t align) {
  uint64_t start, end;
  const uint64_t cursor = get(&region->cursor);
  if (!offset_take((uintptr_t)region->at.base, cursor, region->at.capacity, 0, 0, align, &start, &end)) {
    return (void *)(uintptr_t)align;
  }
  return region->at.base + start;
}

/* Runs when native blocks reach beyond the pages that are ready. Commits up to `end`. For small blocks it also makes
 * the next pages resident in one call, which costs a fraction of their faults; steps grow with the bytes in use. */
static int prepare(region_t *region, uint64_t start, uint64_t end) {
  const uint64_t step = offset_min(offset_max(end / 4, POPULATE_LEAST), POPULATE_MOST), page = os_page_size();
  const uint64_t to = offset_min(offset_round_up(end + step, grain_of(region->at.flags)), get(&region->populate_limit));
  uint64_t ready = get(&region->populated);
  if (end > get(&region->high)) recycle_give_back(region); /* idle pages would add to the peak */
  if (end - start >= POPULATE_BLOCK || to < end || commit(region, to, 1) != 0) return commit(region, end, COMMIT_STEP);
  while (ready < to) {
    if (!swap(&region->populated, &ready, to)) continue;
    const uint64_t from = offset_max(ready, offset_round_down(start, page));
    os_populate(region->at.base + from, to - from);
    break;
  }
  return 0;
}

/* Takes a block of at least one byte, whose first `before` bytes lie in front of the aligned address. NULL when full.
 * Bytes from *fresh upwards were never used, and *padding bytes lie between the cursor and the block. */
static unsigned char *take(
  region_t *region, size_t size, size_t align, size_t before, unsigned char **fresh, uint64_t *padding
) {
  uint64_t start, end;
  unsigned char *base = region->at.base;
  uint64_t cursor = get(&region->cursor);
  do {
    if (!offset_take((uintptr_t)base + before, cursor, region->at.capacity, size, size, align, &start, &end)) return NULL;
    if (end > get(&region->populated) && prepare(region, start, end) != 0) return NULL;
  } while (!swap(&region->cursor, &cursor, end));
  /* After the exchange, because earlier users of these bytes raised `high` before giving them back. It rises in steps,
   * so that most blocks need no second exchange. */
  uint64_t high = get(&region->high);
  if (high < end) high = raise_to(&region->high, offset_min(offset_round_up(end, HIGH_STEP), region->at.capacity));
  *fresh = base + offset_max(start, offset_min(high, end));
  *padding = start - cursor;
  return base + start;
}

void *bump_alloc(bump_t *bump, size_t size, size_t align) {
  unsigned char *fresh;
  uint64_t padding;
  region_t *region = region_of(bump);
  if (region == NULL || !offset_is_power_of_two(align)) return NULL;
  return size == 0 ? empty_block(region, align) : take(region, size, align, 0, &fresh, &padding);
}

void *bump_alloc_zeroed(bump_t *bump, size_t size, size_t align) {
  unsigned char *fresh;
  uint64_t padding;
  region_t *region = region_of(bump);
  if (region == NULL || !offset_is_power_of_two(align)) return NULL;
  if (size == 0) return empty_block(region, align);
  unsigned char *block = take(region, size, align, 0, &fresh, &padding);
  if (block != NULL && fresh != block) os_clear(block, (size_t)(fresh - block));
  return block;
}

/* ---- pop --------------------------------------------------------------- */

static bool move_cursor(region_t *region, uint64_t from, uint64_t to) {
  return atomic_compare_exchange_strong_explicit(&region->cursor, &from, to, memory_order_acq_rel, memory_order_acquire);
}

int32_t bump_give(bump_t *bump, double from, double to) {
  uint64_t start, end;
  region_t *region = region_of(bump);
  if (region == NULL) return BUMP_STALE;
  if (!range(region, from, to, &start, &end)) return BUMP_INVALID;
  return move_cursor(region, end, start);
}

static bool resize_last(region_t *region, const void *block, size_t old_size, size_t new_size) {
  uint64_t old_end, new_end;
  const uint64_t capacity = region->at.capacity;
  const uint64_t start = (uint64_t)((uintptr_t)block - (uintptr_t)region->at.base); /* huge when below: refused */
  if (!offset_resize(start, capacity, old_size, &old_end)) return false;
  if (old_end != get(&region->cursor) || !offset_resize(start, capacity, new_size, &new_end)) return false;
  if (new_end > get(&region->populated) && prepare(region, start, new_end) != 0) return false;
  if (!move_cursor(region, old_end, new_end)) return false;
  raise_to(&region->high, new_end);
  return true;
}

int32_t bump_resize_last(bump_t *bump, void *block, size_t old_size, size_t new_size) {
  region_t *region = region_of(bump);
  return region != NULL && resize_last(region, block, old_size, new_size);
}

/* ---- pages ------------------------------------------------------------- */

int32_t bump_discard(bump_t *bump, double from, double to) {
  uint64_t start, end;
  region_t *region = region_of(bump);
  if (region == NULL) return BUMP_STALE;
  if (!range(region, from, to, &start, &end)) return BUMP_INVALID;
  start = offset_round_up(start, os_page_size());
  end = offset_min(offset_round_down(end, os_page_size()), get(&region->committed));
  if (start >= end) return BUMP_OK;
  lower_to(&region->populated, start);
  lower_to(&region->populate_limit, start);
  const int error = os_discard(region->at.base + start, end - start);
  return error == 0 ? BUMP_OK : system_error(error);
}

int32_t bump_prefault(bump_t *bump, double from, double to) {
  uint64_t start, end;
  region_t *region = region_of(bump);
  if (region == NULL) return BUMP_STALE;
  if (!range(region, from, to, &start, &end)) return BUMP_INVALID;
  if (start == end) return BUMP_OK;
  int error = commit(region, end, 1);
  start = offset_round_down(start, os_page_size());
  end = offset_round_up(end, os_page_size());
  if (error == 0) error = os_prefault(region->at.base + start, end - start);
  return error == 0 ? BUMP_OK : refusal(error);
}

double bump_resident(bump_t *bump) {
  size_t bytes = 0;
  region_t *region = region_of(bump);
  if (region == NULL) return BUMP_STALE;
  const uint64_t end = get(&region->committed);
  const int error = end == 0 ? 0 : os_resident(region->at.base, end, &bytes);
  return error == 0 ? (double)bytes : system_error(error);
}

/* ---- state ------------------------------------------------------------- */

void *bump_base(bump_t *bump) {
  region_t *region = region_of(bump);
  return region != NULL ? region->at.base : NULL;
}

double bump_capacity(bump_t *bump) {
  region_t *region = region_of(bump);
  return region != NULL ? (double)region->at.capacity : (double)BUMP_STALE;
}

double bump_cursor(bump_t *bump) {
  region_t *region = region_of(bump);
  return region != NULL ? (double)get(&region->cursor) : (double)BUMP_STALE;
}

double bump_committed(bump_t *bump) {
  region_t *region = region_of(bump);
  return region != NULL ? (double)get(&region->committed) : (double)BUMP_STALE;
}

int32_t bump_owns(bump_t *bump, const void *start, size_t size) {
  region_t *region = region_of(bump);
  if (region == NULL) return 0;
  const uint64_t from = (uint64_t)((uintptr_t)start - (uintptr_t)region->at.base); /* huge when below: refused */
  const uint64_t cursor = get(&region->cursor);
  return from <= cursor && size <= cursor - from;
}
