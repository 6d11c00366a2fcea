/* test_bump.c - the interface, one thread, one instance. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#if !defined(_WIN32)
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#endif

#include "../bump.h"
#include "check.h"

#define MIB ((double)(1 << 20))
#define PAGE bump_page_size()

#if defined(__SANITIZE_ADDRESS__)
enum { ASAN = 1 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { ASAN = 1 };
#else
enum { ASAN = 0 };
#endif
#else
enum { ASAN = 0 };
#endif

#if defined(_WIN32)
static void *fault[5];
static volatile DWORD faulting_thread; /* 0: a fault is a fault */

static LONG CALLBACK on_fault(EXCEPTION_POINTERS *exception) {
  const DWORD code = exception->ExceptionRecord->ExceptionCode;
  if (code != STATUS_ACCESS_VIOLATION || faulting_thread != GetCurrentThreadId()) return EXCEPTION_CONTINUE_SEARCH;
  __builtin_longjmp(fault, 1); /* longjmp would unwind frames that have no tables */
}

/* Whether a byte can be read: by reading it. */
static int readable(const void *address) {
  static void *handler;
  volatile int ok = 0;
  if (handler == NULL) handler = AddVectoredExceptionHandler(1, on_fault);
  faulting_thread = GetCurrentThreadId();
  if (__builtin_setjmp(fault) == 0) {
    (void)*(const volatile char *)address;
    ok = 1;
  }
  faulting_thread = 0;
  return ok;
}
#else
static sigjmp_buf fault;
static void on_fault(int signal) { siglongjmp(fault, signal); }

/* Whether a byte can be read: the only question these tests have for the MMU. */
static int readable(const void *address) {
  struct sigaction action = {0}, segv, bus;
  action.sa_handler = on_fault;
  sigaction(SIGSEGV, &action, &segv);
  sigaction(SIGBUS, &action, &bus);
  const int ok = sigsetjmp(fault, 1) == 0;
  if (ok) (void)*(const volatile char *)address;
  sigaction(SIGSEGV, &segv, NULL);
  sigaction(SIGBUS, &bus, NULL);
  return ok;
}

#endif

static int all_are(const unsigned char *bytes, size_t count, unsigned char value) {
  for (size_t i = 0; i < count; i++) if (bytes[i] != value) return 0;
  return 1;
}

static bump_t *made(double capacity) {
  int32_t error = 1;
  bump_t *bump = bump_create(capacity, 0, &error);
  CHECK(bump != NULL && error == BUMP_OK);
  return bump;
}

static void creates(void) {
  static const double refused[] = {0, -1, 0.5, NAN, INFINITY, -INFINITY, 0x1p53 + 2, 1e300};
  int32_t error;
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
    error = 0;
    CHECK(bump_create(refused[i], 0, &error) == NULL && error == BUMP_INVALID);
  }
  CHECK(bump_create(PAGE, 2, &error) == NULL && error == BUMP_INVALID);
  CHECK(bump_create(0x1p52, 0, &error) == NULL && error < BUMP_SYSTEM); /* no system has that much */
  bump_t *bump = made(1);
  CHECK(bump_capacity(bump) == PAGE && bump_cursor(bump) == 0 && bump_committed(bump) == 0);
  CHECK(bump_attached(bump) == 1 && bump_resident(bump) == 0);
  CHECK(!readable(bump_base(bump)));
  CHECK(bump_close(bump, 0) == BUMP_OK);
  bump = bump_create(8 * MIB, BUMP_HUGE_PAGES, &error);
  CHECK(bump != NULL);
#if !defined(_WIN32) /* has no huge pages without a privilege */
  CHECK((uintptr_t)bump_base(bump) % (2 << 20) == 0);
#endif
  bump_lease_t lease;
  CHECK(bump_lease(bump, 1, 1, 1, &lease) == BUMP_OK && bump_committed(bump) == 2 * MIB);
  CHECK(bump_close(bump, 0) == BUMP_OK);
}

static void leases(void) {
  bump_t *bump = made(MIB);
  unsigned char *base = bump_base(bump);
  bump_lease_t lease;
  CHECK(bump_lease(bump, 100, 100, 1, &lease) == BUMP_OK && lease.start == 0 && lease.end == 100 && lease.fresh_from == 0);
  CHECK(bump_committed(bump) == PAGE && readable(base) && !readable(base + (size_t)PAGE));
  CHECK(bump_lease(bump, 8, 8, 4096, &lease) == BUMP_OK && lease.start == 4096 && lease.end == 4104);
  memset(base, 0xaa, 4104);
  CHECK(bump_unlease(bump, 4096, 4104) == 1 && bump_cursor(bump) == 4096);
  CHECK(bump_unlease(bump, 0, 100) == 0 && bump_cursor(bump) == 4096);
  CHECK(bump_lease(bump, 4096, 4096, 8, &lease) == BUMP_OK && lease.start == 4096 && lease.fresh_from == 4104);
  CHECK(all_are(base + 4104, 8192 - 4104, 0));
  /* refused, nothing moved, then a smaller one and exactly the rest */
  const double cursor = bump_cursor(bump), left = MIB - cursor;
  CHECK(bump_lease(bump, left + 1, left + 1, 1, &lease) == BUMP_FULL && bump_cursor(bump) == cursor);
  CHECK(bump_lease(bump, 0x1p53, 0x1p53, 1, &lease) == BUMP_FULL && bump_cursor(bump) == cursor);
  CHECK(bump_lease(bump, 1, 1, 0x1p52, &lease) == BUMP_FULL && bump_cursor(bump) == cursor);
  CHECK(bump_lease(bump, 10, 10, 1, &lease) == BUMP_OK);
  CHECK(bump_lease(bump, 1, 2 * MIB, 1, &lease) == BUMP_OK && lease.end == MIB && bump_cursor(bump) == MIB);
  CHECK(readable(base + (size_t)MIB - 1) && !readable(base + (size_t)MIB)); /* the guard page */
  CHECK(bump_lease(bump, 1, 1, 1, &lease) == BUMP_FULL);
  CHECK(bump_lease(bump, 0, 0, 8, &lease) == BUMP_OK && lease.start == lease.end);
  static const double bad[] = {-1, 0.5, NAN, INFINITY, 0x1p53 + 2};
  for (size_t i = 0; i < 5; i++) {
    CHECK(bump_lease(bump, bad[i], 8, 8, &lease) == BUMP_INVALID);
    CHECK(bump_lease(bump, 8, bad[i], 8, &lease) == BUMP_INVALID);
    CHECK(bump_lease(bump, 8, 8, bad[i], &lease) == BUMP_INVALID);
    CHECK(bump_unlease(bump, bad[i], 8) == BUMP_INVALID && bump_unlease(bump, 0, bad[i]) == BUMP_INVALID);
    CHECK(bump_reset(bump, bad[i]) == BUMP_INVALID && bump_discard(bump, bad[i], 8) == BUMP_INVALID);
    CHECK(bump_prefault(bump, 0, bad[i]) == BUMP_INVALID && bump_renew(bump, bad[i]) == BUMP_INVALID);
    CHECK(bump_close(bump, bad[i]) == BUMP_INVALID);
  }
  CHECK(bump_lease(bump, 9, 8, 8, &lease) == BUMP_INVALID && bump_lease(bump, 8, 8, 0, &lease) == BUMP_INVALID);
  CHECK(bump_lease(bump, 8, 8, 3, &lease) == BUMP_INVALID);
  CHECK(bump_reset(bump, 0) == BUMP_OK && bump_reset(bump, 1) == BUMP_INVALID);
  CHECK(bump_lease(bump, MIB, MIB, 1, &lease) == BUMP_OK && lease.fresh_from == MIB);
  CHECK(bump_close(bump, 0) == BUMP_OK && !readable(base));
}

static void allocates(void) {
  bump_t *bump = made(MIB);
  unsigned char *base = bump_base(bump);
  CHECK(bump_alloc(bump, 0, 8) == base && bump_cursor(bump) == 0);
  CHECK(bump_alloc(bump, 3, 1) == base && bump_cursor(bump) == 3);
  CHECK(bump_alloc(bump, 8, 8) == base + 8 && bump_cursor(bump) == 16); /* padding once */
  CHECK(bump_committed(bump) == 256 * 1024);
  CHECK(bump_alloc(bump, 8, 3) == NULL && bump_alloc(bump, 8, 0) == NULL && bump_cursor(bump) == 16);
  CHECK(bump_alloc(bump, SIZE_MAX, 1) == NULL && bump_alloc(bump, SIZE_MAX - 15, 16) == NULL);
  CHECK(bump_alloc(bump, 1, (size_t)1 << 63) == NULL && bump_cursor(bump) == 16);
  unsigned char *last = bump_alloc(bump, 32, 8);
  CHECK(bump_resize_last(bump, base + 8, 8, 16) == 0);
  CHECK(bump_resize_last(bump, last, 32, SIZE_MAX) == 0 && bump_resize_last(bump, base - 64, 80, 8) == 0);
  CHECK(bump_resize_last(bump, last, 32, 600 * 1024) == 1 && readable(last + 600 * 1024 - 1));
  CHECK(bump_resize_last(bump, last, 600 * 1024, 0) == 1 && bump_cursor(bump) == 16);
  bump_lease_t lease;
  CHECK(bump_lease(bump, MIB - 16, MIB - 16, 16, &lease) == BUMP_OK && lease.fresh_from == 16 + 600 * 1024);
  CHECK(bump_alloc(bump, 1, 1) == NULL);
  for (size_t align = 1; align != 0; align <<= 1) {
    void *empty = bump_alloc(bump, 0, align);
    CHECK(empty != NULL && (uintptr_t)empty % align == 0 && bump_cursor(bump) == MIB);
  }
  CHECK(bump_close(bump, 0) == BUMP_OK);
  /* the address is aligned, not the offset: a part whose base is one page into its parent */
  bump = made(8 * MIB);
  int32_t error;
  bump_t *part = bump_carve(bump, PAGE, 4 * MIB, &error);
  unsigned char *block = bump_alloc(part, 8, 1 << 20);
  CHECK(block != NULL && (uintptr_t)block % (1 << 20) == 0);
  CHECK(bump_close(part, 0) == BUMP_OK && bump_close(bump, 0) == BUMP_OK);
}

static void gives_pages_back(void) {
  bump_t *bump = made(16 * MIB);
  unsigned char *base = bump_base(bump);
  bump_lease_t lease;
  CHECK(bump_prefault(bump, MIB, 2 * MIB) == BUMP_OK && bump_resident(bump) == MIB && bump_cursor(bump) == 0);
  CHECK(bump_lease(bump, 4 * MIB, 4 * MIB, 8, &lease) == BUMP_OK && lease.fresh_from == 0);
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
  /* moved, the first page kept */
  memset(base, 0x66, (size_t)PAGE);
  CHECK(bump_renew(bump, 1) == BUMP_OK && bump_cursor(bump) == 0 && bump_committed(bump) == 0);
  CHECK(bump_base(bump) != base && all_are(base, (size_t)PAGE, 0x66) && !readable(base + (size_t)PAGE));
  munmap(base, (size_t)PAGE);
  base = bump_base(bump);
  CHECK(bump_lease(bump, 3 * PAGE, 3 * PAGE, 8, &lease) == BUMP_OK && lease.fresh_from == 0);
  memset(base, 0x77, 3 * (size_t)PAGE);
  CHECK(bump_close(bump, PAGE + 1) == BUMP_OK && all_are(base, 2 * (size_t)PAGE, 0x77) && !readable(base + 2 * (size_t)PAGE));
  munmap(base, 2 * (size_t)PAGE);
}

static void shares(void) {
  bump_t *bump = made(MIB);
  int32_t error;
  const double address = (double)(uintptr_t)bump;
  CHECK(bump_attach(address, 0, &error) == NULL && error == BUMP_STALE);
  CHECK(bump_attach(address, 1, &error) == NULL && error == BUMP_STALE); /* not shared yet */
  const double key = bump_share(bump);
  CHECK(key >= 1 && key < 0x1p53 && floor(key) == key && bump_share(bump) == key);
  CHECK(bump_attach(address, key == 1 ? 2 : key - 1, &error) == NULL && error == BUMP_STALE);
  bump_t *again = bump_attach(address, key, &error);
  CHECK(again == bump && error == BUMP_OK && bump_attached(bump) == 2);
  CHECK(bump_reset(bump, 0) == BUMP_SHARED && bump_renew(bump, 0) == BUMP_SHARED);
  unsigned char *block = bump_alloc(bump, 5000, 8);
  memset(block, 0x31, 5000);
  CHECK(bump_close(again, 5000) == BUMP_OK && bump_attached(bump) == 1 && block[4999] == 0x31);
  CHECK(bump_reset(bump, 0) == BUMP_OK);
  CHECK(bump_close(bump, 0) == BUMP_OK && readable(block + 4999) && block[4999] == 0x31); /* an earlier close kept it */
  munmap(block, 2 * (size_t)PAGE);
  CHECK(bump_close(bump, 0) == BUMP_STALE && bump_attach(address, key, &error) == NULL && error == BUMP_STALE);
  /* the slot recycled: the old key opens nothing */
  for (int i = 0; i < 600; i++) {
    bump_t *other = made(1);
    CHECK(bump_share(other) != key && bump_attach(address, key, &error) == NULL);
    CHECK(bump_close(other, 0) == BUMP_OK);
  }
}

static void refuses_the_dead(void) {
  bump_t *bump = made(MIB), *none = NULL;
  CHECK(bump_close(bump, 0) == BUMP_OK);
  for (int i = 0; i < 2; i++, bump = none) {
    bump_lease_t lease;
    int32_t error = 0;
    CHECK(bump_close(bump, 0) == BUMP_STALE && bump_close(bump, 0) == BUMP_STALE);
    CHECK(bump_lease(bump, 1, 1, 1, &lease) == BUMP_STALE && bump_alloc(bump, 1, 1) == NULL);
    CHECK(bump_unlease(bump, 0, 0) == BUMP_STALE && bump_resize_last(bump, NULL, 0, 0) == 0);
    CHECK(bump_reset(bump, 0) == BUMP_STALE && bump_renew(bump, 0) == BUMP_STALE && bump_share(bump) == BUMP_STALE);
    CHECK(bump_discard(bump, 0, 0) == BUMP_STALE && bump_prefault(bump, 0, 0) == BUMP_STALE);
    CHECK(bump_resident(bump) == BUMP_STALE && bump_base(bump) == NULL && bump_capacity(bump) == BUMP_STALE);
    CHECK(bump_cursor(bump) == BUMP_STALE && bump_committed(bump) == BUMP_STALE && bump_attached(bump) == BUMP_STALE);
    CHECK(bump_carve(bump, 0, PAGE, &error) == NULL && error == BUMP_STALE);
    bump_settle(bump);
  }
}

static void refuses_forgeries(void) {
  int32_t error;
  void *hole = mmap(NULL, 1 << 16, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void *zeros = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void *gone = mmap(NULL, 1 << 16, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(gone, 1 << 16);
  bump_t *bump = made(MIB);
  const double key = bump_share(bump);
  memcpy(zeros, bump, 256); /* a perfect copy, but at another address */
  void *forged[] = {hole, zeros, gone, (char *)zeros + 1, (char *)bump + 64, (char *)bump + 1, bump_base(bump)};
  for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
    error = 0;
    CHECK(bump_attach((double)(uintptr_t)forged[i], key, &error) == NULL && error == BUMP_STALE);
    CHECK(bump_close(forged[i], 0) == BUMP_STALE);
  }
  srand(1);
  for (int i = 0; i < 20000 && !ASAN; i++) { /* ASan's own check of write() faults on such addresses */
    const uint64_t at = ((uint64_t)rand() << 22 ^ (uint64_t)rand()) % (UINT64_C(1) << 53) & ~(uint64_t)63;
    CHECK(bump_attach((double)at, key, &error) == NULL && error == BUMP_STALE);
    CHECK(bump_close((bump_t *)(uintptr_t)at, 0) == BUMP_STALE);
  }
#if defined(_WIN32)
  /* a guard page stays one: reading it would disarm it, though not in wine 8, which reads past all protection */
  void *guard = VirtualAlloc(NULL, 1 << 16, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE | PAGE_GUARD);
  CHECK(bump_attach((double)(uintptr_t)guard, key, &error) == NULL && error == BUMP_STALE);
  CHECK(memory_at(guard).Protect == (PAGE_READWRITE | PAGE_GUARD));
  munmap(guard, 1 << 16);
#endif
  CHECK(bump_attach(NAN, key, &error) == NULL && error == BUMP_INVALID);
  CHECK(bump_attach(-64, key, &error) == NULL && error == BUMP_INVALID);
  CHECK(bump_attached(bump) == 1 && bump_close(bump, 0) == BUMP_OK);
  munmap(hole, 1 << 16);
  munmap(zeros, 1 << 16);
}

static void carves(void) {
  bump_t *parent = made(8 * MIB);
  unsigned char *base = bump_base(parent);
  int32_t error;
  CHECK(bump_carve(parent, 1, PAGE, &error) == NULL && error == BUMP_INVALID);
  CHECK(bump_carve(parent, 0, PAGE + 1, &error) == NULL && error == BUMP_INVALID);
  CHECK(bump_carve(parent, 0, 0, &error) == NULL && error == BUMP_INVALID);
  CHECK(bump_carve(parent, 8 * MIB, PAGE, &error) == NULL && error == BUMP_INVALID);
  CHECK(bump_carve(parent, PAGE, 0x1p53 - 0x1p20, &error) == NULL && error == BUMP_INVALID);
  for (int round = 0; round < 3; round++) {
    bump_t *part = bump_carve(parent, 4 * MIB, MIB, &error);
    bump_lease_t lease;
    CHECK(part != NULL && bump_base(part) == base + (size_t)(4 * MIB) && bump_attached(parent) == 2);
    CHECK(bump_lease(part, MIB, MIB, 8, &lease) == BUMP_OK && lease.fresh_from == 0);
    CHECK(all_are(bump_base(part), (size_t)MIB, 0));
    memset(bump_base(part), 0x99, (size_t)MIB);
    CHECK(bump_resident(part) == MIB && bump_resident(parent) == MIB && bump_cursor(parent) == 0);
    CHECK(bump_lease(part, 1, 1, 1, &lease) == BUMP_FULL && bump_renew(part, 0) == BUMP_INVALID);
    CHECK(bump_reset(parent, 0) == BUMP_SHARED);
    CHECK(bump_close(part, 0) == BUMP_OK && bump_resident(parent) == 0 && bump_close(part, 0) == BUMP_STALE);
  }
  /* the parent's own bytes are not fresh to a part */
  bump_lease_t lease;
  CHECK(bump_lease(parent, PAGE, PAGE, 8, &lease) == BUMP_OK);
  memset(base, 1, (size_t)PAGE);
  bump_t *part = bump_carve(parent, 0, MIB, &error);
  CHECK(bump_lease(part, MIB, MIB, 8, &lease) == BUMP_OK && lease.fresh_from == PAGE);
  /* the mapping lives until the last part is closed, and what the part keeps stays */
  CHECK(bump_close(parent, 0) == BUMP_OK && readable(base));
  memset(base, 0x42, (size_t)MIB);
  CHECK(bump_close(part, PAGE) == BUMP_OK);
  CHECK(all_are(base, (size_t)PAGE, 0x42) && !readable(base + (size_t)PAGE));
  munmap(base, (size_t)PAGE);
}

#if !defined(_WIN32) /* wine keeps to no limit of a job's memory */
static void limit(int resource, rlim_t bytes, struct rlimit *before) {
  getrlimit(resource, before);
  const struct rlimit low = {bytes, before->rlim_max};
  CHECK(setrlimit(resource, &low) == 0);
}

static void survives_refusals(void) {
  struct rlimit before;
  int32_t error = 0;
  if (ASAN) return; /* its shadow is beyond any such limit */
  if (EMULATED) {
    puts("bump       refusals skipped: an emulator keeps to no limit that setrlimit sets");
    return;
  }
  const rlim_t size = (rlim_t)status_kib("VmSize:") * 1024, data = (rlim_t)status_kib("VmData:") * 1024;
  bump_t *bump = made(64 * MIB);
  limit(RLIMIT_AS, size + (80u << 20), &before);
  CHECK(bump_create(64 * MIB, 0, &error) == NULL && error == BUMP_SYSTEM - 12);
  unsigned char *base = bump_base(bump);
  unsigned char *block = bump_alloc(bump, 100, 8);
  memset(block, 0x21, 100);
  CHECK(bump_renew(bump, 0) == BUMP_SYSTEM - 12);
  CHECK(bump_base(bump) == base && bump_cursor(bump) == 100 && all_are(block, 100, 0x21));
  setrlimit(RLIMIT_AS, &before);

  limit(RLIMIT_DATA, data + (4u << 20), &before);
  bump_lease_t lease;
  CHECK(bump_lease(bump, 32 * MIB, 32 * MIB, 8, &lease) == BUMP_SYSTEM - 12 && bump_cursor(bump) == 100);
  CHECK(bump_alloc(bump, 32 << 20, 8) == NULL && bump_cursor(bump) == 100);
  CHECK(bump_resize_last(bump, block, 100, 32 << 20) == 0 && bump_cursor(bump) == 100);
  CHECK(bump_prefault(bump, 0, 32 * MIB) == BUMP_SYSTEM - 12 && bump_committed(bump) == 256 * 1024);
  CHECK(bump_lease(bump, MIB, 32 * MIB, 8, &lease) == BUMP_OK && lease.end - lease.start == MIB); /* the minimum is had */
  CHECK(bump_lease(bump, 10, 10, 8, &lease) == BUMP_OK);
  setrlimit(RLIMIT_DATA, &before);
  CHECK(bump_lease(bump, 32 * MIB, 32 * MIB, 8, &lease) == BUMP_OK);
  CHECK(bump_close(bump, 0) == BUMP_OK);
}

#endif

static void leaks_nothing(int rounds) {
  bump_t *first = made(1 << 30);
  bump_close(first, 0);
  const long size = status_kib("VmSize:"), resident = status_kib("VmRSS:");
  for (int i = 0; i < rounds; i++) {
    int32_t error;
    bump_t *bump = bump_create(1 << 30, 0, &error);
    if (i % 16 == 0) {
      bump_lease_t lease;
      CHECK(bump_lease(bump, MIB, MIB, 8, &lease) == BUMP_OK);
      *(char *)bump_base(bump) = 1;
    }
    CHECK(bump_close(bump, 0) == BUMP_OK);
  }
  CHECK(status_kib("VmSize:") - size <= 512);
  CHECK(ASAN || status_kib("VmRSS:") - resident <= 512);
  /* more at once than one chunk has slots */
  enum { MANY = 1000 };
  static bump_t *many[MANY];
  for (int i = 0; i < MANY; i++) many[i] = made(PAGE);
  for (int i = 0; i < MANY; i++) CHECK(bump_cursor(many[i]) == 0 && bump_close(many[i], 0) == BUMP_OK);
}

int main(void) {
  creates();
  leases();
  allocates();
  gives_pages_back();
  shares();
  refuses_the_dead();
  refuses_forgeries();
  carves();
#if !defined(_WIN32)
  survives_refusals();
#endif
  leaks_nothing(ASAN ? 20000 : 200000);
  return conclude("bump");
}
