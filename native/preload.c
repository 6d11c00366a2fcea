/* preload.c - malloc and its family for a whole program, whose dynamic linker loads this before all other libraries.
 *
 * Linux, one unit, for glibc and musl: it needs no library, and takes what it calls from those that the program has.
 * Small blocks are runs.c's, larger ones recycle.c's, which all threads share. Both take from regions: a first one, and
 * when it is full another as large as all before.
 *
 * Calls may come before the program's constructors and after its destructors, so nothing here has either.
 * Options: BUMP_PRELOAD_SIZE (bytes of the first region), BUMP_PRELOAD_GROW=0 (no further one: NULL and ENOMEM),
 * BUMP_PRELOAD_RECYCLE=0 (free does nothing), BUMP_PRELOAD_HUGE_PAGES=0.
 */
#define BUMP_API /* what bump.h declares stays inside, and most of it is not used at all */
#pragma GCC diagnostic ignored "-Wunused-function"

/* Before glibc 2.34 they are in a library that a program without threads does not have. */
extern int pthread_key_create(unsigned *, void (*)(void *)) __attribute__((weak));
extern int pthread_setspecific(unsigned, const void *) __attribute__((weak));
extern int getrlimit(int, unsigned long[2]);

#define RECYCLE_LARGE (UINT64_C(8) * 1024) /* all that runs.c does not serve: no more than IDLE_LIMIT keeps its pages */
#define RECYCLE_CLASSES 134                   /* up to SIZE_LIMIT: addresses that nothing reuses would run out */

#include "control.c"
#include "retired.c"
#define unmap_retired() false /* none is; a thread may hold the lock while another one forks */
#include "bump.c"
#include "recycle.c"
#include "os_posix.c"
#include "runs.c"

#if !defined(PRELOADED) /* tests give the functions other names */
#define PRELOADED(name) name
#endif
#define BUMP_EXPORT __attribute__((visibility("default")))

enum { EINVAL_CODE = 22, AREAS = 32 };
#define NOBODY 1                              /* no thread's number: the recycler's own lists stay unused */
#define LEAST_SIZE HUGE_PAGE
#define SPARE_BYTES (UINT64_C(4) << 20)       /* what buffers that grow leave behind: the next ones take it, and its pages */
#define PLAIN_BYTES (UINT64_C(2) << 20)       /* a region has huge pages only after these: a small program stays small */

/* A region, its slots of 64 KiB, in each of which a run may lie, and the structures that recycle.c works on. */
typedef struct {
  region_t region;
  struct bump hold;
  recycle_t recycle;
  _Atomic uint64_t above; /* about how many bytes above the cursor have pages: what the last blocks left */
  run_t runs[];
} area_t;

static area_t *_Atomic areas[AREAS]; /* NULL behind the last */

/* Of the first area, for the fast path of free; `size` is 0 when that has nothing to do. */
static unsigned char *first_base;
static run_t *first_runs;
static _Atomic uint64_t first_size;

static struct { bool grow, recycle, huge; uint64_t size; } options;

static __thread heap_t *mine __attribute__((tls_model("initial-exec")));
static heap_t main_heap;

extern char **environ;

/* ---- options ------------------------------------------------------------ */

/* The variable's number, `other` when there is none. */
static uint64_t option(const char *name, uint64_t other) {
  for (char **each = environ; each != NULL && *each != NULL; each++) {
    const char *at = *each, *wanted = name;
    while (*wanted != '\0' && *wanted == *at) at++, wanted++;
    if (*wanted != '\0' || *at++ != '=' || *at == '\0') continue;
    uint64_t value = 0;
    while (*at >= '0' && *at <= '9' && value < SIZE_LIMIT) value = 10 * value + (uint64_t)(*at++ - '0');
    return *at == '\0' ? value : other;
  }
  return other;
}

static void read_options(void) {
  options.size = option("BUMP_PRELOAD_SIZE", UINT64_C(1) << 30);
  options.grow = option("BUMP_PRELOAD_GROW", 1) != 0;
  options.recycle = option("BUMP_PRELOAD_RECYCLE", 1) != 0;
  options.huge = option("BUMP_PRELOAD_HUGE_PAGES", 1) != 0;
}

/* ---- regions ------------------------------------------------------------ */

static unsigned areas_in_use(void) {
  unsigned count = 0;
  while (count < AREAS && atomic_load_explicit(&areas[count], memory_order_acquire) != NULL) count++;
  return count;
}

static bool holds(const area_t *area, const void *block) {
  return (uintptr_t)block - (uintptr_t)area->region.at.base < area->region.at.capacity;
}

/* NULL: another allocator's. */
static area_t *area_of(const void *block) {
  for (unsigned i = 0; i < AREAS; i++) {
    area_t *area = atomic_load_explicit(&areas[i], memory_order_acquire);
    if (area == NULL || holds(area, block)) return area;
  }
  return NULL;
}

static run_t *slot_of(area_t *area, const void *block) {
  return &area->runs[((uintptr_t)block - (uintptr_t)area->region.at.base) / RUN_BYTES];
}

static size_t area_bytes(uint64_t size) { return sizeof(area_t) + size / RUN_BYTES * sizeof(run_t); }

/* Number `index`, of about `size` bytes, or, when the system has not so many, of half as many and so on down to `least`. */
static bool area_add(unsigned index, uint64_t size, uint64_t least) {
  void *base;
  while (os_reserve(size + RUN_BYTES, HUGE_PAGE, &base) != 0) {
    if (size == least) return false;
    size = offset_max(offset_round_up(size / 2, HUGE_PAGE), least);
  }
  area_t *area = os_map(area_bytes(size)), *none = NULL;
  if (area != NULL) {
    region_t *region = &area->region;
    region->recycle = &area->recycle;
    start_at(region, (mapping_t){base, size + RUN_BYTES, size, 0, true}, 0, 0, 0);
    set(&region->populate_limit, 0); /* large blocks are often used in parts */
    recycle_reset(region);
    set(&area->recycle.owner, NOBODY);
    area->recycle.spare = SPARE_BYTES;
    area->hold.region = region;
    set(&area->hold.block.magic, magic_of(&area->hold));
    if (atomic_compare_exchange_strong(&areas[index], &none, area)) {
      if (index == 0) {
        first_base = base;
        first_runs = area->runs;
        if (options.recycle) atomic_store_explicit(&first_size, size, memory_order_release);
      }
      return true;
    }
    os_unmap(area, area_bytes(size)); /* another thread was first */
  }
  (void)os_release(base, size + RUN_BYTES, true);
  return area != NULL;
}

/* Bytes that the process may map. Most of them stay for its stacks, libraries and files. */
static uint64_t may_map(void) {
  enum { ADDRESS_SPACE = 9 };
  unsigned long limit[2] = {0}; /* the first one counts */
  return getrlimit(ADDRESS_SPACE, limit) == 0 ? offset_min(limit[0], 8 * SIZE_LIMIT) : 8 * SIZE_LIMIT;
}

/* After all of the `count` areas were found full. `size`: what has to fit. */
static bool one_more(unsigned count, uint64_t size) {
  uint64_t all = 0;
  if (count == AREAS || (count != 0 && !options.grow)) return false;
  for (unsigned i = 0; i < count; i++) all += areas[i]->region.at.capacity;
  if (count == 0) {
    read_options();
    all = offset_round_up(offset_max(options.size, LEAST_SIZE), HUGE_PAGE);
    if (!options.grow) return area_add(0, all, all);
    all = offset_max(offset_min(all, offset_round_up(may_map() / 4, HUGE_PAGE)), LEAST_SIZE);
  }
  const uint64_t least = offset_round_up(size + RUN_BYTES, HUGE_PAGE); /* a header, or what a run's alignment leaves */
  return area_add(count, offset_max(all, least), least);
}

static run_t *run_with(uint64_t id) {
  area_t *area = atomic_load_explicit(&areas[id % AREAS], memory_order_relaxed);
  return &area->runs[id / AREAS - 1];
}

/* Takes them off: they are in use again, or have no pages. */
static void from_above(area_t *area, uint64_t size) {
  uint64_t above = get(&area->above);
  while (above != 0 && !swap(&area->above, &above, above > size ? above - size : 0)) {}
}

/* Fresh bytes for runs. NULL: no memory. */
static unsigned char *runs_at_cursor(uint64_t size) {
  for (;;) {
    const unsigned count = areas_in_use();
    for (unsigned i = count; i-- > 0;) {
      uint64_t padding;
      unsigned char *fresh, *start = take(&areas[i]->region, size, size, 0, &fresh, &padding);
      if (start == NULL) continue;
      from_above(areas[i], size);
      return start;
    }
    if (!one_more(count, 2 * size)) return NULL;
  }
}

static run_t *run_on(unsigned char *start) {
  for (unsigned i = 0; i < AREAS; i++) {
    area_t *area = areas[i];
    if (!holds(area, start)) continue;
    run_t *run = slot_of(area, start);
    run->start = start;
    run->id = (uint64_t)(run - area->runs + 1) * AREAS + i;
    return run;
  }
  return NULL;
}

/* A run that will be filled, in a huge page of such runs. */
static run_t *run_in_huge_page(void) {
  static _Atomic uint64_t page; /* its address, and how many of its runs are in use */
  uint64_t now = get(&page);
  while (now % HUGE_PAGE < HUGE_PAGE / RUN_BYTES && now != 0) {
    if (swap(&page, &now, now + 1)) return run_on((unsigned char *)(uintptr_t)(now - now % HUGE_PAGE) + now % HUGE_PAGE * RUN_BYTES);
  }
  unsigned char *start = runs_at_cursor(HUGE_PAGE);
  if (start == NULL) return NULL;
  os_huge_pages(start, HUGE_PAGE);
  if (!atomic_compare_exchange_strong(&page, &now, (uint64_t)(uintptr_t)start + 1)) { /* another thread was first */
    for (uint64_t at = RUN_BYTES; at < HUGE_PAGE; at += RUN_BYTES) run_leave(run_on(start + at));
  }
  return run_on(start);
}

static run_t *run_at_cursor(bool will_be_filled) {
  const bool huge = will_be_filled && options.huge && get(&areas[0]->region.cursor) >= PLAIN_BYTES;
  run_t *run = huge ? run_in_huge_page() : NULL;
  if (run != NULL) return run;
  unsigned char *start = runs_at_cursor(RUN_BYTES);
  if (start == NULL) return NULL;
  if (will_be_filled) os_populate(start, RUN_BYTES); /* faults of single pages take twice as long */
  return run_on(start);
}

/* ---- larger blocks ------------------------------------------------------ */

/* Those that the block fills: a block is often used in parts, or not at all at its end. */
static unsigned char *in_huge_pages(void *block, size_t size) {
  const uint64_t start = offset_round_up((uintptr_t)block, HUGE_PAGE), end = offset_round_down((uintptr_t)block + size, HUGE_PAGE);
  if (options.huge && start < end) os_huge_pages((void *)(uintptr_t)start, end - start);
  return block;
}

/* Freed blocks of all areas serve before fresh bytes of any. Bytes from *fresh upwards are zero. */
static unsigned char *large_take(size_t size, unsigned char **fresh) {
  uint64_t units = size <= SIZE_LIMIT / 2 ? least_units(size) : 0;
  const unsigned class = units != 0 ? class_for(&units) : 0;
  while (units != 0) {
    const unsigned count = areas_in_use();
    unsigned char *block = NULL;
    for (unsigned i = count; i-- > 0 && block == NULL;) block = headed_again(&areas[i]->region, units, class);
    if (block != NULL) *fresh = block + size;
    for (unsigned i = count; i-- > 0 && block == NULL;) {
      block = headed_bump(&areas[i]->region, size, units, fresh);
      if (block != NULL) from_above(areas[i], size);
    }
    if (block != NULL) return in_huge_pages(block, size);
    if (!one_more(count, size)) break;
  }
  return NULL;
}

static void *large_alloc(size_t size) {
  unsigned char *fresh;
  return large_take(size, &fresh);
}

/* What would fill more than may be idle is discarded instead: a large table is often used in parts. */
static void *large_zeroed(size_t size) {
  unsigned char *fresh, *block = large_take(size, &fresh);
  if (block == NULL || fresh <= block) return block;
  const uint64_t used = offset_min(size, (uint64_t)(fresh - block)), page = os_page_size();
  if (used > IDLE_LIMIT) {
    pages_back(block, used);
    os_clear(block, page); /* with the rest, in front of the first whole page and behind the last */
    os_clear(block + used - page, page);
  } else {
    os_clear(block, used);
  }
  return block;
}

static headed_t large_at(area_t *area, unsigned char *block) {
  uint64_t cursor;
  return headed_at(&area->region, block, &cursor);
}

#define INSIDE 15 /* as its padding, which is 0 or 8 otherwise: the block begins this many bytes earlier as [-2] says */

/* A block within a larger one, which goes as a whole and so serves for the same size and alignment again. */
static void *large_aligned(size_t size, size_t align) {
  unsigned char *block = size <= SIZE_LIMIT / 4 && align <= SIZE_LIMIT / 4 ? large_alloc(size + align) : NULL;
  if (block == NULL) return NULL;
  const uint64_t front = offset_padding((uintptr_t)block, align);
  if (front == 0) return block;
  const headed_t whole = large_at(area_of(block), block);
  ((uint64_t *)(void *)(block + front))[-2] = front;
  return finish(block + front, whole.units - front / RECYCLE_UNIT, INSIDE, whole.epoch);
}

static void large_free(area_t *area, unsigned char *block) {
  const int error = last_error(); /* free keeps it, also when the system refuses to take pages back */
  headed_t freed = large_at(area, block);
  if (freed.padding == INSIDE) {
    *header_of(block) = 0;
    block -= ((uint64_t *)(void *)block)[-2];
    freed = large_at(area, block);
  }
  if (freed.units != 0 && freed.end == get(&area->region.cursor)) {
    const uint64_t size = freed.units * RECYCLE_UNIT - HEADER;
    if (atomic_fetch_add_explicit(&area->above, size, memory_order_relaxed) + size > IDLE_LIMIT) {
      pages_back(block, size); /* while it is this thread's */
      from_above(area, size);
    }
  }
  headed_free(&area->hold, block);
  *__errno_location() = error;
}

/* ---- threads ------------------------------------------------------------ */

static void at_end(void *heap) {
  mine = NULL;
  heap_leave(heap);
}

/* Has at_end called with the heap when this thread ends. */
static void watch(heap_t *heap) {
  static _Atomic uint64_t key; /* and 1 */
  thread_key_t fresh;
  uint64_t known = 0;
  if (pthread_key_create == NULL || pthread_setspecific == NULL) return;
  if (get(&key) == 0 && pthread_key_create(&fresh, at_end) == 0) {
    /* One that comes second keeps its key: it is used by nobody. */
    atomic_compare_exchange_strong(&key, &known, (uint64_t)fresh + 1);
  }
  if (get(&key) != 0) pthread_setspecific((thread_key_t)(get(&key) - 1), heap);
}

/* The calling thread's. NULL: no memory. */
COLD heap_t *enter_heap(void) {
  heap_t *heap = heap_again();
  if (heap != NULL) mine = heap;
  else {
    heap = heap_claim(&main_heap) ? &main_heap : large_zeroed(sizeof(heap_t));
    if (heap == NULL) return NULL;
    mine = heap;
    heap_add(heap);
  }
  if (heap != &main_heap) watch(heap); /* may allocate: `mine` is set */
  return heap;
}

/* ---- malloc ------------------------------------------------------------- */

/* What malloc returns, with the error when there is no memory. */
static void *result_of(void *block) {
  if (block == NULL) *__errno_location() = OS_NO_MEMORY;
  return block;
}

HOT unsigned class_of(size_t size) { /* at most RUN_SMALL */
  const uint64_t units = (size + RECYCLE_UNIT - 1) / RECYCLE_UNIT;
  return units <= RECYCLE_SMALL_UNITS ? recycle_small_class[units] : recycle_class(recycle_round_up(units));
}

COLD void *alloc_other(size_t size) {
  heap_t *heap = mine != NULL ? mine : enter_heap(); /* a large block's, too: the main thread comes first */
  if (size > RUN_SMALL) return result_of(large_alloc(size));
  return result_of(heap != NULL ? run_alloc(heap, class_of(size)) : NULL);
}

HOT void *alloc(size_t size) {
  heap_t *heap = mine;
  if (size <= RUN_SMALL && heap != NULL) {
    run_t *run = heap->serving[class_of(size)];
    if (run->free != NULL) return run_pop(run);
  }
  return alloc_other(size);
}

COLD void release_other(void *block) {
  area_t *area = options.recycle && block != NULL ? area_of(block) : NULL;
  if (area == NULL) return;
  run_t *run = slot_of(area, block);
  if (run->heap == NULL) large_free(area, block);
  else if (run->heap == mine) run_free(run, block);
  else run_free_elsewhere(run, block);
}

HOT void release(void *block) {
  const uint64_t offset = (uint64_t)((uintptr_t)block - (uintptr_t)first_base);
  if (offset < atomic_load_explicit(&first_size, memory_order_acquire)) {
    run_t *run = &first_runs[offset / RUN_BYTES];
    if (run->heap == mine && run->heap != NULL) {
      run_free(run, block);
      return;
    }
  }
  release_other(block);
}

/* 0: another allocator's. */
static size_t usable(void *block) {
  area_t *area = area_of(block);
  if (area == NULL) return 0;
  const run_t *run = slot_of(area, block);
  return run->heap != NULL ? run->size : headed_usable(&area->hold, block);
}

static void *resize(void *block, size_t size) {
  const size_t old = usable(block);
  if (size < old && old - size > IDLE_LIMIT) pages_back((unsigned char *)block + size, old - size);
  if (size <= old && (size > old / 2 || old <= 4 * RECYCLE_UNIT)) return block;
  area_t *area = area_of(block);
  if (old > RUN_SMALL && size > RUN_SMALL && options.recycle && large_at(area, block).padding != INSIDE) {
    void *resized = headed_resize(&area->hold, block, size);
    if (resized != NULL) return in_huge_pages(resized, size);
  }
  void *moved = alloc(size);
  if (moved == NULL) return size <= old ? block : NULL;
  os_copy(moved, block, offset_min(size, old));
  release(block);
  return moved;
}

static void *aligned(size_t align, size_t size) {
  if (align <= RECYCLE_UNIT) return alloc(size);
  if (align > RUN_SMALL || size > RUN_SMALL) return result_of(large_aligned(size, align));
  /* A run begins at a multiple of 64 KiB, so blocks of a size that is a multiple of `align` are aligned. */
  uint64_t fits = offset_round_up(offset_max(size, 1), align);
  for (unsigned class = class_of(fits); (fits = recycle_units(class) * RECYCLE_UNIT) % align != 0; class++) {}
  return alloc(fits);
}

BUMP_EXPORT void *PRELOADED(malloc)(size_t size) { return alloc(size); }

BUMP_EXPORT void PRELOADED(free)(void *block) { release(block); }

/* C23 */
BUMP_EXPORT void PRELOADED(free_sized)(void *block, size_t size) {
  (void)size;
  release(block);
}

BUMP_EXPORT void PRELOADED(free_aligned_sized)(void *block, size_t align, size_t size) {
  (void)align, (void)size;
  release(block);
}

BUMP_EXPORT void *PRELOADED(calloc)(size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) return result_of(NULL);
  if (bytes > RUN_SMALL) return result_of(large_zeroed(bytes));
  void *block = alloc(bytes);
  if (block != NULL) os_clear(block, bytes);
  return block;
}

BUMP_EXPORT void *PRELOADED(realloc)(void *block, size_t size) {
  if (block == NULL) return alloc(size);
  if (size != 0) return resize(block, size);
  release(block); /* as glibc does */
  return NULL;
}

BUMP_EXPORT void *PRELOADED(reallocarray)(void *block, size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) return result_of(NULL);
  if (block == NULL) return alloc(bytes);
  if (bytes != 0) return resize(block, bytes);
  release(block);
  return NULL;
}

BUMP_EXPORT int PRELOADED(posix_memalign)(void **to, size_t align, size_t size) {
  const int error = last_error(); /* it says by its result what went wrong */
  if (align < sizeof(void *) || !offset_is_power_of_two(align)) return EINVAL_CODE;
  void *block = aligned(align, size);
  *__errno_location() = error;
  if (block == NULL) return OS_NO_MEMORY;
  *to = block;
  return 0;
}

BUMP_EXPORT void *PRELOADED(aligned_alloc)(size_t align, size_t size) {
  if (offset_is_power_of_two(align)) return aligned(align, size);
  *__errno_location() = EINVAL_CODE;
  return NULL;
}

BUMP_EXPORT void *PRELOADED(memalign)(size_t align, size_t size) {
  size_t power = RECYCLE_UNIT;
  while (power < align && power < SIZE_LIMIT) power *= 2;
  return aligned(power, size);
}

BUMP_EXPORT void *PRELOADED(valloc)(size_t size) { return aligned(os_page_size(), size); }

BUMP_EXPORT void *PRELOADED(pvalloc)(size_t size) {
  const size_t page = os_page_size();
  return size < SIZE_LIMIT ? aligned(page, offset_round_up(offset_max(size, 1), page)) : result_of(NULL);
}

BUMP_EXPORT size_t PRELOADED(malloc_usable_size)(void *block) { return block == NULL ? 0 : usable(block); }
