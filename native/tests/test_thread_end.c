/* test_thread_end.c - threads that end without closing their holds while the library stays loaded: like Workers under
 * musl, or Workers that all load one file. argv[1] is the shared object. */
#include <pthread.h>

#include "instance.h"

static instance_t in;
static double token, key;

static void *elsewhere(void *(*work)(void *), void *argument) {
  pthread_t thread;
  void *result = NULL;
  CHECK(pthread_create(&thread, NULL, work, argument) == 0);
  CHECK(pthread_join(thread, &result) == 0);
  return result;
}

static void *attach_and_end(void *unused) {
  (void)unused;
  bump_t *bump = in.attach(token, key, NULL), *more = bump == NULL ? NULL : in.hold(bump, NULL);
  if (more != NULL) memset(in.alloc(more, 100, 8), 7, 100);
  return bump;
}

static void *create_and_end(void *unused) {
  (void)unused;
  bump_t *bump = in.create(8 * MIB, 0, NULL);
  token = in.token(bump), key = in.share(bump);
  return take(&in, bump, MIB, 9);
}

static void drops_what_it_held(void) {
  in = load();
  bump_t *bump = in.create(MIB, 0, NULL);
  token = in.token(bump), key = in.share(bump);
  for (int i = 0; i < 200; i++) CHECK(elsewhere(attach_and_end, NULL) != NULL && in.holders(bump) == 1);
  CHECK(in.reset(bump, 0, 1, NULL) == BUMP_OK);
  unsigned char *block = elsewhere(create_and_end, NULL);
  CHECK(block != NULL && in.attach(token, key, NULL) == NULL);
  CHECK(all_are(block, MIB, 0)); /* who was given it may see it, without contents */
  memset(block, 1, MIB);
  CHECK(in.holders(bump) == 1 && in.close(bump) == BUMP_OK);
}

/* The library's code is still there when a thread ends after the last unload. */
static void *close_and_end(void *barrier) {
  bump_t *bump = in.create(MIB, 0, NULL);
  CHECK(bump != NULL);
  pthread_barrier_wait(barrier);
  pthread_barrier_wait(barrier);
  return barrier;
}

static void stays_loaded_for_several(void) {
  in = load();
  bump_t *bump = in.create(MIB, 0, NULL);
  pthread_barrier_t barrier;
  pthread_t thread;
  pthread_barrier_init(&barrier, NULL, 2);
  pthread_create(&thread, NULL, close_and_end, &barrier);
  pthread_barrier_wait(&barrier);
  dlclose(in.library);
  CHECK(in.holders(bump) == 1 && in.close(bump) == BUMP_OK);
  pthread_barrier_wait(&barrier);
  CHECK(pthread_join(thread, NULL) == 0);
}

/* A Worker with its own copy. */
static void *live_and_end(void *unused) {
  instance_t own = load();
  for (int i = 0; i < 4; i++) {
    bump_t *bump = own.create(64 * MIB, 0, NULL);
    take(&own, bump, 4096, 1);
    if (i > 0) CHECK(own.close(bump) == BUMP_OK);
  }
  CHECK(own.create(64 * MIB, 0, NULL) != NULL);
  close(own.fd);
  return unused;
}

static void leaves_little(void) {
  enum { LIVES = 300 }; /* more than musl has keys for thread destructors */
  for (int i = 0; i < 20; i++) elsewhere(live_and_end, NULL);
  const long size = status_kib("VmSize:"), resident = status_kib("VmRSS:");
  for (int i = 0; i < LIVES; i++) elsewhere(live_and_end, NULL);
  /* the library and its written data stay; a region would be 64 MiB */
  CHECK((status_kib("VmSize:") - size) / LIVES <= 1024);
  CHECK(EMULATED || (status_kib("VmRSS:") - resident) / LIVES <= 200);
  pthread_key_t some;
  CHECK(pthread_key_create(&some, NULL) == 0);
}

/* The process's own allocator outlives the thread that named it. */
static __typeof__(bump_process_bind) *process_bind;
static __typeof__(bump_process_malloc) *process_malloc;

static void *bind_and_end(void *unused) {
  (void)unused;
  bump_t *bump = in.create(64 * MIB, 0, NULL);
  token = in.token(bump), key = in.share(bump);
  return process_bind(bump) == BUMP_OK ? memset(process_malloc(1000), 42, 1000) : NULL;
}

static void stays_for_the_process(void) {
  in = load();
  *(void **)&process_bind = dlsym(in.library, "bump_process_bind");
  *(void **)&process_malloc = dlsym(in.library, "bump_process_malloc");
  unsigned char *block = elsewhere(bind_and_end, NULL);
  bump_t *bump = in.attach(token, key, NULL);
  CHECK(block != NULL && bump != NULL && in.holders(bump) == 2 && all_are(block, 1000, 42));
  CHECK(process_bind(bump) == BUMP_OK); /* the same region again */
  CHECK(in.close(bump) == BUMP_OK && process_malloc(10) != NULL);
}

int main(int count, char **arguments) {
  object = count > 1 ? arguments[1] : "./libbump.so";
  drops_what_it_held();
  stays_loaded_for_several();
  leaves_little();
  stays_for_the_process();
  return conclude("thread_end");
}
