/* os.h - what the bump allocator asks of the operating system.
 *
 * Functions that return int give 0 or the system's own error number. Ranges are whole pages.
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

/* Inaccessible addresses, none of them backed; the first is a multiple of `align` where the
 * system allows that (0: any page). */
static int os_reserve(size_t size, size_t align, void **base);
/* Unmaps what one os_reserve gave, or (not `whole`) a part of it: on Windows the part's addresses stay taken. */
static int os_release(void *start, size_t size, int whole);
static int os_commit(void *start, size_t size);    /* readable, writable; idempotent */
static int os_charges_committed(void);             /* whether committed bytes count against a limit, used or not */
/* How many mappings this process may still make before it is near the system's limit. */
static size_t os_mappings_left(void);

/* ---- pages ------------------------------------------------------------- */

/* Of committed pages, which stay accessible all the time. */
static int os_discard(void *start, size_t size);  /* RAM given back; they read as zero from now on */
static int os_forget(void *start, size_t size);   /* the same, but true only if they read as zero: it may cost less */
static int os_prefault(void *start, size_t size); /* they get their RAM now */
static void os_populate(void *start, size_t size); /* the same, in one call where the system has it; else nothing */
static int os_resident(const void *start, size_t size, size_t *bytes);
static void os_huge_pages(void *start, size_t size); /* a hint */
static size_t os_page_size(void);

/* ---- plain memory for control blocks ----------------------------------- */

static void *os_map(size_t size); /* readable, writable, zero; NULL on refusal */
static void os_unmap(void *start, size_t size);

/* ---- the rest ---------------------------------------------------------- */

static int os_random(void *bytes, size_t size);
/* Copies from an address that may be anything; OS_UNREADABLE when it cannot be read. At most 512 bytes. */
static int os_peek(uintptr_t address, void *copy, size_t size);
static void os_copy(void *to, const void *from, size_t size); /* they do not overlap */
static void os_clear(void *start, size_t size);
/* Keeps the library that holds this address loaded until the process ends. */
static int os_pin(const void *address);
#if !defined(_WIN32)
static int os_at_exit(void (*call)(void *), void *owner); /* calls it with NULL at exit, before any library is unloaded */
static void os_forget_exit(void *owner);                  /* for a library that is unloaded before; calls it once, too */
#endif
static uint64_t os_now(void);    /* ms, from some time on, which never goes back */
static uint64_t os_thread(void); /* never 0 */
static void os_yield(void);

/* ---- the end of threads: POSIX; on Windows DllMain is told -------------- */

static void os_watch_threads(void (*at_end)(void *)); /* once; not by two threads at a time, nor the next one */
#if !defined(_WIN32)
static void os_unwatch_threads(void);
#endif
/* Calls `at_end` when this thread ends. When `several` do this the library stays loaded: one might be in `at_end`. */
static void os_watch_this_thread(int several);

#endif
