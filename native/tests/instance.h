/* instance.h - copies of the library, each loaded from its own memfd, as in Workers. */
#ifndef INSTANCE_H
#define INSTANCE_H

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../hooks.h"
#include "check.h"

#define MIB ((size_t)1 << 20)

typedef struct {
  void *library;
  int fd;
  __typeof__(bump_create) *create;
  __typeof__(bump_share) *share;
  __typeof__(bump_token) *token;
  __typeof__(bump_attach) *attach;
  __typeof__(bump_hold) *hold;
  __typeof__(bump_close) *close;
  __typeof__(bump_keep) *keep;
  __typeof__(bump_take) *take;
  __typeof__(bump_alloc) *alloc;
  __typeof__(bump_reset) *reset;
  __typeof__(bump_base) *base;
  __typeof__(bump_holders) *holders;
} instance_t;

static const char *object; /* the shared object that is copied */

static inline instance_t load(void) {
  instance_t in = {0};
  char path[64];
  const int from = open(object, O_RDONLY), to = memfd_create("bump", 0);
  struct stat about;
  fstat(from, &about);
  const ssize_t copied = copy_file_range(from, NULL, to, NULL, (size_t)about.st_size, 0);
  if (copied != about.st_size) {
    char *bytes = malloc((size_t)about.st_size);
    lseek(from, 0, SEEK_SET), lseek(to, 0, SEEK_SET);
    CHECK(read(from, bytes, (size_t)about.st_size) == about.st_size && write(to, bytes, (size_t)about.st_size) == about.st_size);
    free(bytes);
  }
  snprintf(path, sizeof path, "/proc/self/fd/%d", to);
  in.library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  close(from);
  in.fd = to; /* open while loaded: the loader takes an equal path, such as a reused number, for the same library */
  CHECK(in.library != NULL);
  if (in.library == NULL) exit(1);
#define FIND(name) *(void **)&in.name = dlsym(in.library, "bump_" #name)
  FIND(create), FIND(share), FIND(token), FIND(attach), FIND(hold), FIND(close), FIND(keep), FIND(take), FIND(alloc);
  FIND(reset), FIND(base), FIND(holders);
  return in;
}

static inline void unload(const instance_t *in) {
  dlclose(in->library);
  close(in->fd);
}

static inline int mapped(const void *address) {
  unsigned char resident;
  const uintptr_t page = (uintptr_t)address / (uintptr_t)getpagesize() * (uintptr_t)getpagesize();
  return mincore((void *)page, 1, &resident) == 0;
}

static inline int all_are(const unsigned char *bytes, size_t count, unsigned char value) {
  for (size_t i = 0; i < count; i++) if (bytes[i] != value) return 0;
  return 1;
}

static inline unsigned char *take(const instance_t *in, bump_t *bump, size_t size, unsigned char fill) {
  bump_chunk_t chunk;
  CHECK(in->take(bump, (double)size, (double)size, 8, &chunk) == BUMP_OK);
  unsigned char *at = (unsigned char *)in->base(bump) + (size_t)chunk.start;
  memset(at, fill, size);
  return at;
}

#endif
