/* test_unload.c - many instances of the library in one process, as in Workers, each from its own memfd. argv[1] is the
 * shared object. */
#include <pthread.h>
#include <sys/wait.h>

#include "instance.h"

/* Bytes that one life leaves: the committed bytes of regions that it did not close, or closed just now. */
static size_t one_life(int how) {
  instance_t in = load();
  bump_t *bump = in.create(64 * MIB, 0, NULL), *other = in.create(64 * MIB, 0, NULL);
  size_t left = 0;
  if (how >= 1) take(&in, bump, MIB, 1), left += MIB;
  if (how == 2) CHECK(in.close(bump) == BUMP_OK);
  if (how == 3) {
    take(&in, other, 2 * MIB, 1);
    CHECK(in.keep(other, 0, 2.0 * MIB) == BUMP_OK && in.reset(other, 0, 1, NULL) == BUMP_MOVED);
    left += 2 * MIB;
  }
  unload(&in);
  return left;
}

static void leaves_what_may_be_seen_and_nothing_else(void) {
  for (int how = 0; how < 4; how++) {
    for (int i = 0; i < 20; i++) one_life(how);
    const long size = status_kib("VmSize:"), resident = status_kib("VmRSS:");
    size_t left = 0;
    for (int i = 0; i < 300; i++) left += one_life(how);
    CHECK(status_kib("VmSize:") - size <= (long)(left / 1024) + 256);
    /* only kept bytes of that use RAM */
    CHECK(EMULATED || status_kib("VmRSS:") - resident <= 2048 + (how == 3 ? 300 * 2 * 1024 : 0));
  }
}

/* Windows may have been transferred and native calls may still run, and nothing tells. */
static void keeps_what_may_be_seen(void) {
  instance_t in = load();
  bump_t *bump = in.create(64 * MIB, 0, NULL), *closed = in.create(32 * MIB, 0, NULL);
  unsigned char *base = take(&in, bump, 4 * MIB, 1), *late = take(&in, closed, MIB, 2);
  CHECK(in.keep(bump, 3.0 * MIB, 3.0 * MIB + 1) == BUMP_OK && in.close(closed) == BUMP_OK);
  const long resident = status_kib("VmRSS:");
  unload(&in);
  CHECK(resident - status_kib("VmRSS:") > 3500);
  CHECK(all_are(base, 3 * MIB, 0) && base[3 * MIB] == 1 && !mapped(base + 4 * MIB) && !mapped(base + 64 * MIB));
  CHECK(all_are(late, MIB, 0) && !mapped(late + MIB));
  memset(base, 1, 4 * MIB);
  memset(late, 1, MIB);
  munmap(base, 4 * MIB);
  munmap(late, MIB);
}

/* Of the regions that a Worker closed in its last second a few stay; of those that it did not close, all. */
static void leaves_few_of_many(void) {
  enum { CLOSED = 500, OPEN = 50, FEW = 16 };
  static unsigned char *blocks[CLOSED], *open[OPEN];
  instance_t in = load();
  for (int i = 0; i < OPEN; i++) open[i] = take(&in, in.create(MIB, 0, NULL), 4096, 1);
  for (int i = 0; i < CLOSED; i++) {
    bump_t *bump = in.create(64 * MIB, 0, NULL);
    blocks[i] = take(&in, bump, 4096, 1);
    CHECK(in.close(bump) == BUMP_OK);
  }
  unload(&in);
  int left = 0;
  for (int i = 0; i < CLOSED; i++) left += mapped(blocks[i]);
  CHECK(left <= FEW && mapped(blocks[CLOSED - 1]));
  for (int i = 0; i < OPEN; i++) CHECK(mapped(open[i]));
  for (int i = 0; i < CLOSED; i++) if (mapped(blocks[i])) munmap(blocks[i], 65536);
  for (int i = 0; i < OPEN; i++) munmap(open[i], 65536);
}

static void hands_over(void) {
  bump_region_t region;
  instance_t a = load(), b = load();
  bump_t *bump = a.create(64 * MIB, 0, NULL);
  unsigned char *base = a.base(bump);
  const double key = a.share(bump), token = a.token(bump);
  bump_t *other = b.attach(token, key, &region);
  CHECK(other != NULL && region.address == (double)(uintptr_t)base && b.holders(other) == 2);
  CHECK(a.close(other) == BUMP_STALE && b.holders(other) == 2); /* it is b's */
  CHECK(b.close(other) == BUMP_OK && b.close(other) == BUMP_STALE && a.holders(bump) == 1);
  other = b.attach(token, key, &region);
  bump_t *more = b.hold(bump, &region); /* another hold of the other instance */
  CHECK(more != NULL && b.holders(more) == 3);
  take(&a, bump, MIB, 7);
  unload(&a);
  CHECK(b.holders(other) == 2 && all_are(base, MIB, 7)); /* b goes on, contents and all */
  CHECK(b.alloc(other, 100, 8) == base + MIB);
  CHECK(b.close(other) == BUMP_OK && b.reset(more, 0, 1, NULL) == BUMP_OK && b.base(more) == base);
  take(&b, more, 2 * MIB, 8); /* committed after a was unloaded, so b knows who sees it */
  CHECK(b.close(more) == BUMP_OK && b.close(more) == BUMP_STALE);
  CHECK(mapped((void *)(uintptr_t)token) && all_are((unsigned char *)(uintptr_t)token, 256, 0)); /* reads as nothing */
  CHECK(b.attach(token, key, &region) == NULL && region.error == BUMP_STALE);
  unload(&b);
  CHECK(all_are(base, MIB, 0) && !mapped(base + 4 * MIB)); /* a's windows may be anybody's */
  munmap(base, 4 * MIB);
}

/* The other way round: the attached instance is unloaded first, with its holds. */
static void drops_what_it_attached(void) {
  bump_region_t region;
  instance_t a = load(), b = load();
  bump_t *bump = a.create(MIB, 0, NULL);
  const double key = a.share(bump), token = a.token(bump);
  for (int i = 0; i < 10000; i++) CHECK(b.attach(token, key, &region) != NULL);
  CHECK(a.holders(bump) == 10001 && a.reset(bump, 0, 1, &region) == BUMP_SHARED);
  unload(&b);
  CHECK(a.holders(bump) == 1 && a.reset(bump, 0, 1, &region) == BUMP_OK && a.close(bump) == BUMP_OK);
  unload(&a);
  CHECK(mapped((void *)(uintptr_t)token));
}

static instance_t other;
static bump_t *others;
static pthread_barrier_t barrier;

static void *create_elsewhere(void *unused) {
  others = other.create(MIB, 0, NULL);
  take(&other, others, 4096, 5);
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);
  return unused;
}

/* Unloaded by a thread other than the one that made the region, which still runs. */
static void leaves_other_threads_alone(void) {
  pthread_t thread;
  other = load();
  pthread_barrier_init(&barrier, NULL, 2);
  pthread_create(&thread, NULL, create_elsewhere, NULL);
  pthread_barrier_wait(&barrier);
  unsigned char *base = other.base(others);
  unload(&other);
  CHECK(mapped(base) && all_are(base, 4096, 5));
  pthread_barrier_wait(&barrier);
  pthread_join(thread, NULL); /* its end calls no unloaded code */
  CHECK(mapped(base) && all_are(base, 4096, 5));
}

static void *write_for_ever(void *start) {
  for (;;) memset(start, 6, 16 * MIB);
  return NULL;
}

static void *make_for_ever(void *in) {
  for (;;) ((instance_t *)in)->close(((instance_t *)in)->create(MIB, 0, NULL));
  return NULL;
}

static ssize_t linger(void *cookie, const char *bytes, size_t size) {
  (void)cookie, (void)bytes;
  usleep(20000);
  return (ssize_t)size;
}

/* A thread of a library or of a nonblocking call works on a region of the main thread, a Worker runs, and exit() is
 * called. */
static void exits_while_others_work(void) {
  if (EMULATED) usleep(200000); /* until the emulator has finished with the last thread: a fork would copy a lock that it holds */
  for (int i = 0; i < 20; i++) {
    const pid_t child = fork();
    if (child == 0) {
      pthread_t threads[2];
      static instance_t main_thread, worker;
      main_thread = load(), worker = load();
      unsigned char *block = take(&main_thread, main_thread.create(64 * MIB, 0, NULL), 16 * MIB, 1);
      pthread_create(&threads[0], NULL, write_for_ever, block);
      pthread_create(&threads[1], NULL, make_for_ever, &worker);
      /* Flushed after all destructors have run, so that the threads run on for a while. */
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
  leaves_what_may_be_seen_and_nothing_else();
  keeps_what_may_be_seen();
  leaves_few_of_many();
  hands_over();
  drops_what_it_attached();
  leaves_other_threads_alone();
  exits_while_others_work();
  pthread_key_t key; /* none of those instances has kept a key */
  CHECK(pthread_key_create(&key, NULL) == 0);
  return conclude("unload");
}
