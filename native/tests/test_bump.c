/* test_bump.c - the interface, one thread, one instance. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#if !defined(_WIN32)
#include <sys/mman.h>
#include <sys/resource.h>
#endif

#include "../bump.h"
#include "check.h"
#include "memory.h"

/* Makes a region of a new size: else a retired region, with committed bytes, might be reused. */
static bump_t *made(double capacity) {
  bump_region_t region = {0, 0, 1};
  bump_t *bump = bump_create(capacity, 0, &region);
  CHECK(bump != NULL && region.error == BUMP_OK && region.capacity == bump_capacity(bump));
  CHECK(region.address == (double)(uintptr_t)bump_base(bump));
  return bump;
}

static void creates(void) {
  static const double refused[] = {0, -1, 0.5, NAN, INFINITY, -INFINITY, 0x1p53 + 2, 1e300};
  bump_region_t region;
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
    region.error = 0;
    CHECK(bump_create(refused[i], 0, &region) == NULL && region.error == BUMP_INVALID);
  }
  CHECK(bump_create(PAGE, 2, &region) == NULL && region.error == BUMP_INVALID);
  CHECK(bump_create(PAGE, 2, NULL) == NULL);
  CHECK(bump_create(0x1p52, 0, &region) == NULL && region.error < BUMP_SYSTEM); /* no system has that much */
  bump_t *bump = made(1);
  CHECK(bump_capacity(bump) == PAGE && bump_cursor(bump) == 0 && bump_committed(bump) == 0);
  CHECK(bump_holders(bump) == 1 && bump_resident(bump) == 0);
  CHECK(!readable(bump_base(bump)));
  CHECK(bump_close(bump) == BUMP_OK);
  bump = bump_create(8 * MIB, BUMP_HUGE_PAGES, &region);
  CHECK(bump != NULL);
#if !defined(_WIN32) /* Windows has no huge pages without a privilege */
  CHECK((uintptr_t)bump_base(bump) % (2 << 20) == 0);
#endif
  bump_chunk_t chunk;
  CHECK(bump_take(bump, 1, 1, 1, &chunk) == BUMP_OK && bump_committed(bump) == 2 * MIB);
  CHECK(bump_close(bump) == BUMP_OK);
}

static void takes(void) {
  bump_t *bump = made(MIB);
  unsigned char *base = bump_base(bump);
  bump_chunk_t chunk;
  CHECK(bump_take(bump, 100, 100, 1, &chunk) == BUMP_OK && chunk.start == 0 && chunk.end == 100 && chunk.fresh_from == 0);
  CHECK(bump_committed(bump) == PAGE && readable(base) && !readable(base + (size_t)PAGE));
  CHECK(bump_take(bump, 8, 8, 4096, &chunk) == BUMP_OK && chunk.start == 4096 && chunk.end == 4104);
  memset(base, 0xaa, 4104);
  CHECK(bump_give(bump, 4096, 4104) == 1 && bump_cursor(bump) == 4096);
  CHECK(bump_give(bump, 0, 100) == 0 && bump_cursor(bump) == 4096);
  CHECK(bump_take(bump, 4096, 4096, 8, &chunk) == BUMP_OK && chunk.start == 4096 && chunk.fresh_from == 4104);
  CHECK(all_are(base + 4104, 8192 - 4104, 0));
  /* a refused request moves nothing; then a smaller one fits, and exactly the rest */
  const double cursor = bump_cursor(bump), left = MIB - cursor;
  CHECK(bump_take(bump, left + 1, left + 1, 1, &chunk) == BUMP_FULL && bump_cursor(bump) == cursor);
  CHECK(bump_take(bump, 0x1p53, 0x1p53, 1, &chunk) == BUMP_FULL && bump_cursor(bump) == cursor);
  CHECK(bump_take(bump, 1, 1, 0x1p52, &chunk) == BUMP_FULL && bump_cursor(bump) == cursor);
  CHECK(bump_take(bump, 10, 10, 1, &chunk) == BUMP_OK);
  CHECK(bump_take(bump, 1, 2 * MIB, 1, &chunk) == BUMP_OK && chunk.end == MIB && bump_cursor(bump) == MIB);
  CHECK(readable(base + (size_t)MIB - 1) && !readable(base + (size_t)MIB)); /* the guard page */
  CHECK(bump_take(bump, 1, 1, 1, &chunk) == BUMP_FULL);
  CHECK(bump_take(bump, 0, 0, 8, &chunk) == BUMP_OK && chunk.start == chunk.end);
  static const double bad[] = {-1, 0.5, NAN, INFINITY, 0x1p53 + 2};
  for (size_t i = 0; i < 5; i++) {
    bump_region_t region = {0, 0, 0};
    CHECK(bump_take(bump, bad[i], 8, 8, &chunk) == BUMP_INVALID);
    CHECK(bump_take(bump, 8, bad[i], 8, &chunk) == BUMP_INVALID);
    CHECK(bump_take(bump, 8, 8, bad[i], &chunk) == BUMP_INVALID);
    CHECK(bump_give(bump, bad[i], 8) == BUMP_INVALID && bump_give(bump, 0, bad[i]) == BUMP_INVALID);
    CHECK(bump_reset(bump, bad[i], 1, &region) == BUMP_INVALID && region.error == BUMP_INVALID && region.address == 0);
    CHECK(bump_discard(bump, bad[i], 8) == BUMP_INVALID && bump_prefault(bump, 0, bad[i]) == BUMP_INVALID);
    CHECK(bump_keep(bump, bad[i], 8) == BUMP_INVALID && bump_keep(bump, 0, bad[i]) == BUMP_INVALID);
  }
  CHECK(bump_keep(bump, 0, MIB + 1) == BUMP_INVALID && bump_keep(bump, 9, 8) == BUMP_INVALID);
  CHECK(bump_give(bump, 9, 8) == BUMP_INVALID && bump_give(bump, 0, MIB + 1) == BUMP_INVALID);
  CHECK(bump_take(bump, 9, 8, 8, &chunk) == BUMP_INVALID && bump_take(bump, 8, 8, 0, &chunk) == BUMP_INVALID);
  CHECK(bump_take(bump, 8, 8, 3, &chunk) == BUMP_INVALID);
  bump_region_t region = {0, 0, 1};
  CHECK(bump_reset(bump, 0, 1, &region) == BUMP_OK && region.address == (double)(uintptr_t)base);
  CHECK(region.capacity == MIB && region.error == BUMP_OK && bump_reset(bump, 1, 1, NULL) == BUMP_INVALID);
  CHECK(bump_take(bump, MIB, MIB, 1, &chunk) == BUMP_OK && chunk.fresh_from == MIB);
  CHECK(bump_close(bump) == BUMP_OK);
}

static void allocates(void) {
  bump_t *bump = made(MIB + PAGE);
  const double capacity = bump_capacity(bump);
  unsigned char *base = bump_base(bump);
  CHECK(bump_alloc(bump, 0, 8) == base && bump_cursor(bump) == 0);
  CHECK(bump_alloc(bump, 3, 1) == base && bump_cursor(bump) == 3);
  CHECK(bump_alloc(bump, 8, 8) == base + 8 && bump_cursor(bump) == 16); /* padding once */
  CHECK(bump_committed(bump) >= PAGE && bump_committed(bump) <= 512 * 1024); /* ahead, but not far */
  CHECK(bump_alloc(bump, 8, 3) == NULL && bump_alloc(bump, 8, 0) == NULL && bump_cursor(bump) == 16);
  CHECK(bump_alloc(bump, SIZE_MAX, 1) == NULL && bump_alloc(bump, SIZE_MAX - 15, 16) == NULL);
  CHECK(bump_alloc(bump, 1, (size_t)1 << 63) == NULL && bump_cursor(bump) == 16);
  unsigned char *last = bump_alloc(bump, 32, 8);
  CHECK(bump_resize_last(bump, base + 8, 8, 16) == 0);
  CHECK(bump_resize_last(bump, last, 32, SIZE_MAX) == 0 && bump_resize_last(bump, base - 64, 80, 8) == 0);
  CHECK(bump_resize_last(bump, last, 32, 600 * 1024) == 1 && readable(last + 600 * 1024 - 1));
  CHECK(bump_resize_last(bump, last, 600 * 1024, 0) == 1 && bump_cursor(bump) == 16);
  memset(last, 1, 600 * 1024);
  unsigned char *zeroed = bump_alloc_zeroed(bump, 700 * 1024, 16);
  CHECK(zeroed == last && all_are(zeroed, 700 * 1024, 0) && bump_alloc_zeroed(bump, 0, 8) != NULL);
  CHECK(bump_alloc_zeroed(bump, 8, 3) == NULL && bump_alloc_zeroed(bump, SIZE_MAX, 1) == NULL);
  CHECK(bump_resize_last(bump, zeroed, 700 * 1024, 0) == 1);
  bump_chunk_t chunk;
  CHECK(bump_take(bump, capacity - 16, capacity - 16, 16, &chunk) == BUMP_OK && chunk.fresh_from >= 16 + 700 * 1024);
  CHECK(all_are(base + (size_t)chunk.fresh_from, (size_t)(capacity - chunk.fresh_from), 0));
  CHECK(bump_alloc(bump, 1, 1) == NULL);
  for (size_t align = 1; align != 0; align <<= 1) {
    void *empty = bump_alloc(bump, 0, align);
    CHECK(empty != NULL && (uintptr_t)empty % align == 0 && bump_cursor(bump) == capacity);
  }
  CHECK(bump_owns(bump, base, (size_t)capacity) == 1 && bump_owns(bump, base - 1, 1) == 0);
  CHECK(bump_owns(bump, base, (size_t)capacity + 1) == 0 && bump_owns(bump, NULL, SIZE_MAX) == 0);
  CHECK(bump_close(bump) == BUMP_OK);
  /* the address is aligned, not the offset: systems align a region only to pages */
  bump = made(8 * MIB + 2 * PAGE);
  unsigned char *block = bump_alloc(bump, 8, 1 << 20);
  CHECK(block != NULL && (uintptr_t)block % (1 << 20) == 0);
  CHECK(bump_close(bump) == BUMP_OK);
}

static void gives_pages_back(void) {
  bump_t *bump = made(16 * MIB);
  unsigned char *base = bump_base(bump);
  bump_chunk_t chunk;
  CHECK(bump_prefault(bump, MIB, 2 * MIB) == BUMP_OK && bump_resident(bump) == MIB && bump_cursor(bump) == 0);
  CHECK(bump_take(bump, 4 * MIB, 4 * MIB, 8, &chunk) == BUMP_OK && chunk.fresh_from == 0);
  CHECK(bump_committed(bump) == 4 * MIB);
  memset(base, 0x55, (size_t)(4 * MIB));
  CHECK(bump_resident(bump) == 4 * MIB);
  CHECK(bump_prefault(bump, 0, 4 * MIB) == BUMP_OK && all_are(base, (size_t)(4 * MIB), 0x55));
  CHECK(bump_discard(bump, 1, 3 * PAGE - 1) == BUMP_OK); /* one whole page */
  CHECK(bump_resident(bump) == 4 * MIB - PAGE);
  CHECK(base[(size_t)PAGE - 1] == 0x55 && all_are(base + (size_t)PAGE, (size_t)PAGE, 0) && base[2 * (size_t)PAGE] == 0x55);
  CHECK(bump_discard(bump, 2 * MIB, 16 * MIB) == BUMP_OK && bump_resident(bump) == 2 * MIB); /* reading brought a page back */
  CHECK(all_are(base + (size_t)(2 * MIB), (size_t)(2 * MIB), 0));
  CHECK(bump_discard(bump, 0, 17 * MIB) == BUMP_INVALID && bump_discard(bump, 2, 1) == BUMP_INVALID);
#if defined(__linux__)
  if (!EMULATED && mlock(base, 64 << 10) == 0) { /* locked pages stay in RAM, but are zero */
    memset(base, 0x66, 64 << 10);
    CHECK(bump_discard(bump, 0, 4 * MIB) == BUMP_OK && all_are(base, 64 << 10, 0));
    munlock(base, 64 << 10);
  }
#endif
  CHECK(bump_close(bump) == BUMP_OK);
}

static void shares(void) {
  bump_t *bump = made(3 * MIB);
  bump_region_t region = {0, 0, 0};
  const double token = bump_token(bump);
  CHECK(bump_attach(token, 0, &region) == NULL && region.error == BUMP_STALE);
  CHECK(bump_attach(token, 1, &region) == NULL && region.error == BUMP_STALE); /* not shared yet */
  const double key = bump_share(bump);
  CHECK(key >= 1 && key < 0x1p53 && floor(key) == key && bump_share(bump) == key);
  CHECK(bump_attach(token, key == 1 ? 2 : key - 1, &region) == NULL && region.error == BUMP_STALE);
  CHECK(region.address == 0 && region.capacity == 0);
  bump_t *again = bump_attach(token, key, &region);
  CHECK(again != NULL && again != bump && region.error == BUMP_OK && region.capacity == 3 * MIB);
  CHECK(region.address == (double)(uintptr_t)bump_base(bump) && bump_base(again) == bump_base(bump));
  CHECK(bump_holders(bump) == 2 && bump_holders(again) == 2 && bump_token(again) == token && bump_share(again) == key);
  CHECK(bump_reset(bump, 0, 1, &region) == BUMP_SHARED && region.error == BUMP_SHARED && bump_reset(again, 0, 1, NULL) == BUMP_SHARED);
  unsigned char *block = bump_alloc(bump, 5000, 8);
  memset(block, 0x31, 5000);
  /* all holds are equal: the region survives its creator's hold */
  CHECK(bump_close(bump) == BUMP_OK && bump_holders(again) == 1 && block[4999] == 0x31);
  CHECK(bump_close(bump) == BUMP_STALE && bump_holders(again) == 1);
  CHECK(bump_cursor(again) == 5000 && bump_reset(again, 0, 1, &region) == BUMP_OK);
  bump = bump_attach(token, key, &region);
  CHECK(bump != NULL && bump_close(again) == BUMP_OK && bump_close(bump) == BUMP_OK);
  CHECK(bump_attach(token, key, &region) == NULL && region.error == BUMP_STALE);
  /* the block is reused: the old key attaches to nothing */
  for (int i = 0; i < 600; i++) {
    bump_t *other = made(1);
    CHECK(bump_share(other) != key && bump_attach(token, key, &region) == NULL);
    CHECK(bump_close(other) == BUMP_OK);
  }
}

/* Every call refuses NULL and a closed hold, whether or not the region lives. */
static void refuses(bump_t *bump) {
  bump_chunk_t chunk;
  bump_region_t region = {0, 0, 0};
  CHECK(bump_close(bump) == BUMP_STALE && bump_keep(bump, 0, 0) == BUMP_STALE);
  CHECK(bump_take(bump, 1, 1, 1, &chunk) == BUMP_STALE && bump_alloc(bump, 1, 1) == NULL && bump_alloc_zeroed(bump, 1, 1) == NULL);
  CHECK(bump_give(bump, 0, 0) == BUMP_STALE && bump_resize_last(bump, NULL, 0, 0) == 0);
  CHECK(bump_reset(bump, 0, 1, &region) == BUMP_STALE && region.error == BUMP_STALE && bump_share(bump) == BUMP_STALE);
  CHECK(bump_token(bump) == BUMP_STALE && bump_hold(bump, &region) == NULL && region.error == BUMP_STALE);
  CHECK(bump_discard(bump, 0, 0) == BUMP_STALE && bump_prefault(bump, 0, 0) == BUMP_STALE);
  CHECK(bump_resident(bump) == BUMP_STALE && bump_base(bump) == NULL && bump_capacity(bump) == BUMP_STALE);
  CHECK(bump_cursor(bump) == BUMP_STALE && bump_committed(bump) == BUMP_STALE && bump_holders(bump) == BUMP_STALE);
  CHECK(bump_owns(bump, &chunk, 0) == 0);
}

static void refuses_the_dead(void) {
  refuses(NULL);
  bump_t *bump = made(5 * MIB), *other = bump_hold(bump, NULL);
  CHECK(bump_close(bump) == BUMP_OK);
  refuses(bump);
  CHECK(bump_holders(other) == 1 && bump_close(other) == BUMP_OK);
  refuses(bump);
  refuses(other);
  bump_t *last = made(6 * MIB);
  refuses(bump);
  refuses(other);
  CHECK(bump_close(last) == BUMP_OK);
}

static void refuses_forgeries(void) {
  bump_region_t region;
  void *hole = mmap(NULL, 1 << 16, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void *zeros = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void *gone = mmap(NULL, 1 << 16, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(gone, 1 << 16);
  bump_t *bump = made(7 * MIB);
  const double key = bump_share(bump);
  char *token = bump_pointer(bump_token(bump));
  memcpy(zeros, token, 256); /* an exact copy, but at another address */
  void *forged[] = {hole, zeros, gone, (char *)zeros + 1, token + 64, token + 1, bump, bump_base(bump)};
  for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
    region.error = 0;
    CHECK(bump_attach((double)(uintptr_t)forged[i], key, &region) == NULL && region.error == BUMP_STALE);
  }
  srand(1);
  for (int i = 0; i < 20000 && !ASAN; i++) { /* ASan's own check of write() faults on such addresses */
    const uint64_t at = ((uint64_t)rand() << 22 ^ (uint64_t)rand()) % (UINT64_C(1) << 53) & ~(uint64_t)63;
    CHECK(bump_attach((double)at, key, &region) == NULL && region.error == BUMP_STALE);
  }
#if defined(_WIN32)
  /* a guard page stays armed: reading would disarm it, except in wine 8, which reads past all protection */
  void *guard = VirtualAlloc(NULL, 1 << 16, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE | PAGE_GUARD);
  CHECK(bump_attach((double)(uintptr_t)guard, key, &region) == NULL && region.error == BUMP_STALE);
  CHECK(memory_at(guard).Protect == (PAGE_READWRITE | PAGE_GUARD));
  munmap(guard, 1 << 16);
#endif
  CHECK(bump_attach(NAN, key, &region) == NULL && region.error == BUMP_INVALID);
  CHECK(bump_attach(-64, key, &region) == NULL && region.error == BUMP_INVALID);
  CHECK(bump_attach((double)(uintptr_t)token, NAN, &region) == NULL && region.error == BUMP_INVALID);
  CHECK(bump_holders(bump) == 1 && bump_close(bump) == BUMP_OK);
  munmap(hole, 1 << 16);
  munmap(zeros, 1 << 16);
}

#if !defined(_WIN32) /* wine has no limit of a job's memory */
static void limit(int resource, rlim_t bytes, struct rlimit *before) {
  getrlimit(resource, before);
  const struct rlimit low = {bytes, before->rlim_max};
  CHECK(setrlimit(resource, &low) == 0);
}

static void survives_refusals(void) {
  struct rlimit before;
  bump_region_t region = {0, 0, 0};
  if (ASAN) return; /* its shadow memory exceeds any such limit */
  if (EMULATED) {
    puts("bump       refusals skipped: the limits of setrlimit have no effect in an emulator");
    return;
  }
  bump_t *bump = made(64 * MIB);
  unsigned char *base = bump_base(bump);
  unsigned char *block = bump_alloc(bump, 100, 8);
  memset(block, 0x21, 100);
  CHECK(bump_keep(bump, 0, 100) == BUMP_OK);
  limit(RLIMIT_AS, 0, &before);
  CHECK(bump_create(128 * MIB, 0, &region) == NULL && region.error == BUMP_SYSTEM - 12);
  region.error = 0;
  CHECK(bump_reset(bump, 0, 1, &region) == BUMP_SYSTEM - 12 && region.error == BUMP_SYSTEM - 12);
  CHECK(bump_base(bump) == base && bump_cursor(bump) == 100 && all_are(block, 100, 0x21) && region.address == 0);
  setrlimit(RLIMIT_AS, &before);
  /* addresses for the region, but none to move up into later */
  limit(RLIMIT_AS, ((rlim_t)status_kib("VmSize:") << 10) + (100 << 20), &before);
  CHECK(bump_reset(bump, 0, 1, &region) == BUMP_MOVED && bump_base(bump) != base && all_are(block, 100, 0x21));
  CHECK(region.address == (double)(uintptr_t)bump_base(bump) && bump_cursor(bump) == 0);
  setrlimit(RLIMIT_AS, &before);

  block = bump_alloc(bump, 100, 8);
  const double committed = bump_committed(bump);
  limit(RLIMIT_DATA, ((rlim_t)status_kib("VmData:") << 10) + (4 << 20), &before);
  bump_chunk_t chunk;
  CHECK(bump_take(bump, 32 * MIB, 32 * MIB, 8, &chunk) == BUMP_SYSTEM - 12 && bump_cursor(bump) == 100);
  CHECK(bump_alloc(bump, 32 << 20, 8) == NULL && bump_cursor(bump) == 100);
  CHECK(bump_resize_last(bump, block, 100, 32 << 20) == 0 && bump_cursor(bump) == 100);
  CHECK(bump_prefault(bump, 0, 32 * MIB) == BUMP_SYSTEM - 12 && bump_committed(bump) == committed);
  CHECK(bump_take(bump, MIB, 32 * MIB, 8, &chunk) == BUMP_OK && chunk.end - chunk.start == MIB); /* the minimum is had */
  CHECK(bump_take(bump, 10, 10, 8, &chunk) == BUMP_OK);
  setrlimit(RLIMIT_DATA, &before);
  CHECK(bump_take(bump, 32 * MIB, 32 * MIB, 8, &chunk) == BUMP_OK);
  CHECK(bump_close(bump) == BUMP_OK);
}

#endif

int main(void) {
  creates();
  takes();
  allocates();
  gives_pages_back();
  shares();
  refuses_the_dead();
  refuses_forgeries();
#if !defined(_WIN32)
  survives_refusals();
#endif
  return conclude("bump");
}
