/* os_windows.c - Windows 10 and later, x86_64 and aarch64.
 *
 * Prototypes and constants are declared here because the library is cross-compiled without an SDK.
 * Imports, all from kernel32: VirtualAlloc VirtualFree K32QueryWorkingSetEx GetCurrentProcess
 * GetCurrentThreadId GetLastError GetSystemInfo ReadProcessMemory LoadLibraryExA GetProcAddress
 * GetModuleHandleExA GetTickCount64 SwitchToThread VirtualQuery VirtualUnlock.
 */
#include "os.h"

_Static_assert(sizeof(void *) == 8, "64-bit systems only");

#define KERNEL32(type) __declspec(dllimport) type __stdcall

enum { MEM_COMMIT = 0x1000, MEM_RESERVE = 0x2000, MEM_DECOMMIT = 0x4000, MEM_RELEASE = 0x8000, MEM_RESET = 0x80000 };
enum { PAGE_NOACCESS = 0x01, PAGE_READWRITE = 0x04 };
enum { LOAD_LIBRARY_SEARCH_SYSTEM32 = 0x800 };
enum { MODULE_PIN = 1, MODULE_FROM_ADDRESS = 4 };
enum { OS_ERROR_INVALID_FUNCTION = 1 };

typedef struct {
  uint32_t architecture, page_size;
  void *minimum_address, *maximum_address;
  uint64_t processor_mask;
  uint32_t processors, processor_type, allocation_granularity;
  uint16_t processor_level, processor_revision;
} system_info_t;
_Static_assert(sizeof(system_info_t) == 48, "SYSTEM_INFO");

typedef struct {
  void *start, *allocation_start;
  uint32_t allocation_protection;
  uint16_t partition;
  size_t size;
  uint32_t state, protection, type;
} memory_t;
_Static_assert(sizeof(memory_t) == 48, "MEMORY_BASIC_INFORMATION");

typedef struct {
  void *address;
  uint64_t attributes; /* bit 0: in the working set */
} working_set_t;

typedef unsigned char(__stdcall *random_t)(void *, unsigned long);

KERNEL32(void *) VirtualAlloc(void *, size_t, unsigned long, unsigned long);
KERNEL32(int) VirtualFree(void *, size_t, unsigned long);
KERNEL32(size_t) VirtualQuery(const void *, memory_t *, size_t);
KERNEL32(int) VirtualUnlock(void *, size_t);
KERNEL32(int) K32QueryWorkingSetEx(void *, void *, unsigned long);
KERNEL32(void *) GetCurrentProcess(void);
KERNEL32(unsigned long) GetCurrentThreadId(void);
KERNEL32(unsigned long) GetLastError(void);
KERNEL32(void) GetSystemInfo(system_info_t *);
KERNEL32(int) ReadProcessMemory(void *, const void *, void *, size_t, size_t *);
KERNEL32(void *) LoadLibraryExA(const char *, void *, unsigned long);
KERNEL32(void *) GetProcAddress(void *, const char *);
KERNEL32(int) GetModuleHandleExA(unsigned long, const char *, void **);
KERNEL32(uint64_t) GetTickCount64(void);
KERNEL32(int) SwitchToThread(void);

static int result(int succeeded) { return succeeded ? 0 : (int)GetLastError(); }

/* ---- address space ----------------------------------------------------- */

static int os_reserve(size_t size, size_t align, void **base) {
  (void)align; /* only for huge pages, which need a privilege on Windows and are not used; 64 KiB is guaranteed */
  *base = VirtualAlloc(NULL, size, MEM_RESERVE, PAGE_NOACCESS);
  return result(*base != NULL);
}

static int os_release(void *start, size_t size, int whole) {
  if (whole) return result(VirtualFree(start, 0, MEM_RELEASE)); /* the size must be 0, for all of it */
  return size == 0 ? 0 : result(VirtualFree(start, size, MEM_DECOMMIT));
}

static int os_commit(void *start, size_t size) {
  return result(VirtualAlloc(start, size, MEM_COMMIT, PAGE_READWRITE) != NULL);
}

static int os_charges_committed(void) { return 1; }

static size_t os_mappings_left(void) { return SIZE_MAX; }

/* ---- pages ------------------------------------------------------------- */

/* Reset pages read as before or as zero. Unlocking pages that are not locked removes them from the working set. */
static int os_forget(void *start, size_t size) {
  VirtualAlloc(start, size, MEM_RESET, PAGE_READWRITE);
  VirtualUnlock(start, size);
  return 0;
}

/* Not by decommitting and committing again: other processes may take the commit charge in between, and accesses through
 * views would then fault. */
static int os_discard(void *start, size_t size) {
  volatile uint64_t *word = start; /* volatile, so that the loop is not compiled to memset */
  for (size_t i = 0; i < size / sizeof *word; i++) word[i] = 0;
  os_forget(start, size); /* "as before" is zero now */
  return 0;
}

static int os_prefault(void *start, size_t size) {
  const size_t page = os_page_size();
  for (size_t at = 0; at < size; at += page) {
    /* Not a plain write, which could undo one by another thread. */
    unsigned char expected = 0;
    __atomic_compare_exchange_n((unsigned char *)start + at, &expected, 0, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  }
  return 0;
}

static void os_populate(void *start, size_t size) { (void)start, (void)size; }

static int os_resident(const void *start, size_t size, size_t *bytes) {
  working_set_t pages[128]; /* below a page of stack, so that no stack probe is linked in */
  const size_t page = os_page_size(), stride = 128 * page;
  *bytes = 0;
  for (size_t at = 0; at < size; at += stride) {
    const size_t count = (size - at < stride ? size - at : stride) / page;
    for (size_t i = 0; i < count; i++) pages[i].address = (char *)start + at + i * page;
    if (!K32QueryWorkingSetEx(GetCurrentProcess(), pages, (unsigned long)(count * sizeof pages[0]))) {
      return (int)GetLastError();
    }
    for (size_t i = 0; i < count; i++) *bytes += (pages[i].attributes & 1) ? page : 0;
  }
  return 0;
}

static void os_huge_pages(void *start, size_t size) { (void)start, (void)size; }

static size_t os_page_size(void) {
  static _Atomic uint32_t known; /* needed for every lease, and GetSystemInfo costs more than a load */
  if (known == 0) {
    system_info_t info;
    GetSystemInfo(&info);
    known = info.page_size;
  }
  return known;
}

/* ---- plain memory for control blocks ----------------------------------- */

static void *os_map(size_t size) { return VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE); }

static void os_unmap(void *start, size_t size) {
  (void)size;
  VirtualFree(start, 0, MEM_RELEASE);
}

/* ---- the rest ---------------------------------------------------------- */

static int os_random(void *bytes, size_t size) {
  /* kernel32 has no random numbers. This is the exported name of RtlGenRandom; only sharing needs it. */
  void *library = LoadLibraryExA("advapi32.dll", NULL, LOAD_LIBRARY_SEARCH_SYSTEM32);
  if (library == NULL) return (int)GetLastError();
  const random_t random = (random_t)(uintptr_t)GetProcAddress(library, "SystemFunction036");
  if (random == NULL) return (int)GetLastError();
  return random(bytes, (unsigned long)size) ? 0 : OS_ERROR_INVALID_FUNCTION;
}

static int os_peek(uintptr_t address, void *copy, size_t size) {
  memory_t memory;
  size_t copied = 0;
  if (VirtualQuery((const void *)address, &memory, sizeof memory) == 0) return OS_UNREADABLE;
  /* Control blocks are only in such pages. Reading a guard page would disarm it, and a thread's stack could then not
   * grow. */
  if (memory.state != MEM_COMMIT || memory.protection != PAGE_READWRITE) return OS_UNREADABLE;
  if (!ReadProcessMemory(GetCurrentProcess(), (const void *)address, copy, size, &copied)) return OS_UNREADABLE;
  return copied == size ? 0 : OS_UNREADABLE;
}

/* volatile, so that the loops are not compiled to memcpy and memset, which kernel32 lacks. */
static void os_copy(void *to, const void *from, size_t size) {
  const size_t words = size / sizeof(uint64_t);
  for (size_t i = 0; i < words; i++) ((volatile uint64_t *)to)[i] = ((const volatile uint64_t *)from)[i];
  for (size_t i = words * sizeof(uint64_t); i < size; i++) ((volatile char *)to)[i] = ((const volatile char *)from)[i];
}

static void os_clear(void *start, size_t size) {
  const size_t words = size / sizeof(uint64_t);
  for (size_t i = 0; i < words; i++) ((volatile uint64_t *)start)[i] = 0;
  for (size_t i = words * sizeof(uint64_t); i < size; i++) ((volatile char *)start)[i] = 0;
}

static int os_pin(const void *address) {
  void *module;
  return GetModuleHandleExA(MODULE_PIN | MODULE_FROM_ADDRESS, address, &module) ? 0 : (int)GetLastError();
}

static uint64_t os_now(void) { return GetTickCount64(); }

static uint64_t os_thread(void) { return GetCurrentThreadId(); }

static void os_yield(void) { SwitchToThread(); }

static void os_watch_threads(void (*at_end)(void *)) { (void)at_end; }

static void os_watch_this_thread(int several) { (void)several; }
