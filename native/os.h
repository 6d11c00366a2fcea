/* os.h - the calls to the operating system.
 *
 * Functions that return int give 0 or the system's error number, unless stated otherwise. Ranges are whole pages.
 */
#ifndef BUMP_OS_H
#define BUMP_OS_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
enum { OS_NO_MEMORY = 8, OS_UNREADABLE = 998 }; /* ERROR_NOT_ENOUGH_MEMORY, ERROR_NOACCESS */
#else
enum { OS_NO_MEMORY = 12, OS_UNREADABLE = 14 }; /* ENOMEM, EFAULT */
#endif

/* ---- address space ----------------------------------------------------- */

/* Reserves inaccessible addresses without memory. The first is a multiple of `align` if the system allows that (0: any
 * page). */
static int os_reserve(size_t size, size_t align, void **base);
/* Unmaps all of one os_reserve or, if not `whole`, a part of it. On Windows the addresses of a part stay reserved. */
static int os_release(void *start, size_t size, int whole);
static int os_commit(void *start, size_t size);    /* readable, writable; idempotent */
static int os_charges_committed(void);             /* whether unused committed bytes count against a limit */
/* Number of mappings that this process may still make before it is near the system's limit. */
static size_t os_mappings_left(void);

/* ---- pages ------------------------------------------------------------- */

/* For committed pages, which stay accessible throughout. */
static int os_discard(void *start, size_t size);  /* gives RAM back; the pages then read as zero */
static int os_forget(void *start, size_t size);   /* the same; 0 if they may not read as zero; may cost less */
static int os_prefault(void *start, size_t size); /* makes the pages resident */
static void os_populate(void *start, size_t size); /* the same if the system can do it in one call, else nothing */
static int os_resident(const void *start, size_t size, size_t *bytes);
static void os_huge_pages(void *start, size_t size); /* a hint */
static size_t os_page_size(void);

/* ---- plain memory for control blocks ----------------------------------- */

static void *os_map(size_t size); /* readable, writable, zero; NULL on refusal */
static void os_unmap(void *start, size_t size);

/* ---- the rest ---------------------------------------------------------- */

static int os_random(void *bytes, size_t size);
/* Copies from any address, at most 512 bytes. OS_UNREADABLE if it cannot be read. */
static int os_peek(uintptr_t address, void *copy, size_t size);
static void os_copy(void *to, const void *from, size_t size); /* ranges must not overlap */
static void os_clear(void *start, size_t size);
/* Keeps the library that holds this address loaded until the process ends. */
static int os_pin(const void *address);
#if !defined(_WIN32)
static int os_at_exit(void (*call)(void *), void *owner); /* calls it with NULL at exit, before any library is unloaded */
static void os_forget_exit(void *owner);                  /* for unloading before exit; calls it once as well */
#endif
static uint64_t os_now(void);    /* monotonic milliseconds */
static uint64_t os_thread(void); /* never 0 */
static void os_yield(void);

/* ---- the end of threads: POSIX; Windows calls DllMain ------------------- */

static void os_watch_threads(void (*at_end)(void *)); /* call it once, and never at the same time as the next function */
#if !defined(_WIN32)
static void os_unwatch_threads(void);
#endif
/* Calls `at_end` when this thread ends. If `several` threads do this, the library stays loaded, because one may be in
 * `at_end`. */
static void os_watch_this_thread(int several);

#endif
