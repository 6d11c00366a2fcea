/* bump.c - regions, their control blocks, and who holds them.
 *
 * A control block (struct bump) is a slot of a slab chunk, outside of the region, because several
 * instances of this library (each Worker loads its own copy) may use one region: an instance that
 * attaches reaches the slot by address. Rules that keep this safe:
 *  - a chunk that ever held a shared slot stays mapped while the process lives; when its instance is
 *    gone and its last slot is free, its pages are zeroed, and zeros are refused as stale;
 *  - generation and reference count are one word, so a reference is only ever added to the very
 *    region whose key was compared;
 *  - everything reached through a slot lives in mapped memory, never in an instance's statics.
 */
#include "bump.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "offset.h"
#include "os.h"
#include "recycle.h"

_Static_assert(sizeof(size_t) == 8 && sizeof(void *) == 8, "offsets, sizes and addresses share one width");

#define ABI_VERSION 3u
#define MAGIC (UINT64_C(0xb0a11c0c5eed0000) + ABI_VERSION) /* xor the slot's address: a copy elsewhere is not alive */
#define CHUNK_SIZE ((size_t)64 * 1024)
#define SLOT_SIZE ((size_t)4096)
#define COMMIT_STEP ((uint64_t)256 * 1024)       /* one mprotect (about 1 us) for many small blocks */
#define HIGH_STEP ((uint64_t)4096)
#define LARGE_BLOCK ((uint64_t)128 * 1024)       /* pages of larger ones become resident when they are used */
#define POPULATE_LEAST ((uint64_t)64 * 1024)
#define POPULATE_MOST ((uint64_t)2 * 1024 * 1024)
#define HUGE_PAGE ((uint64_t)2 * 1024 * 1024)

#define REFS_MASK UINT64_C(0x7fffffff)           /* state: generation << 32 | excluded << 31 | references */
#define EXCLUDED UINT64_C(0x80000000)
#define GENERATION UINT64_C(0x100000000)

#define SETTLED UINT64_C(0)                      /* leased_by: SETTLED, one thread, or */
#define SEVERAL UINT64_MAX

typedef struct chunk chunk_t;

typedef struct { uint64_t start, end; } open_t; /* the latest lease that a reference took, nothing of it given back */

struct bump {
  /* identity: what bump_attach copies before it trusts the address */
  _Alignas(64) _Atomic uint64_t state;
  _Atomic uint64_t magic;
  _Atomic uint64_t key; /* 0 until shared */
  /* fixed while live, but for bump_renew, which excludes everyone else */
  unsigned char *base;
  uint64_t capacity;
  uint64_t grain; /* commits are multiples of it */
  bump_t *parent; /* of a carved part, else NULL */
  uint32_t flags;

  _Alignas(64) _Atomic uint64_t cursor; /* alone in its line: every thread writes it */

  _Alignas(64) _Atomic uint64_t committed;
  _Atomic uint64_t high;      /* the cursor's highest value ever */
  _Atomic uint64_t reach;     /* committed by parts, from offset 0 */
  _Atomic uint64_t kept;      /* stays mapped with its contents after the last close */
  _Atomic uint64_t lost;      /* stays accessible, contents need not */
  _Atomic uint64_t leased_by; /* who leased since it was settled */
  _Atomic uint64_t stranded;  /* what bump_stranded says */

  _Atomic uint64_t populated;      /* native blocks have made the pages up to here resident */
  _Atomic uint64_t populate_limit; /* pages above were once given back: none is made resident ahead of its use */
  recycle_t recycle;

  /* slab */
  _Alignas(64) _Atomic uint64_t holder; /* thread of the creator's reference, 0 when it is gone */
  open_t open;                          /* the creator's, while it holds */
  chunk_t *chunk;
  bump_t *next_free;
};
_Static_assert(sizeof(struct bump) <= SLOT_SIZE, "a slot holds a control block");

typedef struct { _Atomic uint32_t taken; } spin_t;

struct chunk { /* in the place of slot 0 */
  spin_t lock;
  bool shared;   /* an address in here was given away: never unmap */
  bool orphan;   /* its instance is gone */
  uint32_t used; /* slots ever handed out */
  uint32_t live;
  bump_t *oldest_free, *newest_free; /* first in, first out: a stale pointer stays stale for long */
  chunk_t *next;
};
_Static_assert(sizeof(struct chunk) <= SLOT_SIZE, "the header takes one slot");
#define CHUNK_SLOTS (CHUNK_SIZE / SLOT_SIZE - 1)

typedef struct {
  bump_t *bump;
  uint64_t thread;
  open_t open;
} held_t;

/* This instance's own; other instances have theirs. Guarded by `lock`. */
static struct {
  spin_t lock;
  chunk_t *chunks;
  held_t *held; /* references that bump_attach gave; the creator's are in the slots */
  size_t held_count, held_size;
} instance;

static void lock(spin_t *spin) {
  while (atomic_exchange_explicit(&spin->taken, 1, memory_order_acquire) != 0) os_yield();
}

static void unlock(spin_t *spin) { atomic_store_explicit(&spin->taken, 0, memory_order_release); }

static uint64_t get(_Atomic uint64_t *value) { return atomic_load_explicit(value, memory_order_acquire); }

static void set(_Atomic uint64_t *value, uint64_t to) { atomic_store_explicit(value, to, memory_order_release); }

static bool swap(_Atomic uint64_t *value, uint64_t *expected, uint64_t to) {
  return atomic_compare_exchange_weak_explicit(value, expected, to, memory_order_acq_rel, memory_order_acquire);
}

/* Returns what was there before. */
static uint64_t raise_to(_Atomic uint64_t *value, uint64_t to) {
  uint64_t seen = get(value);
  while (seen < to && !swap(value, &seen, to)) {}
  return seen;
}

static void lower_to(_Atomic uint64_t *value, uint64_t to) {
  uint64_t seen = get(value);
  while (seen > to && !swap(value, &seen, to)) {}
}

static int32_t system_error(int code) { return BUMP_SYSTEM - code; }

/* recycle.c */
static void recycle_reset(bump_t *bump);
static void recycle_give_back(bump_t *bump);

static void *refuse(int32_t *error, int32_t code) {
  if (error != NULL) *error = code;
  return NULL;
}

/* ---- control blocks ---------------------------------------------------- */

static uint64_t magic_of(const bump_t *bump) { return MAGIC ^ (uint64_t)(uintptr_t)bump; }

static bool alive(bump_t *bump) {
  return bump != NULL && atomic_load_explicit(&bump->magic, memory_order_relaxed) == magic_of(bump);
}

static bump_t *slot_at(chunk_t *chunk, size_t index) {
  return (bump_t *)((unsigned char *)chunk + (index + 1) * SLOT_SIZE);
}

static bump_t *chunk_take(chunk_t *chunk) {
  bump_t *slot = NULL;
  lock(&chunk->lock);
  if (chunk->used < CHUNK_SLOTS) {
    slot = slot_at(chunk, chunk->used++);
  } else if (chunk->oldest_free != NULL) {
    slot = chunk->oldest_free;
    chunk->oldest_free = slot->next_free;
  }
  if (slot != NULL) {
    slot->chunk = chunk;
    chunk->live++;
  }
  unlock(&chunk->lock);
  return slot;
}

static bump_t *slot_take(void) {
  bump_t *slot = NULL;
  lock(&instance.lock);
  for (chunk_t *chunk = instance.chunks; chunk != NULL && slot == NULL; chunk = chunk->next) slot = chunk_take(chunk);
  if (slot == NULL) {
    chunk_t *fresh = os_map(CHUNK_SIZE);
    if (fresh != NULL) {
      fresh->next = instance.chunks;
      instance.chunks = fresh;
      slot = chunk_take(fresh);
    }
  }
  unlock(&instance.lock);
  return slot;
}

/* The slot may belong to an instance that is gone, so only its chunk is touched. */
static void slot_free(bump_t *slot) {
  chunk_t *chunk = slot->chunk;
  lock(&chunk->lock);
  slot->next_free = NULL;
  if (chunk->oldest_free == NULL) chunk->oldest_free = slot;
  else chunk->newest_free->next_free = slot;
  chunk->newest_free = slot;
  chunk->live--;
  /* Nobody waits for a lock that is wiped here: only a live slot leads to it. */
  if (chunk->orphan && chunk->live == 0) {
    if (os_zero(chunk, CHUNK_SIZE) == 0) return;
  }
  unlock(&chunk->lock);
}

/* ---- references -------------------------------------------------------- */

/* Adds a reference if the region lives and, unless `key` is 0, is shared under that key. */
static bool retain(bump_t *bump, uint64_t key) {
  uint64_t state = get(&bump->state);
  for (;;) {
    if ((state & EXCLUDED) != 0) {
      os_yield();
      state = get(&bump->state);
      continue;
    }
    if ((state & REFS_MASK) == 0 || (state & REFS_MASK) == REFS_MASK || !alive(bump)) return false;
    if (key != 0 && get(&bump->key) != key) return false;
    /* Fails if the slot was recycled since `state` was read: the generation is part of it. */
    if (swap(&bump->state, &state, state + 1)) return true;
  }
}

/* True if the caller has the only reference; nobody attaches until `readmit`. */
static bool exclude(bump_t *bump) {
  uint64_t state = get(&bump->state);
  while ((state & (REFS_MASK | EXCLUDED)) == 1) {
    if (swap(&bump->state, &state, state | EXCLUDED)) return true;
  }
  return false;
}

static void readmit(bump_t *bump) { atomic_fetch_and_explicit(&bump->state, ~EXCLUDED, memory_order_acq_rel); }

/* True if that was the last reference: the caller then releases the region. */
static bool drop_one(bump_t *bump) {
  uint64_t state = get(&bump->state);
  for (;;) {
    if ((state & EXCLUDED) != 0) {
      os_yield();
      state = get(&bump->state);
      continue;
    }
    const bool last = (state & REFS_MASK) == 1;
    if (swap(&bump->state, &state, last ? state - 1 + GENERATION : state - 1)) return last;
  }
}

static uint64_t reserved_size(const bump_t *bump) { return bump->capacity + os_page_size(); /* and the guard page */ }

static uint64_t accessible_end(bump_t *bump) { return offset_max(get(&bump->committed), get(&bump->reach)); }

static uint64_t kept_end(bump_t *bump) {
  return offset_min(offset_round_up(get(&bump->kept), os_page_size()), accessible_end(bump));
}

static int release_mapping(bump_t *bump) {
  const uint64_t kept = kept_end(bump), lost = get(&bump->lost), stays = offset_max(kept, lost);
  /* If it is refused the old contents stay, which is as accessible. */
  if (lost > kept) (void)os_zero(bump->base + kept, lost - kept);
  if (stays == 0) return os_release(bump->base, reserved_size(bump));
  return os_release_tail(bump->base, stays, reserved_size(bump));
}

/* The same offset may be carved again and must then read as zero, whatever the system says. */
static void release_part(bump_t *part) {
  bump_t *parent = part->parent;
  const uint64_t offset = (uint64_t)(part->base - parent->base);
  const uint64_t kept = kept_end(part), lost = get(&part->lost), end = get(&part->committed);
  if (end > kept && os_discard(part->base + kept, end - kept) != 0) os_clear(part->base + kept, end - kept);
  if (kept != 0) raise_to(&parent->kept, offset + kept);
  if (lost != 0) raise_to(&parent->lost, offset + lost);
}

/* Drops a reference; the last one releases the region, and its parent's if that was waiting for it. */
static int32_t drop(bump_t *bump) {
  int error = 0;
  while (bump != NULL && drop_one(bump)) {
    bump_t *parent = bump->parent;
    set(&bump->magic, 0);
    set(&bump->key, 0);
    if (parent != NULL) release_part(bump);
    else error = release_mapping(bump);
    slot_free(bump);
    bump = parent;
  }
  return error == 0 ? BUMP_OK : system_error(error);
}

/* ---- which references this instance holds ------------------------------ */

static bool owns_slot(const bump_t *bump) {
  const uintptr_t address = (uintptr_t)bump;
  for (chunk_t *chunk = instance.chunks; chunk != NULL; chunk = chunk->next) {
    const uintptr_t distance = address - (uintptr_t)chunk; /* wraps to a large number below the chunk */
    if (distance >= SLOT_SIZE && distance < CHUNK_SIZE && distance % SLOT_SIZE == 0) return true;
  }
  return false;
}

static bool held_room(void) {
  if (instance.held_count < instance.held_size) return true;
  const size_t size = instance.held_size == 0 ? CHUNK_SIZE / sizeof(held_t) : instance.held_size * 2;
  held_t *larger = os_map(size * sizeof(held_t));
  if (larger == NULL) return false;
  for (size_t i = 0; i < instance.held_count; i++) larger[i] = instance.held[i];
  if (instance.held != NULL) os_unmap(instance.held, instance.held_size * sizeof(held_t));
  instance.held = larger;
  instance.held_size = size;
  return true;
}

static void strand(bump_t *bump, uint64_t from, uint64_t to) {
  atomic_fetch_add_explicit(&bump->stranded, to - from, memory_order_relaxed);
}

/* Its latest lease stays behind: nobody knows how much of that was used. */
static void held_remove(size_t index) {
  held_t *held = &instance.held[index];
  strand(held->bump, held->open.start, held->open.end);
  *held = instance.held[--instance.held_count];
}

static void creator_remove(bump_t *bump) {
  strand(bump, bump->open.start, bump->open.end);
  set(&bump->holder, 0);
}

/* Where the latest lease is kept of a reference of this thread; NULL when it has none here. An allocator that
 * shares its thread and its region with another one shares this, too. */
static open_t *open_of(bump_t *bump) {
  const uint64_t me = os_thread();
  if (owns_slot(bump) && get(&bump->holder) == me) return &bump->open;
  for (size_t i = 0; i < instance.held_count; i++) {
    if (instance.held[i].bump == bump && instance.held[i].thread == me) return &instance.held[i].open;
  }
  return NULL;
}

/* Only a shared region can outlive a reference. */
static void note_lease(bump_t *bump, uint64_t start, uint64_t end) {
  if (get(&bump->key) == 0) return;
  lock(&instance.lock);
  open_t *open = open_of(bump);
  if (open != NULL) *open = (open_t){start, end};
  unlock(&instance.lock);
}

/* Its owner says itself what is left of it. */
static void note_left(bump_t *bump, uint64_t end) {
  if (get(&bump->key) == 0) return;
  lock(&instance.lock);
  open_t *open = open_of(bump);
  if (open != NULL && open->end == end) *open = (open_t){0, 0};
  unlock(&instance.lock);
}

/* `thread` 0: anyone's. */
static bool forget_from(bump_t *bump, uint64_t thread) {
  for (size_t i = 0; i < instance.held_count; i++) {
    const held_t *held = &instance.held[i];
    if (held->bump != bump || (thread != 0 && held->thread != thread)) continue;
    held_remove(i);
    return true;
  }
  if (!owns_slot(bump)) return false; /* a forged address is not even read */
  const uint64_t holder = get(&bump->holder);
  if (holder == 0 || (thread != 0 && holder != thread)) return false;
  creator_remove(bump);
  return true;
}

/* False if this instance holds no reference to it. This thread's go first: on Windows all Workers share
 * one instance, and each must be able to drop its own when it ends. */
static bool forget(bump_t *bump) {
  lock(&instance.lock);
  const bool found = forget_from(bump, os_thread()) || forget_from(bump, 0);
  unlock(&instance.lock);
  return found;
}

/* ---- unloading --------------------------------------------------------- */

/* One reference of `thread` (0: anyone's), no longer remembered; NULL when there is none left. */
static bump_t *forget_next(uint64_t thread) {
  bump_t *found = NULL;
  lock(&instance.lock);
  for (size_t i = 0; i < instance.held_count && found == NULL; i++) {
    if (thread != 0 && instance.held[i].thread != thread) continue;
    found = instance.held[i].bump;
    held_remove(i);
  }
  for (chunk_t *chunk = instance.chunks; chunk != NULL && found == NULL; chunk = chunk->next) {
    for (size_t i = 0; i < chunk->used && found == NULL; i++) {
      bump_t *slot = slot_at(chunk, i);
      const uint64_t holder = get(&slot->holder);
      if (holder == 0 || (thread != 0 && holder != thread)) continue;
      found = slot;
      creator_remove(slot);
    }
  }
  unlock(&instance.lock);
  return found;
}

#if !defined(_WIN32)
static bool remembers_any(void) {
  lock(&instance.lock);
  bool any = instance.held_count != 0;
  for (chunk_t *chunk = instance.chunks; chunk != NULL; chunk = chunk->next) {
    for (size_t i = 0; i < chunk->used; i++) any = any || get(&slot_at(chunk, i)->holder) != 0;
  }
  unlock(&instance.lock);
  return any;
}
#endif

/* A window that was transferred to another Worker outlives this instance, so what was leased stays
 * accessible, also when another instance closes the region later. */
static void drop_at_unload(bump_t *bump) {
  if (get(&bump->leased_by) != SETTLED) raise_to(&bump->lost, get(&bump->committed));
  (void)drop(bump);
}

static void drop_references_of(uint64_t thread) {
  for (bump_t *bump = forget_next(thread); bump != NULL; bump = forget_next(thread)) drop_at_unload(bump);
}

static void retire(chunk_t *chunk) {
  lock(&chunk->lock);
  if (chunk->live == 0 && !chunk->shared) {
    os_unmap(chunk, CHUNK_SIZE);
    return;
  }
  chunk->orphan = true;
  if (chunk->live == 0 && os_zero(chunk, CHUNK_SIZE) == 0) return;
  unlock(&chunk->lock);
}

static void retire_all(void) {
  lock(&instance.lock);
  for (chunk_t *chunk = instance.chunks, *next; chunk != NULL; chunk = next) {
    next = chunk->next;
    retire(chunk);
  }
  instance.chunks = NULL;
  if (instance.held != NULL) os_unmap(instance.held, instance.held_size * sizeof(held_t));
  instance.held = NULL;
  instance.held_count = instance.held_size = 0;
  unlock(&instance.lock);
}

#if defined(_WIN32)

int _fltused = 0; /* objects that use double want it from the C runtime, which is not linked */

enum { THREAD_DETACH = 3, PROCESS_DETACH = 0 };

int __stdcall DllMain(void *module, unsigned long reason, void *process_ends) {
  (void)module;
  if (reason == THREAD_DETACH) drop_references_of(os_thread());
  if (reason == PROCESS_DETACH && process_ends == NULL) {
    drop_references_of(0);
    retire_all();
  }
  return 1;
}

#else

/* At exit nothing is given back: other threads may be working on a region until the very end, a library's own or
 * those of nonblocking calls. Handlers of __cxa_atexit run before any destructor. */
static _Atomic int exiting;

static void note_exit(void *unused) {
  (void)unused;
  atomic_store(&exiting, 1);
}

__attribute__((constructor)) static void await_exit(void) { (void)os_at_exit(note_exit, &instance); }

/* Runs when a Worker ends, on its own thread. What other threads hold is left alone. */
__attribute__((destructor)) static void unload(void) {
  if (atomic_load(&exiting)) return;
  os_forget_exit(&instance);
  drop_references_of(os_thread());
  if (!remembers_any()) retire_all();
}

#endif

/* ---- the machine ------------------------------------------------------- */

uint32_t bump_abi(void) { return ABI_VERSION; }

double bump_page_size(void) { return (double)os_page_size(); }

void *bump_pointer(double address) {
  uint64_t at;
  return offset_from_double(address, &at) ? (void *)(uintptr_t)at : NULL;
}

/* ---- committing -------------------------------------------------------- */

/* Makes [0, end) accessible. The range starts at a watermark below which all is committed and the
 * watermark rises only after success, so threads that race commit the same pages twice at worst. */
static int commit_to(bump_t *bump, uint64_t end) {
  const uint64_t committed = get(&bump->committed);
  if (end <= committed) return 0;
  const int error = os_commit(bump->base + committed, end - committed);
  if (error != 0) return error;
  raise_to(&bump->committed, end);
  for (bump_t *part = bump; part->parent != NULL; part = part->parent) {
    raise_to(&part->parent->reach, (uint64_t)(bump->base + end - part->parent->base));
  }
  return 0;
}

/* In units of `unit`, or of pages if the system has not that much. */
static int commit(bump_t *bump, uint64_t end, uint64_t unit) {
  if (end <= get(&bump->committed)) return 0;
  /* The capacity is at most 2^53 and whole pages, so rounding neither wraps nor leaves a part of a page. */
  const int error = commit_to(bump, offset_min(offset_round_up(end, unit), bump->capacity));
  if (error == 0 || unit == os_page_size()) return error;
  return commit_to(bump, offset_round_up(end, os_page_size()));
}

/* ---- life of a region -------------------------------------------------- */

/* Nothing is taken, committed or kept of the bytes at `base`. */
static void start_at(bump_t *bump, unsigned char *base) {
  bump->base = base;
  set(&bump->cursor, 0);
  set(&bump->committed, 0);
  set(&bump->high, 0);
  set(&bump->reach, 0);
  set(&bump->kept, 0);
  set(&bump->lost, 0);
  set(&bump->leased_by, SETTLED);
  set(&bump->stranded, 0);
  set(&bump->populated, 0);
  set(&bump->populate_limit, bump->capacity);
  recycle_reset(bump);
}

static bump_t *begin(bump_t *slot, unsigned char *base, uint64_t capacity, uint32_t flags, bump_t *parent) {
  slot->capacity = capacity;
  slot->flags = flags;
  slot->parent = parent;
  slot->grain = (flags & BUMP_HUGE_PAGES) != 0 ? HUGE_PAGE : os_page_size();
  start_at(slot, base);
  slot->open = (open_t){0, 0};
  set(&slot->key, 0);
  set(&slot->magic, magic_of(slot));
  set(&slot->holder, os_thread());
  set(&slot->state, (get(&slot->state) & ~(GENERATION - 1)) + 1);
  return slot;
}

static int reserve(uint64_t capacity, uint32_t flags, void **base) {
  const bool huge = (flags & BUMP_HUGE_PAGES) != 0;
  const size_t size = capacity + os_page_size(); /* at most 2^53 + two pages */
  const int error = os_reserve(size, huge ? HUGE_PAGE : 0, base);
  if (error == 0 && huge) os_huge_pages(*base, size);
  return error;
}

bump_t *bump_create(double capacity, uint32_t flags, int32_t *error) {
  uint64_t wanted;
  if (!offset_from_double(capacity, &wanted) || wanted == 0 || (flags & ~(uint32_t)BUMP_HUGE_PAGES) != 0) {
    return refuse(error, BUMP_INVALID);
  }
  const uint64_t size = offset_round_up(wanted, os_page_size());
  void *base;
  const int refused = reserve(size, flags, &base);
  if (refused != 0) return refuse(error, system_error(refused));
  bump_t *slot = slot_take();
  if (slot == NULL) {
    os_release(base, size + os_page_size());
    return refuse(error, system_error(OS_NO_MEMORY));
  }
  if (error != NULL) *error = BUMP_OK;
  return begin(slot, base, size, flags, NULL);
}

bump_t *bump_carve(bump_t *parent, double offset, double capacity, int32_t *error) {
  uint64_t from, size;
  if (!alive(parent)) return refuse(error, BUMP_STALE);
  if (!offset_from_double(offset, &from) || !offset_from_double(capacity, &size)) return refuse(error, BUMP_INVALID);
  const uint64_t in_page = os_page_size() - 1;
  if (size == 0 || ((from | size) & in_page) != 0) return refuse(error, BUMP_INVALID);
  if (from > parent->capacity || size > parent->capacity - from) return refuse(error, BUMP_INVALID);
  if (!retain(parent, 0)) return refuse(error, BUMP_STALE);
  bump_t *slot = slot_take();
  if (slot == NULL) {
    (void)drop(parent);
    return refuse(error, system_error(OS_NO_MEMORY));
  }
  begin(slot, parent->base + from, size, parent->flags, parent);
  const uint64_t high = get(&parent->high);
  if (high > from) set(&slot->high, offset_min(high - from, size)); /* the parent's own bytes: not fresh */
  if (error != NULL) *error = BUMP_OK;
  return slot;
}

static int random_key(uint64_t *key) {
  do {
    const int error = os_random(key, sizeof *key);
    if (error != 0) return error;
    *key >>= 11; /* 53 bits */
  } while (*key == 0);
  return 0;
}

double bump_share(bump_t *bump) {
  if (!alive(bump)) return BUMP_STALE;
  uint64_t key = get(&bump->key), fresh;
  if (key != 0) return (double)key;
  const int error = random_key(&fresh);
  if (error != 0) return system_error(error);
  for (bump_t *reached = bump; reached != NULL; reached = reached->parent) {
    lock(&reached->chunk->lock);
    reached->chunk->shared = true;
    unlock(&reached->chunk->lock);
  }
  while (key == 0 && !swap(&bump->key, &key, fresh)) {}
  return (double)(key != 0 ? key : fresh);
}

/* Reads the slot without trusting the address. What has the right magic and key is in a chunk that was
 * shared, hence one that stays mapped. */
static int32_t recognise(uint64_t address, uint64_t key) {
  uint64_t identity[3]; /* state, magic, key: the first fields of struct bump */
  if (address == 0 || address % 64 != 0) return BUMP_STALE;
  const int error = os_peek((uintptr_t)address, identity, sizeof identity);
  if (error != 0) return error == OS_UNREADABLE ? BUMP_STALE : system_error(error);
  return identity[1] == (MAGIC ^ address) && identity[2] == key ? BUMP_OK : BUMP_STALE;
}

bump_t *bump_attach(double address, double key, int32_t *error) {
  uint64_t at, wanted;
  if (!offset_from_double(address, &at) || !offset_from_double(key, &wanted)) return refuse(error, BUMP_INVALID);
  if (wanted == 0) return refuse(error, BUMP_STALE);
  int32_t code = recognise(at, wanted);
  if (code != BUMP_OK) return refuse(error, code);
  bump_t *bump = (bump_t *)(uintptr_t)at;
  lock(&instance.lock);
  if (!held_room()) code = system_error(OS_NO_MEMORY);
  else if (!retain(bump, wanted)) code = BUMP_STALE;
  else {
    held_t *held = &instance.held[instance.held_count++];
    *held = (held_t){bump, os_thread(), {0, 0}};
  }
  unlock(&instance.lock);
  if (code != BUMP_OK) return refuse(error, code);
  if (error != NULL) *error = BUMP_OK;
  return bump;
}

int32_t bump_hold(bump_t *bump) { return alive(bump) && retain(bump, 0) ? BUMP_OK : BUMP_STALE; }

int32_t bump_close(bump_t *bump, double keep) {
  uint64_t kept;
  if (!offset_from_double(keep, &kept)) return BUMP_INVALID;
  if (!forget(bump)) return BUMP_STALE;
  raise_to(&bump->kept, kept); /* also when others go on: the last of them must not unmap it */
  return drop(bump);
}

int32_t bump_renew(bump_t *bump, double keep) {
  uint64_t kept;
  if (!alive(bump)) return BUMP_STALE;
  if (!offset_from_double(keep, &kept) || bump->parent != NULL) return BUMP_INVALID;
  if (!exclude(bump)) return BUMP_SHARED;
  void *fresh;
  const int error = reserve(bump->capacity, bump->flags, &fresh);
  if (error == 0) {
    raise_to(&bump->kept, kept);
    (void)release_mapping(bump); /* a refusal costs address space; the region has moved all the same */
    start_at(bump, fresh);
  }
  readmit(bump);
  return error == 0 ? BUMP_OK : system_error(error);
}

/* One instance cannot speak for the windows of another: SEVERAL stays. */
void bump_settle(bump_t *bump) {
  uint64_t me = os_thread();
  if (alive(bump)) atomic_compare_exchange_strong(&bump->leased_by, &me, SETTLED);
}

static void unsettle(bump_t *bump) {
  const uint64_t me = os_thread();
  uint64_t seen = get(&bump->leased_by);
  while (seen != me && seen != SEVERAL && !swap(&bump->leased_by, &seen, seen == SETTLED ? me : SEVERAL)) {}
}

/* ---- push -------------------------------------------------------------- */

int32_t bump_lease(bump_t *bump, double minimum, double preferred, double align, bump_lease_t *lease) {
  uint64_t least, most, alignment, start, end;
  if (!alive(bump)) return BUMP_STALE;
  if (!offset_from_double(minimum, &least) || !offset_from_double(preferred, &most) || least > most ||
      !offset_from_double(align, &alignment) || !offset_is_power_of_two(alignment)) {
    return BUMP_INVALID;
  }
  unsettle(bump);
  uint64_t cursor = get(&bump->cursor);
  for (;;) {
    if (!offset_take((uintptr_t)bump->base, cursor, bump->capacity, least, most, alignment, &start, &end)) {
      return BUMP_FULL;
    }
    if (end == start) break; /* nothing to take, not even padding */
    const int error = commit(bump, end, bump->grain);
    if (error != 0 && end - start <= least) return system_error(error);
    if (error != 0) most = least; /* the system may have that much */
    else if (swap(&bump->cursor, &cursor, end)) break;
  }
  /* After the exchange: whoever used these bytes before raised `high` before giving them back. */
  const uint64_t high = end == start ? end : raise_to(&bump->high, end);
  lease->start = (double)start;
  lease->end = (double)end;
  lease->fresh_from = (double)offset_max(start, offset_min(high, end));
  note_lease(bump, start, end);
  return BUMP_OK;
}

/* Aligned and not NULL, also when the region is full; it is never read or written. */
static void *empty_block(bump_t *bump, uint64_t align) {
  uint64_t start, end;
  const uint64_t cursor = get(&bump->cursor);
  if (!offset_take((uintptr_t)bump->base, cursor, bump->capacity, 0, 0, align, &start, &end)) {
    return (void *)(uintptr_t)align;
  }
  return bump->base + start;
}

/* Before native blocks go beyond the pages that are ready: commits up to `end`, and for small blocks makes the next pages
 * resident in one call, which costs a fraction of their faults. Steps grow with what is in use. */
static int prepare(bump_t *bump, uint64_t start, uint64_t end) {
  if (end > get(&bump->high)) recycle_give_back(bump); /* idle pages would add to the peak */
  const uint64_t step = offset_min(offset_max(end / 4, POPULATE_LEAST), POPULATE_MOST);
  const uint64_t to = offset_min(offset_round_up(end + step, bump->grain), get(&bump->populate_limit));
  uint64_t ready = get(&bump->populated);
  if (end - start >= LARGE_BLOCK || to < end || commit(bump, to, bump->grain) != 0) {
    return commit(bump, end, offset_max(COMMIT_STEP, bump->grain));
  }
  while (ready < to) {
    if (!swap(&bump->populated, &ready, to)) continue;
    const uint64_t from = offset_max(ready, offset_round_down(start, os_page_size()));
    os_populate(bump->base + from, to - from);
    break;
  }
  return 0;
}

/* Takes a block of at least one byte, of which the first `before` lie in front of the aligned address. NULL when full;
 * else bytes of it from *fresh on were never used. */
static unsigned char *take(bump_t *bump, size_t size, size_t align, size_t before, unsigned char **fresh) {
  uint64_t start, end;
  uint64_t cursor = get(&bump->cursor);
  do {
    if (!offset_take((uintptr_t)bump->base + before, cursor, bump->capacity, size, size, align, &start, &end)) return NULL;
    if (end > get(&bump->populated) && prepare(bump, start, end) != 0) return NULL;
  } while (!swap(&bump->cursor, &cursor, end));
  /* After the exchange: whoever used these bytes before raised `high` before giving them back. In whole steps: most
   * blocks then need no second exchange. */
  uint64_t high = get(&bump->high);
  if (high < end) high = raise_to(&bump->high, offset_min(offset_round_up(end, HIGH_STEP), bump->capacity));
  *fresh = bump->base + offset_max(start, offset_min(high, end));
  return bump->base + start;
}

void *bump_alloc(bump_t *bump, size_t size, size_t align) {
  unsigned char *fresh;
  if (!alive(bump) || !offset_is_power_of_two(align)) return NULL;
  return size == 0 ? empty_block(bump, align) : take(bump, size, align, 0, &fresh);
}

void *bump_alloc_zeroed(bump_t *bump, size_t size, size_t align) {
  unsigned char *fresh;
  if (!alive(bump) || !offset_is_power_of_two(align)) return NULL;
  if (size == 0) return empty_block(bump, align);
  unsigned char *block = take(bump, size, align, 0, &fresh);
  if (block != NULL && fresh != block) os_clear(block, (size_t)(fresh - block));
  return block;
}

/* ---- pop --------------------------------------------------------------- */

static bool move_cursor(bump_t *bump, uint64_t from, uint64_t to) {
  return atomic_compare_exchange_strong_explicit(&bump->cursor, &from, to, memory_order_acq_rel, memory_order_acquire);
}

int32_t bump_unlease(bump_t *bump, double from, double to) {
  uint64_t start, end;
  if (!alive(bump)) return BUMP_STALE;
  if (!offset_from_double(from, &start) || !offset_from_double(to, &end) || start > end || end > bump->capacity) {
    return BUMP_INVALID;
  }
  const bool given = move_cursor(bump, end, start);
  if (!given) strand(bump, start, end);
  note_left(bump, end);
  return given;
}

int32_t bump_resize_last(bump_t *bump, void *block, size_t old_size, size_t new_size) {
  uint64_t old_end, new_end;
  if (!alive(bump)) return 0;
  const uint64_t start = (uint64_t)((uintptr_t)block - (uintptr_t)bump->base); /* huge when below the region: refused */
  if (!offset_resize(start, bump->capacity, old_size, &old_end)) return 0;
  if (old_end != get(&bump->cursor) || !offset_resize(start, bump->capacity, new_size, &new_end)) return 0;
  if (new_end > get(&bump->populated) && prepare(bump, start, new_end) != 0) return 0;
  if (!move_cursor(bump, old_end, new_end)) return 0;
  raise_to(&bump->high, new_end);
  return 1;
}

int32_t bump_reset(bump_t *bump, double cursor) {
  uint64_t target;
  if (!alive(bump)) return BUMP_STALE;
  if (!offset_from_double(cursor, &target)) return BUMP_INVALID;
  if (!exclude(bump)) return BUMP_SHARED;
  uint64_t seen = get(&bump->cursor);
  while (target <= seen && !swap(&bump->cursor, &seen, target)) {}
  if (target <= seen) set(&bump->stranded, 0), recycle_reset(bump);
  readmit(bump);
  return target <= seen ? BUMP_OK : BUMP_INVALID; /* back only: what is above was never committed */
}

/* ---- pages ------------------------------------------------------------- */

static bool range(bump_t *bump, double from, double to, uint64_t *start, uint64_t *end) {
  return offset_from_double(from, start) && offset_from_double(to, end) && *start <= *end && *end <= bump->capacity;
}

int32_t bump_discard(bump_t *bump, double from, double to) {
  uint64_t start, end;
  if (!alive(bump)) return BUMP_STALE;
  if (!range(bump, from, to, &start, &end)) return BUMP_INVALID;
  start = offset_round_up(start, os_page_size());
  end = offset_min(offset_round_down(end, os_page_size()), get(&bump->committed));
  if (start >= end) return BUMP_OK;
  lower_to(&bump->populated, start);
  lower_to(&bump->populate_limit, start);
  const int error = os_discard(bump->base + start, end - start);
  return error == 0 ? BUMP_OK : system_error(error);
}

int32_t bump_prefault(bump_t *bump, double from, double to) {
  uint64_t start, end;
  if (!alive(bump)) return BUMP_STALE;
  if (!range(bump, from, to, &start, &end)) return BUMP_INVALID;
  if (start == end) return BUMP_OK;
  int error = commit(bump, end, bump->grain);
  start = offset_round_down(start, os_page_size());
  end = offset_round_up(end, os_page_size());
  if (error == 0) error = os_prefault(bump->base + start, end - start);
  return error == 0 ? BUMP_OK : system_error(error);
}

double bump_resident(bump_t *bump) {
  if (!alive(bump)) return BUMP_STALE;
  size_t bytes = 0;
  const uint64_t end = accessible_end(bump);
  const int error = end == 0 ? 0 : os_resident(bump->base, end, &bytes);
  return error == 0 ? (double)bytes : system_error(error);
}

/* ---- state ------------------------------------------------------------- */

void *bump_base(bump_t *bump) { return alive(bump) ? bump->base : NULL; }

double bump_capacity(bump_t *bump) { return alive(bump) ? (double)bump->capacity : (double)BUMP_STALE; }

double bump_cursor(bump_t *bump) { return alive(bump) ? (double)get(&bump->cursor) : (double)BUMP_STALE; }

double bump_stranded(bump_t *bump) { return alive(bump) ? (double)get(&bump->stranded) : (double)BUMP_STALE; }

double bump_committed(bump_t *bump) { return alive(bump) ? (double)get(&bump->committed) : (double)BUMP_STALE; }

int32_t bump_owns(bump_t *bump, const void *start, size_t size) {
  if (!alive(bump)) return 0;
  const uint64_t from = (uint64_t)((uintptr_t)start - (uintptr_t)bump->base); /* huge when below the region: refused */
  const uint64_t cursor = get(&bump->cursor);
  return from <= cursor && size <= cursor - from;
}

double bump_attached(bump_t *bump) { return alive(bump) ? (double)(get(&bump->state) & REFS_MASK) : (double)BUMP_STALE; }
