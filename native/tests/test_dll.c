/* test_dll.c - the Windows library as it is shipped, argv[1]: threads that end, as Workers do, and its unloading. */
#include <pthread.h>
#include <stdlib.h>

#include "../hooks.h"
#include "check.h"

#define MIB ((size_t)1 << 20)

typedef struct {
  HMODULE library;
  __typeof__(bump_create) *create;
  __typeof__(bump_share) *share;
  __typeof__(bump_attach) *attach;
  __typeof__(bump_close) *close;
  __typeof__(bump_settle) *settle;
  __typeof__(bump_lease) *lease;
  __typeof__(bump_alloc) *alloc;
  __typeof__(bump_base) *base;
  __typeof__(bump_attached) *attached;
  __typeof__(bump_process_bind) *process_bind;
  __typeof__(bump_process_malloc) *process_malloc;
} library_t;

static const char *path;
static library_t in;

static void load(void) {
  in.library = LoadLibraryA(path);
  if (in.library == NULL) fprintf(stderr, "cannot load %s: %lu\n", path, GetLastError()), exit(1);
#define FIND(name) in.name = (__typeof__(in.name))(void *)GetProcAddress(in.library, "bump_" #name)
  FIND(create), FIND(share), FIND(attach), FIND(close), FIND(settle), FIND(lease), FIND(alloc), FIND(base);
  FIND(attached), FIND(process_bind), FIND(process_malloc);
}

static int all_are(const unsigned char *bytes, size_t count, unsigned char value) {
  for (size_t i = 0; i < count; i++) if (bytes[i] != value) return 0;
  return 1;
}

static unsigned char *lease(bump_t *bump, size_t size, unsigned char fill) {
  bump_lease_t lease;
  CHECK(in.lease(bump, (double)size, (double)size, 8, &lease) == BUMP_OK);
  unsigned char *at = (unsigned char *)in.base(bump) + (size_t)lease.start;
  memset(at, fill, size);
  return at;
}

static void *elsewhere(void *(*work)(void *), void *argument) {
  pthread_t thread;
  void *result;
  pthread_create(&thread, NULL, work, argument);
  pthread_join(thread, &result);
  return result;
}

/* ---- threads ------------------------------------------------------------ */

static void *make_settled(void *settled) {
  int32_t error;
  bump_t *bump = in.create(64 * MIB, 0, &error);
  unsigned char *block = lease(bump, MIB, 1);
  if (settled != NULL) in.settle(bump);
  return block;
}

/* What a thread made goes with it, unless a window of it may have been transferred: that then reads as zero. */
static void ends_with_its_thread(void) {
  int32_t error;
  bump_t *own = in.create(MIB, 0, &error);
  unsigned char *mine = lease(own, 4096, 5);
  CHECK(!reserved(elsewhere(make_settled, &in)));
  unsigned char *kept = elsewhere(make_settled, NULL);
  CHECK(all_are(kept, MIB, 0) && memory_at(kept + MIB).State != MEM_COMMIT);
  CHECK(all_are(mine, 4096, 5) && in.attached(own) == 1); /* other threads' stays */
  munmap(kept, MIB);
  CHECK(in.close(own, 0) == BUMP_OK);
}

typedef struct { double address, key; } shared_t;

static void *attach_and_end(void *handle) {
  int32_t error;
  bump_t *bump = in.attach(((shared_t *)handle)->address, ((shared_t *)handle)->key, &error);
  if (bump != NULL) memset(in.alloc(bump, 100, 8), 7, 100);
  return bump;
}

static void *share_and_end(void *handle) {
  int32_t error;
  bump_t *bump = in.create(MIB, 0, &error);
  *(shared_t *)handle = (shared_t){(double)(uintptr_t)bump, in.share(bump)};
  lease(bump, 4096, 9);
  CHECK(in.attach(((shared_t *)handle)->address, ((shared_t *)handle)->key, &error) == bump);
  return bump;
}

static void drops_what_it_attached(void) {
  int32_t error;
  bump_t *bump = in.create(MIB, 0, &error);
  shared_t handle = {(double)(uintptr_t)bump, in.share(bump)};
  for (int i = 0; i < 100; i++) CHECK(elsewhere(attach_and_end, &handle) == bump && in.attached(bump) == 1);
  CHECK(in.close(bump, 0) == BUMP_OK && elsewhere(attach_and_end, &handle) == NULL);
  /* both of its references went with the thread */
  CHECK(elsewhere(share_and_end, &handle) != NULL);
  CHECK(in.attach(handle.address, handle.key, &error) == NULL && error == BUMP_STALE);
}

/* ---- unloading ---------------------------------------------------------- */

static void leaves_nothing(void) {
  long size = 0;
  for (int i = 0; i < 120; i++) {
    int32_t error;
    if (i == 20) size = mapped_kib();
    load();
    bump_t *bump = in.create(64 * MIB, 0, &error);
    unsigned char *block = lease(bump, MIB, 1);
    in.settle(bump);
    if (i % 2 == 0) elsewhere(make_settled, &in);
    CHECK(FreeLibrary(in.library) && !reserved(block) && GetModuleHandleA(path) == NULL);
  }
  CHECK(mapped_kib() - size <= 1024);
}

static void keeps_what_windows_may_see(void) {
  int32_t error;
  load();
  unsigned char *block = lease(in.create(64 * MIB, 0, &error), MIB, 1);
  FreeLibrary(in.library);
  CHECK(all_are(block, MIB, 0) && memory_at(block + MIB).State != MEM_COMMIT);
  memset(block, 1, MIB);
  munmap(block, MIB);
}

/* The process's own callbacks stay, and with them the library, also when the thread that named the region has ended. */
static void *name_and_end(void *unused) {
  (void)unused;
  int32_t error;
  bump_t *bump = in.create(64 * MIB, 0, &error);
  return in.process_bind(bump) == BUMP_OK ? memset(in.process_malloc(1000), 42, 1000) : NULL;
}

static void stays_for_the_process(void) {
  load();
  unsigned char *first = elsewhere(name_and_end, NULL);
  for (int i = 0; i < 3; i++) FreeLibrary(in.library);
  CHECK(GetModuleHandleA(path) != NULL && first != NULL && all_are(first, 1000, 42));
  for (int i = 0; i < 100; i++) {
    unsigned char *block = in.process_malloc(5000);
    CHECK(block > first);
    if (block != NULL) memset(block, i, 5000);
  }
}

static void *work_for_ever(void *unused) {
  (void)unused;
  for (int32_t error;;) in.close(in.create(MIB, 0, &error), 0);
  return NULL;
}

int main(int count, char **arguments) {
  path = count > 1 ? arguments[1] : "bump_alloc.dll";
  load();
  ends_with_its_thread();
  drops_what_it_attached();
  FreeLibrary(in.library);
  leaves_nothing();
  keeps_what_windows_may_see();
  stays_for_the_process();
  /* The process ends while other threads hold the library's locks: its status says whether that went well. */
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, work_for_ever, NULL);
  Sleep(50);
  return conclude("dll");
}
