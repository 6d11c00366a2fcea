/* os_posix.c - Linux (glibc, musl) and macOS, x86_64 and aarch64.
 *
 * Prototypes and constants are declared here because the library is cross-compiled without the
 * systems' headers. Imports: mmap munmap mprotect madvise mincore getpagesize getentropy pipe2
 * (macOS: pipe) read write close pthread_self pthread_key_create pthread_key_delete
 * pthread_setspecific sched_yield clock_gettime memcpy memset dladdr dlopen __cxa_atexit
 * __cxa_finalize __errno_location (macOS: __error); Linux: open and, if it is there, gnu_get_libc_version.
 */
#include "dladdr.h"
#include "os.h"

_Static_assert(sizeof(void *) == 8 && sizeof(long) == 8, "64-bit systems only");

enum { PROT_NONE = 0, PROT_READ_WRITE = 1 | 2 };
enum { OS_ENOENT = 2, OS_EINTR = 4, OS_EIO = 5 }; /* the same numbers on both */

extern void *mmap(void *, size_t, int, int, int, long);
extern int munmap(void *, size_t);
extern int mprotect(void *, size_t, int);
extern int madvise(void *, size_t, int);
extern int mincore(void *, size_t, unsigned char *);
extern int getpagesize(void);
extern int getentropy(void *, size_t);
extern long read(int, void *, size_t);
extern long write(int, const void *, size_t);
extern int close(int);
extern void *pthread_self(void);
extern int clock_gettime(int, long[2]); /* struct timespec: seconds and nanoseconds, both of 8 bytes */
extern int sched_yield(void);
extern void *memcpy(void *, const void *, size_t);
extern void *memset(void *, int, size_t);
extern void *dlopen(const char *, int);
extern int __cxa_atexit(void (*)(void *), void *, void *);
extern void __cxa_finalize(void *);

#if defined(__linux__)
enum { MAP_PRIVATE = 0x02, MAP_FIXED = 0x10, MAP_ANON = 0x20, MAP_NORESERVE = 0x4000 };
enum { MADV_DONTNEED = 4, MADV_HUGEPAGE = 14, MADV_POPULATE_WRITE = 23, MADV_DONTNEED_LOCKED = 24 };
enum { OS_O_CLOEXEC = 02000000 };
enum { OS_CLOCK = 6 }; /* CLOCK_MONOTONIC_COARSE */
typedef unsigned thread_key_t; /* pthread_key_t */
enum { OS_RTLD_PIN = 2 | 4 | 0x1000 }; /* RTLD_NOW, RTLD_NOLOAD, RTLD_NODELETE */
extern int *__errno_location(void);
extern int pipe2(int[2], int);
extern int open(const char *, int, ...);
extern const char *gnu_get_libc_version(void) __attribute__((weak));
static int last_error(void) { return *__errno_location(); }
static int open_pipe(int ends[2]) { return pipe2(ends, OS_O_CLOEXEC); }
static int never_unloads(void) { return gnu_get_libc_version == NULL; } /* dlclose of musl does nothing */
#elif defined(__APPLE__)
enum { MAP_PRIVATE = 0x02, MAP_FIXED = 0x10, MAP_ANON = 0x1000, MAP_NORESERVE = 0x40 };
enum { OS_CLOCK = 5 }; /* CLOCK_MONOTONIC_RAW_APPROX */
typedef unsigned long thread_key_t; /* pthread_key_t */
extern int *__error(void);
extern int pipe(int[2]);
static int last_error(void) { return *__error(); }
static int open_pipe(int ends[2]) { return pipe(ends); }
static int never_unloads(void) { return 0; }
enum { OS_RTLD_PIN = 2 | 0x10 | 0x80 }; /* RTLD_NOW, RTLD_NOLOAD, RTLD_NODELETE */
#else
#error "no constants known for this system"
#endif

extern int pthread_key_create(thread_key_t *, void (*)(void *));
extern int pthread_key_delete(thread_key_t);
extern int pthread_setspecific(thread_key_t, const void *);

#define OS_MAP_FAILED ((void *)-1) /* not NULL; a refusal must never be taken for an address */

static int result(int returned) { return returned == 0 ? 0 : last_error(); }

/* ---- address space ----------------------------------------------------- */

static int map(void *at, size_t size, int protection, int flags, void **base) {
  void *mapped = mmap(at, size, protection, flags | MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);
  if (mapped == OS_MAP_FAILED) return last_error();
  *base = mapped;
  return 0;
}

static int os_reserve(size_t size, size_t align, void **base) {
  const size_t slack = align > os_page_size() ? align : 0;
  void *mapped = NULL;
  const int error = map(NULL, size + slack, PROT_NONE, 0, &mapped);
  if (error != 0) return error;
  if (slack != 0) {
    const size_t before = (0 - (size_t)mapped) & (align - 1);
    if (before != 0) munmap(mapped, before);
    mapped = (char *)mapped + before;
    if (slack != before) munmap((char *)mapped + size, slack - before);
  }
  *base = mapped;
  return 0;
}

static int os_release(void *start, size_t size, int whole) {
  (void)whole;
  return result(munmap(start, size));
}

static int os_commit(void *start, size_t size) { return result(mprotect(start, size, PROT_READ_WRITE)); }

#if defined(__linux__)

/* Reads a file. Returns the number of bytes, 0 if there is no file. Counts its lines in `lines`, unless NULL. */
static size_t read_file(const char *path, char *bytes, size_t size, size_t *lines) {
  const int file = open(path, OS_O_CLOEXEC);
  long count;
  size_t last = 0;
  if (file < 0) return 0;
  while ((count = read(file, bytes, size)) > 0 || (count < 0 && last_error() == OS_EINTR)) {
    if (count > 0) last = (size_t)count;
    for (long i = 0; i < count && lines != NULL; i++) *lines += bytes[i] == '\n';
  }
  close(file);
  return last;
}

static size_t os_mappings_left(void) {
  char bytes[2048]; /* below a page of stack, so that no stack probe is linked in */
  size_t limit = 0, used = 0;
  const size_t length = read_file("/proc/sys/vm/max_map_count", bytes, sizeof bytes, NULL);
  for (size_t i = 0; i < length && bytes[i] >= '0' && bytes[i] <= '9'; i++) limit = 10 * limit + (size_t)(bytes[i] - '0');
  if (limit == 0 || read_file("/proc/self/maps", bytes, sizeof bytes, &used) == 0) return SIZE_MAX;
  limit -= limit / 10; /* for V8, which aborts when a mapping is refused */
  return used < limit ? limit - used : 0;
}

static int os_charges_committed(void) {
  static _Atomic int known; /* 1: no, 2: yes */
  if (known == 0) {
    char mode[16];
    known = read_file("/proc/sys/vm/overcommit_memory", mode, sizeof mode, NULL) != 0 && mode[0] == '2' ? 2 : 1;
  }
  return known == 2;
}

#else

static size_t os_mappings_left(void) { return SIZE_MAX; }

static int os_charges_committed(void) { return 0; }

#endif

/* ---- pages ------------------------------------------------------------- */

/* On Linux committed pages are never mapped over: before 6.12 that unmaps them first and may then fail. */
static int os_discard(void *start, size_t size) {
#if defined(__linux__)
  if (madvise(start, size, MADV_DONTNEED) == 0) return 0;        /* refused for locked pages */
  if (madvise(start, size, MADV_DONTNEED_LOCKED) == 0) return 0; /* Linux 5.18 */
  memset(start, 0, size);                                        /* locked pages stay in RAM */
  return 0;
#else
  void *mapped = NULL; /* macOS's MADV_DONTNEED keeps the contents */
  return map(start, size, PROT_READ_WRITE, MAP_FIXED, &mapped);
#endif
}

static int os_forget(void *start, size_t size) { return os_discard(start, size) == 0; }

static void touch(unsigned char *page) {
  /* Not a plain write, which could undo one by another thread; not fetch_or(0), which compilers turn into a load. If
   * the exchange fails, the byte is not zero, so the page is resident. */
  unsigned char expected = 0;
  __atomic_compare_exchange_n(page, &expected, 0, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static int os_prefault(void *start, size_t size) {
#if defined(__linux__)
  if (madvise(start, size, MADV_POPULATE_WRITE) == 0) return 0; /* Linux 5.14 */
#endif
  const size_t page = os_page_size();
  for (size_t at = 0; at < size; at += page) touch((unsigned char *)start + at);
  return 0;
}

static void os_populate(void *start, size_t size) {
#if defined(__linux__)
  madvise(start, size, MADV_POPULATE_WRITE);
#else
  (void)start, (void)size;
#endif
}

static int os_resident(const void *start, size_t size, size_t *bytes) {
  unsigned char pages[2048]; /* below a page of stack, so that no stack probe is linked in */
  const size_t page = os_page_size(), stride = sizeof pages * page;
  *bytes = 0;
  for (size_t at = 0; at < size; at += stride) {
    const size_t part = size - at < stride ? size - at : stride;
    if (mincore((char *)start + at, part, pages) != 0) return last_error();
    for (size_t i = 0; i < part / page; i++) *bytes += (pages[i] & 1) ? page : 0;
  }
  return 0;
}

static void os_huge_pages(void *start, size_t size) {
#if defined(__linux__)
  madvise(start, size, MADV_HUGEPAGE);
#else
  (void)start, (void)size;
#endif
}

static size_t os_page_size(void) { return (size_t)getpagesize(); }

/* ---- plain memory for control blocks ----------------------------------- */

static void *os_map(size_t size) {
  void *mapped = NULL;
  return map(NULL, size, PROT_READ_WRITE, 0, &mapped) == 0 ? mapped : NULL;
}

static void os_unmap(void *start, size_t size) { munmap(start, size); }

/* ---- the rest ---------------------------------------------------------- */

static int os_random(void *bytes, size_t size) { return result(getentropy(bytes, size)); }

static int through_pipe(const int ends[2], uintptr_t address, void *copy, size_t size) {
  long moved;
  do moved = write(ends[1], (const void *)address, size);
  while (moved < 0 && last_error() == OS_EINTR);
  if (moved < 0) return last_error();
  if ((size_t)moved != size) return OS_UNREADABLE; /* only part of it is readable */
  do moved = read(ends[0], copy, size);
  while (moved < 0 && last_error() == OS_EINTR);
  return moved < 0 ? last_error() : (size_t)moved == size ? 0 : OS_EIO;
}

static int os_peek(uintptr_t address, void *copy, size_t size) {
  int ends[2];
  if (open_pipe(ends) != 0) return last_error();
  /* The kernel returns EFAULT where a load would raise a signal. 512 bytes never block a pipe. */
  const int error = through_pipe(ends, address, copy, size);
  close(ends[0]);
  close(ends[1]);
  return error;
}

static void os_copy(void *to, const void *from, size_t size) { memcpy(to, from, size); }

static void os_clear(void *start, size_t size) { memset(start, 0, size); }

static int os_pin(const void *address) {
  dl_info_t info;
  if (never_unloads()) return 0;
  /* By the path from which it was loaded. The path need not exist any more, and no other library has it. */
  if (dladdr(address, &info) == 0 || dlopen(info.file, OS_RTLD_PIN) == NULL) return OS_ENOENT;
  return 0; /* the handle is never closed */
}

static int os_at_exit(void (*call)(void *), void *owner) { return __cxa_atexit(call, NULL, owner); }

static void os_forget_exit(void *owner) { __cxa_finalize(owner); }

static uint64_t os_now(void) {
  long time[2] = {0, 0};
  clock_gettime(OS_CLOCK, time);
  return (uint64_t)time[0] * 1000 + (uint64_t)time[1] / 1000000;
}

static uint64_t os_thread(void) {
  uint64_t thread;
#if defined(__linux__) && defined(__x86_64__)
  __asm__("mov %%fs:0, %0" : "=r"(thread)); /* the result of pthread_self without a call, because each callback needs it */
#elif defined(__linux__) && defined(__aarch64__)
  __asm__("mrs %0, tpidr_el0" : "=r"(thread));
#else
  thread = (uint64_t)(uintptr_t)pthread_self();
#endif
  return thread;
}

static void os_yield(void) { sched_yield(); }

/* ---- the end of threads ------------------------------------------------ */

static thread_key_t thread_key;
static int watching;

static void os_watch_threads(void (*at_end)(void *)) {
  if (!watching) watching = pthread_key_create(&thread_key, at_end) == 0;
}

static void os_unwatch_threads(void) {
  if (watching) pthread_key_delete(thread_key);
  watching = 0;
}

static void os_watch_this_thread(int several) {
  if (watching) pthread_setspecific(thread_key, &thread_key);
  if (several) (void)os_pin(&thread_key);
}
