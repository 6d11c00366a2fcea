/* Refuses chosen system calls of the allocator's library, and of no other code. Loaded with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MMAP = 1, MPROTECT = 2, MADVISE = 4, MUNMAP = 8, MINCORE = 16, GETENTROPY = 32, PIPE2 = 64 };

static _Atomic int refused, first, last, seen;

/* From now on the calls `from` to `to` of these kinds, counted from 1, fail for lack of memory. */
void refuse(int kinds, int from, int to) {
  seen = 0;
  first = from;
  last = to;
  refused = kinds;
}

/* Stops refusing. Returns the number of calls of these kinds. */
int allow(void) {
  refused = 0;
  return seen;
}

/* The library is loaded from a memory file. */
static int is_library(const void *caller) {
  Dl_info info;
  return dladdr(caller, &info) != 0 && strncmp(info.dli_fname, "/proc/self/fd/", 14) == 0;
}

static int refuses(int kind, const void *caller) {
  if ((refused & kind) == 0 || !is_library(caller)) return 0;
  const int call = ++seen;
  if (call < first || call > last) return 0;
  errno = ENOMEM;
  return 1;
}

#define CALLER __builtin_return_address(0)

void *mmap(void *at, size_t size, int protection, int flags, int file, off_t offset) {
  return refuses(MMAP, CALLER) ? MAP_FAILED : (void *)syscall(SYS_mmap, at, size, protection, flags, file, offset);
}

int mprotect(void *at, size_t size, int protection) {
  return refuses(MPROTECT, CALLER) ? -1 : (int)syscall(SYS_mprotect, at, size, protection);
}

int madvise(void *at, size_t size, int advice) {
  return refuses(MADVISE, CALLER) ? -1 : (int)syscall(SYS_madvise, at, size, advice);
}

int munmap(void *at, size_t size) { return refuses(MUNMAP, CALLER) ? -1 : (int)syscall(SYS_munmap, at, size); }

int mincore(void *at, size_t size, unsigned char *pages) {
  return refuses(MINCORE, CALLER) ? -1 : (int)syscall(SYS_mincore, at, size, pages);
}

int getentropy(void *bytes, size_t size) {
  return refuses(GETENTROPY, CALLER) ? -1 : syscall(SYS_getrandom, bytes, size, 0) == (long)size ? 0 : -1;
}

int pipe2(int ends[2], int flags) { return refuses(PIPE2, CALLER) ? -1 : (int)syscall(SYS_pipe2, ends, flags); }
