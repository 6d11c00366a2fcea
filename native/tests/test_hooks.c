/* test_hooks.c - the allocator callbacks. argv[1], if given, is the shared object, for a test that the process's own
 * callbacks survive its unloading. */
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if !defined(_WIN32)
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "../hooks.h"
#include "../recycle.h"
#include "check.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static uint64_t seed = 0x9e3779b97f4a7c15;
static uint64_t next(uint64_t *state) {
  *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
  return *state;
}

static bump_t *region(size_t size) {
  bump_region_t made;
  bump_t *bump = bump_create((double)size, 0, &made);
  CHECK(bump != NULL && made.error == BUMP_OK);
  return bump;
}

static int inside(bump_t *bump, const void *block) {
  const char *base = bump_base(bump);
  return (const char *)block >= base && (const char *)block < base + (size_t)bump_capacity(bump);
}

/* ---- one interface for all families ------------------------------------- */

typedef struct {
  const char *name;
  void *(*alloc)(bump_t *, size_t);
  void *(*resize)(bump_t *, void *, size_t old_size, size_t size); /* NULL: the library has none */
  void (*free)(bump_t *, void *, size_t size);
} family_t;

static void *zlib_alloc(bump_t *bump, size_t size) { return bump_zlib_alloc(bump, 1, (unsigned)size); }
static void zlib_free(bump_t *bump, void *block, size_t size) { (void)size, bump_zlib_free(bump, block); }
static void *zstd_alloc(bump_t *bump, size_t size) { return bump_zstd_alloc(bump, size); }
static void zstd_free(bump_t *bump, void *block, size_t size) { (void)size, bump_zstd_free(bump, block); }
static void *lua_alloc(bump_t *bump, size_t size) { return bump_lua_alloc(bump, NULL, 5 /* a type */, size); }
static void *lua_resize(bump_t *bump, void *block, size_t old, size_t size) { return bump_lua_alloc(bump, block, old, size); }
static void lua_free(bump_t *bump, void *block, size_t size) { CHECK(bump_lua_alloc(bump, block, size, 0) == NULL); }
static void *yyjson_alloc(bump_t *bump, size_t size) { return bump_yyjson_malloc(bump, size); }
static void *yyjson_resize(bump_t *bump, void *block, size_t old, size_t size) { return bump_yyjson_realloc(bump, block, old, size); }
static void yyjson_free(bump_t *bump, void *block, size_t size) { (void)size, bump_yyjson_free(bump, block); }
static void *pcre2_alloc(bump_t *bump, size_t size) { return bump_pcre2_malloc(size, bump); }
static void pcre2_free(bump_t *bump, void *block, size_t size) { (void)size, bump_pcre2_free(block, bump); }
static bump_ft_memory_t ft(bump_t *bump) {
  return (bump_ft_memory_t){bump, bump_freetype_alloc, bump_freetype_free, bump_freetype_realloc};
}
static void *ft_alloc(bump_t *bump, size_t size) {
  bump_ft_memory_t memory = ft(bump);
  return size > LONG_MAX ? NULL : memory.alloc(&memory, (long)size); /* 32 bits on Windows */
}
static void *ft_resize(bump_t *bump, void *block, size_t old, size_t size) {
  bump_ft_memory_t memory = ft(bump);
  return size > LONG_MAX ? NULL : memory.realloc(&memory, (long)old, (long)size, block);
}
static void ft_free(bump_t *bump, void *block, size_t size) {
  bump_ft_memory_t memory = ft(bump);
  (void)size, memory.free(&memory, block);
}
static void *expat_alloc(bump_t *bump, size_t size) { return bump_expat_suite(bump)->malloc(size); }
static void *expat_resize(bump_t *bump, void *block, size_t old, size_t size) {
  (void)old;
  return bump_expat_suite(bump)->realloc(block, size);
}
static void expat_free(bump_t *bump, void *block, size_t size) { (void)size, bump_expat_suite(bump)->free(block); }

static const family_t families[] = {
  {"zlib", zlib_alloc, NULL, zlib_free},
  {"zstd", zstd_alloc, NULL, zstd_free},
  {"lua", lua_alloc, lua_resize, lua_free},
  {"yyjson", yyjson_alloc, yyjson_resize, yyjson_free},
  {"pcre2", pcre2_alloc, NULL, pcre2_free},
  {"freetype", ft_alloc, ft_resize, ft_free},
  {"expat", expat_alloc, expat_resize, expat_free},
};
#define FAMILIES (sizeof families / sizeof families[0])

static void *process_alloc(bump_t *bump, size_t size) { return (void)bump, bump_process_malloc(size); }
static void *process_resize(bump_t *bump, void *block, size_t old, size_t size) {
  return (void)bump, (void)old, bump_process_realloc(block, size);
}
static void process_free(bump_t *bump, void *block, size_t size) { (void)bump, (void)size, bump_process_free(block); }
static const family_t the_process = {"process", process_alloc, process_resize, process_free};

/* ---- tests of every family ---------------------------------------------- */

/* A block with a header begins half a unit later than one without, and Lua has both. The padding is not given back. */
#define PADDING (f->resize == lua_resize ? 8 : 0)

static void one_block(const family_t *f, bump_t *bump) {
  const double start = bump_cursor(bump);
  for (size_t size = 1; size < 5000; size += 1 + size / 7) {
    unsigned char *block = f->alloc(bump, size);
    CHECK(block != NULL && (uintptr_t)block % 16 == 0 && inside(bump, block) && inside(bump, block + size - 1));
    CHECK((double)(size_t)(block + size - (unsigned char *)bump_base(bump)) <= bump_cursor(bump));
    memset(block, 0xee, size);
    f->free(bump, block, size);
    CHECK(bump_cursor(bump) <= start + PADDING); /* the last block comes back */
  }
}

/* The most bytes that a block takes. */
static double room_of(size_t size) { return (double)size * 9 / 8 + 64; }

static void in_reverse(const family_t *f, bump_t *bump) {
  enum { COUNT = 200 };
  static unsigned char *blocks[COUNT];
  static size_t sizes[COUNT];
  const double start = bump_cursor(bump);
  for (size_t i = 0; i < COUNT; i++) {
    sizes[i] = 1 + next(&seed) % (f->resize == lua_resize ? 1024 : 3000);
    blocks[i] = f->alloc(bump, sizes[i]);
    memset(blocks[i], (int)i, sizes[i]);
  }
  const double full = bump_cursor(bump);
  for (size_t i = 0; i < COUNT; i++) {
    for (size_t j = 0; j < sizes[i]; j++) CHECK(blocks[i][j] == (unsigned char)i);
  }
  f->free(bump, blocks[0], sizes[0]); /* not the last block: it waits for reuse */
  CHECK(bump_cursor(bump) == full);
  for (size_t i = COUNT; i-- > 1;) f->free(bump, blocks[i], sizes[i]);
  CHECK(bump_cursor(bump) <= start + room_of(sizes[0]));
  CHECK(f->alloc(bump, sizes[0]) == blocks[0]);
}

static void resizes(const family_t *f, bump_t *bump) {
  if (f->resize == NULL) return;
  unsigned char *first = f->alloc(bump, 100);
  const double after = bump_cursor(bump);
  for (int i = 0; i < 100; i++) first[i] = (unsigned char)i;
  CHECK(f->resize(bump, first, 100, 1000) == first && bump_cursor(bump) > after); /* grows where it is */
  CHECK(f->resize(bump, first, 1000, 100) == first && bump_cursor(bump) == after);
  first = f->resize(bump, first, 100, 5000);
  for (int i = 0; i < 100; i++) CHECK(first[i] == i);
  first = f->resize(bump, first, 5000, 100);
  unsigned char *second = f->alloc(bump, 10);
  first = f->resize(bump, first, 100, 50);
  for (int i = 0; i < 50; i++) CHECK(first[i] == i);
  first = f->resize(bump, first, 50, 100);
  unsigned char *moved = f->resize(bump, first, 100, 200);
  CHECK(moved != first && moved > second);
  for (int i = 0; i < 50; i++) CHECK(moved[i] == i);
  if (f->resize != lua_resize) CHECK(f->resize(bump, first, 100, 10) == NULL); /* it has moved away */
  const size_t left = (size_t)(bump_capacity(bump) - bump_cursor(bump));
  CHECK(f->resize(bump, moved, 200, left + 300) == NULL); /* full: the block is as it was */
  CHECK(f->resize(bump, second, 10, left + 1) == NULL);
  for (int i = 0; i < 50; i++) CHECK(moved[i] == i);
  CHECK(f->resize(bump, moved, 200, 400) == moved);
  CHECK(f->resize(bump, NULL, 0, 30) != NULL);
}

static void impossible(const family_t *f, bump_t *bump) {
  static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 15, SIZE_MAX - 31, SIZE_MAX / 2, (size_t)1 << 63,
                                 ((size_t)1 << 53) + 1, (size_t)1 << 53, (size_t)1 << 40};
  const double start = bump_cursor(bump);
  unsigned char *block = f->alloc(bump, 64);
  memset(block, 7, 64);
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    if (f->alloc != zlib_alloc) CHECK(f->alloc(bump, sizes[i]) == NULL);
    if (f->resize != NULL) CHECK(f->resize(bump, block, 64, sizes[i]) == NULL);
  }
  for (int i = 0; i < 64; i++) CHECK(block[i] == 7);
  f->free(bump, block, 64);
  CHECK(bump_cursor(bump) == start);
}

static void fills_up(const family_t *f) {
  bump_t *bump = region(64 * KIB);
  CHECK(f->alloc(bump, 64 * KIB + 1) == NULL && bump_cursor(bump) == 0);
  size_t blocks = 0;
  unsigned char *last = NULL;
  for (unsigned char *block; (block = f->alloc(bump, 1000)) != NULL; blocks++) memset(last = block, 1, 1000);
  CHECK(blocks >= 62 && blocks <= 65);
  CHECK(f->alloc(bump, 1000) == NULL);
  f->free(bump, last, 1000);
  CHECK(f->alloc(bump, 1000) == last);
  CHECK(f->alloc(bump, 1) == NULL || f->alloc(bump, 16) == NULL || bump_cursor(bump) <= bump_capacity(bump));
  CHECK(bump_close(bump) == BUMP_OK);
  CHECK(f == &families[6] || f->alloc(bump, 1) == NULL); /* closed: nothing, and no crash */
}

/* Addresses that are not live blocks are ignored. */
static void strangers(const family_t *f, bump_t *bump) {
  bump_t *other = region(MIB);
  _Alignas(16) unsigned char stack[64] = {0};
  void *heap = malloc(64);
  unsigned char *block = f->alloc(bump, 64), *theirs = bump_zstd_alloc(other, 64);
  memset(block, 9, 64);
  void *odd[] = {NULL, stack + 16, heap, block + 16, block + 1, theirs, (void *)16, (void *)(uintptr_t)-16, bump_base(bump),
                 (char *)bump_base(bump) + (size_t)bump_cursor(bump), (char *)bump_base(bump) + (size_t)bump_capacity(bump)};
  const double cursor = bump_cursor(bump);
  for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
    /* A plausible address from Lua is taken for a block, because there is no header to check. */
    if (f->resize == lua_resize && inside(bump, odd[i]) && (char *)odd[i] + 64 <= (char *)block + 64) continue;
    f->free(bump, odd[i], 64);
    CHECK(bump_cursor(bump) == cursor);
    if (f->resize != NULL && f->resize != lua_resize && odd[i] != NULL) CHECK(f->resize(bump, odd[i], 64, 100) == NULL);
  }
  for (int i = 0; i < 64; i++) CHECK(block[i] == 9);
  f->free(bump, block, 64);
  f->free(bump, block, 64); /* twice */
  CHECK(bump_cursor(bump) < cursor);
  unsigned char *again = f->alloc(bump, 32), *behind = f->alloc(bump, 32);
  f->free(bump, again, 32);
  if (f->resize != NULL && f->resize != lua_resize) CHECK(f->resize(bump, again, 32, 64) == NULL); /* it was freed */
  f->free(bump, behind, 32);
  free(heap);
  CHECK(bump_close(other) == BUMP_OK);
}

/* Random programs against a shadow: no two live blocks overlap, and contents are kept. */
typedef struct {
  unsigned char *at;
  size_t size;
  unsigned char fill;
} shadow_t;

static void check_shadow(const shadow_t *s, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) {
    if (s->at[i] != s->fill) {
      CHECK(s->at[i] == s->fill);
      return;
    }
  }
  CHECK(1);
}

static void random_program(const family_t *f, bump_t *bump, uint64_t *state, size_t steps) {
  enum { LIVE = 24 };
  shadow_t live[LIVE] = {{0}};
  for (size_t step = 0; step < steps; step++) {
    /* Often the newest one, so that blocks are last. */
    shadow_t *s = &live[next(state) % 3 == 0 ? step % LIVE : next(state) % LIVE];
    const size_t size = next(state) % 64 == 0 ? next(state) % 20000 + 1 : next(state) % 200 + 1;
    if (s->at == NULL) {
      s->at = f->alloc(bump, size);
    } else if (f->resize != NULL && next(state) % 2 == 0) {
      unsigned char *moved = f->resize(bump, s->at, s->size, size);
      if (moved == NULL) {
        CHECK(size > s->size); /* full; less cannot fail */
        check_shadow(s, s->size);
        continue;
      }
      s->at = moved;
      check_shadow(s, size < s->size ? size : s->size);
    } else {
      check_shadow(s, s->size);
      memset(s->at, 0, s->size);
      f->free(bump, s->at, s->size);
      s->at = NULL;
    }
    if (s->at == NULL) continue;
    CHECK((uintptr_t)s->at % 16 == 0 && inside(bump, s->at) && inside(bump, s->at + size - 1));
    s->size = size;
    s->fill = (unsigned char)(next(state) | 1);
    memset(s->at, s->fill, size);
  }
  for (size_t i = 0; i < LIVE; i++) {
    if (live[i].at != NULL) check_shadow(&live[i], live[i].size);
  }
}

static void each_family(void) {
  for (size_t i = 0; i < FAMILIES; i++) {
    const family_t *f = &families[i];
    bump_t *bump = region(64 * MIB);
    static void (*const checks_of[])(const family_t *, bump_t *) = {one_block, in_reverse, resizes, impossible, strangers};
    for (size_t j = 0; j < sizeof checks_of / sizeof checks_of[0]; j++) {
      CHECK(bump_reset(bump, 0, 1, NULL) == BUMP_OK);
      bump_alloc(bump, 3, 1); /* so that the cursor is odd */
      f->free(bump, f->alloc(bump, 1), 1); /* from here on the cursor is aligned */
      checks_of[j](f, bump);
    }
    random_program(f, bump, &seed, 20000);
    CHECK(bump_close(bump) == BUMP_OK);
    fills_up(f);
  }
}

/* ---- reuse -------------------------------------------------------------- */

static void size_classes(void) {
  uint64_t last = 0;
  for (uint64_t units = 1; units < (UINT64_C(1) << 48); units += 1 + units / 97) {
    const uint64_t size = recycle_round_up(units);
    const unsigned class = recycle_class(size);
    CHECK(size >= units && recycle_round_up(size) == size && size >= last);
    CHECK(size - units <= units / (units <= RECYCLE_FINE_UNITS ? 8 : 2));
    CHECK(recycle_class(units) == (size == units ? class : class - 1)); /* a block goes to a list that it is enough for */
    CHECK(recycle_class(size + 1) == class + (size < 16) && recycle_round_up(size + 1) > size);
    CHECK((class < RECYCLE_CLASSES) == (size * RECYCLE_UNIT <= UINT64_C(1) << 32));
    if (units <= RECYCLE_SMALL_UNITS) {
      CHECK(recycle_small_class[units] == class && recycle_small_units[class] == size && class < RECYCLE_SMALL);
    }
    last = size;
  }
}

/* The newest block is reused first, whatever lies behind it; none after a reset. */
static void newest_first(const family_t *f, bump_t *bump) {
  enum { COUNT = 300 };
  static void *blocks[COUNT];
  static const size_t sizes[] = {1, 24, 56, 100, 512, 1000, 1025, 5000, 70000, 200000};
  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
    for (size_t i = 0; i < COUNT; i++) blocks[i] = f->alloc(bump, sizes[s]);
    void *last = f->alloc(bump, 16);
    const double full = bump_cursor(bump);
    for (size_t i = 0; i < COUNT; i++) f->free(bump, blocks[i], sizes[s]);
    CHECK(bump_cursor(bump) == full);
    CHECK(f->alloc(bump, sizes[s]) == blocks[COUNT - 1]);
    size_t again = 1;
    for (size_t i = 1; i < COUNT; i++) {
      unsigned char *block = f->alloc(bump, sizes[s]);
      for (size_t j = 0; j < COUNT; j++) again += block == blocks[j];
    }
    CHECK(again == COUNT && bump_cursor(bump) == full);
    CHECK(f->alloc(bump, sizes[s]) > last);
    CHECK(bump_reset(bump, 0, 1, NULL) == BUMP_OK);
  }
  void *freed = f->alloc(bump, 100);
  f->alloc(bump, 100);
  f->free(bump, freed, 100);
  CHECK(bump_reset(bump, 0, 1, NULL) == BUMP_OK && f->alloc(bump, 3000) != NULL);
  CHECK(f->alloc(bump, 100) > freed);
}

/* A block from before a reset is dead, although its header is still in memory. */
static void stale_headers(const family_t *f, bump_t *bump) {
  unsigned char *block = f->alloc(bump, 100), *behind = f->alloc(bump, 100);
  CHECK(bump_reset(bump, 0, 1, NULL) == BUMP_OK);
  unsigned char *other = bump_alloc(bump, 1000, 16);
  f->free(bump, behind, 100);
  f->free(bump, block, 100);
  if (f->resize != NULL) CHECK(f->resize(bump, block, 100, 200) == NULL);
  unsigned char *fresh = f->alloc(bump, 100);
  CHECK(fresh >= other + 1000);
}

/* A long-running library whose live blocks are bounded takes bounded memory. */
static void levels_off(const family_t *f, bump_t *bump) {
  enum { LIVE = 500 };
  static struct { unsigned char *at; size_t size; } live[LIVE];
  memset(live, 0, sizeof live);
  double half = 0;
  for (size_t step = 0; step < 400000; step++) {
    const size_t i = next(&seed) % LIVE, scale = next(&seed) % 12;
    const size_t size = 1 + next(&seed) % ((size_t)16 << scale);
    if (live[i].at == NULL || f->resize == NULL || step % 3 != 0) {
      if (live[i].at != NULL) f->free(bump, live[i].at, live[i].size);
      live[i].at = f->alloc(bump, size);
    } else {
      live[i].at = f->resize(bump, live[i].at, live[i].size, size);
    }
    CHECK(live[i].at != NULL);
    if (live[i].at == NULL) return;
    live[i].at[0] = live[i].at[size - 1] = 1;
    live[i].size = size;
    if (step == 200000) half = bump_cursor(bump);
  }
  CHECK(bump_cursor(bump) <= half * 1.1);
}

/* Growing in place must not leave ever more large blocks behind, and shrinking not ever more small ones. */
static void growing_levels_off(const family_t *f, bump_t *bump) {
  double early = 0;
  if (f->resize == NULL) return;
  void *pins[4] = {NULL};
  for (size_t round = 0; round < 300; round++) {
    size_t size = 600;
    unsigned char *block = f->alloc(bump, size);
    for (; size < 300000; size *= 2) block = f->resize(bump, block, size, 2 * size);
    if (round % 2 == 0) {
      block = f->resize(bump, block, size, 64);
      size = 64;
    }
    if (pins[round % 4] != NULL) f->free(bump, pins[round % 4], 40);
    pins[round % 4] = f->alloc(bump, 40);
    f->free(bump, block, size);
    if (round == 20) early = bump_cursor(bump);
  }
  CHECK(bump_cursor(bump) <= early);
}

static void serving_again(void) {
  size_classes();
  for (size_t i = 0; i < FAMILIES; i++) {
    bump_t *bump = region(256 * MIB);
    newest_first(&families[i], bump);
    CHECK(bump_reset(bump, 0, 1, NULL) == BUMP_OK);
    if (families[i].resize != lua_resize) stale_headers(&families[i], bump);
    CHECK(bump_reset(bump, 0, 1, NULL) == BUMP_OK);
    levels_off(&families[i], bump);
    CHECK(bump_reset(bump, 0, 1, NULL) == BUMP_OK);
    growing_levels_off(&families[i], bump);
    CHECK(bump_close(bump) == BUMP_OK);
  }
}

/* Freed large blocks keep at most 64 MiB of pages, and none when the region takes new ones. */
static void pages_of_large_blocks(void) {
  if (EMULATED) return; /* the emulator's own memory counts too */
  bump_t *bump = region((size_t)1 << 30);
  const double before = bump_resident(bump);
  void *blocks[40];
  for (int i = 0; i < 40; i++) {
    blocks[i] = bump_zstd_alloc(bump, 4 * MIB);
    memset(blocks[i], 1, 4 * MIB);
  }
  void *last = bump_zstd_alloc(bump, 1);
  CHECK(bump_resident(bump) >= before + 160 * (double)MIB);
  for (int i = 0; i < 40; i++) bump_zstd_free(bump, blocks[i]);
  CHECK(bump_resident(bump) <= before + 66 * (double)MIB && bump_resident(bump) >= before + 30 * (double)MIB);
  unsigned char *again = bump_zstd_alloc(bump, 4 * MIB);
  memset(again, 2, 4 * MIB);
  CHECK((void *)again < last);
  bump_zstd_free(bump, again);
  memset(bump_zstd_alloc(bump, 10 * MIB), 3, 10 * MIB);
  CHECK(bump_resident(bump) <= before + 12 * (double)MIB);
  for (int i = 0; i < 40; i++) CHECK((void *)bump_zstd_alloc(bump, 4 * MIB) < last); /* all are still there */
  CHECK(bump_close(bump) == BUMP_OK);
}

/* Pages that were given back once are not populated in advance. */
static void pages_given_back(void) {
  if (EMULATED) return;
  bump_t *bump = region(64 * MIB);
  for (int i = 0; i < 20; i++) memset(bump_zstd_alloc(bump, 100 * KIB), 1, 100 * KIB);
  CHECK(bump_reset(bump, 0, 1, NULL) == BUMP_OK && bump_discard(bump, 0, 64.0 * MIB) == BUMP_OK);
  memset(bump_zstd_alloc(bump, 100 * KIB), 1, 100 * KIB);
  CHECK(bump_resident(bump) <= (double)(100 * KIB) + 2 * bump_page_size());
  CHECK(bump_close(bump) == BUMP_OK);
}

/* ---- single libraries --------------------------------------------------- */

static void sizes_of_zero(void) {
  bump_t *bump = region(MIB);
  void *a = bump_zlib_alloc(bump, 0, 5), *b = bump_zstd_alloc(bump, 0), *c = bump_yyjson_malloc(bump, 0);
  CHECK(a != NULL && b != NULL && c != NULL && a != b && b != c);
  CHECK(inside(bump, a) && inside(bump, b) && inside(bump, c));
  CHECK(bump_lua_alloc(bump, NULL, 0, 0) == NULL);
  bump_ft_memory_t memory = ft(bump);
  CHECK(memory.alloc(&memory, -1) == NULL && memory.alloc(&memory, 0) != NULL);
  void *block = memory.alloc(&memory, 10);
  CHECK(memory.realloc(&memory, 10, -10, block) == NULL && memory.realloc(&memory, 10, 0, block) == block);
  const bump_expat_suite_t *suite = bump_expat_suite(bump);
  const double before = bump_cursor(bump);
  CHECK(suite->realloc(suite->malloc(100), 0) == NULL && bump_cursor(bump) == before); /* frees */
  /* The product of two large factors is not truncated to 32 bits. */
  CHECK(bump_zlib_alloc(bump, 0x10000, 0x10000) == NULL);
  CHECK(bump_zlib_alloc(bump, 0xffffffff, 0xffffffff) == NULL);
  CHECK(bump_cursor(bump) == before);
  CHECK(bump_close(bump) == BUMP_OK);
}

static void expat_suites(void) {
  bump_t *bumps[BUMP_EXPAT_SUITES + 1];
  const bump_expat_suite_t *suites[BUMP_EXPAT_SUITES];
  for (int i = 0; i <= BUMP_EXPAT_SUITES; i++) bumps[i] = region(MIB);
  for (int i = 0; i < BUMP_EXPAT_SUITES; i++) {
    suites[i] = bump_expat_suite(bumps[i]);
    CHECK(suites[i] != NULL && bump_expat_suite(bumps[i]) == suites[i]);
    for (int j = 0; j < i; j++) CHECK(suites[j] != suites[i]);
  }
  CHECK(bump_expat_suite(bumps[BUMP_EXPAT_SUITES]) == NULL);
  for (int i = 0; i < BUMP_EXPAT_SUITES; i++) {
    unsigned char *block = suites[i]->malloc(100);
    CHECK(inside(bumps[i], block));
    memset(block, i, 100);
    CHECK(suites[i]->realloc(block, 200) == block);
    CHECK(inside(bumps[i], suites[i]->realloc(NULL, 5)));
    const double cursor = bump_cursor(bumps[i]);
    suites[(i + 1) % BUMP_EXPAT_SUITES]->free(block); /* another region's */
    CHECK(bump_cursor(bumps[i]) == cursor);
  }
  CHECK(bump_close(bumps[7]) == BUMP_OK);
  CHECK(suites[7]->malloc(1) == NULL && suites[7]->realloc(NULL, 1) == NULL);
  suites[7]->free(NULL);
  CHECK(bump_expat_suite(bumps[7]) == NULL);
  CHECK(bump_expat_suite(bumps[BUMP_EXPAT_SUITES]) == suites[7]); /* whose region is gone */
  CHECK(inside(bumps[BUMP_EXPAT_SUITES], suites[7]->malloc(1)));
  CHECK(bump_expat_suite(NULL) == NULL);
  for (int i = 0; i <= BUMP_EXPAT_SUITES; i++) CHECK(i == 7 || bump_close(bumps[i]) == BUMP_OK);
}

static void zeroed_blocks(void) {
  bump_t *bump = region(256 * MIB);
  unsigned char *block = bump_alloc_zeroed(bump, 1000, 16);
  for (int i = 0; i < 1000; i++) CHECK(block[i] == 0);
  memset(block, 0xff, 1000);
  CHECK(bump_resize_last(bump, block, 1000, 300));
  unsigned char *next_block = bump_alloc_zeroed(bump, 5000, 16); /* over used bytes and fresh ones */
  CHECK(next_block == block + 304);
  for (int i = 0; i < 5000; i++) CHECK(next_block[i] == 0);
  CHECK(block[299] == 0xff);
  const long resident = status_kib("VmRSS:");
  CHECK(bump_alloc_zeroed(bump, 200 * MIB, 16) != NULL);
  CHECK(status_kib("VmRSS:") - resident < 1024); /* fresh pages are not touched */
  CHECK(bump_alloc_zeroed(bump, 100 * MIB, 16) == NULL && bump_alloc_zeroed(bump, 1, 3) == NULL);
  CHECK(bump_alloc_zeroed(bump, 0, 64) != NULL && bump_alloc_zeroed(NULL, 1, 1) == NULL);
  CHECK(bump_reset(bump, 0, 1, NULL) == BUMP_OK);
  block = bump_alloc_zeroed(bump, 6000, 1);
  for (int i = 0; i < 6000; i++) CHECK(block[i] == 0);
  CHECK(bump_close(bump) == BUMP_OK);
}

static void owned_bytes(void) {
  bump_t *bump = region(MIB);
  char *base = bump_base(bump);
  CHECK(!bump_owns(bump, base, 1) && bump_owns(bump, base, 0));
  bump_alloc(bump, 100, 1);
  CHECK(bump_owns(bump, base, 100) && bump_owns(bump, base + 99, 1) && !bump_owns(bump, base, 101));
  CHECK(!bump_owns(bump, base + 100, 1) && !bump_owns(bump, base - 1, 1) && !bump_owns(bump, base - 1, 2));
  CHECK(!bump_owns(bump, base + 50, SIZE_MAX) && !bump_owns(bump, NULL, 1) && !bump_owns(NULL, base, 1));
  CHECK(bump_close(bump) == BUMP_OK && !bump_owns(bump, base, 1));
}

/* ---- threads ------------------------------------------------------------ */

static bump_t *common;

static void *thread_program(void *number) {
  uint64_t state = 0x1234567 + 977 * (uint64_t)(uintptr_t)number;
  for (int i = 0; i < 6; i++) {
    random_program(&families[((size_t)(uintptr_t)number + (size_t)i) % FAMILIES], common, &state, 2000);
  }
  return NULL;
}

static void many_threads(void) {
  enum { COUNT = 8 };
  pthread_t threads[COUNT];
  common = region((size_t)1 << 30);
  for (uintptr_t i = 0; i < COUNT; i++) pthread_create(&threads[i], NULL, thread_program, (void *)i);
  for (int i = 0; i < COUNT; i++) pthread_join(threads[i], NULL);
  CHECK(bump_close(common) == BUMP_OK);
}

/* One thread allocates, others free, through a ring. The blocks in the ring are bounded, and so is the memory. */
enum { RING = 256 };
static void *_Atomic ring[RING];
static _Atomic int over;

static void *consume(void *unused) {
  uint64_t state = 0x51ed270b + (uint64_t)(uintptr_t)unused;
  while (!over) {
    void *block = atomic_exchange(&ring[next(&state) % RING], NULL);
    if (block != NULL) bump_zstd_free(common, block);
  }
  return NULL;
}

static void across_threads(void) {
  enum { COUNT = 3 };
  pthread_t threads[COUNT];
  common = region(64 * MIB);
  over = 0;
  for (uintptr_t i = 0; i < COUNT; i++) pthread_create(&threads[i], NULL, consume, (void *)i);
  for (size_t step = 0; step < 200000; step++) {
    const size_t size = 1 + next(&seed) % 2000;
    unsigned char *block = bump_zstd_alloc(common, size);
    CHECK(block != NULL);
    if (block == NULL) break;
    memset(block, 1, size);
    void *before = atomic_exchange(&ring[step % RING], block);
    if (before != NULL) bump_zstd_free(common, before);
  }
  over = 1;
  for (int i = 0; i < COUNT; i++) pthread_join(threads[i], NULL);
  CHECK(bump_cursor(common) < 4 * MIB); /* of 200 MB that went through; the ring holds up to half a MiB */
  CHECK(bump_close(common) == BUMP_OK);
}

/* All threads claim a suite at once: no two regions get the same one. */
static void *claim(void *bump) { return (void *)(uintptr_t)bump_expat_suite(bump); }

static void suites_from_threads(void) {
  enum { COUNT = 16 };
  pthread_t threads[COUNT];
  bump_t *bumps[COUNT];
  void *suites[COUNT];
  for (int i = 0; i < COUNT; i++) bumps[i] = region(MIB);
  for (int i = 0; i < COUNT; i++) pthread_create(&threads[i], NULL, claim, bumps[i]);
  for (int i = 0; i < COUNT; i++) pthread_join(threads[i], &suites[i]);
  for (int i = 0; i < COUNT; i++) {
    CHECK(suites[i] != NULL && inside(bumps[i], ((bump_expat_suite_t *)suites[i])->malloc(1)));
    for (int j = 0; j < i; j++) CHECK(suites[i] != suites[j]);
  }
  for (int i = 0; i < COUNT; i++) CHECK(bump_close(bumps[i]) == BUMP_OK);
}

/* ---- the process -------------------------------------------------------- */

static void process_callbacks(void) {
  CHECK(bump_process_malloc(1) == NULL && bump_process_calloc(1, 1) == NULL && bump_process_realloc(NULL, 1) == NULL);
  CHECK(bump_process_strdup("") == NULL && bump_process_usable_size(&common) == 0);
  bump_process_free(NULL), bump_process_free(&common);
  CHECK(bump_process_bind(NULL) == BUMP_STALE);
  bump_t *bump = region(64 * MIB), *other = region(MIB);
  CHECK(bump_process_bind(bump) == BUMP_OK && bump_process_bind(bump) == BUMP_OK);
  CHECK(bump_process_bind(other) == BUMP_SHARED && bump_holders(bump) == 2 && bump_holders(other) == 1);
  bump_alloc(bump, 5, 1);
  bump_process_free(bump_process_malloc(1)); /* from here on the cursor is aligned */
  one_block(&the_process, bump);
  resizes(&the_process, bump);
  strangers(&the_process, bump);
  random_program(&the_process, bump, &seed, 20000);

  unsigned char *dirty = bump_process_malloc(3000);
  CHECK(bump_process_usable_size(dirty) >= 3000 && bump_process_usable_size(dirty) < room_of(3000));
  memset(dirty, 0xff, 3000);
  bump_process_free(dirty);
  CHECK(bump_process_usable_size(dirty) == 0 && bump_process_usable_size(NULL) == 0);
  unsigned char *zero = bump_process_calloc(300, 20);
  CHECK(zero == dirty);
  for (int i = 0; i < 6000; i++) CHECK(zero[i] == 0);
  CHECK(bump_process_calloc(SIZE_MAX, 2) == NULL && bump_process_calloc((size_t)1 << 32, (size_t)1 << 32) == NULL);
  CHECK(bump_process_calloc(0, 0) != NULL && bump_process_calloc(SIZE_MAX, 0) != NULL);
  CHECK(bump_process_malloc(0) != NULL && bump_process_malloc(0) != bump_process_malloc(0));
  const double before = bump_cursor(bump);
  CHECK(bump_process_realloc(bump_process_malloc(10), 0) == NULL && bump_cursor(bump) == before);
  char *copy = bump_process_strdup("a text"), *empty = bump_process_strdup("");
  CHECK(inside(bump, copy) && strcmp(copy, "a text") == 0 && *empty == 0 && bump_process_strdup(NULL) == NULL);

  const bump_sqlite_methods_t *sqlite = &bump_process_sqlite;
  CHECK(sqlite->init(sqlite->data) == 0);
  for (int size = 1; size < 2000; size += 13) {
    void *block = sqlite->malloc(sqlite->round_up(size));
    CHECK(sqlite->round_up(size) >= size && sqlite->round_up(size) % 8 == 0);
    CHECK(sqlite->size(block) == sqlite->round_up(size) && (uintptr_t)block % 8 == 0);
    block = sqlite->realloc(block, 2 * size);
    CHECK(block != NULL && sqlite->size(block) >= 2 * size);
    sqlite->free(block);
  }
  CHECK(sqlite->malloc(0) == NULL && sqlite->malloc(-1) == NULL && sqlite->malloc(INT32_MAX) == NULL);
  CHECK(sqlite->realloc(sqlite->malloc(1), -1) == NULL && sqlite->round_up(INT32_MAX) == 0 && sqlite->size(NULL) == 0);
  CHECK(sqlite->round_up(INT32_MAX - 16) > 0);
  sqlite->shutdown(sqlite->data);

  char *kept = bump_process_strdup("kept");
  CHECK(bump_reset(bump, 0, 1, NULL) == BUMP_SHARED);
  CHECK(bump_close(bump) == BUMP_OK && bump_close(bump) == BUMP_STALE); /* the region stays */
  CHECK(strcmp(kept, "kept") == 0 && bump_process_malloc(100) != NULL);
  CHECK(bump_close(other) == BUMP_OK);
}

static void *dying_thread(void *unused) {
  (void)unused;
  void *blocks[100];
  for (int i = 0; i < 100; i++) memset(blocks[i] = bump_process_malloc(100), i, 100);
  for (int i = 0; i < 100; i++) {
    CHECK(((unsigned char *)blocks[i])[99] == i);
    bump_process_free(blocks[i]);
  }
  return NULL;
}

#if !defined(_WIN32)
/* A Worker names its own region, passes the callbacks to a native library, and ends. */
static void survives_unloading(const char *object) {
  char path[64];
  const int from = open(object, O_RDONLY), to = memfd_create("bump", 0);
  char *bytes = malloc(MIB);
  const ssize_t size = read(from, bytes, MIB);
  CHECK(size > 0 && write(to, bytes, (size_t)size) == size);
  snprintf(path, sizeof path, "/proc/self/fd/%d", to);
  void *own = dlopen(object, RTLD_NOW | RTLD_LOCAL), *kept = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  CHECK(own != NULL && kept != NULL && own != kept);
  if (own == NULL || kept == NULL) return;
  close(to), close(from), free(bytes);
  __typeof__(bump_create) *create;
  __typeof__(bump_alloc) *alloc;
  __typeof__(bump_base) *base;
  __typeof__(bump_process_bind) *bind;
  __typeof__(bump_process_malloc) *process_malloc;
  __typeof__(bump_process_free) *release;
  *(void **)&create = dlsym(own, "bump_create"), *(void **)&alloc = dlsym(own, "bump_alloc");
  *(void **)&base = dlsym(own, "bump_base");
  *(void **)&bind = dlsym(kept, "bump_process_bind"), *(void **)&process_malloc = dlsym(kept, "bump_process_malloc");
  *(void **)&release = dlsym(kept, "bump_process_free");
  const bump_sqlite_methods_t *sqlite = dlsym(kept, "bump_process_sqlite");
  bump_t *named = create((double)(64 * MIB), 0, NULL), *ordinary = create((double)(64 * MIB), 0, NULL);
  unsigned char *lost = alloc(ordinary, MIB, 16);
  CHECK(bind(named) == BUMP_OK);
  unsigned char *first = process_malloc(1000);
  memset(first, 42, 1000);
  dlclose(kept);
  dlclose(own);
  CHECK(dlopen(object, RTLD_NOLOAD | RTLD_NOW) == NULL); /* so it is really gone, with its other region */
  unsigned char page;
  CHECK(mincore(lost, 4096, &page) == 0 && mincore(lost + 32 * MIB, 4096, &page) != 0); /* except for committed bytes */
  for (int i = 0; i < 1000; i++) CHECK(first[i] == 42);
  for (int i = 0; i < 1000; i++) {
    void *block = sqlite->malloc(5000);
    CHECK(block != NULL);
    memset(block, i, 5000);
    if (i % 2 == 0) sqlite->free(block);
  }
  release(first);
}

#endif

int main(int count, char **arguments) {
  each_family();
  serving_again();
  pages_of_large_blocks();
  pages_given_back();
  sizes_of_zero();
  expat_suites();
  zeroed_blocks();
  owned_bytes();
  many_threads();
  across_threads();
  suites_from_threads();
  process_callbacks();
  pthread_t thread;
  pthread_create(&thread, NULL, dying_thread, NULL);
  pthread_join(thread, NULL);
#if defined(_WIN32)
  (void)count, (void)arguments; /* tested by test_dll.c */
#else
  if (count > 1) survives_unloading(arguments[1]);
#endif
  return conclude("hooks");
}
