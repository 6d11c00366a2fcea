/* bump.h - the C interface of the bump allocator. hooks.h has the callbacks for native libraries.
 *
 * A region is `capacity` bytes of reserved address space and a guard page behind them. Its native cursor is the number
 * of bytes that are taken; any thread may move it. Pages below the cursor are committed (readable and writable), pages
 * above are inaccessible or not yet used.
 *
 * A bump_t is one hold on a region. A region lives as long as it has holds, and all holds are equal. A bump_t belongs
 * to the thread that took it: when the thread ends, or its instance of this library is unloaded, the hold is dropped. A
 * closed bump_t is stale, and every call refuses it. Its place is reused only after five hundred others, so late calls
 * of native code are harmless.
 *
 * Sizes and offsets are bytes. They cross the FFI as double, which is exact
 * up to 2^53. Every function may be called from any thread; none prints, exits
 * or aborts. Results below zero are errors: one of BUMP_FULL ... BUMP_MAPPINGS, or
 * BUMP_SYSTEM - e where e is errno (POSIX) or GetLastError (Windows). An error changes nothing.
 */
#ifndef BUMP_H
#define BUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(BUMP_API) /* preload.c exports none of it */
#elif defined(_WIN32)
#define BUMP_API __declspec(dllexport)
#else
#define BUMP_API __attribute__((visibility("default")))
#endif

typedef struct bump bump_t;

enum {
  BUMP_OK = 0,
  BUMP_MOVED = 1,     /* bump_reset: done, and the region is at new addresses */
  BUMP_FULL = -1,     /* the region does not have that many bytes left */
  BUMP_INVALID = -2,  /* an argument that no region can satisfy */
  BUMP_STALE = -3,    /* the bump_t was closed, or the token names no live region */
  BUMP_SHARED = -4,   /* refused while others hold the region */
  BUMP_MAPPINGS = -5, /* the process is near the system's limit of mappings (Linux: vm.max_map_count) */
  BUMP_SYSTEM = -1000,
};

enum { BUMP_HUGE_PAGES = 1 };

/* The result of bump_take. */
typedef struct {
  double start;      /* offset of the first byte; its address is aligned */
  double end;        /* offset past the last byte */
  double fresh_from; /* bytes from here to `end` were never used and are zero */
} bump_chunk_t;

/* The place of a region, or the error. A function that fails writes only `error`. */
typedef struct {
  double address; /* of offset 0 */
  double capacity;
  double error;   /* BUMP_OK, or one of the codes above */
} bump_region_t;

/* ---- the machine ------------------------------------------------------- */

BUMP_API uint32_t bump_abi(void);     /* changes with this interface */
BUMP_API double bump_page_size(void); /* bytes */

/* Converts an address to a pointer. An FFI call takes a quarter of the time of other ways. */
BUMP_API void *bump_pointer(double address);

/* ---- life of a region -------------------------------------------------- */

/* Makes a region of `capacity` bytes (rounded up to whole pages) and a hold on it; NULL on refusal. A retired region of
 * this size and these flags is reused once it has waited for a second: it is zero, and part of it may be committed. */
BUMP_API bump_t *bump_create(double capacity, uint32_t flags, bump_region_t *region);

/* Makes the region attachable; returns its key, a random integer in [1, 2^53). */
BUMP_API double bump_share(bump_t *bump);

/* The number that names the region to bump_attach, also in other instances of this library. */
BUMP_API double bump_token(bump_t *bump);

/* One more hold. Any token is safe: one that is unreadable memory, or no live shared region with this key, is
 * BUMP_STALE, not a crash. */
BUMP_API bump_t *bump_attach(double token, double key, bump_region_t *region);

/* One more hold on the region of another hold. */
BUMP_API bump_t *bump_hold(bump_t *bump, bump_region_t *region);

/* Drops the hold. The last one retires the region: its pages go back to the system, and its committed bytes stay
 * readable and writable for at least a second, unless a thousand regions wait or the system is short of addresses. */
BUMP_API int32_t bump_close(bump_t *bump);

/* Keeps [from, to) for a receiver: it stays mapped with its contents until the process ends, and nothing below `to` is
 * handed out again after bump_reset. Keeping two ranges keeps the bytes between them too. */
BUMP_API int32_t bump_keep(bump_t *bump, double from, double to);

/* ---- push -------------------------------------------------------------- */

/* Takes and commits `preferred` bytes, or as many as are left, but at least `minimum`. */
BUMP_API int32_t bump_take(bump_t *bump, double minimum, double preferred, double align, bump_chunk_t *chunk);

/* For native callers: NULL when full. `align` is a power of two. The bytes are uninitialised. */
BUMP_API void *bump_alloc(bump_t *bump, size_t size, size_t align);

/* The same with zeroed bytes; only bytes that were used before are cleared. */
BUMP_API void *bump_alloc_zeroed(bump_t *bump, size_t size, size_t align);

/* ---- pop --------------------------------------------------------------- */

/* Gives [from, to) back if `to` is the cursor. Returns 1 if it did, 0 if bytes were taken since. */
BUMP_API int32_t bump_give(bump_t *bump, double from, double to);

/* Grows, shrinks or (new_size 0) frees the block in place if it is the last one. Returns 1 if it did, else 0. */
BUMP_API int32_t bump_resize_last(bump_t *bump, void *block, size_t old_size, size_t new_size);

/* Takes everything above `cursor` back: BUMP_OK. A region with kept bytes moves to new addresses instead, with cursor 0
 * and nothing used: BUMP_MOVED. BUMP_SHARED while there are other holds, or if it would have to move and may not: then
 * nothing has changed. `region` gets the region's place. */
BUMP_API int32_t bump_reset(bump_t *bump, double cursor, bool may_move, bump_region_t *region);

/* Reserves everything that bump_reset will need, so that the system cannot refuse it then. BUMP_SHARED while there are
 * other holds. Bytes that are kept later may need more. */
BUMP_API int32_t bump_prepare_reset(bump_t *bump);

/* ---- pages ------------------------------------------------------------- */

/* Gives the whole pages inside [from, to) back to the system; they stay accessible and read as zero. */
BUMP_API int32_t bump_discard(bump_t *bump, double from, double to);

/* Commits and touches [from, to), so that first use does not fault. Takes nothing. */
BUMP_API int32_t bump_prefault(bump_t *bump, double from, double to);

BUMP_API double bump_resident(bump_t *bump); /* bytes of the region in RAM now */

/* ---- state ------------------------------------------------------------- */

BUMP_API void *bump_base(bump_t *bump);       /* address of offset 0 */
BUMP_API double bump_capacity(bump_t *bump);
BUMP_API double bump_cursor(bump_t *bump);
BUMP_API double bump_committed(bump_t *bump); /* bytes from offset 0 */
BUMP_API double bump_holders(bump_t *bump);   /* live holds, anywhere */

/* 1 if all these bytes are taken, else 0. Any address is allowed. */
BUMP_API int32_t bump_owns(bump_t *bump, const void *start, size_t size);

#endif
