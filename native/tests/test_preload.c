/* test_preload.c - the functions of preload.c under other names: what each promises, and threads that give each other
 * their blocks. Arguments are options of preload.c, as in the environment. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
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
  test_free_sized(block = test_malloc(5000), 5000);
  CHECK(test_malloc(5000) == block || !recycles);
  test_free_aligned_sized(block = test_aligned_alloc(4096, 20000), 4096, 20000);
  CHECK(test_aligned_alloc(4096, 20000) == block || !recycles);
  test_free_sized(NULL, 0);
  test_free_aligned_sized(NULL, 64, 0);
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

/* ---- what stays ---------------------------------------------------------- */

#define MIB ((size_t)1024 * 1024)

/* Aligned blocks that take turns serve for each other. */
static void test_aligned_again(void) {
  enum { RING = 100, SIZE = 300000 };
  unsigned char *blocks[RING] = {NULL};
  void **others = NULL; /* so that they begin at varying distances from what is aligned */
  uint64_t random = 3;
  size_t before = 0;
  for (int i = 0; i < 4000; i++) {
    unsigned char **block = &blocks[next_random(&random) % RING];
    test_free(*block);
    *block = test_memalign(2 * MIB, SIZE);
    CHECK((uintptr_t)*block % (2 * MIB) == 0);
    (*block)[SIZE - 1] = 1;
    if (i % 50 == 0) {
      void **other = test_malloc(9000);
      *other = others;
      others = other;
    }
    if (i == 1000) before = inside_taken();
  }
  CHECK(inside_taken() <= before + 64 * MIB || !recycles);
  for (int i = 0; i < RING; i++) test_free(blocks[i]);
  for (void **next; others != NULL; others = next) {
    next = *others;
    test_free(others);
  }
}

/* An aligned block within a larger one grows, shrinks and goes as any other. */
static void test_aligned_resized(void) {
  enum { SIZE = 30000 };
  static const size_t sizes[] = {SIZE + 1, 10 * SIZE, SIZE / 2 + 1, SIZE / 4, 100};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    unsigned char *block = test_memalign(65536, SIZE), *next = test_malloc(SIZE);
    memset(next, 2, SIZE);
    memset(block, 1, SIZE);
    unsigned char *resized = test_realloc(block, sizes[i]);
    CHECK(is_filled(resized, sizes[i] < SIZE ? sizes[i] : SIZE, 1));
    memset(resized, 3, sizes[i]);
    unsigned char *after = test_malloc(SIZE);
    memset(after, 4, SIZE);
    CHECK(is_filled(resized, sizes[i], 3) && is_filled(next, SIZE, 2));
    test_free(resized);
    if (sizes[i] > 8192) test_free(resized); /* again: nothing happens to a larger one */
    unsigned char *last = test_malloc(SIZE);
    memset(last, 5, SIZE);
    CHECK(is_filled(next, SIZE, 2) && is_filled(after, SIZE, 4));
    test_free(next);
    test_free(after);
    test_free(last);
  }
}

/* Takes blocks of a size, `total` bytes in all, and frees them from the first or from the last one. */
static void take_and_free(size_t size, size_t total, bool from_last) {
  const size_t count = total / size;
  unsigned char **blocks = test_malloc(count * sizeof *blocks);
  for (size_t i = 0; i < count; i++) memset(blocks[i] = test_malloc(size), 1, size);
  for (size_t i = 0; i < count; i++) test_free(blocks[from_last ? count - 1 - i : i]);
  test_free(blocks);
}

/* Most of what is freed goes back to the system, whatever its size and order. */
static void test_pages(void) {
  const size_t before = inside_resident(), much = 192 * MIB;
  take_and_free(60000, much, false);
  CHECK(inside_resident() < before + 100 * MIB);
  take_and_free(70000, much, true);
  CHECK(inside_resident() < before + 180 * MIB);
  take_and_free(35000, much, false);
  CHECK(inside_resident() < before + 200 * MIB);
  test_free(memset(test_malloc(much), 1, much));
  CHECK(inside_resident() < before + 200 * MIB);
  unsigned char *block = test_calloc(1, much);
  CHECK(inside_resident() < before + 200 * MIB);
  CHECK(is_filled(block, much, 0));
  memset(block, 1, much);
  block = test_realloc(block, MIB);
  CHECK(inside_resident() < before + 200 * MIB && is_filled(block, MIB, 1));
  test_free(block);
}

/* free keeps errno, also where the system refuses to take locked pages back. */
static void test_errno(void) {
  enum { COUNT = 90 * 1024 * 1024 / 4096 };
  static void *blocks[COUNT];
  for (int i = 0; i < COUNT; i++) blocks[i] = test_malloc(4096);
  void **locked = &blocks[COUNT - 1000]; /* when more pages than may be idle are free */
  for (int i = 0; i < 100; i++) CHECK(mlock(locked[i], 1) == 0);
  bool kept = true;
  for (int i = 0; i < COUNT; i++) {
    errno = 7;
    test_free(blocks[i]);
    kept = kept && errno == 7;
  }
  CHECK(kept);
  for (int i = 0; i < 100; i++) munlock(locked[i], 1);
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

/* Blocks that an earlier region had serve again before fresh bytes of a later one. */
static void test_earlier_region(void) {
  enum { COUNT = 600, SIZE = 60000 };
  static void *blocks[COUNT];
  for (int i = 0; i < COUNT; i++) blocks[i] = test_malloc(SIZE);
  CHECK(inside_regions() > 1);
  const size_t before = inside_taken();
  for (int i = 0; i < COUNT / 3; i++) test_free(blocks[i]);
  for (int i = 0; i < COUNT / 3; i++) blocks[i] = test_malloc(SIZE);
  CHECK(inside_taken() == before);
  for (int i = 0; i < COUNT; i++) test_free(blocks[i]);
}

/* Small blocks behind 9 TiB of addresses, and large ones that serve again. */
static void test_vast(void) {
  enum { COUNT = 3000 };
  static unsigned char *blocks[COUNT];
  for (int i = 0; i < 3; i++) CHECK(test_malloc((size_t)3 << 40) != NULL);
  for (int round = 0; round < 6; round++) {
    const size_t size = round % 2 == 0 ? 4000 : 1000;
    for (int i = 0; i < COUNT; i++) memset(blocks[i] = test_malloc(size), i, size);
    for (int i = 0; i < COUNT; i++) {
      CHECK(is_filled(blocks[i], size, (unsigned char)i));
      test_free(blocks[i]);
    }
  }
  void *large = test_malloc((size_t)5 << 30), *behind = test_malloc(10000);
  test_free(large);
  CHECK(test_malloc((size_t)5 << 30) == large);
  test_free(behind);
  CHECK(inside_regions() == 1);
}

/* Where addresses are few the first region leaves most of them to others, and further ones come as they are needed. */
static void test_limited(void) {
  const struct rlimit limit = {1024 * MIB, 1024 * MIB};
  CHECK(setrlimit(RLIMIT_AS, &limit) == 0 && test_malloc(100) != NULL);
  void *mapped = mmap(NULL, 600 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(mapped != MAP_FAILED);
  munmap(mapped, 600 * MIB);
  for (size_t i = 0; i < 400; i++) CHECK(test_malloc(MIB) != NULL);
  errno = 0;
  CHECK(test_malloc(1024 * MIB) == NULL && errno == ENOMEM);
  const struct rlimit none = {MIB, MIB};
  inside_lock(); /* as a child has it that another thread's fork began */
  CHECK(setrlimit(RLIMIT_DATA, &none) == 0 && test_malloc(64 * MIB) == NULL && errno == ENOMEM);
}

int main(int count, char **arguments) {
  for (int i = 1; i < count; i++) putenv(arguments[i]);
  grows = is_on("BUMP_PRELOAD_GROW"), recycles = is_on("BUMP_PRELOAD_RECYCLE");
  page = (size_t)sysconf(_SC_PAGESIZE);
  CHECK(inside_sizes());
  CHECK(inside_regions() == 0 && test_malloc_usable_size(&count) == 0); /* before anything is set up */
  test_free(&count);
  if (getenv("VAST") != NULL) {
    test_vast();
  } else if (getenv("LIMITED") != NULL) {
    test_limited();
  } else if (getenv("BUMP_PRELOAD_SIZE") != NULL) {
    if (grows && recycles) test_earlier_region();
    if (recycles) test_full(100000);
    test_full(100);
  } else {
    test_aligned_again();
    test_edges();
    test_again();
    test_aligned_resized();
    if (recycles && !EMULATED) test_pages();
    if (recycles) test_errno();
    test_threads();
    test_ended_threads();
    if (!FORKLESS) test_forks();
  }
  return conclude("preload");
}
