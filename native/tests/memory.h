/* memory.h - questions of the tests about addresses. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stddef.h>
#include <string.h>

#if !defined(_WIN32)
#include <setjmp.h>
#include <signal.h>
#endif

#include "check.h"

#define MIB ((double)(1 << 20))
#define PAGE bump_page_size()

#if defined(__SANITIZE_ADDRESS__)
enum { ASAN = 1 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { ASAN = 1 };
#else
enum { ASAN = 0 };
#endif
#else
enum { ASAN = 0 };
#endif

#if defined(_WIN32)
static void *fault[5];
static volatile DWORD faulting_thread; /* 0: faults are real */

static inline LONG CALLBACK on_fault(EXCEPTION_POINTERS *exception) {
  const DWORD code = exception->ExceptionRecord->ExceptionCode;
  if (code != STATUS_ACCESS_VIOLATION || faulting_thread != GetCurrentThreadId()) return EXCEPTION_CONTINUE_SEARCH;
  __builtin_longjmp(fault, 1); /* longjmp would unwind frames without tables */
}

/* Whether a byte can be read, by reading it. */
static inline int readable(const void *address) {
  static void *handler;
  volatile int ok = 0;
  if (handler == NULL) handler = AddVectoredExceptionHandler(1, on_fault);
  faulting_thread = GetCurrentThreadId();
  if (__builtin_setjmp(fault) == 0) {
    (void)*(const volatile char *)address;
    ok = 1;
  }
  faulting_thread = 0;
  return ok;
}
#else
static sigjmp_buf fault;
static void on_fault(int signal) { siglongjmp(fault, signal); }

/* Whether a byte can be read, by a system call. */
static inline int readable(const void *address) {
  struct sigaction action = {0}, segv, bus;
  action.sa_handler = on_fault;
  sigaction(SIGSEGV, &action, &segv);
  sigaction(SIGBUS, &action, &bus);
  const int ok = sigsetjmp(fault, 1) == 0;
  if (ok) (void)*(const volatile char *)address;
  sigaction(SIGSEGV, &segv, NULL);
  sigaction(SIGBUS, &bus, NULL);
  return ok;
}

#endif

/* Whether all of it can be written, by writing it. */
static inline int writable(void *start, size_t size) {
  for (size_t i = 0; i < size; i += 4096) {
    if (!readable((char *)start + i)) return 0;
  }
  if (size == 0 || !readable((char *)start + size - 1)) return 0;
  memset(start, 0x5c, size); /* memory of a region is readable and writable, or neither */
  return 1;
}

static inline int all_are(const unsigned char *bytes, size_t count, unsigned char value) {
  for (size_t i = 0; i < count; i++) if (bytes[i] != value) return 0;
  return 1;
}

#endif
