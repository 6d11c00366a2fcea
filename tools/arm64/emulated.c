/* emulated.c - what the emulator does not do as an arm64 kernel would. Given by LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HOST_PAGE = 4096 }; /* an x64 machine's */

/* The machine's own programs, started from here, could not load this library, and would say so. */
__attribute__((constructor)) static void forget(void) { unsetenv("LD_PRELOAD"); }

/* Makes Deno.execPath() the script that starts the emulator, which gives its own path as the program's name: the arm64
 * program itself is nothing that the machine can execute, and tests start further Denos. */
ssize_t readlink(const char *path, char *target, size_t size) {
  if (strcmp(path, "/proc/self/exe") == 0) {
    const size_t length = strlen(program_invocation_name);
    const size_t kept = length < size ? length : size;
    memcpy(target, program_invocation_name, kept);
    return (ssize_t)kept;
  }
  return ((ssize_t (*)(const char *, char *, size_t))dlsym(RTLD_NEXT, "readlink"))(path, target, size);
}

/* The emulator gives a byte for each of the machine's pages, up to sixteen times as many as there is room for. A page is
 * resident if any of those that it consists of is. */
int mincore(void *start, size_t size, unsigned char *pages) {
  const size_t page = (size_t)getpagesize();
  if ((uintptr_t)start % page != 0) return errno = EINVAL, -1;
  for (size_t at = 0; at < size; at += page) {
    unsigned char parts[65536 / HOST_PAGE];
    if (syscall(SYS_mincore, (char *)start + at, page, parts) != 0) return -1;
    pages[at / page] = 0;
    for (size_t i = 0; i < page / HOST_PAGE; i++) pages[at / page] |= parts[i] & 1;
  }
  return 0;
}

/* The same for who asks the C library itself for its address. */
void *dlsym(void *library, const char *name) {
  static void *(*original)(void *, const char *);
  if (original == NULL) *(void **)&original = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
  return strcmp(name, "mincore") == 0 ? (void *)mincore : original(library, name);
}

/* The emulator answers that pages are populated, and does nothing: Linux before 5.14 does not know the advice. */
int madvise(void *start, size_t size, int advice) {
  if (advice == MADV_POPULATE_WRITE) return errno = EINVAL, -1;
  return (int)syscall(SYS_madvise, start, size, advice);
}
