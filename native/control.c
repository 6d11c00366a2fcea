/* control.c - the blocks behind regions and holds, the list of holds, and the end of threads and instances. */
#include "control.h"

#define ABI_VERSION 4u
#define MAGIC (UINT64_C(0xb0a11c0c5eed0000) + ABI_VERSION) /* xor the block's address: a copy elsewhere is not alive */
#define CHUNK_SIZE ((size_t)64 * 1024)

#define HOLDS_MASK UINT64_C(0x7fffffff) /* of region_t.state */
#define EXCLUDED UINT64_C(0x80000000)
#define GENERATION UINT64_C(0x100000000)

struct chunk { /* a run of blocks of one size; this header takes the first place */
  spin_t lock;
  bool shared;       /* an address in it was given away: never unmap */
  bool orphan;       /* its instance was unloaded */
  uint32_t used;     /* blocks ever handed out */
  uint32_t live;
  block_t *oldest_free, *newest_free;
  size_t size;       /* bytes mapped */
  chunk_t *next;
};
_Static_assert(sizeof(struct chunk) <= sizeof(struct bump), "the header takes one place");

/* The state of this instance, guarded by `lock`. Other instances have their own. */
static struct instance {
  spin_t lock;
  chunk_t *of_regions, *of_holds; /* if any has room, the first one has */
  bump_t *holds;   /* all live holds of this instance */
  uint64_t thread; /* the thread that took the first hold */
  bool several;    /* another thread took one too */
} instance;

/* retired.c */
static void retire(region_t *region);
static void leave_retired(void);

/* ---- blocks ------------------------------------------------------------ */

static uint64_t magic_of(const void *block) { return MAGIC ^ (uint64_t)(uintptr_t)block; }

static bool alive(block_t *block) {
  return atomic_load_explicit(&block->magic, memory_order_relaxed) == magic_of(block);
}

static size_t blocks_in_chunk(size_t size) { return CHUNK_SIZE / size - 1; }

/* Reuses blocks first in, first out, and only if half of a chunk is free, so that a freed block stays stale for long.
 * */
static block_t *chunk_take(chunk_t *chunk, size_t size) {
  const size_t most = blocks_in_chunk(size);
  block_t *block = NULL;
  lock(&chunk->lock);
  if (chunk->used < most) {
    block = (block_t *)((unsigned char *)chunk + ++chunk->used * size);
  } else if (chunk->live < most / 2) {
    block = chunk->oldest_free;
    chunk->oldest_free = block->next_free;
  }
  if (block != NULL) {
    block->chunk = chunk;
    chunk->live++;
  }
  unlock(&chunk->lock);
  return block;
}

/* Under the lock. A chunk with room becomes the first, so that few calls search. Behind its blocks a chunk has `more`
 * bytes for each of them, which cost only addresses until they are used. */
static void *block_take(chunk_t **chunks, size_t size, size_t more) {
  for (chunk_t **link = chunks, *chunk; (chunk = *link) != NULL; link = &chunk->next) {
    block_t *block = chunk_take(chunk, size);
    if (block == NULL) continue;
    *link = chunk->next;
    chunk->next = *chunks;
    *chunks = chunk;
    return block;
  }
  const size_t mapped = offset_round_up(CHUNK_SIZE + blocks_in_chunk(size) * more, CHUNK_SIZE);
  chunk_t *fresh = os_map(mapped);
  if (fresh == NULL) return NULL;
  fresh->size = mapped;
  fresh->next = *chunks;
  *chunks = fresh;
  return chunk_take(fresh, size);
}

static region_t *region_take(void) {
  lock(&instance.lock);
  region_t *region = block_take(&instance.of_regions, sizeof(region_t), sizeof(recycle_t));
  unlock(&instance.lock);
  if (region != NULL) {
    unsigned char *chunk = (unsigned char *)region->block.chunk;
    const size_t index = (size_t)((unsigned char *)region - chunk) / sizeof(region_t) - 1;
    region->recycle = (recycle_t *)(void *)(chunk + CHUNK_SIZE) + index;
  }
  return region;
}

/* The block's instance may be unloaded, so only its chunk is touched. */
static void block_free(block_t *block) {
  chunk_t *chunk = block->chunk;
  lock(&chunk->lock);
  block->next_free = NULL;
  if (chunk->oldest_free == NULL) chunk->oldest_free = block;
  else chunk->newest_free->next_free = block;
  chunk->newest_free = block;
  chunk->live--;
  /* Wiping the chunk's lock is safe, because only live blocks lead to it. */
  if (chunk->orphan && chunk->live == 0 && os_discard(chunk, chunk->size) == 0) return;
  unlock(&chunk->lock);
}

static void leave_chunks(chunk_t *chunk) {
  for (chunk_t *next; chunk != NULL; chunk = next) {
    next = chunk->next;
    lock(&chunk->lock);
    if (chunk->live == 0 && !chunk->shared) {
      os_unmap(chunk, chunk->size);
      continue;
    }
    chunk->orphan = true;
    if (chunk->live != 0 || os_discard(chunk, chunk->size) != 0) unlock(&chunk->lock);
  }
}

/* ---- counting holds ---------------------------------------------------- */

/* Adds a hold if the region lives and, unless `key` is 0, is shared under that key. */
static bool retain(region_t *region, uint64_t key) {
  uint64_t state = get(&region->state);
  for (;;) {
    if ((state & EXCLUDED) != 0) {
      os_yield();
      state = get(&region->state);
      continue;
    }
    if ((state & HOLDS_MASK) == 0 || (state & HOLDS_MASK) == HOLDS_MASK) return false;
    if (!alive(&region->block) || (key != 0 && get(&region->key) != key)) return false;
    /* Fails if the block was reused since `state` was read, because the generation is part of it. */
    if (swap(&region->state, &state, state + 1)) return true;
  }
}

/* True if the caller has the only hold. Nothing can attach until `readmit`. */
static bool exclude(region_t *region) {
  uint64_t state = get(&region->state);
  while ((state & (HOLDS_MASK | EXCLUDED)) == 1) {
    if (swap(&region->state, &state, state | EXCLUDED)) return true;
  }
  return false;
}

static void readmit(region_t *region) {
  atomic_fetch_and_explicit(&region->state, ~EXCLUDED, memory_order_acq_rel);
}

/* Drops a hold; the last one retires the region. */
static void drop(region_t *region) {
  uint64_t state = get(&region->state);
  for (;;) {
    if ((state & EXCLUDED) != 0) {
      os_yield();
      state = get(&region->state);
      continue;
    }
    const bool last = (state & HOLDS_MASK) == 1;
    if (!swap(&region->state, &state, last ? state - 1 + GENERATION : state - 1)) continue;
    if (!last) return;
    break;
  }
  set(&region->block.magic, 0);
  set(&region->key, 0);
  retire(region);
  block_free(&region->block);
}

/* ---- the list of holds ------------------------------------------------- */

static region_t *region_of(bump_t *bump) { return bump != NULL && alive(&bump->block) ? bump->region : NULL; }

/* Under the lock. Removes the hold from the list; every call refuses it from now on. */
static void hold_end(bump_t *bump) {
  set(&bump->block.magic, 0);
  if (bump->previous == NULL) instance.holds = bump->next;
  else bump->previous->next = bump->next;
  if (bump->next != NULL) bump->next->previous = bump->previous;
}

static void at_thread_end(void *unused);

/* Lists a counted hold, or drops it again if there is no memory for it. */
static bump_t *enter(region_t *region, uint64_t thread) {
  lock(&instance.lock);
  bump_t *bump = block_take(&instance.of_holds, sizeof(struct bump), 0);
  if (bump != NULL) {
    bump->region = region;
    bump->thread = thread;
    bump->instance = &instance;
    bump->previous = NULL;
    bump->next = instance.holds;
    if (bump->next != NULL) bump->next->previous = bump;
    instance.holds = bump;
    set(&bump->block.magic, magic_of(bump));
  }
  if (thread != 0 && instance.thread == 0) instance.thread = thread;
  const bool one_more = thread != 0 && thread != instance.thread && !instance.several;
  if (one_more) instance.several = true;
  if (thread != 0) os_watch_threads(at_thread_end);
  unlock(&instance.lock);
  if (thread != 0) os_watch_this_thread(one_more);
  if (bump == NULL) drop(region);
  return bump;
}

static bump_t *hold_for_ever(bump_t *bump) {
  region_t *region = region_of(bump);
  return region != NULL && retain(region, 0) ? enter(region, 0) : NULL;
}

static bump_t *refuse(bump_region_t *region, int32_t code) {
  if (region != NULL) region->error = code;
  return NULL;
}

static void describe(const region_t *region, bump_region_t *to) {
  if (to != NULL) *to = (bump_region_t){(double)(uintptr_t)region->at.base, (double)region->at.capacity, BUMP_OK};
}

static bump_t *entered(region_t *region, bump_region_t *to) {
  bump_t *bump = enter(region, os_thread());
  if (bump == NULL) return refuse(to, system_error(OS_NO_MEMORY));
  describe(region, to);
  return bump;
}

bump_t *bump_hold(bump_t *bump, bump_region_t *to) {
  region_t *region = region_of(bump);
  return region != NULL && retain(region, 0) ? entered(region, to) : refuse(to, BUMP_STALE);
}

int32_t bump_close(bump_t *bump) {
  lock(&instance.lock);
  region_t *region = region_of(bump);
  const bool found = region != NULL && bump->instance == &instance;
  if (found) hold_end(bump);
  unlock(&instance.lock);
  if (!found) return BUMP_STALE;
  block_free(&bump->block);
  drop(region);
  return BUMP_OK;
}

double bump_holders(bump_t *bump) {
  region_t *region = region_of(bump);
  return region != NULL ? (double)(get(&region->state) & HOLDS_MASK) : (double)BUMP_STALE;
}

/* ---- sharing ----------------------------------------------------------- */

static int random_key(uint64_t *key) {
  do {
    const int error = os_random(key, sizeof *key);
    if (error != 0) return error;
    *key >>= 11; /* 53 bits */
  } while (*key == 0);
  return 0;
}

double bump_share(bump_t *bump) {
  region_t *region = region_of(bump);
  if (region == NULL) return BUMP_STALE;
  uint64_t key = get(&region->key), fresh;
  if (key != 0) return (double)key;
  const int error = random_key(&fresh);
  if (error != 0) return system_error(error);
  lock(&region->block.chunk->lock);
  region->block.chunk->shared = true;
  unlock(&region->block.chunk->lock);
  while (key == 0 && !swap(&region->key, &key, fresh)) {}
  return (double)(key != 0 ? key : fresh);
}

double bump_token(bump_t *bump) {
  region_t *region = region_of(bump);
  return region != NULL ? (double)(uintptr_t)region : (double)BUMP_STALE;
}

_Static_assert(offsetof(region_t, block.magic) == 0 && offsetof(region_t, key) == 24, "what recognise() reads");

/* Reads the block without trusting the address. A block with the right magic and key is in a chunk that was shared, so
 * it stays mapped. */
static int32_t recognise(uint64_t address, uint64_t key) {
  uint64_t identity[4]; /* the first fields of region_t */
  if (address == 0 || address % 64 != 0) return BUMP_STALE;
  const int error = os_peek((uintptr_t)address, identity, sizeof identity);
  if (error != 0) return error == OS_UNREADABLE ? BUMP_STALE : system_error(error);
  return identity[0] == (MAGIC ^ address) && identity[3] == key ? BUMP_OK : BUMP_STALE;
}

bump_t *bump_attach(double token, double key, bump_region_t *to) {
  uint64_t address, wanted;
  if (!offset_from_double(token, &address) || !offset_from_double(key, &wanted)) return refuse(to, BUMP_INVALID);
  const int32_t code = wanted == 0 ? BUMP_STALE : recognise(address, wanted);
  if (code != BUMP_OK) return refuse(to, code);
  region_t *region = (region_t *)(uintptr_t)address;
  return retain(region, wanted) ? entered(region, to) : refuse(to, BUMP_STALE);
}

/* ---- a thread's end, and unloading ------------------------------------- */

/* Drops the holds of a thread (0: of all threads). Committed bytes stay accessible, because windows that the thread
 * transferred, or native calls that it started, may still use them. */
static void drop_holds_of(uint64_t thread) {
  bump_t *ended = NULL;
  lock(&instance.lock);
  for (bump_t *bump = instance.holds, *next; bump != NULL; bump = next) {
    next = bump->next;
    if (thread != 0 && bump->thread != thread) continue;
    hold_end(bump);
    bump->next = ended;
    ended = bump;
  }
  unlock(&instance.lock);
  for (bump_t *bump = ended, *next; bump != NULL; bump = next) {
    next = bump->next;
    raise_to(&bump->region->lost, get(&bump->region->committed));
    drop(bump->region);
    block_free(&bump->block);
  }
}

static void leave_all(void) {
  leave_retired();
  leave_chunks(instance.of_regions);
  leave_chunks(instance.of_holds);
}

#if defined(_WIN32)

int _fltused = 0; /* objects that use double expect it from the C runtime, which is not linked */

enum { THREAD_DETACH = 3, PROCESS_DETACH = 0 };

static void at_thread_end(void *unused) {
  (void)unused;
  drop_holds_of(os_thread());
}

int __stdcall DllMain(void *module, unsigned long reason, void *process_ends) {
  (void)module;
  if (reason == THREAD_DETACH) at_thread_end(NULL);
  if (reason == PROCESS_DETACH && process_ends == NULL) {
    drop_holds_of(0);
    leave_all();
  }
  return 1;
}

#else

/* At exit nothing is given back, because threads of libraries or of nonblocking calls may work on a region until the
 * very end. */
static _Atomic int exiting;

static void at_thread_end(void *unused) {
  (void)unused;
  if (atomic_load(&exiting)) return;
  drop_holds_of(os_thread());
  lock(&instance.lock);
  const bool over = instance.holds == NULL && !instance.several; /* no other thread will come */
  if (over) os_unwatch_threads();
  unlock(&instance.lock);
  if (over) leave_retired();
}

#endif
