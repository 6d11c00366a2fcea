/* retired.c - addresses whose region has ended wait here, readable and writable, since native code may still work there:
 * for the next region of their size, or until they are unmapped. */
#include "control.h"

enum {
  MOST_WAITING = 1024,
  FEW_WAITING = 16,       /* so many may wait longer than they must */
  SECOND = 1000,          /* ms: how long each waits, unless too many do */
  UNMAPPED_AT_ONCE = 4,   /* the most that one call unmaps for their age */
};
#define MOST_CHARGED ((uint64_t)64 * 1024 * 1024) /* committed bytes that wait where they count against a limit */
#define SPARE ((uint64_t)1024 * 1024)             /* rather left mapped than made a mapping of its own */

typedef struct retired {
  mapping_t at;
  uint64_t committed, high, since;
  struct retired *next;
} retired_t;

/* Of this instance, first in, first out. Guarded by instance.lock. */
static struct {
  retired_t places[MOST_WAITING];
  retired_t *oldest, *newest, *free;
  size_t used, count;
  uint64_t committed;
} waiting;

static bool too_many(void) {
  return waiting.count == MOST_WAITING || (waiting.committed > MOST_CHARGED && os_charges_committed());
}

/* Under the lock. The one behind `before`, or the oldest. */
static retired_t waiting_remove(retired_t *before) {
  retired_t **link = before == NULL ? &waiting.oldest : &before->next, *place = *link;
  const retired_t found = *place;
  *link = place->next;
  if (waiting.newest == place) waiting.newest = before;
  place->next = waiting.free;
  waiting.free = place;
  waiting.count--;
  waiting.committed -= found.committed;
  return found;
}

/* Under the lock; there is a place. */
static void waiting_add(retired_t one) {
  retired_t *place = waiting.free;
  if (place != NULL) waiting.free = place->next;
  else place = &waiting.places[waiting.used++];
  *place = one;
  place->next = NULL;
  if (waiting.newest == NULL) waiting.oldest = place;
  else waiting.newest->next = place;
  waiting.newest = place;
  waiting.count++;
  waiting.committed += one.committed;
}

static void unmap(const retired_t *one) { (void)os_release(one->at.base, one->at.room, one->at.whole); }

/* Unmaps the oldest if it may go: because there are too many, or too many that have waited long enough. */
static bool unmap_oldest(uint64_t now) {
  retired_t one;
  lock(&instance.lock);
  const bool found = too_many() || (waiting.count > FEW_WAITING && now - waiting.oldest->since >= SECOND);
  if (found) one = waiting_remove(NULL);
  unlock(&instance.lock);
  if (found) unmap(&one);
  return found;
}

static void wait_for_use(mapping_t at, uint64_t committed, uint64_t high) {
  const uint64_t now = os_now();
  for (int i = 0; i < UNMAPPED_AT_ONCE && unmap_oldest(now); i++) {}
  retired_t one = {at, committed, high, now, NULL}, other;
  lock(&instance.lock);
  const bool full = waiting.count == MOST_WAITING; /* others have been faster */
  if (full) other = waiting_remove(NULL);
  waiting_add(one);
  unlock(&instance.lock);
  if (full) unmap(&other);
}

/* A region of this size that has waited long enough, the oldest. */
static bool take_retired(uint64_t capacity, uint32_t flags, retired_t *found) {
  bool taken = false;
  lock(&instance.lock);
  const uint64_t until = waiting.count == 0 ? 0 : too_many() ? UINT64_MAX : os_now() - SECOND;
  for (retired_t *one = waiting.oldest, *before = NULL; one != NULL && one->since <= until; before = one, one = one->next) {
    if (one->at.capacity != capacity || one->at.flags != flags) continue;
    *found = waiting_remove(before);
    taken = true;
    break;
  }
  unlock(&instance.lock);
  /* Late native code may have written since, so nothing is fresh, unless it is worth a system call (1 us). */
  if (taken && found->high > SPARE && os_forget(found->at.base, found->committed)) found->high = 0;
  return taken;
}

/* The system is short: nothing waits any longer. False if nothing did. */
static bool unmap_retired(void) {
  bool any = false;
  for (;;) {
    retired_t one;
    lock(&instance.lock);
    const bool found = waiting.count != 0;
    if (found) one = waiting_remove(NULL);
    unlock(&instance.lock);
    if (!found) return any;
    unmap(&one);
    any = true;
  }
}

/* This instance's code goes, so nothing can wait. The last few that native code may still use stay for good, as far as they
 * are committed. */
static void leave_retired(void) {
  const uint64_t now = os_now();
  while (waiting.count != 0) {
    retired_t one = waiting_remove(NULL);
    if (waiting.count < FEW_WAITING && now - one.since < SECOND && one.committed != 0) {
      one.at.base += one.committed;
      one.at.room -= one.committed;
      one.at.whole = false;
    }
    unmap(&one);
  }
}

/* ---- what must stay ---------------------------------------------------- */

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

/* Gives all pages back but those that are kept. True if what was given back reads as zero. */
static bool forget_pages(region_t *region) {
  const span_t kept = kept_span(region);
  const bool below = kept.from == 0 || os_forget(region->at.base, kept.from);
  const uint64_t above = get(&region->committed) - kept.to;
  return (above == 0 || os_forget(region->at.base + kept.to, above)) && below;
}

/* The bytes below what stays go, unless they cost less than one more mapping. */
static void leave_below(region_t *region) {
  const span_t span = staying(region);
  if (span.from <= offset_max(span.to - span.from, SPARE)) return;
  wait_for_use((mapping_t){region->at.base, span.from, 0, region->at.flags, false}, span.from, span.from);
}

/* The region's addresses are left: they wait, but for those that stay. */
static void retire(region_t *region) {
  (void)forget_pages(region);
  const span_t span = staying(region);
  mapping_t rest = region->at;
  if (span.to != 0) {
    leave_below(region);
    rest = (mapping_t){rest.base + span.to, rest.room - span.to, 0, rest.flags, false};
  }
  wait_for_use(rest, less(get(&region->committed), span.to), less(get(&region->high), span.to));
}
