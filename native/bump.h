/* bump.h - the C interface of the bump allocator; hooks.h has the callbacks that native libraries are given.
 *
 * A region is `capacity` bytes of reserved address space and a guard page
 * behind them. Its native cursor says how many bytes of it are taken; any
 * thread may move it. Pages below the cursor are committed (readable and
 * writable), pages above are inaccessible or not yet used.
 *
 * Sizes and offsets are bytes. They cross the FFI as double, which is exact
 * up to 2^53. Every function may be called from any thread; none prints, exits
 * or aborts. Results below zero are errors: one of BUMP_FULL ... BUMP_SHARED, or
 * BUMP_SYSTEM - e where e is errno (POSIX) or GetLastError (Windows).
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
  BUMP_FULL = -1,    /* the region has not that many bytes left */
  BUMP_INVALID = -2, /* an argument that no region can satisfy */
  BUMP_STALE = -3,   /* the handle names no live region */
  BUMP_SHARED = -4,  /* refused while others are attached */
  BUMP_SYSTEM = -1000,
};

enum { BUMP_HUGE_PAGES = 1 };

/* What bump_lease gave. */
typedef struct {
  double start;      /* offset of the first byte; its address is aligned */
  double end;        /* offset past the last byte */
  double fresh_from; /* bytes from here to `end` were never used: they are zero */
} bump_lease_t;

/* ---- the machine ------------------------------------------------------- */

BUMP_API uint32_t bump_abi(void);     /* changes when this interface does */
BUMP_API double bump_page_size(void); /* bytes */

/* The address as a pointer: an FFI call makes one in a quarter of the time that other ways take. */
BUMP_API void *bump_pointer(double address);

/* ---- life of a region -------------------------------------------------- */

/* Reserves `capacity` bytes (rounded up to whole pages). NULL and *error on refusal. */
BUMP_API bump_t *bump_create(double capacity, uint32_t flags, int32_t *error);

/* A region inside another one's reservation, for pools: `offset` and `capacity` are whole
 * pages of `parent`, whose own cursor is not moved. The parent outlives its parts. */
BUMP_API bump_t *bump_carve(bump_t *parent, double offset, double capacity, int32_t *error);

/* Makes the region attachable; returns its key, a random integer in [1, 2^53). */
BUMP_API double bump_share(bump_t *bump);

/* One more reference to the region whose bump_t is at `address`. Any address may be given: one
 * that is unreadable, or holds no live shared region with this key, is BUMP_STALE, not a crash. */
BUMP_API bump_t *bump_attach(double address, double key, int32_t *error);

/* One more reference, which nothing drops: the region is there until the process ends, and cannot be reset. */
BUMP_API int32_t bump_hold(bump_t *bump);

/* Drops one of this library instance's references; the last one anywhere releases the region, except its first
 * `keep` bytes (whole pages), which stay mapped with their contents until the process ends. */
BUMP_API int32_t bump_close(bump_t *bump, double keep);

/* Moves the region to fresh address space, cursor 0, keeping the first `keep` bytes
 * of the old one mapped. BUMP_SHARED while others are attached; on failure nothing has changed. */
BUMP_API int32_t bump_renew(bump_t *bump, double keep);

/* Says that no window of the region was transferred away, so that unloading may unmap it whole. */
BUMP_API void bump_settle(bump_t *bump);

/* ---- push -------------------------------------------------------------- */

/* Takes `preferred` bytes, or as many as are left but at least `minimum`, and commits them. */
BUMP_API int32_t bump_lease(bump_t *bump, double minimum, double preferred, double align, bump_lease_t *lease);

/* For native callers: NULL when full. `align` is a power of two. The bytes are uninitialised. */
BUMP_API void *bump_alloc(bump_t *bump, size_t size, size_t align);

/* The same, and the bytes are zero: only those that were used before are cleared. */
BUMP_API void *bump_alloc_zeroed(bump_t *bump, size_t size, size_t align);

/* ---- pop --------------------------------------------------------------- */

/* Gives [from, to), the rest of a lease, back when `to` is the cursor: 1 if it did, 0 if something was taken since and
 * the rest is stranded. */
BUMP_API int32_t bump_unlease(bump_t *bump, double from, double to);

/* Grows, shrinks or (new_size 0) frees the block in place when it is the last: 1 if it did, else 0. */
BUMP_API int32_t bump_resize_last(bump_t *bump, void *block, size_t old_size, size_t new_size);

/* Moves the cursor back to `cursor`. BUMP_SHARED while others are attached. */
BUMP_API int32_t bump_reset(bump_t *bump, double cursor);

/* ---- pages ------------------------------------------------------------- */

/* Gives the whole pages inside [from, to) back to the system; they stay accessible and read as zero. */
BUMP_API int32_t bump_discard(bump_t *bump, double from, double to);

/* Commits and touches [from, to), so that first use does not fault. Takes nothing. */
BUMP_API int32_t bump_prefault(bump_t *bump, double from, double to);

BUMP_API double bump_resident(bump_t *bump);  /* bytes of the region in RAM now */

/* ---- state ------------------------------------------------------------- */

BUMP_API void *bump_base(bump_t *bump);       /* address of offset 0 */
BUMP_API double bump_capacity(bump_t *bump);
BUMP_API double bump_cursor(bump_t *bump);
/* Bytes of leases that were given up and are nobody's until bump_reset. Of a reference that was dropped while it had an
 * open lease they are all those of that lease, used or not. */
BUMP_API double bump_stranded(bump_t *bump);
BUMP_API double bump_committed(bump_t *bump); /* bytes from offset 0 */
BUMP_API double bump_attached(bump_t *bump);  /* live references, anywhere */

/* 1 if all these bytes are taken, else 0; any address may be asked about. */
BUMP_API int32_t bump_owns(bump_t *bump, const void *start, size_t size);

#endif
