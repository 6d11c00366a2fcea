/* hooks.c - the allocator callbacks, each a few lines over bump_alloc and bump_resize_last. */
#include "control.h"
#include "hooks.h"

#define ALIGN ((size_t)16)

/* ---- blocks that know their size --------------------------------------- */

/* In front of a block, for callbacks that are not told the old size. */
typedef struct {
  uint64_t size;  /* usable bytes, a multiple of ALIGN */
  uint64_t check; /* of a live block: check_of(); else anything */
} header_t;
_Static_assert(sizeof(header_t) == ALIGN, "what follows an aligned header is aligned");

/* Tells a block from memory that is none: one that another allocator made, or that was freed. */
static uint64_t check_of(const header_t *header) {
  return header->size ^ (uint64_t)(uintptr_t)header ^ UINT64_C(0xb10cb10cb10cb10c);
}

/* Bytes to take for `size`: at least ALIGN, so that every block has an address of its own. False when too many. */
static bool usable(size_t size, size_t *bytes) {
  if (size > OFFSET_MAX) return false;
  *bytes = (size_t)offset_round_up(offset_max(size, 1), ALIGN);
  return true;
}

static void *finish(header_t *header, size_t bytes) {
  if (header == NULL) return NULL;
  header->size = bytes;
  header->check = check_of(header);
  return header + 1;
}

static void *take_block(bump_t *bump, size_t size) {
  size_t bytes;
  if (!usable(size, &bytes)) return NULL;
  return finish(bump_alloc(bump, sizeof(header_t) + bytes, ALIGN), bytes);
}

static void *take_zeroed_block(bump_t *bump, size_t size) {
  size_t bytes;
  if (!usable(size, &bytes)) return NULL;
  return finish(bump_alloc_zeroed(bump, sizeof(header_t) + bytes, ALIGN), bytes);
}

/* NULL for what is no live block of the region. Nothing is read before it is known to be taken bytes. */
static header_t *header_of(bump_t *bump, void *block) {
  const uintptr_t address = (uintptr_t)block;
  if (address < sizeof(header_t) || address % ALIGN != 0) return NULL;
  header_t *header = (header_t *)block - 1;
  if (!bump_owns(bump, header, sizeof *header) || header->check != check_of(header)) return NULL;
  return bump_owns(bump, block, (size_t)header->size) ? header : NULL;
}

static void give_back(bump_t *bump, void *block) {
  header_t *header = header_of(bump, block);
  if (header == NULL) return;
  const size_t whole = sizeof *header + (size_t)header->size;
  header->check = 0; /* before another thread can take it */
  (void)bump_resize_last(bump, header, whole, 0);
}

static void *resize(bump_t *bump, void *block, size_t size) {
  size_t bytes;
  if (block == NULL) return take_block(bump, size);
  header_t *header = header_of(bump, block);
  if (header == NULL || !usable(size, &bytes)) return NULL;
  const size_t old = (size_t)header->size;
  if (bytes == old) return block;
  if (bump_resize_last(bump, header, sizeof *header + old, sizeof *header + bytes)) return finish(header, bytes);
  if (bytes < old) return block; /* the rest stays its own: it may grow into it again */
  void *larger = take_block(bump, size);
  if (larger == NULL) return NULL;
  os_copy(larger, block, old);
  header->check = 0;
  return larger;
}

/* ---- zlib -------------------------------------------------------------- */

void *bump_zlib_alloc(void *opaque, unsigned items, unsigned size) {
  return take_block(opaque, (size_t)items * size); /* two 32-bit factors: the product fits 64 bits */
}

void bump_zlib_free(void *opaque, void *block) { give_back(opaque, block); }

/* ---- zstd -------------------------------------------------------------- */

void *bump_zstd_alloc(void *opaque, size_t size) { return take_block(opaque, size); }

void bump_zstd_free(void *opaque, void *block) { give_back(opaque, block); }

/* ---- Lua --------------------------------------------------------------- */

void *bump_lua_alloc(void *ud, void *block, size_t old_size, size_t new_size) {
  size_t old, bytes;
  if (new_size == 0) {
    if (block != NULL && usable(old_size, &old)) (void)bump_resize_last(ud, block, old, 0);
    return NULL;
  }
  if (!usable(new_size, &bytes)) return NULL;
  if (block == NULL) return bump_alloc(ud, bytes, ALIGN);
  if (!usable(old_size, &old)) return NULL;
  if (bytes == old || bump_resize_last(ud, block, old, bytes)) return block;
  if (bytes < old) return block; /* Lua counts on it that shrinking cannot fail */
  void *larger = bump_alloc(ud, bytes, ALIGN);
  if (larger != NULL) os_copy(larger, block, old);
  return larger;
}

/* ---- yyjson ------------------------------------------------------------ */

void *bump_yyjson_malloc(void *context, size_t size) { return take_block(context, size); }

void *bump_yyjson_realloc(void *context, void *block, size_t old_size, size_t size) {
  (void)old_size; /* free is not told it, so the blocks have headers all the same */
  return resize(context, block, size);
}

void bump_yyjson_free(void *context, void *block) { give_back(context, block); }

/* ---- PCRE2 ------------------------------------------------------------- */

void *bump_pcre2_malloc(size_t size, void *data) { return take_block(data, size); }

void bump_pcre2_free(void *block, void *data) { give_back(data, block); }

/* ---- FreeType ---------------------------------------------------------- */

void *bump_freetype_alloc(bump_ft_memory_t *memory, long size) {
  return size < 0 ? NULL : take_block(memory->user, (size_t)size);
}

void bump_freetype_free(bump_ft_memory_t *memory, void *block) { give_back(memory->user, block); }

void *bump_freetype_realloc(bump_ft_memory_t *memory, long old_size, long new_size, void *block) {
  (void)old_size;
  return new_size < 0 ? NULL : resize(memory->user, block, (size_t)new_size);
}

/* ---- expat ------------------------------------------------------------- */

static bump_t *_Atomic expat_regions[BUMP_EXPAT_SUITES];

static bump_t *expat_region(unsigned suite) {
  return atomic_load_explicit(&expat_regions[suite], memory_order_acquire);
}

static void *expat_resize(unsigned suite, void *block, size_t size) {
  if (block == NULL || size != 0) return resize(expat_region(suite), block, size);
  give_back(expat_region(suite), block);
  return NULL;
}

#define EIGHT_TIMES(each, a)                                                                               \
  each(a##0) each(a##1) each(a##2) each(a##3) each(a##4) each(a##5) each(a##6) each(a##7)
#define ALL_SUITES(each) EIGHT_TIMES(each, 00) EIGHT_TIMES(each, 01)

#define FUNCTIONS(n) /* n is octal */                                                                      \
  static void *expat_malloc_##n(size_t size) { return take_block(expat_region(n), size); }                       \
  static void *expat_realloc_##n(void *block, size_t size) { return expat_resize(n, block, size); }        \
  static void expat_free_##n(void *block) { give_back(expat_region(n), block); }
#define SUITE(n) {expat_malloc_##n, expat_realloc_##n, expat_free_##n},

ALL_SUITES(FUNCTIONS)

static const bump_expat_suite_t expat_suites[] = {ALL_SUITES(SUITE)};
_Static_assert(sizeof expat_suites / sizeof expat_suites[0] == BUMP_EXPAT_SUITES, "a suite for each place");

const bump_expat_suite_t *bump_expat_suite(bump_t *bump) {
  if (bump_base(bump) == NULL) return NULL;
  for (unsigned i = 0; i < BUMP_EXPAT_SUITES; i++) {
    if (expat_region(i) == bump) return &expat_suites[i];
  }
  for (unsigned i = 0; i < BUMP_EXPAT_SUITES; i++) {
    bump_t *before = expat_region(i);
    /* A control block stays readable when its region is closed, and gives no base then. */
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
  /* Who loses has held a region in vain: it stays, as an address range that nothing uses. */
  if (atomic_compare_exchange_strong(&process_region, &before, held)) return BUMP_OK;
  return region_of(before) == region_of(bump) ? BUMP_OK : BUMP_SHARED;
}

void *bump_process_malloc(size_t size) { return take_block(process(), size); }

void *bump_process_calloc(size_t count, size_t size) {
  if (size != 0 && count > SIZE_MAX / size) return NULL;
  return take_zeroed_block(process(), count * size);
}

void *bump_process_realloc(void *block, size_t size) {
  if (block == NULL || size != 0) return resize(process(), block, size);
  give_back(process(), block);
  return NULL;
}

void bump_process_free(void *block) { give_back(process(), block); }

char *bump_process_strdup(const char *text) {
  size_t size = 1;
  if (text == NULL) return NULL;
  while (text[size - 1] != '\0') size++;
  char *copy = take_block(process(), size);
  if (copy != NULL) os_copy(copy, text, size);
  return copy;
}

size_t bump_process_usable_size(void *block) {
  const header_t *header = header_of(process(), block);
  return header == NULL ? 0 : (size_t)header->size;
}

static void *sqlite_malloc(int size) { return size <= 0 ? NULL : bump_process_malloc((size_t)size); }

static void *sqlite_realloc(void *block, int size) {
  return size <= 0 ? NULL : bump_process_realloc(block, (size_t)size);
}

static int sqlite_size(void *block) {
  const size_t size = bump_process_usable_size(block);
  return size > INT32_MAX ? INT32_MAX : (int)size; /* SQLite asks for less than 2^31 bytes */
}

static int sqlite_round_up(int size) {
  if (size > INT32_MAX - (int)ALIGN) return 0; /* SQLite takes that for a refusal */
  return (size + (int)ALIGN - 1) & ~((int)ALIGN - 1);
}

static int sqlite_init(void *data) {
  (void)data;
  return 0; /* SQLITE_OK */
}

static void sqlite_shutdown(void *data) { (void)data; }

const bump_sqlite_methods_t bump_process_sqlite = {
  sqlite_malloc, bump_process_free, sqlite_realloc, sqlite_size, sqlite_round_up, sqlite_init, sqlite_shutdown, NULL,
};
