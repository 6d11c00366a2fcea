/* test_preload.c - the functions of preload.c under other names: what each promises, and threads that give each other
 * their blocks. Arguments are options of preload.c, as in the environment. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "preload_inside.h"

enum { THREADS = 8, ROUNDS = EMULATED ? 5000 : 30000, SHARED_PLACES = 512, OWN_PLACES = 300 };

#if !defined(FORKLESS)
#define FORKLESS 0 /* 1 under a sanitizer that does not follow a child of several threads */
#endif

static bool grows, recycles;
static size_t page;

static bool is_on(const char *option) { return getenv(option) == NULL || strcmp(getenv(option), "0") != 0; }

typedef struct { unsigned char *start; size_t size; } owned_t; /* filled with the low bits of its address */

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
  return *state;
}

static size_t random_size(uint64_t *state) {
  const uint64_t kind = next_random(state) % 100, any = next_random(state);
  return kind < 70 ? any % 200 : kind < 90 ? any % 3000 : kind < 98 ? any % 40000 : any % 400000;
}

static unsigned char mark_of(const unsigned char *block) { return (unsigned char)((uintptr_t)block >> 4 ^ (uintptr_t)block >> 12); }

static void fill(owned_t block) { memset(block.start, mark_of(block.start), block.size); }

static bool is_filled(const unsigned char *block, size_t size, unsigned char mark) {
  for (size_t i = 0; i < size; i++) {
    if (block[i] != mark) return false;
  }
  return true;
}

static void let_go(owned_t block) {
  if (block.start == NULL) return;
  CHECK(is_filled(block.start, block.size, mark_of(block.start)));
  test_free(block.start);
}

static owned_t take_one(uint64_t *random) {
  const size_t size = random_size(random);
  unsigned char *block = NULL;
  size_t align = 16;
  switch (next_random(random) % 8) {
    case 0:
      block = test_calloc(1, size);
      CHECK(block == NULL || is_filled(block, size, 0));
      break;
    case 1:
      align = (size_t)8 << next_random(random) % 12;
      if (test_posix_memalign((void **)&block, align, size) != 0) block = NULL;
      break;
    default:
      block = test_malloc(size);
  }
  CHECK(block != NULL && (uintptr_t)block % align == 0 && (uintptr_t)block % 16 == 0);
  CHECK(test_malloc_usable_size(block) >= size);
  const owned_t taken = {block, size};
  fill(taken);
  return taken;
}

static owned_t resize_one(owned_t old, uint64_t *random) {
  const size_t size = random_size(random) + 1;
  const unsigned char mark = mark_of(old.start);
  unsigned char *block = test_realloc(old.start, size);
  CHECK(block != NULL && is_filled(block, old.size < size ? old.size : size, mark));
  const owned_t resized = {block, size};
  fill(resized);
  return resized;
}

/* ---- what each function promises ---------------------------------------- */

static void test_edges(void) {
  void *block = NULL, *zero = test_malloc(0), *other = test_malloc(0);
  CHECK(zero != NULL && other != NULL && zero != other);
  test_free(zero);
  test_free(other);
  test_free(NULL);
  errno = 0;
  CHECK(test_malloc(SIZE_MAX) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(test_malloc(PTRDIFF_MAX) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(test_calloc(SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(test_reallocarray(NULL, SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
  errno = 7;
  CHECK(test_posix_memalign(&block, 3, 8) == EINVAL && test_posix_memalign(&block, 4, 8) == EINVAL);
  CHECK(test_posix_memalign(&block, 0, 8) == EINVAL && test_posix_memalign(&block, 64, SIZE_MAX) == ENOMEM);
  CHECK(test_posix_memalign(&block, (size_t)1 << 62, 8) == ENOMEM && block == NULL && errno == 7);
  errno = 0;
  CHECK(test_aligned_alloc(3, 8) == NULL && errno == EINVAL);
  CHECK((uintptr_t)(block = test_memalign(48, 100)) % 64 == 0); /* glibc rounds it up, too */
  test_free(block);
  CHECK((uintptr_t)(block = test_valloc(1)) % page == 0);
  test_free(block);
  CHECK((uintptr_t)(block = test_pvalloc(1)) % page == 0 && test_malloc_usable_size(block) >= page);
  test_free(block);
  errno = 0;
  CHECK(test_pvalloc(SIZE_MAX - 5) == NULL && errno == ENOMEM);
  CHECK(test_malloc_usable_size(NULL) == 0);
  int foreign;
  CHECK(test_malloc_usable_size(&foreign) == 0);
  test_free(&foreign); /* nothing happens */
  block = test_realloc(NULL, 10);
  CHECK(block != NULL && test_realloc(block, 0) == NULL);
  block = test_malloc(100);
  memset(block, 5, 100);
  errno = 0;
  CHECK(test_realloc(block, SIZE_MAX / 2) == NULL && errno == ENOMEM && is_filled(block, 100, 5)); /* and it stays */
  test_free(block);
  for (size_t align = 8; align <= (size_t)4 << 20; align *= 2) {
    for (size_t size = 1; size < 40000; size = size * 3 + 1) {
      unsigned char *blocks[5];
      for (int i = 0; i < 5; i++) {
        blocks[i] = test_memalign(align, size);
        CHECK(blocks[i] != NULL && (uintptr_t)blocks[i] % align == 0 && test_malloc_usable_size(blocks[i]) >= size);
        memset(blocks[i], i, size);
      }
      for (int i = 0; i < 5; i++) {
        CHECK(is_filled(blocks[i], size, (unsigned char)i));
        test_free(blocks[i]);
      }
    }
  }
}

/* Freed blocks serve again, whichever size comes next: several GiB in all. */
static void test_again(void) {
  const unsigned before = inside_regions();
  for (int round = 0; round < (EMULATED ? 22 : 66); round++) {
    enum { BLOCKS = 2000 };
    static unsigned char *blocks[BLOCKS];
    const size_t size = (size_t)40 << round % 11;
    for (int i = 0; i < BLOCKS; i++) *(blocks[i] = test_malloc(size)) = 1;
    for (int i = 0; i < BLOCKS; i++) test_free(blocks[round % 2 == 0 ? i : BLOCKS - 1 - i]);
  }
  CHECK(inside_regions() == before || !recycles);
}

/* ---- threads ------------------------------------------------------------ */

static owned_t shared[SHARED_PLACES];
static pthread_mutex_t locks[SHARED_PLACES];

/* Puts a block there for whoever comes next, and has what was there. */
static owned_t swap_shared(uint64_t place, owned_t block) {
  pthread_mutex_lock(&locks[place % SHARED_PLACES]);
  const owned_t before = shared[place % SHARED_PLACES];
  shared[place % SHARED_PLACES] = block;
  pthread_mutex_unlock(&locks[place % SHARED_PLACES]);
  return before;
}

static void *work(void *seed) {
  uint64_t random = (uint64_t)(uintptr_t)seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
  owned_t own[OWN_PLACES] = {{0}};
  for (int i = 0; i < ROUNDS; i++) {
    owned_t *place = &own[next_random(&random) % OWN_PLACES];
    const uint64_t what = next_random(&random) % 10;
    if (place->start == NULL) *place = take_one(&random);
    else if (what < 2) *place = resize_one(*place, &random);
    else if (what < 5) *place = swap_shared(next_random(&random), *place);
    else let_go(*place), place->start = NULL;
  }
  for (int i = 0; i < OWN_PLACES; i++) let_go(own[i]);
  return NULL;
}

static void test_threads(void) {
  pthread_t threads[THREADS];
  for (int i = 0; i < SHARED_PLACES; i++) pthread_mutex_init(&locks[i], NULL);
  for (uintptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, (void *)(i + 1));
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (uint64_t i = 0; i < SHARED_PLACES; i++) let_go(swap_shared(i, (owned_t){0}));
}

static void *make_list(void *unused) {
  void **list = NULL;
  (void)unused;
  for (int i = 0; i < 10000; i++) {
    void **block = test_malloc(64);
    block[0] = list;
    list = block;
  }
  return list;
}

/* Threads that end leave blocks to others, who free them: their memory serves again, and so do their heaps. */
static void test_ended_threads(void) {
  unsigned before = 0;
  for (int i = 0; i < 100; i++) {
    pthread_t thread;
    void *list;
    pthread_create(&thread, NULL, make_list, NULL);
    pthread_join(thread, &list);
    for (void *next; list != NULL; list = next) {
      next = *(void **)list;
      test_free(list);
    }
    if (i == 0) before = inside_heaps();
  }
  CHECK(inside_heaps() == before);
}

static _Atomic bool forks_done;

static void *work_until(void *seed) {
  uint64_t random = (uint64_t)(uintptr_t)seed;
  while (!forks_done) let_go(take_one(&random));
  return NULL;
}

/* While others allocate a child starts, which allocates and frees what was its parent's. */
static void test_forks(void) {
  enum { BEFORE = 100 };
  pthread_t threads[3];
  uint64_t random = 77;
  for (uintptr_t i = 0; i < 3; i++) pthread_create(&threads[i], NULL, work_until, (void *)(i + 5));
  for (int i = 0; i < 30; i++) {
    owned_t before[BEFORE];
    for (int j = 0; j < BEFORE; j++) before[j] = take_one(&random);
    const pid_t child = fork();
    if (child == 0) {
      for (int j = 0; j < BEFORE; j++) let_go(before[j]);
      for (int j = 0; j < 3000; j++) let_go(take_one(&random));
      _exit(failures == 0 ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (int j = 0; j < BEFORE; j++) let_go(before[j]);
  }
  forks_done = true;
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

/* ---- the end of a region ------------------------------------------------ */

static void test_full(size_t size) {
  void **list = NULL, **block;
  size_t count = 0;
  while (count < (size_t)40 * 1024 * 1024 / size && (block = test_malloc(size)) != NULL) {
    block[0] = list;
    list = block;
    count++;
  }
  CHECK(grows ? inside_regions() > 1 : count > 0 && count * size < (size_t)atol(getenv("BUMP_PRELOAD_SIZE")) && inside_regions() == 1);
  CHECK(grows || errno == ENOMEM);
  for (void **next; list != NULL; list = next) {
    next = list[0];
    test_free(list);
  }
  if (recycles) CHECK((list = test_malloc(size)) != NULL);
  if (recycles) test_free(list);
}

int main(int count, char **arguments) {
  for (int i = 1; i < count; i++) putenv(arguments[i]);
  grows = is_on("BUMP_PRELOAD_GROW"), recycles = is_on("BUMP_PRELOAD_RECYCLE");
  page = (size_t)sysconf(_SC_PAGESIZE);
  CHECK(inside_sizes());
  CHECK(inside_regions() == 0 && test_malloc_usable_size(&count) == 0); /* before anything is set up */
  test_free(&count);
  if (getenv("BUMP_PRELOAD_SIZE") != NULL) {
    if (recycles) test_full(100000);
    test_full(100);
  } else {
    test_edges();
    test_again();
    test_threads();
    test_ended_threads();
    if (!FORKLESS) test_forks();
  }
  return conclude("preload");
}
