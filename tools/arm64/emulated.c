/* emulated.c - corrects calls that the emulator does not handle like an arm64 kernel. Loaded with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HOST_PAGE = 4096 }; /* of an x64 host */

/* Host programs started from here cannot load this library, and would print an error. */
__attribute__((constructor)) static void forget(void) { unsetenv("LD_PRELOAD"); }

/* Makes Deno.execPath() the script that starts the emulator, because tests start further Denos and the host cannot
 * execute the arm64 program. The script passes its own path as the program's name. */
ssize_t readlink(const char *path, char *target, size_t size) {
  if (strcmp(path, "/proc/self/exe") == 0) {
    const size_t length = strlen(program_invocation_name);
    const size_t kept = length < size ? length : size;
    memcpy(target, program_invocation_name, kept);
    return (ssize_t)kept;
  }
  return ((ssize_t (*)(const char *, char *, size_t))dlsym(RTLD_NEXT, "readlink"))(path, target, size);
}

/* The emulator writes a byte for each host page, up to sixteen times more than there is room for. A page is resident if
 * any host page in it is. */
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

/* The same for callers that look the function up. */
void *dlsym(void *library, const char *name) {
  static void *(*original)(void *, const char *);
  if (original == NULL) *(void **)&original = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
  return strcmp(name, "mincore") == 0 ? (void *)mincore : original(library, name);
}

/* The emulator accepts this advice and does nothing. Refuse it, as Linux before 5.14 does. */
int madvise(void *start, size_t size, int advice) {
  if (advice == MADV_POPULATE_WRITE) return errno = EINVAL, -1;
  return (int)syscall(SYS_madvise, start, size, advice);
}
