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
static int os_release(void *base, size_t size);                   /* all that one os_reserve gave */
static int os_release_tail(void *base, size_t kept, size_t size); /* all of it but the first `kept` bytes */
static int os_commit(void *start, size_t size);                   /* readable, writable; idempotent */

/* ---- pages ------------------------------------------------------------- */

static int os_discard(void *start, size_t size);  /* RAM given back; committed pages read as zero from now on */
static int os_zero(void *start, size_t size);     /* the same, committing what is not, and never inaccessible meanwhile */
static int os_prefault(void *start, size_t size); /* committed pages get their RAM now */
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
static uint64_t os_thread(void); /* never 0 */
static void os_yield(void);

#endif
