/* runs.c - small blocks for the threads of a whole program, each of which has lists of its own.
 *
 * A run is 64 KiB of blocks of one size, and belongs to one heap; a heap belongs to one thread at a time. Blocks that
 * a thread takes one after the other lie side by side, whatever was freed before: that saves more time than any
 * shorter list (Lua: 0.5 of the time that one list for each size takes).
 *
 *  - The owner takes and frees without an atomic exchange. Another thread links what it frees to `elsewhere`, and the
 *    first to do so tells the heap, which collects them when it runs out of blocks.
 *  - `live` counts blocks that were freed elsewhere until they are collected, so an empty run has nothing under way.
 *  - A full run comes back into its heap's list when an eighth of it is free: until then it is not worth the turn.
 *  - There is no lock: a child that one thread forks finds nothing held by the others. What was theirs stays unused.
 */
#include "control.h"

#define RUN_BYTES (UINT64_C(64) * 1024)
#define RUN_SMALL (UINT64_C(8) * 1024)        /* larger blocks are the recycler's */
#define RUN_IDLE_LIMIT (UINT32_C(64) * 1024 / 64) /* empty runs that keep their pages: 64 MiB */
#define RUN_NEVER UINT32_MAX
#define ID_BITS 40
enum { RUN_CLASSES = 56 };                    /* of recycle.h: those up to RUN_SMALL */

typedef struct run run_t;
typedef struct heap heap_t;

struct run {
  _Alignas(64) void *free; /* blocks that serve next, each of which begins with the address of the following one */
  uint32_t live;
  uint32_t wake;           /* the run changes its place when `live` falls to this: 0 in a list, RUN_NEVER while it serves */
  heap_t *heap;            /* NULL: no run lies here */
  uint32_t size, fresh;    /* bytes of a block, and bytes that were ever cut into blocks */
  unsigned char *start;
  run_t *next, *previous;  /* in the heap's list of its class */
  uint32_t class;

  _Alignas(64) void *_Atomic elsewhere; /* what other threads have freed */
  run_t *next_told;
  _Atomic uint64_t next_idle;           /* an id, 0: none */
  uint64_t id;                          /* below 1 << ID_BITS: those of 256 TiB in 32 areas */
};

struct heap {
  run_t *serving[RUN_CLASSES];
  run_t *first[RUN_CLASSES], *last[RUN_CLASSES]; /* runs with room */
  run_t *_Atomic told;                           /* runs with blocks that were freed elsewhere */
  _Atomic uint32_t taken;
  heap_t *next;                                  /* of all heaps */
};

/* preload.c */
static run_t *run_with(uint64_t id);
static run_t *run_at_cursor(bool will_be_filled);

static run_t no_run = {.size = RUN_BYTES, .fresh = RUN_BYTES};
static heap_t *_Atomic heaps;

/* Empty runs: the id of the newest, and above it a tag, which each push raises. */
static _Atomic uint64_t idle_runs;
static _Atomic uint32_t idle_count;

/* ---- empty runs --------------------------------------------------------- */

static uint64_t id_in(uint64_t word) { return word & ((UINT64_C(1) << ID_BITS) - 1); }

static void run_leave(run_t *run) {
  run->heap = NULL;
  if (atomic_fetch_add_explicit(&idle_count, 1, memory_order_relaxed) >= RUN_IDLE_LIMIT) {
    const int error = last_error(); /* which free keeps */
    (void)os_discard(run->start, RUN_BYTES); /* a refusal costs RAM only */
    *__errno_location() = error;
  }
  uint64_t word = get(&idle_runs);
  do atomic_store_explicit(&run->next_idle, id_in(word), memory_order_relaxed);
  while (!swap(&idle_runs, &word, ((word >> ID_BITS) + 1) << ID_BITS | run->id));
}

static run_t *run_again(void) {
  uint64_t word = get(&idle_runs);
  run_t *run;
  do {
    if (id_in(word) == 0) return NULL;
    run = run_with(id_in(word));
  } while (!swap(&idle_runs, &word, word >> ID_BITS << ID_BITS | atomic_load_explicit(&run->next_idle, memory_order_relaxed)));
  atomic_fetch_sub_explicit(&idle_count, 1, memory_order_relaxed);
  return run;
}

/* ---- where a run stands in its heap ------------------------------------- */

static void list_append(run_t *run) {
  heap_t *heap = run->heap;
  run->previous = heap->last[run->class];
  run->next = NULL;
  if (run->previous != NULL) run->previous->next = run;
  else heap->first[run->class] = run;
  heap->last[run->class] = run;
  run->wake = 0;
}

static void list_remove(run_t *run) {
  heap_t *heap = run->heap;
  if (run->previous != NULL) run->previous->next = run->next;
  else heap->first[run->class] = run->next;
  if (run->next != NULL) run->next->previous = run->previous;
  else heap->last[run->class] = run->previous;
}

/* After blocks of it were freed. */
COLD void run_settle(run_t *run) {
  if (run->wake == RUN_NEVER || run->live > run->wake) return;
  if (run->wake != 0) list_append(run);
  if (run->live != 0) return;
  list_remove(run);
  run_leave(run);
}

static void run_collect(run_t *run) {
  unsigned char *first = atomic_exchange_explicit(&run->elsewhere, NULL, memory_order_acq_rel), *last = first;
  uint32_t count = 1;
  while (*next_in(last) != NULL) last = *next_in(last), count++;
  *next_in(last) = run->free;
  run->free = first;
  run->live -= count;
  run_settle(run);
}

static void heap_collect(heap_t *heap) {
  run_t *run = atomic_exchange_explicit(&heap->told, NULL, memory_order_acquire);
  for (run_t *next; run != NULL; run = next) {
    next = run->next_told; /* once its blocks are collected it may be told of again */
    run_collect(run);
  }
}

/* ---- blocks ------------------------------------------------------------- */

/* Cuts the rest of the page that was begun, or one block. False: the run is used up. */
static bool run_cut(run_t *run) {
  if (run->fresh + run->size > RUN_BYTES) return false;
  unsigned char *block = run->start + run->fresh;
  const uint64_t end = offset_min(offset_round_up(run->fresh + 1, 4096), RUN_BYTES);
  run->free = block;
  run->fresh += run->size;
  while (run->fresh + run->size <= end) {
    *next_in(block) = run->start + run->fresh;
    block = run->start + run->fresh;
    run->fresh += run->size;
  }
  *next_in(block) = NULL;
  return true;
}

/* False: it is a thread's. */
static bool heap_claim(heap_t *heap) {
  uint32_t nobody = 0;
  if (atomic_load_explicit(&heap->taken, memory_order_relaxed) != 0) return false; /* of thousands of threads */
  return atomic_compare_exchange_strong_explicit(&heap->taken, &nobody, 1, memory_order_acquire, memory_order_relaxed);
}

static void heap_leave(heap_t *heap) { atomic_store_explicit(&heap->taken, 0, memory_order_release); }

/* What other threads freed of heaps that nobody uses. */
static void collect_left(void) {
  for (heap_t *heap = atomic_load_explicit(&heaps, memory_order_acquire); heap != NULL; heap = heap->next) {
    if (atomic_load_explicit(&heap->told, memory_order_relaxed) == NULL || !heap_claim(heap)) continue;
    heap_collect(heap);
    heap_leave(heap);
  }
}

static run_t *run_take(heap_t *heap, unsigned class) {
  run_t *run = run_again();
  if (run == NULL) {
    collect_left();
    run = run_again();
  }
  if (run == NULL) {
    run = run_at_cursor(heap->serving[class] != &no_run); /* a class's first run may stay nearly empty */
    if (run == NULL) return NULL;
  }
  run->free = NULL;
  run->live = 0;
  run->heap = heap;
  run->class = class;
  run->size = (uint32_t)(recycle_units(class) * RECYCLE_UNIT);
  run->fresh = 0;
  return run;
}

COLD bool run_serve_other(heap_t *heap, unsigned class) {
  run_t *before = heap->serving[class], *run = heap->first[class];
  if (run != NULL) list_remove(run);
  else run = run_take(heap, class);
  if (run == NULL) return false;
  if (before != &no_run) {
    const uint32_t blocks = (uint32_t)RUN_BYTES / before->size;
    before->wake = blocks - (uint32_t)offset_max(blocks / 8, 1);
  }
  run->wake = RUN_NEVER;
  heap->serving[class] = run;
  return true;
}

HOT void *run_pop(run_t *run) {
  unsigned char *block = run->free;
  run->free = *next_in(block);
  run->live++;
  return block;
}

COLD void *run_alloc_other(heap_t *heap, unsigned class) {
  if (atomic_load_explicit(&heap->told, memory_order_relaxed) != NULL) heap_collect(heap);
  run_t *run = heap->serving[class];
  if (run->free == NULL && !run_cut(run)) {
    if (!run_serve_other(heap, class)) return NULL;
    run = heap->serving[class];
    if (run->free == NULL) (void)run_cut(run);
  }
  return run_pop(run);
}

HOT void *run_alloc(heap_t *heap, unsigned class) {
  run_t *run = heap->serving[class];
  return run->free != NULL ? run_pop(run) : run_alloc_other(heap, class);
}

/* By the owner. */
HOT void run_free(run_t *run, void *block) {
  *next_in(block) = run->free;
  run->free = block;
  if (--run->live == run->wake) run_settle(run);
}

COLD void run_free_elsewhere(run_t *run, void *block) {
  void *seen = atomic_load_explicit(&run->elsewhere, memory_order_relaxed);
  do *next_in(block) = seen;
  while (!atomic_compare_exchange_weak_explicit(&run->elsewhere, &seen, block, memory_order_acq_rel, memory_order_relaxed));
  if (seen != NULL) return;
  heap_t *heap = run->heap; /* cannot change: `block` counts as live until the heap, when it is told, collects it */
  run_t *first = atomic_load_explicit(&heap->told, memory_order_relaxed);
  do run->next_told = first;
  while (!atomic_compare_exchange_weak_explicit(&heap->told, &first, run, memory_order_release, memory_order_relaxed));
}

/* ---- heaps -------------------------------------------------------------- */

/* One that nobody uses, or NULL. */
static heap_t *heap_again(void) {
  heap_t *heap = atomic_load_explicit(&heaps, memory_order_acquire);
  while (heap != NULL && !heap_claim(heap)) heap = heap->next;
  return heap;
}

/* Makes zeroed memory a heap that is taken. */
static void heap_add(heap_t *heap) {
  for (unsigned class = 0; class < RUN_CLASSES; class++) heap->serving[class] = &no_run;
  heap->taken = 1;
  heap_t *first = atomic_load_explicit(&heaps, memory_order_relaxed);
  do heap->next = first;
  while (!atomic_compare_exchange_weak_explicit(&heaps, &first, heap, memory_order_release, memory_order_relaxed));
}
