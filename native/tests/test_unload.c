/* test_unload.c - many instances of the library in one process, as Workers have them: each a memfd
 * of its own. argv[1] is the shared object. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../bump.h"
#include "check.h"

#define MIB ((size_t)1 << 20)

typedef struct {
  void *library;
  int fd;
  __typeof__(bump_create) *create;
  __typeof__(bump_carve) *carve;
  __typeof__(bump_share) *share;
  __typeof__(bump_attach) *attach;
  __typeof__(bump_close) *close;
  __typeof__(bump_settle) *settle;
  __typeof__(bump_lease) *lease;
  __typeof__(bump_alloc) *alloc;
  __typeof__(bump_base) *base;
  __typeof__(bump_attached) *attached;
} instance_t;

static const char *object;

static instance_t load(void) {
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
  FIND(create), FIND(carve), FIND(share), FIND(attach), FIND(close), FIND(settle), FIND(lease), FIND(alloc);
  FIND(base), FIND(attached);
  return in;
}

static void unload(const instance_t *in) {
  dlclose(in->library);
  close(in->fd);
}

static int mapped(const void *address) {
  unsigned char resident;
  const uintptr_t page = (uintptr_t)address / (uintptr_t)getpagesize() * (uintptr_t)getpagesize();
  return mincore((void *)page, 1, &resident) == 0;
}

static int all_are(const unsigned char *bytes, size_t count, unsigned char value) {
  for (size_t i = 0; i < count; i++) if (bytes[i] != value) return 0;
  return 1;
}

static unsigned char *lease(const instance_t *in, bump_t *bump, size_t size, unsigned char fill) {
  bump_lease_t lease;
  CHECK(in->lease(bump, (double)size, (double)size, 8, &lease) == BUMP_OK);
  unsigned char *at = (unsigned char *)in->base(bump) + (size_t)lease.start;
  memset(at, fill, size);
  return at;
}

static void one_life(int how) {
  int32_t error;
  instance_t in = load();
  bump_t *bump = in.create(64 * MIB, 0, &error), *part = NULL;
  if (how == 1) lease(&in, bump, MIB, 1), in.settle(bump);
  if (how == 2) {
    lease(&in, bump, MIB, 1);
    CHECK(in.close(bump, 0) == BUMP_OK);
  }
  if (how == 3) part = in.carve(bump, 32.0 * MIB, 4.0 * MIB, &error), lease(&in, part, MIB, 1), in.settle(part);
  unload(&in);
}

static void leaves_nothing(void) {
  for (int how = 0; how < 4; how++) {
    for (int i = 0; i < 20; i++) one_life(how);
    const long size = status_kib("VmSize:"), resident = status_kib("VmRSS:");
    for (int i = 0; i < 300; i++) one_life(how);
    CHECK(status_kib("VmSize:") - size <= 256);
    CHECK(EMULATED || status_kib("VmRSS:") - resident <= 1024);
  }
}

static void keeps_what_windows_may_see(void) {
  int32_t error;
  instance_t in = load();
  bump_t *bump = in.create(64 * MIB, 0, &error);
  unsigned char *base = in.base(bump);
  lease(&in, bump, MIB, 1);
  in.settle(bump);
  lease(&in, bump, MIB, 1); /* after it was settled */
  const long resident = status_kib("VmRSS:");
  unload(&in);
  CHECK(resident - status_kib("VmRSS:") > 1800);
  CHECK(all_are(base, 2 * MIB, 0) && !mapped(base + 2 * MIB) && !mapped(base + 64 * MIB));
  memset(base, 1, 2 * MIB);
  munmap(base, 2 * MIB);

  in = load();
  bump = in.create(64 * MIB, 0, &error);
  base = in.base(bump);
  bump_t *part = in.carve(bump, 32.0 * MIB, 4.0 * MIB, &error);
  unsigned char *block = lease(&in, part, MIB, 1);
  unload(&in);
  CHECK(all_are(block, MIB, 0) && !mapped(block + MIB));
  munmap(base, 33 * MIB);
}

static void hands_over(int settled) {
  int32_t error;
  instance_t a = load(), b = load();
  bump_t *bump = a.create(64 * MIB, 0, &error);
  unsigned char *base = a.base(bump);
  const double key = a.share(bump), address = (double)(uintptr_t)bump;
  CHECK(b.attach(address, key, &error) == bump && b.attached(bump) == 2);
  CHECK(b.close(bump, 0) == BUMP_OK && b.close(bump, 0) == BUMP_STALE && a.attached(bump) == 1);
  CHECK(b.attach(address, key, &error) == bump && b.attach(address, key, &error) == bump);
  lease(&a, bump, MIB, 7);
  if (settled) a.settle(bump);
  b.settle(bump); /* says nothing about a's windows; but here both are one thread */
  if (!settled) lease(&a, bump, 8, 7);
  unload(&a);
  CHECK(b.attached(bump) == 2 && all_are(base, MIB, 7)); /* b goes on, contents and all */
  CHECK(b.alloc(bump, 100, 8) != NULL);
  CHECK(b.close(bump, 0) == BUMP_OK && b.close(bump, 0) == BUMP_OK && b.close(bump, 0) == BUMP_STALE);
  if (settled) CHECK(!mapped(base));
  else CHECK(all_are(base, MIB, 0) && !mapped(base + 4 * MIB));
  if (!settled) munmap(base, 4 * MIB);
  CHECK(mapped(bump) && all_are((unsigned char *)bump, 256, 0)); /* the slot reads as nothing */
  CHECK(b.attach(address, key, &error) == NULL && error == BUMP_STALE);
  unload(&b);
}

/* The other way about: who attached goes first, and its reference with it. */
static void drops_what_it_attached(void) {
  int32_t error;
  instance_t a = load(), b = load();
  bump_t *bump = a.create(MIB, 0, &error);
  const double key = a.share(bump);
  for (int i = 0; i < 10000; i++) CHECK(b.attach((double)(uintptr_t)bump, key, &error) == bump);
  CHECK(a.attached(bump) == 10001);
  unload(&b);
  CHECK(a.attached(bump) == 1 && a.close(bump, 0) == BUMP_OK);
  unload(&a);
  CHECK(mapped(bump));
}

static instance_t other;
static bump_t *others;
static void *create_elsewhere(void *unused) {
  int32_t error;
  others = other.create(MIB, 0, &error);
  lease(&other, others, 4096, 5);
  other.settle(others);
  return unused;
}

/* Unloaded by another thread than the one that made the region. */
static void leaves_other_threads_alone(void) {
  pthread_t thread;
  other = load();
  pthread_create(&thread, NULL, create_elsewhere, NULL);
  pthread_join(thread, NULL);
  unsigned char *base = other.base(others);
  unload(&other);
  CHECK(mapped(base) && all_are(base, 4096, 5));
}

static void *write_for_ever(void *start) {
  for (;;) memset(start, 6, 16 * MIB);
}

static void *make_for_ever(void *in) {
  int32_t error;
  for (;;) ((instance_t *)in)->close(((instance_t *)in)->create(MIB, 0, &error), 0);
}

static ssize_t linger(void *cookie, const char *bytes, size_t size) {
  (void)cookie, (void)bytes;
  usleep(20000);
  return (ssize_t)size;
}

/* A library's thread, or a nonblocking call, works on a region of the main thread; a Worker goes on; exit() is called. */
static void exits_while_others_work(void) {
  if (EMULATED) usleep(200000); /* until the emulator is done with the last thread: a fork would copy a lock that it holds */
  for (int i = 0; i < 20; i++) {
    const pid_t child = fork();
    if (child == 0) {
      int32_t error;
      pthread_t threads[2];
      static instance_t main_thread, worker;
      main_thread = load(), worker = load();
      bump_t *bump = main_thread.create(64 * MIB, 0, &error);
      unsigned char *block = lease(&main_thread, bump, 16 * MIB, 1);
      main_thread.settle(bump);
      pthread_create(&threads[0], NULL, write_for_ever, block);
      pthread_create(&threads[1], NULL, make_for_ever, &worker);
      /* Flushed when all destructors have run: the threads then go on for a while. */
      fputc('x', fopencookie(NULL, "w", (cookie_io_functions_t){.write = linger}));
      usleep(2000);
      exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
}

int main(int count, char **arguments) {
  object = count > 1 ? arguments[1] : "./libbump.so";
  leaves_nothing();
  keeps_what_windows_may_see();
  hands_over(0);
  hands_over(1);
  drops_what_it_attached();
  leaves_other_threads_alone();
  exits_while_others_work();
  return conclude("unload");
}
