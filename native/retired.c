/* retired.c - the addresses of ended regions wait here, readable and writable, because native code may still use them.
 * They are reused for the next region of their size, or unmapped. */
#include "control.h"

enum {
  MOST_WAITING = 1024,
  FEW_WAITING = 16,       /* this many may wait for longer than a second */
  SECOND = 1000,          /* ms: how long each waits, unless too many do */
  UNMAPPED_AT_ONCE = 4,   /* most that one call unmaps because of their age */
  MAPPINGS_TO_SPARE = 20000,
};
#define MOST_CHARGED ((uint64_t)64 * 1024 * 1024) /* most committed bytes that wait, if they count against a limit */
#define SPARE ((uint64_t)1024 * 1024)             /* a smaller remainder stays mapped, to save a mapping */

typedef struct {
  mapping_t at;
  uint64_t committed, high, since;
} retired_t;

/* The waiting regions of this instance, first in, first out. Guarded by instance.lock. */
static struct {
  retired_t ring[MOST_WAITING];
  size_t oldest, count;
  size_t fewer; /* how many fewer than MOST_WAITING may wait, if mappings are short */
  uint64_t committed;
} waiting;

static retired_t *nth(size_t index) { return &waiting.ring[(waiting.oldest + index) % MOST_WAITING]; }

/* Under the lock. */
static retired_t waiting_remove(size_t index) {
  const retired_t found = *nth(index);
  for (; index > 0; index--) *nth(index) = *nth(index - 1);
  waiting.oldest = (waiting.oldest + 1) % MOST_WAITING;
  waiting.count--;
  waiting.committed -= found.committed;
  return found;
}

static bool waiting_add(const retired_t *one) {
  lock(&instance.lock);
  const bool room = waiting.count < MOST_WAITING;
  if (room) {
    *nth(waiting.count++) = *one;
    waiting.committed += one->committed;
  }
  unlock(&instance.lock);
  return room;
}

static bool too_many(void) {
  return waiting.count >= MOST_WAITING - waiting.fewer || (waiting.committed > MOST_CHARGED && os_charges_committed());
}

/* Each takes two mappings. Those of one Worker may take at most a twenty-fifth of the mappings left. */
static void limit_waiting(size_t mappings_left) {
  const size_t most = offset_min(offset_max(mappings_left / 50, FEW_WAITING), MOST_WAITING);
  lock(&instance.lock);
  waiting.fewer = MOST_WAITING - most;
  unlock(&instance.lock);
}

static void unmap(const retired_t *one) { (void)os_release(one->at.base, one->at.room, one->at.whole); }

/* Unmaps the oldest if it may go: because too many wait, or because more than a few have waited long enough. */
static bool unmap_oldest(bool any_age, uint64_t now) {
  retired_t one;
  lock(&instance.lock);
  const bool found = waiting.count != 0 &&
    (any_age || too_many() || (waiting.count > FEW_WAITING && now - nth(0)->since >= SECOND));
  if (found) one = waiting_remove(0);
  unlock(&instance.lock);
  if (found) unmap(&one);
  return found;
}

/* Unmaps everything that waits, because the system is short of memory. False if nothing waited. */
static bool unmap_retired(void) {
  bool any = false;
  while (unmap_oldest(true, 0)) any = true;
  return any;
}

static void wait_for_use(mapping_t at, uint64_t committed, uint64_t high) {
  const retired_t one = {at, committed, high, os_now()};
  for (int i = 0; i < UNMAPPED_AT_ONCE && unmap_oldest(false, one.since); i++) {}
  if (at.capacity == 0 && committed == 0) unmap(&one); /* neither reusable nor accessible */
  else while (!waiting_add(&one)) (void)unmap_oldest(false, one.since);
}

/* Takes the oldest region of this size that has waited long enough. */
static bool take_retired(uint64_t capacity, uint32_t flags, retired_t *found) {
  bool taken = false;
  lock(&instance.lock);
  const uint64_t until = waiting.count == 0 ? 0 : too_many() ? UINT64_MAX : os_now() - SECOND;
  for (size_t i = 0; i < waiting.count && nth(i)->since <= until && !taken; i++) {
    taken = nth(i)->at.capacity == capacity && nth(i)->at.flags == flags;
    if (taken) *found = waiting_remove(i);
  }
  unlock(&instance.lock);
  /* Late native code may have written to it, so nothing is fresh, unless making it so is worth a system call (1 us). */
  if (taken && found->high > SPARE && os_forget(found->at.base, found->committed)) found->high = 0;
  return taken;
}

/* This instance is unloaded, so nothing can wait any longer. The committed bytes of the newest few, which native code
 * may still use, stay for good, unless so many have stayed that the process is near its limit of mappings. */
static void leave_retired(void) {
  const uint64_t now = os_now();
  const size_t few = waiting.count != 0 && os_mappings_left() > MAPPINGS_TO_SPARE ? FEW_WAITING : 0;
  while (waiting.count != 0) {
    retired_t one = waiting_remove(0);
    if (waiting.count < few && now - one.since < SECOND && one.committed != 0) {
      one.at.base += one.committed;
      one.at.room -= one.committed;
      one.at.whole = false;
    }
    unmap(&one);
  }
}

/* ---- bytes that stay for good ------------------------------------------ */

static uint64_t less(uint64_t value, uint64_t by) { return value > by ? value - by : 0; }

typedef struct { uint64_t from, to; } span_t; /* whole pages; `to` is 0 for none */

static span_t kept_span(region_t *region) {
  const uint64_t page = os_page_size(), to = offset_min(offset_round_up(get(&region->kept_to), page), get(&region->committed));
  const uint64_t from = offset_round_down(get(&region->kept_from), page);
  return from < to ? (span_t){from, to} : (span_t){0, 0};
}

/* The bytes of the region that stay accessible for good. */
static span_t staying(region_t *region) {
  const uint64_t lost = get(&region->lost);
  span_t span = kept_span(region);
  if (lost != 0) span = (span_t){0, offset_max(span.to, lost)};
  return span;
}

/* Gives back all pages but the kept ones. True if the pages given back read as zero. */
static bool forget_pages(region_t *region) {
  const span_t kept = kept_span(region);
  const bool below = kept.from == 0 || os_forget(region->at.base, kept.from);
  const uint64_t above = get(&region->committed) - kept.to;
  return (above == 0 || os_forget(region->at.base + kept.to, above)) && below;
}

/* Unmaps the bytes below those that stay, unless they cost less than one more mapping. */
static void leave_below(region_t *region) {
  const span_t span = staying(region);
  if (span.from <= offset_max(span.to - span.from, SPARE)) return;
  wait_for_use((mapping_t){region->at.base, span.from, 0, region->at.flags, false}, span.from, span.from);
}

/* Lets the region's addresses wait, except for those that stay. */
static void retire(region_t *region) {
  (void)forget_pages(region);
  const span_t span = staying(region);
  mapping_t rest = region->at;
  if (span.to != 0) {
    leave_below(region);
    rest = (mapping_t){rest.base + span.to, rest.room - span.to, 0, rest.flags, false};
  }
  wait_for_use(rest, less(get(&region->committed), span.to), less(get(&region->high), span.to));
  if (region->next.room != 0) wait_for_use(region->next, 0, 0);
}
