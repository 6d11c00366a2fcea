/* bump.h - the C interface of the bump allocator; hooks.h has the callbacks that native libraries are given.
 *
 * A region is `capacity` bytes of reserved address space and a guard page
 * behind them. Its native cursor says how many bytes of it are taken; any
 * thread may move it. Pages below the cursor are committed (readable and
 * writable), pages above are inaccessible or not yet used.
 *
 * A bump_t is one hold on a region; a region lives as long as it has holds, and
 * all of them are equal. A bump_t belongs to the thread that took it and goes with
 * it: when the thread ends, or its instance of this library is unloaded, the hold is
 * dropped. A bump_t that was closed is stale: every call refuses it. Its place is
 * used again after five hundred others, so late calls of native code are harmless.
 *
 * Sizes and offsets are bytes. They cross the FFI as double, which is exact
 * up to 2^53. Every function may be called from any thread; none prints, exits
 * or aborts. Results below zero are errors: one of BUMP_FULL ... BUMP_MAPPINGS, or
 * BUMP_SYSTEM - e where e is errno (POSIX) or GetLastError (Windows). An error changes nothing.
 */
#ifndef BUMP_H
#define BUMP_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define BUMP_API __declspec(dllexport)
#else
#define BUMP_API __attribute__((visibility("default")))
#endif

typedef struct bump bump_t;

enum {
  BUMP_OK = 0,
  BUMP_MOVED = 1,     /* bump_reset: done, and the region is at other addresses now */
  BUMP_FULL = -1,     /* the region has not that many bytes left */
  BUMP_INVALID = -2,  /* an argument that no region can satisfy */
  BUMP_STALE = -3,    /* the bump_t was closed, or the token names no live region */
  BUMP_SHARED = -4,   /* refused while others hold the region */
  BUMP_MAPPINGS = -5, /* the process is near the system's limit of mappings (Linux: vm.max_map_count) */
  BUMP_SYSTEM = -1000,
};

enum { BUMP_HUGE_PAGES = 1 };

/* What bump_take gave. */
typedef struct {
  double start;      /* offset of the first byte; its address is aligned */
  double end;        /* offset past the last byte */
  double fresh_from; /* bytes from here to `end` were never used: they are zero */
} bump_chunk_t;

/* Where a region is, or why there is none. A function that fails writes `error` only. */
typedef struct {
  double address; /* of offset 0 */
  double capacity;
  double error;   /* BUMP_OK, or one of the codes above */
} bump_region_t;

/* ---- the machine ------------------------------------------------------- */

BUMP_API uint32_t bump_abi(void);     /* changes when this interface does */
BUMP_API double bump_page_size(void); /* bytes */

/* The address as a pointer: an FFI call makes one in a quarter of the time that other ways take. */
BUMP_API void *bump_pointer(double address);

/* ---- life of a region -------------------------------------------------- */

/* A region of `capacity` bytes (rounded up to whole pages), and a hold on it; NULL when that is refused. A retired
 * region of this size and these flags is used again when it has waited for a second: it is zero, and some of it
 * may be committed. */
BUMP_API bump_t *bump_create(double capacity, uint32_t flags, bump_region_t *region);

/* Makes the region attachable; returns its key, a random integer in [1, 2^53). */
BUMP_API double bump_share(bump_t *bump);

/* The number that names the region to bump_attach, also in other instances of this library. */
BUMP_API double bump_token(bump_t *bump);

/* One more hold. Any token may be given: one that is unreadable memory, or holds no live shared region with this
 * key, is BUMP_STALE, not a crash. */
BUMP_API bump_t *bump_attach(double token, double key, bump_region_t *region);

/* One more hold on the region of another. */
BUMP_API bump_t *bump_hold(bump_t *bump, bump_region_t *region);

/* Drops the hold. The last one retires the region: its pages go back to the system, its committed bytes stay readable
 * and writable for at least a second, unless a thousand regions wait or the system is short. */
BUMP_API int32_t bump_close(bump_t *bump);

/* Somebody may see [from, to) for ever: it stays mapped with its contents until the process ends, and nothing below
 * `to` is handed out again after bump_reset. Keeping two ranges keeps what is between them. */
BUMP_API int32_t bump_keep(bump_t *bump, double from, double to);

/* ---- push -------------------------------------------------------------- */

/* Takes `preferred` bytes, or as many as are left but at least `minimum`, and commits them. */
BUMP_API int32_t bump_take(bump_t *bump, double minimum, double preferred, double align, bump_chunk_t *chunk);

/* For native callers: NULL when full. `align` is a power of two. The bytes are uninitialised. */
BUMP_API void *bump_alloc(bump_t *bump, size_t size, size_t align);

/* The same, and the bytes are zero: only those that were used before are cleared. */
BUMP_API void *bump_alloc_zeroed(bump_t *bump, size_t size, size_t align);

/* ---- pop --------------------------------------------------------------- */

/* Gives [from, to) back when `to` is the cursor: 1 if it did, 0 if something was taken since. */
BUMP_API int32_t bump_give(bump_t *bump, double from, double to);

/* Grows, shrinks or (new_size 0) frees the block in place when it is the last: 1 if it did, else 0. */
BUMP_API int32_t bump_resize_last(bump_t *bump, void *block, size_t old_size, size_t new_size);

/* Takes everything above `cursor` back: BUMP_OK. A region with kept bytes goes to fresh addresses instead, with cursor
 * 0 and nothing used: BUMP_MOVED. BUMP_SHARED while there are other holds. `region` says where it is now. */
BUMP_API int32_t bump_reset(bump_t *bump, double cursor, bump_region_t *region);

/* Gets what bump_reset will need of the system, so that it cannot be refused that: BUMP_SHARED while there are other
 * holds. What is kept later may need more. */
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

/* 1 if all these bytes are taken, else 0; any address may be asked about. */
BUMP_API int32_t bump_owns(bump_t *bump, const void *start, size_t size);

#endif
