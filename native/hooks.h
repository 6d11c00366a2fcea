/* hooks.h - allocator callbacks, with the signatures that native libraries declare.
 *
 * A block's address is a multiple of 16. A block of size 0 has an address of its own. NULL means that the region is
 * full or closed, or that the size cannot exist. free of the last block moves the cursor back; any other freed block is
 * reused for the next request of its size class (recycle.h), the newest first. realloc stays in place if the block's
 * class has room, or if the block is the last one and no freed block can replace it. free does nothing for NULL and for
 * anything but a live block of this region, and realloc then gives NULL; only Lua's small blocks have no header to
 * check. Bytes are uninitialised, except from calloc. Any thread may call, but each block belongs to one thread at a
 * time.
 *
 * `opaque`, `ud`, `data` and `context` are the bump_t. A library must stop using blocks and bump_t before the region is
 * reset or closed.
 */
#ifndef BUMP_HOOKS_H
#define BUMP_HOOKS_H

#include "bump.h"

/* ---- zlib: alloc_func, free_func --------------------------------------- */

BUMP_API void *bump_zlib_alloc(void *opaque, unsigned items, unsigned size);
BUMP_API void bump_zlib_free(void *opaque, void *block);

/* ---- zstd: ZSTD_allocFunction, ZSTD_freeFunction ----------------------- */

BUMP_API void *bump_zstd_alloc(void *opaque, size_t size);
BUMP_API void bump_zstd_free(void *opaque, void *block);

/* ---- Lua: lua_Alloc ---------------------------------------------------- */

/* Lua passes the old size, so its blocks of up to 1 KiB have no header. Size 0 frees. */
BUMP_API void *bump_lua_alloc(void *ud, void *block, size_t old_size, size_t new_size);

/* ---- yyjson: the members of yyjson_alc --------------------------------- */

BUMP_API void *bump_yyjson_malloc(void *context, size_t size);
BUMP_API void *bump_yyjson_realloc(void *context, void *block, size_t old_size, size_t size);
BUMP_API void bump_yyjson_free(void *context, void *block);

/* ---- PCRE2: arguments of pcre2_general_context_create ------------------ */

BUMP_API void *bump_pcre2_malloc(size_t size, void *data);
BUMP_API void bump_pcre2_free(void *block, void *data);

/* ---- FreeType: the members of FT_MemoryRec ----------------------------- */

typedef struct bump_ft_memory {
  bump_t *user;
  void *(*alloc)(struct bump_ft_memory *memory, long size);
  void (*free)(struct bump_ft_memory *memory, void *block);
  void *(*realloc)(struct bump_ft_memory *memory, long old_size, long new_size, void *block);
} bump_ft_memory_t;

BUMP_API void *bump_freetype_alloc(bump_ft_memory_t *memory, long size);
BUMP_API void bump_freetype_free(bump_ft_memory_t *memory, void *block);
BUMP_API void *bump_freetype_realloc(bump_ft_memory_t *memory, long old_size, long new_size, void *block);

/* ---- expat: XML_Memory_Handling_Suite ---------------------------------- */

typedef struct {
  void *(*malloc)(size_t size);
  void *(*realloc)(void *block, size_t size);
  void (*free)(void *block);
} bump_expat_suite_t;

enum { BUMP_EXPAT_SUITES = 16 };

/* These callbacks take no context, so each suite of a library instance belongs to one region as long as that lives. A
 * region always gets the same suite. NULL when all belong to live regions. */
BUMP_API const bump_expat_suite_t *bump_expat_suite(bump_t *bump);

/* ---- the process: callbacks without a bump_t --------------------------- */

/* Names, for ever, the region from which the functions below allocate. The region is held, and this library instance
 * stays loaded. Naming the same region again is fine; another one is BUMP_SHARED. The functions give NULL until a
 * region is named. */
BUMP_API int32_t bump_process_bind(bump_t *bump);

BUMP_API void *bump_process_malloc(size_t size);
BUMP_API void *bump_process_calloc(size_t count, size_t size);
BUMP_API void *bump_process_realloc(void *block, size_t size); /* size 0 frees and gives NULL, as in glibc */
BUMP_API void bump_process_free(void *block);
BUMP_API char *bump_process_strdup(const char *text);
BUMP_API size_t bump_process_usable_size(void *block);         /* 0 for NULL and for anything but a live block */

/* sqlite3_mem_methods */
typedef struct {
  void *(*malloc)(int size);
  void (*free)(void *block);
  void *(*realloc)(void *block, int size);
  int (*size)(void *block);
  int (*round_up)(int size);
  int (*init)(void *data);
  void (*shutdown)(void *data);
  void *data;
} bump_sqlite_methods_t;

BUMP_API extern const bump_sqlite_methods_t bump_process_sqlite;

#endif
