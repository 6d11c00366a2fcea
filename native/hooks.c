/* hooks.c - the allocator callbacks, each a few lines over the blocks of recycle.c. */
#include "control.h"
#include "hooks.h"

/* ---- zlib -------------------------------------------------------------- */

void *bump_zlib_alloc(void *opaque, unsigned items, unsigned size) {
  return headed_alloc(opaque, (size_t)items * size); /* two 32-bit factors: the product fits 64 bits */
}

void bump_zlib_free(void *opaque, void *block) { headed_free(opaque, block); }

/* ---- zstd -------------------------------------------------------------- */

void *bump_zstd_alloc(void *opaque, size_t size) { return headed_alloc(opaque, size); }

void bump_zstd_free(void *opaque, void *block) { headed_free(opaque, block); }

/* ---- Lua --------------------------------------------------------------- */

/* Lua passes a block's size when it frees it, so its small blocks, which are most of them, need no header. */
static bool is_bare(size_t size) { return size - 1 < BARE_LIMIT; }

static void *lua_take(bump_t *bump, size_t size) {
  return is_bare(size) ? bare_alloc(bump, size) : headed_alloc(bump, size);
}

static void lua_free(bump_t *bump, void *block, size_t size) {
  if (is_bare(size)) bare_free(bump, block, size);
  else headed_free(bump, block);
}

COLD void *lua_other(bump_t *bump, void *block, size_t old_size, size_t new_size) {
  if (block == NULL) return new_size == 0 ? NULL : headed_alloc(bump, new_size); /* old_size is a type */
  if (old_size == 0) return NULL;                                                /* no block has this size */
  if (new_size == 0) {
    headed_free(bump, block);
    return NULL;
  }
  if (!is_bare(old_size) && !is_bare(new_size)) return headed_resize(bump, block, new_size);
  if (is_bare(old_size) && is_bare(new_size)) return bare_resize(bump, block, old_size, new_size);
  void *moved = lua_take(bump, new_size);
  if (moved == NULL) return new_size < old_size ? block : NULL; /* Lua relies on shrinking never to fail */
  os_copy(moved, block, old_size < new_size ? old_size : new_size);
  lua_free(bump, block, old_size);
  return moved;
}

void *bump_lua_alloc(void *ud, void *block, size_t old_size, size_t new_size) {
  if (block == NULL && is_bare(new_size)) return bare_alloc(ud, new_size);
  if (block == NULL || new_size != 0 || !is_bare(old_size)) return lua_other(ud, block, old_size, new_size);
  bare_free(ud, block, old_size);
  return NULL;
}

/* ---- yyjson ------------------------------------------------------------ */

void *bump_yyjson_malloc(void *context, size_t size) { return headed_alloc(context, size); }

void *bump_yyjson_realloc(void *context, void *block, size_t old_size, size_t size) {
  (void)old_size; /* free gets no size, so the blocks have headers anyway */
  return headed_resize(context, block, size);
}

void bump_yyjson_free(void *context, void *block) { headed_free(context, block); }

/* ---- PCRE2 ------------------------------------------------------------- */

void *bump_pcre2_malloc(size_t size, void *data) { return headed_alloc(data, size); }

void bump_pcre2_free(void *block, void *data) { headed_free(data, block); }

/* ---- FreeType ---------------------------------------------------------- */

void *bump_freetype_alloc(bump_ft_memory_t *memory, long size) {
  return size < 0 ? NULL : headed_alloc(memory->user, (size_t)size);
}

void bump_freetype_free(bump_ft_memory_t *memory, void *block) { headed_free(memory->user, block); }

void *bump_freetype_realloc(bump_ft_memory_t *memory, long old_size, long new_size, void *block) {
  (void)old_size;
  return new_size < 0 ? NULL : headed_resize(memory->user, block, (size_t)new_size);
}

/* ---- expat ------------------------------------------------------------- */

static bump_t *_Atomic expat_regions[BUMP_EXPAT_SUITES];

static bump_t *expat_region(unsigned suite) {
  return atomic_load_explicit(&expat_regions[suite], memory_order_acquire);
}

static void *expat_resize(unsigned suite, void *block, size_t size) {
  if (block == NULL || size != 0) return headed_resize(expat_region(suite), block, size);
  headed_free(expat_region(suite), block);
  return NULL;
}

#define EIGHT_TIMES(each, a)                                                                               \
  each(a##0) each(a##1) each(a##2) each(a##3) each(a##4) each(a##5) each(a##6) each(a##7)
#define ALL_SUITES(each) EIGHT_TIMES(each, 00) EIGHT_TIMES(each, 01)

#define FUNCTIONS(n) /* n is octal */                                                                      \
  static void *expat_malloc_##n(size_t size) { return headed_alloc(expat_region(n), size); }                       \
  static void *expat_realloc_##n(void *block, size_t size) { return expat_resize(n, block, size); }        \
  static void expat_free_##n(void *block) { headed_free(expat_region(n), block); }
#define SUITE(n) {expat_malloc_##n, expat_realloc_##n, expat_free_##n},

ALL_SUITES(FUNCTIONS)

static const bump_expat_suite_t expat_suites[] = {ALL_SUITES(SUITE)};
_Static_assert(sizeof expat_suites / sizeof expat_suites[0] == BUMP_EXPAT_SUITES, "one suite for each region");

const bump_expat_suite_t *bump_expat_suite(bump_t *bump) {
  if (bump_base(bump) == NULL) return NULL;
  for (unsigned i = 0; i < BUMP_EXPAT_SUITES; i++) {
    if (expat_region(i) == bump) return &expat_suites[i];
  }
  for (unsigned i = 0; i < BUMP_EXPAT_SUITES; i++) {
    bump_t *before = expat_region(i);
    /* The control block of a closed region stays readable, and has no base. */
    if (before != NULL && bump_base(before) != NULL) continue;
    if (atomic_compare_exchange_strong(&expat_regions[i], &before, bump)) return &expat_suites[i];
  }
  return NULL;
}

/* ---- the process ------------------------------------------------------- */

static bump_t *_Atomic process_region;

static bump_t *process(void) { return atomic_load_explicit(&process_region, memory_order_acquire); }

int32_t bump_process_bind(bump_t *bump) {
  bump_t *before = process();
  if (before != NULL) return region_of(before) == region_of(bump) ? BUMP_OK : BUMP_SHARED;
  const int error = os_pin(&process_region);
  if (error != 0) return BUMP_SYSTEM - error;
  bump_t *held = hold_for_ever(bump);
  if (held == NULL) return BUMP_STALE;
  /* The loser has held its region in vain: it stays reserved and unused. */
  if (atomic_compare_exchange_strong(&process_region, &before, held)) return BUMP_OK;
  return region_of(before) == region_of(bump) ? BUMP_OK : BUMP_SHARED;
}

void *bump_process_malloc(size_t size) { return headed_alloc(process(), size); }

void *bump_process_calloc(size_t count, size_t size) {
  if (size != 0 && count > SIZE_MAX / size) return NULL;
  return headed_alloc_zeroed(process(), count * size);
}

void *bump_process_realloc(void *block, size_t size) {
  if (block == NULL || size != 0) return headed_resize(process(), block, size);
  headed_free(process(), block);
  return NULL;
}

void bump_process_free(void *block) { headed_free(process(), block); }

char *bump_process_strdup(const char *text) {
  size_t size = 1;
  if (text == NULL) return NULL;
  while (text[size - 1] != '\0') size++;
  char *copy = headed_alloc(process(), size);
  if (copy != NULL) os_copy(copy, text, size);
  return copy;
}

size_t bump_process_usable_size(void *block) {
  return headed_usable(process(), block);
}

static void *sqlite_malloc(int size) { return size <= 0 ? NULL : bump_process_malloc((size_t)size); }

static void *sqlite_realloc(void *block, int size) {
  return size <= 0 ? NULL : bump_process_realloc(block, (size_t)size);
}

static int sqlite_size(void *block) {
  const size_t size = headed_usable_as_said(process(), block); /* SQLite calls this for each malloc and free */
  return size > INT32_MAX ? INT32_MAX : (int)size; /* SQLite requests less than 2^31 bytes */
}

static int sqlite_round_up(int size) {
  if (size <= 0) return 0; /* a refusal */
  uint64_t units = least_units((size_t)size);
  (void)class_for(&units);
  const uint64_t bytes = units * RECYCLE_UNIT - HEADER;
  return bytes > INT32_MAX ? 0 : (int)bytes;
}

static int sqlite_init(void *data) {
  (void)data;
  return 0; /* SQLITE_OK */
}

static void sqlite_shutdown(void *data) { (void)data; }

const bump_sqlite_methods_t bump_process_sqlite = {
  sqlite_malloc, bump_process_free, sqlite_realloc, sqlite_size, sqlite_round_up, sqlite_init, sqlite_shutdown, NULL,
};
