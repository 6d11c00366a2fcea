/* test_life.c - how regions end, wait and are reused, and which kept bytes stay. */
#include "clock.h"
#include "memory.h"

#include <stdlib.h>

#if !defined(_WIN32)
#include <sys/mman.h>
#include <sys/resource.h>
int usleep(unsigned);
#endif

#include "../bump.h"

#if defined(_WIN32)
enum { TAKEN_BY_KEPT = 1 }; /* if bytes are kept, all addresses of the reservation stay taken */
#else
enum { TAKEN_BY_KEPT = 0 };
#endif

enum { MOST_WAITING = 1024, FEW_WAITING = 16, AT_ONCE = 4 }; /* as in retired.c */

/* Each test uses its own sizes, of whole pages, so that none gets a region that another one retired. */
static double next_size = 1 << 24;
static double own_size(void) { return next_size += 64 * PAGE; }

static bump_t *made(double capacity) {
  bump_region_t region = {0, 0, 1};
  bump_t *bump = bump_create(capacity, 0, &region);
  CHECK(bump != NULL && region.error == BUMP_OK && region.capacity == capacity);
  CHECK(region.address == (double)(uintptr_t)bump_base(bump) && bump_cursor(bump) == 0);
  return bump;
}

static unsigned char *taken(bump_t *bump, double size, unsigned char fill) {
  bump_chunk_t chunk;
  CHECK(bump_take(bump, size, size, 1, &chunk) == BUMP_OK && chunk.end - chunk.start == size);
  unsigned char *start = (unsigned char *)bump_base(bump) + (size_t)chunk.start;
  CHECK(all_are(start + (size_t)(chunk.fresh_from - chunk.start), (size_t)(chunk.end - chunk.fresh_from), 0));
  memset(start, fill, (size_t)size);
  return start;
}

#define SECOND_LATER() (clock_ms += 1000)

/* Unmaps all waiting regions but those of one page. */
static void settle(void) {
  SECOND_LATER();
  for (int i = 0; i < MOST_WAITING / AT_ONCE + 2 * FEW_WAITING; i++) CHECK(bump_close(made(PAGE)) == BUMP_OK);
}

/* ---- holds -------------------------------------------------------------- */

static void lives_as_long_as_it_is_held(void) {
  enum { HOLDS = 3000 }; /* more than one chunk has */
  static bump_t *holds[HOLDS];
  bump_region_t region;
  holds[0] = made(own_size());
  unsigned char *block = bump_alloc(holds[0], 8, 8);
  for (int i = 1; i < HOLDS; i++) {
    holds[i] = bump_hold(holds[i - 1], &region);
    CHECK(holds[i] != NULL && holds[i] != holds[i - 1] && region.error == BUMP_OK);
    CHECK(region.address == (double)(uintptr_t)block && bump_token(holds[i]) == bump_token(holds[0]));
  }
  CHECK(bump_holders(holds[0]) == HOLDS && bump_reset(holds[0], 0, 1, NULL) == BUMP_SHARED);
  srand(2);
  for (int left = HOLDS; left > 1; left--) { /* in any order */
    const int i = rand() % left;
    CHECK(bump_close(holds[i]) == BUMP_OK && bump_close(holds[i]) == BUMP_STALE);
    holds[i] = holds[left - 1];
    CHECK(bump_holders(holds[0]) == left - 1 && bump_cursor(holds[0]) == 8);
  }
  CHECK(bump_reset(holds[0], 0, 1, NULL) == BUMP_OK);
  /* closed holds stay stale for long, however many live */
  for (int live = 1; live < 1000; live += 100) {
    for (int i = live; i < live + 100; i++) holds[i] = bump_hold(holds[0], NULL);
    bump_t *closed = bump_hold(holds[0], NULL);
    CHECK(bump_close(closed) == BUMP_OK);
    for (int i = 0; i < 500; i++) {
      bump_t *next = bump_hold(holds[0], NULL);
      CHECK(bump_base(closed) == NULL && bump_close(next) == BUMP_OK);
    }
  }
  for (int i = 0; i <= 1000; i++) CHECK(bump_close(holds[i]) == BUMP_OK);
}

/* ---- retired regions ---------------------------------------------------- */

static void stays_accessible(void) {
  const double size = own_size();
  bump_t *bump = made(size);
  unsigned char *block = taken(bump, 8 * MIB, 1);
  const long before = status_kib("VmRSS:");
  CHECK(bump_close(bump) == BUMP_OK);
  CHECK(EMULATED || ASAN || before - status_kib("VmRSS:") > 7000); /* its pages went back */
  clock_ms += 999;
  bump_t *other = made(size);
  CHECK(bump_base(other) != block && writable(block, (size_t)(8 * MIB)) && !readable(block + (size_t)(8 * MIB)));
  clock_ms += 1;
  bump_t *huge = bump_create(size, BUMP_HUGE_PAGES, NULL);
  bump_t *larger = made(size + PAGE), *smaller = made(size - PAGE);
  CHECK(bump_base(huge) != block && bump_base(larger) != block && bump_base(smaller) != block);
  bump_t *again = made(size);
  CHECK(bump_base(again) == block && bump_committed(again) == 8 * MIB && bump_holders(again) == 1);
  CHECK(taken(again, size, 2) == block); /* fresh bytes are zero, in spite of the late writer */
  CHECK(bump_share(again) != 0 && bump_close(again) == BUMP_OK && bump_close(other) == BUMP_OK);
  CHECK(bump_close(huge) == BUMP_OK && bump_close(larger) == BUMP_OK && bump_close(smaller) == BUMP_OK);
  /* the oldest first */
  SECOND_LATER();
  again = made(size), other = made(size);
  CHECK(bump_base(again) == block && bump_base(other) != block);
  CHECK(bump_close(again) == BUMP_OK && bump_close(other) == BUMP_OK);
}

static unsigned char *blocks[MOST_WAITING + FEW_WAITING];

static void waits_in_a_row(void) {
  static bump_t *bumps[MOST_WAITING + FEW_WAITING];
  const double size = own_size();
  settle();
  for (int i = 0; i < MOST_WAITING + FEW_WAITING; i++) bumps[i] = made(size), blocks[i] = taken(bumps[i], 1, 1);
  for (int i = 0; i < MOST_WAITING + FEW_WAITING; i++) CHECK(bump_close(bumps[i]) == BUMP_OK);
  /* too many: the oldest were unmapped at once; the others are there */
  for (int i = 0; i < MOST_WAITING + FEW_WAITING; i++) CHECK(readable(blocks[i]) == (i >= FEW_WAITING));
  bump_t *bump = made(size); /* and is reused whatever its age */
  CHECK(bump_base(bump) == blocks[FEW_WAITING]);
  bump_t *other = made(size);
  CHECK(bump_base(other) != blocks[FEW_WAITING + 1]);
  /* a second later they are unmapped, a few at each call, except for the last ones */
  SECOND_LATER();
  int gone = FEW_WAITING + 1;
  for (int round = 0; round < MOST_WAITING / AT_ONCE + FEW_WAITING; round++) {
    bump_t *next = made(own_size());
    CHECK(bump_close(next) == BUMP_OK);
    int readable_now = 0;
    for (int i = FEW_WAITING + 1; i < MOST_WAITING + FEW_WAITING; i++) readable_now += readable(blocks[i]);
    const int gone_now = MOST_WAITING + FEW_WAITING - readable_now;
    CHECK(gone_now - gone <= AT_ONCE);
    gone = gone_now;
  }
  CHECK(gone == MOST_WAITING + FEW_WAITING);
  CHECK(bump_close(bump) == BUMP_OK && bump_close(other) == BUMP_OK);
}

/* A loop gets the same addresses again and again, without a system call. */
static void comes_round(int rounds) {
  const double size = own_size();
  settle();
  long mapped = 0;
  int count = 0;
  for (int i = 0; i < rounds; i++) {
    if (i == 2 * MOST_WAITING) mapped = status_kib("VmSize:");
    bump_t *bump = made(size);
    unsigned char *base = bump_base(bump);
    bump_chunk_t chunk;
    CHECK(bump_take(bump, 1, PAGE, 1, &chunk) == BUMP_OK);
    base[0] = 1;
    int seen = 0;
    while (seen < count && blocks[seen] != base) seen++;
    if (seen == count && count < MOST_WAITING) blocks[count++] = base;
    else CHECK(seen < count);
    CHECK(bump_close(bump) == BUMP_OK);
    if (i % 100 == 0) clock_ms += 1;
  }
  CHECK(ASAN || status_kib("VmSize:") == mapped);
}

static int charged(void) {
#if defined(_WIN32)
  return 1;
#else
  FILE *file = fopen("/proc/sys/vm/overcommit_memory", "r");
  const int mode = file == NULL ? '0' : fgetc(file);
  if (file != NULL) fclose(file);
  return mode == '2';
#endif
}

/* If committed bytes count against a limit, as on Windows, at most 64 MiB of them wait. */
static void waits_by_bytes(void) {
  enum { ROUNDS = 80 };
  const double size = own_size();
  settle();
  int count = 0;
  for (int i = 0; i < ROUNDS; i++) {
    bump_t *bump = made(size);
    unsigned char *base = bump_alloc(bump, 2 << 20, 1);
    CHECK(base != NULL && bump_close(bump) == BUMP_OK);
    int seen = 0;
    while (seen < count && blocks[seen] != base) seen++;
    if (seen == count) blocks[count++] = base;
  }
  CHECK(count == (charged() ? 33 : ROUNDS));
}

#if !defined(_WIN32)

static void limit(int resource, rlim_t bytes, struct rlimit *before) {
  getrlimit(resource, before);
  const struct rlimit low = {bytes, before->rlim_max};
  CHECK(setrlimit(resource, &low) == 0);
}

/* When the system has no more memory, waiting regions are unmapped at once and the request succeeds. */
static void waits_no_longer_than_it_can(void) {
  struct rlimit before;
  if (ASAN || EMULATED) return; /* the limits of setrlimit have no effect there */
  const double size = own_size(), larger = size * 20;
  bump_t *bump = made(size);
  unsigned char *block = taken(bump, 8 * MIB, 1);
  CHECK(bump_close(bump) == BUMP_OK && readable(block));
  limit(RLIMIT_AS, (rlim_t)status_kib("VmSize:") << 10, &before);
  bump = made(size / 2);
  setrlimit(RLIMIT_AS, &before);
  CHECK(!readable(block) && bump_close(bump) == BUMP_OK);

  bump = made(larger);
  block = taken(bump, 64 * MIB, 1);
  CHECK(bump_close(bump) == BUMP_OK && readable(block));
  bump = made(larger + PAGE);
  limit(RLIMIT_DATA, ((rlim_t)status_kib("VmData:") << 10) + (4 << 20), &before);
  CHECK(taken(bump, 48 * MIB, 2) != NULL && !readable(block));
  setrlimit(RLIMIT_DATA, &before);
  CHECK(bump_close(bump) == BUMP_OK);
}

#endif

/* ---- kept bytes --------------------------------------------------------- */

static void moves_above_what_is_kept(void) {
  const double size = own_size();
  bump_region_t region = {0, 0, 1};
  bump_t *bump = made(size);
  unsigned char *first = taken(bump, 4 * MIB, 1);
  CHECK(bump_keep(bump, 100, 100) == BUMP_OK && bump_reset(bump, 0, 1, &region) == BUMP_OK); /* nothing is kept */
  CHECK(taken(bump, 4 * MIB, 2) == first);
  CHECK(bump_keep(bump, MIB + 5, MIB + 10) == BUMP_OK && bump_keep(bump, 10, 20) == BUMP_OK);
  CHECK(bump_keep(bump, MIB, MIB + 1) == BUMP_OK);
  CHECK(bump_reset(bump, 5 * MIB, 1, &region) == BUMP_INVALID && bump_base(bump) == first && bump_cursor(bump) == 4 * MIB);
  bump_t *other = bump_hold(bump, NULL);
  CHECK(bump_reset(bump, 0, 1, &region) == BUMP_SHARED && bump_base(bump) == first && bump_cursor(bump) == 4 * MIB);
  CHECK(bump_close(other) == BUMP_OK && bump_reset(bump, 77, 1, &region) == BUMP_MOVED);
  unsigned char *base = bump_base(bump);
  CHECK(base != first && region.address == (double)(uintptr_t)base && region.capacity == size && region.error == BUMP_OK);
  CHECK(bump_cursor(bump) == 0 && bump_resident(bump) == 0);
  CHECK(taken(bump, size, 3) == base && readable(base + (size_t)size - 1) && !readable(base + (size_t)size));
  CHECK(all_are(first, (size_t)MIB + 10, 2) && writable(first + (size_t)MIB + (size_t)PAGE, 1 << 20)); /* waits */
  memset(first, 4, (size_t)MIB + 10);
  CHECK(all_are(base, (size_t)size, 3));
  /* closed: kept bytes stay, the rest is unmapped after it has waited */
  CHECK(bump_keep(bump, 3 * MIB, 3 * MIB + 1) == BUMP_OK && bump_close(bump) == BUMP_OK);
  CHECK(base[(size_t)(3 * MIB)] == 3 && writable(base, 1 << 20));
  SECOND_LATER();
  for (int i = 0; i < 3; i++) { /* no part of it is reused */
    bump_t *next = made(size);
    const unsigned char *at = bump_base(next);
    CHECK(at + (size_t)size < base || at > base + (size_t)size);
    CHECK(at + (size_t)size < first || at > first + (size_t)size);
    CHECK(bump_close(next) == BUMP_OK);
  }
  settle();
  CHECK(all_are(first, (size_t)MIB + 10, 4) && !readable(first + (size_t)MIB + (size_t)PAGE));
  CHECK(base[(size_t)(3 * MIB)] == 3 && !readable(base) && !readable(base + (size_t)(3 * MIB + PAGE)));
#if !defined(_WIN32)
  munmap(first, (size_t)MIB + (size_t)PAGE);
  munmap(base + (size_t)(3 * MIB), (size_t)PAGE);
#endif
}

/* A reset gets what it needs before anything changes, and nothing is lost if there is no reset. */
static void prepares(void) {
  const double size = own_size();
  bump_t *bump = made(size);
  unsigned char *first = taken(bump, MIB, 1);
  CHECK(bump_prepare_reset(bump) == BUMP_OK && bump_base(bump) == first && bump_cursor(bump) == MIB);
  bump_t *other = bump_hold(bump, NULL);
  CHECK(bump_prepare_reset(bump) == BUMP_SHARED && bump_close(other) == BUMP_OK && bump_prepare_reset(other) == BUMP_STALE);
  CHECK(bump_keep(bump, 0, MIB) == BUMP_OK);
  bump_region_t region;
  CHECK(bump_reset(bump, 0, 0, &region) == BUMP_SHARED && region.error == BUMP_SHARED); /* it may not move */
  const long before = status_kib("VmSize:");
  CHECK(bump_prepare_reset(bump) == BUMP_OK && bump_prepare_reset(bump) == BUMP_OK);
  CHECK(bump_base(bump) == first && bump_cursor(bump) == MIB && all_are(first, (size_t)MIB, 1));
  CHECK(ASAN || status_kib("VmSize:") - before <= (long)(3 * size / 1024)); /* once */
#if !defined(_WIN32)
  if (!ASAN && !EMULATED) {
    struct rlimit limits;
    limit(RLIMIT_AS, 0, &limits);
    CHECK(bump_reset(bump, 0, 1, NULL) == BUMP_MOVED && all_are(first, (size_t)MIB, 1));
    CHECK(bump_base(bump) != first);
    for (int i = 0; i < 8; i++) { /* inside the mapping, without a system call */
      first = bump_alloc(bump, 100, 8);
      CHECK(first != NULL && bump_keep(bump, 0, 100) == BUMP_OK && bump_prepare_reset(bump) == BUMP_OK);
      CHECK(bump_reset(bump, 0, 1, NULL) == BUMP_MOVED && bump_base(bump) != first);
    }
    setrlimit(RLIMIT_AS, &limits);
  }
#endif
  CHECK(bump_alloc(bump, 1, 1) != NULL && bump_keep(bump, 0, 1) == BUMP_OK && bump_prepare_reset(bump) == BUMP_OK);
  CHECK(bump_close(bump) == BUMP_OK);
  settle();
  for (int i = 0; i < 100; i++) {
    const long mapped = status_kib("VmSize:");
    bump = made(size);
    bump_chunk_t chunk;
    CHECK(bump_take(bump, size - 1, size, 1, &chunk) == BUMP_OK && bump_keep(bump, size - 1, size) == BUMP_OK);
    CHECK(bump_prepare_reset(bump) == BUMP_OK && bump_close(bump) == BUMP_OK);
    settle();
    CHECK(ASAN || status_kib("VmSize:") - mapped <= 64 + TAKEN_BY_KEPT * (long)(size / 1024));
  }
}

static int mappings(void) {
  int count = 0;
#if defined(__linux__)
  FILE *file = fopen("/proc/self/maps", "r");
  for (int c; (c = fgetc(file)) != EOF;) count += c == '\n';
  fclose(file);
#endif
  return count;
}

/* Lost windows of 64 KiB, at the start of the region or behind 64 KiB of other bytes, lie side by side. */
static void loses_many(double offset, int rounds) {
  const double window = 64 * 1024, size = 1 << 24;
  static unsigned char *kept[4096];
  settle();
  const long mapped = status_kib("VmSize:");
  const int before = mappings();
  bump_t *bump = made(size);
  for (int i = 0; i < rounds; i++) {
    bump_region_t region;
    unsigned char *base = bump_base(bump);
    CHECK(taken(bump, offset + window, (unsigned char)i) == base && bump_keep(bump, offset, offset + window) == BUMP_OK);
    kept[i] = base + (size_t)offset;
    CHECK(bump_reset(bump, 0, 1, &region) == BUMP_MOVED && bump_capacity(bump) == size);
    if (i % 250 == 1) CHECK(bump_resident(bump) == 0); /* all of it was written in the previous round */
    base = bump_base(bump);
    if (i % 250 != 0) continue;
    CHECK(taken(bump, size, 0xff) == base && !readable(base + (size_t)size));
    CHECK(bump_reset(bump, 0, 1, &region) == BUMP_OK && region.address == (double)(uintptr_t)base);
  }
  CHECK(bump_close(bump) == BUMP_OK);
  settle();
  for (int i = 0; i < rounds; i++) CHECK(all_are(kept[i], (size_t)window, (unsigned char)i));
  const double cost = (double)(status_kib("VmSize:") - mapped) * 1024 / rounds;
  CHECK(ASAN || cost <= (offset + window) * (TAKEN_BY_KEPT ? 2.5 : 1.25));
  CHECK(EMULATED || mappings() - before <= rounds / 64); /* an emulator has a list of its own */
}

/* A window that is lost behind many other bytes does not keep those. */
static void loses_the_last(void) {
  const double size = own_size();
  bump_t *bump = made(size);
  bump_region_t region;
  for (int i = 0; i < 3; i++) {
    unsigned char *base = taken(bump, 8 * MIB, (unsigned char)i);
    CHECK(bump_keep(bump, 7 * MIB, 8 * MIB) == BUMP_OK && bump_reset(bump, 0, 1, &region) == BUMP_MOVED);
    CHECK(writable(base, (size_t)(7 * MIB)));
    settle();
    CHECK(!readable(base) && !readable(base + (size_t)(7 * MIB) - 1) && all_are(base + (size_t)(7 * MIB), (size_t)MIB, (unsigned char)i));
    CHECK(taken(bump, size, 7) == bump_base(bump) && bump_reset(bump, 0, 1, &region) == BUMP_OK);
  }
  CHECK(bump_close(bump) == BUMP_OK);
}

static void keeps_huge_pages_aligned(void) {
#if !defined(_WIN32)
  bump_region_t region;
  bump_t *bump = bump_create(32 * MIB, BUMP_HUGE_PAGES, &region);
  for (int i = 0; i < 20; i++) {
    unsigned char *base = taken(bump, 5000, (unsigned char)i);
    CHECK((uintptr_t)base % (2 << 20) == 0 && bump_keep(bump, 0, 5000) == BUMP_OK);
    CHECK(bump_reset(bump, 0, 1, &region) == BUMP_MOVED && all_are(base, 5000, (unsigned char)i));
    base = bump_base(bump);
    CHECK(taken(bump, 32 * MIB, 0xff) == base && !readable(base + (size_t)(32 * MIB)));
    CHECK(bump_reset(bump, 0, 1, &region) == BUMP_OK);
  }
  CHECK(bump_close(bump) == BUMP_OK);
#endif
}

/* ---- the limit of mappings ---------------------------------------------- */

static void refuses_before_the_mappings_end(void) {
#if defined(__linux__)
  if (ASAN || EMULATED) return; /* the sanitizer and the emulator have their own mappings */
  enum { MOST = 60000 };
  static bump_t *bumps[MOST];
  int most = 0, count = 0;
  bump_region_t region = {0, 0, 0};
  FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
  if (file == NULL || fscanf(file, "%d", &most) != 1 || most > 2 * MOST) {
    puts("life       mappings skipped: the system has no limit that can be reached quickly");
    return;
  }
  fclose(file);
  const double size = own_size();
  while (count < MOST && (bumps[count] = bump_create(size, 0, &region)) != NULL) *(char *)bump_alloc(bumps[count++], 1, 1) = 1;
  CHECK(count < MOST && region.error == BUMP_MAPPINGS);
  CHECK(mappings() > most / 2 && mappings() <= most - most / 20);
  CHECK(bump_create(size, 0, &region) == NULL && region.error == BUMP_MAPPINGS);
  CHECK(bump_keep(bumps[0], 0, 1) == BUMP_OK && bump_reset(bumps[0], 0, 1, &region) == BUMP_MAPPINGS);
  CHECK(region.error == BUMP_MAPPINGS && *(char *)bump_base(bumps[0]) == 1 && bump_cursor(bumps[0]) == 1);
  /* only a few closed regions then wait */
  for (int i = count - MOST_WAITING; i < count; i++) {
    blocks[i - (count - MOST_WAITING)] = bump_base(bumps[i]);
    CHECK(bump_close(bumps[i]) == BUMP_OK);
  }
  int waiting = 0;
  for (int i = 0; i < MOST_WAITING; i++) waiting += readable(blocks[i]);
  CHECK(waiting == FEW_WAITING);
  for (int i = count / 2; i < count - MOST_WAITING; i++) CHECK(bump_close(bumps[i]) == BUMP_OK);
  CHECK(bump_reset(bumps[0], 0, 1, &region) == BUMP_MOVED && (bumps[count / 2] = bump_create(size + PAGE, 0, &region)) != NULL);
  for (int i = 1; i <= count / 2; i++) CHECK(bump_close(bumps[i]) == BUMP_OK);
  /* others have used up all mappings: a refusal names that, and passes */
  bump_t *spare[] = {made(size + 2 * PAGE), made(size + 2 * PAGE)};
  bump_chunk_t chunk;
  static void *others[2 * MOST];
  int others_count = 0;
  int32_t refused = BUMP_OK;
  for (int i = 0; i < 2; i++) { /* the first refusal unmaps the waiting regions */
    for (void *at; others_count < 2 * MOST; others[others_count++] = at) { /* different neighbours are not merged */
      at = mmap(NULL, (size_t)PAGE, others_count % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (at == MAP_FAILED) break;
    }
    refused = bump_take(spare[i], PAGE, PAGE, 1, &chunk);
  }
  bump_t *none = bump_create(size + 3 * PAGE, 0, &region);
  while (others_count > 0) munmap(others[--others_count], (size_t)PAGE);
  CHECK(refused == BUMP_MAPPINGS && none == NULL && region.error == BUMP_MAPPINGS);
  CHECK(bump_take(spare[1], PAGE, PAGE, 1, &chunk) == BUMP_OK);
  CHECK(bump_close(spare[0]) == BUMP_OK && bump_close(spare[1]) == BUMP_OK);
  CHECK(bump_close(bumps[0]) == BUMP_OK);
#endif
}

/* ---- leaks -------------------------------------------------------------- */

static void come_and_go(int rounds) {
  for (int i = 0; i < rounds; i++) {
    bump_t *bump = made(1 << 30);
    bump_t *other = i % 3 == 0 ? bump_hold(bump, NULL) : bump;
    bump_chunk_t chunk;
    if (i % 16 == 0) CHECK(bump_take(bump, PAGE, PAGE, 8, &chunk) == BUMP_OK);
    CHECK(bump_close(bump) == BUMP_OK && (other == bump || bump_close(other) == BUMP_OK));
    if (i % 64 == 0) SECOND_LATER();
  }
  settle();
}

static void leaks_nothing(int rounds) {
  come_and_go(rounds / 4); /* wine's record of pages grows at first */
  const long size = status_kib("VmSize:"), resident = status_kib("VmRSS:");
  come_and_go(rounds);
  CHECK(ASAN || status_kib("VmSize:") - size <= 8192);
  CHECK(ASAN || status_kib("VmRSS:") - resident <= 1024);
}

int main(void) {
  lives_as_long_as_it_is_held();
  stays_accessible();
  waits_in_a_row();
  comes_round(10 * MOST_WAITING);
  waits_by_bytes();
#if !defined(_WIN32)
  waits_no_longer_than_it_can();
#endif
  moves_above_what_is_kept();
  prepares();
  loses_many(0, 4000);
  loses_many(64 * 1024, 1000);
  loses_the_last();
  keeps_huge_pages_aligned();
  refuses_before_the_mappings_end();
  leaks_nothing(ASAN ? 20000 : 100000);
  return conclude("life");
}
