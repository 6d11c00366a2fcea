/* test_dll.c - the Windows library as it is shipped, argv[1]: threads that end like Workers, and unloading. */
#include <pthread.h>
#include <stdlib.h>

#include "../hooks.h"
#include "check.h"

#define MIB ((size_t)1 << 20)

typedef struct {
  HMODULE library;
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
  __typeof__(bump_process_bind) *process_bind;
  __typeof__(bump_process_malloc) *process_malloc;
} library_t;

static const char *path;
static library_t in;

static void load(void) {
  in.library = LoadLibraryA(path);
  if (in.library == NULL) fprintf(stderr, "cannot load %s: %lu\n", path, GetLastError()), exit(1);
#define FIND(name) in.name = (__typeof__(in.name))(void *)GetProcAddress(in.library, "bump_" #name)
  FIND(create), FIND(share), FIND(token), FIND(attach), FIND(hold), FIND(close), FIND(keep), FIND(take), FIND(alloc);
  FIND(reset), FIND(base), FIND(holders), FIND(process_bind), FIND(process_malloc);
}

static int all_are(const unsigned char *bytes, size_t count, unsigned char value) {
  for (size_t i = 0; i < count; i++) if (bytes[i] != value) return 0;
  return 1;
}

static unsigned char *take(bump_t *bump, size_t size, unsigned char fill) {
  bump_chunk_t chunk;
  CHECK(in.take(bump, (double)size, (double)size, 8, &chunk) == BUMP_OK);
  unsigned char *at = (unsigned char *)in.base(bump) + (size_t)chunk.start;
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

static int committed(const void *address) { return memory_at(address).State == MEM_COMMIT; }

/* ---- threads ------------------------------------------------------------ */

static void *make_and_end(void *unused) {
  (void)unused;
  return take(in.create(64 * MIB, 0, NULL), MIB, 1);
}

/* A thread's holds end with it, but bytes under its windows stay accessible, because any window may have been
 * transferred. */
static void ends_with_its_thread(void) {
  bump_t *own = in.create(MIB, 0, NULL);
  unsigned char *mine = take(own, 4096, 5);
  unsigned char *left = elsewhere(make_and_end, NULL);
  CHECK(committed(left) && committed(left + MIB - 1) && !committed(left + MIB));
  memset(left, 2, MIB);
  bump_t *next = in.create(64 * MIB, 0, NULL);
  CHECK(in.base(next) != left && in.close(next) == BUMP_OK); /* and is not used again */
  CHECK(all_are(mine, 4096, 5) && in.holders(own) == 1); /* other threads' stays */
  CHECK(in.close(own) == BUMP_OK);
}

typedef struct { double token, key; } shared_t;

static void *attach_and_end(void *handle) {
  bump_t *bump = in.attach(((shared_t *)handle)->token, ((shared_t *)handle)->key, NULL);
  if (bump != NULL) memset(in.alloc(in.hold(bump, NULL), 100, 8), 7, 100);
  return bump;
}

static void *share_and_end(void *handle) {
  bump_t *bump = in.create(MIB, 0, NULL);
  *(shared_t *)handle = (shared_t){in.token(bump), in.share(bump)};
  take(bump, 4096, 9);
  CHECK(in.attach(((shared_t *)handle)->token, ((shared_t *)handle)->key, NULL) != NULL);
  return bump;
}

static void drops_what_it_attached(void) {
  bump_region_t region;
  bump_t *bump = in.create(MIB, 0, NULL);
  shared_t handle = {in.token(bump), in.share(bump)};
  for (int i = 0; i < 100; i++) CHECK(elsewhere(attach_and_end, &handle) != NULL && in.holders(bump) == 1);
  CHECK(in.close(bump) == BUMP_OK && elsewhere(attach_and_end, &handle) == NULL);
  /* both of its holds ended with the thread */
  CHECK(elsewhere(share_and_end, &handle) != NULL);
  CHECK(in.attach(handle.token, handle.key, &region) == NULL && region.error == BUMP_STALE);
}

/* A region moves within its mapping and is closed: on Windows a part of a reservation cannot be released. */
static void keeps_what_is_kept(void) {
  enum { TIMES = 100 };
  static unsigned char *kept[TIMES];
  bump_region_t region;
  bump_t *bump = in.create(MIB, 0, NULL);
  for (int i = 0; i < TIMES; i++) {
    kept[i] = take(bump, 65536, (unsigned char)i);
    CHECK(in.keep(bump, 0, 65536) == BUMP_OK && in.reset(bump, 0, 1, &region) == BUMP_MOVED);
    unsigned char *whole = take(bump, MIB, 0xff);
    CHECK(!committed(whole + MIB) && in.reset(bump, 0, 1, NULL) == BUMP_OK);
  }
  CHECK(in.close(bump) == BUMP_OK);
  for (int i = 0; i < 1100; i++) CHECK(in.close(in.create(4096, 0, NULL)) == BUMP_OK);
  for (int i = 0; i < TIMES; i++) CHECK(all_are(kept[i], 65536, (unsigned char)i));
}

/* ---- unloading ---------------------------------------------------------- */

static void leaves_nothing(void) {
  long size = 0;
  for (int i = 0; i < 120; i++) {
    if (i == 20) size = mapped_kib();
    load();
    unsigned char *blocks[3];
    for (int k = 0; k < 3; k++) {
      bump_t *bump = in.create(64 * MIB, 0, NULL);
      blocks[k] = in.base(bump); /* none of it was committed, so no window shows it */
      if (k > 0) CHECK(in.close(bump) == BUMP_OK);
    }
    CHECK(FreeLibrary(in.library) && GetModuleHandleA(path) == NULL);
    for (int k = 0; k < 3; k++) CHECK(!reserved(blocks[k]));
  }
  CHECK(mapped_kib() - size <= 1024);
}

static void keeps_what_windows_may_see(void) {
  load();
  unsigned char *block = take(in.create(64 * MIB, 0, NULL), MIB, 1);
  bump_t *bump = in.create(64 * MIB, 0, NULL);
  unsigned char *late = take(bump, MIB, 1);
  CHECK(in.close(bump) == BUMP_OK && FreeLibrary(in.library));
  CHECK(committed(block) && !committed(block + MIB) && committed(late + MIB - 1) && !committed(late + MIB));
  memset(block, 1, MIB);
  memset(late, 1, MIB);
  munmap(block, MIB);
  munmap(late, MIB);
}

/* The process's own callbacks stay, and the library with them, even after the thread that named the region has ended.
 * */
static void *name_and_end(void *unused) {
  (void)unused;
  bump_t *bump = in.create(64 * MIB, 0, NULL);
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
  for (;;) in.close(in.create(MIB, 0, NULL));
  return NULL;
}

int main(int count, char **arguments) {
  path = count > 1 ? arguments[1] : "bump_alloc.dll";
  load();
  ends_with_its_thread();
  drops_what_it_attached();
  keeps_what_is_kept();
  FreeLibrary(in.library);
  leaves_nothing();
  keeps_what_windows_may_see();
  stays_for_the_process();
  /* The process ends while other threads hold the library's locks; its exit status shows whether that worked. */
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, work_for_ever, NULL);
  Sleep(50);
  return conclude("dll");
}
