/* on_windows.h - the POSIX functions that the tests need, for Windows. */
#ifndef ON_WINDOWS_H
#define ON_WINDOWS_H

#include <stddef.h>
#include <string.h>
#include <windows.h>
#include <psapi.h>

enum { PROT_NONE = 0, PROT_READ = 1, PROT_WRITE = 2, MAP_PRIVATE = 0, MAP_ANONYMOUS = 0 };

static inline void *mmap(void *at, size_t size, int protection, int flags, int file, long offset) {
  (void)at, (void)flags, (void)file, (void)offset;
  const DWORD pages = protection == PROT_NONE ? PAGE_NOACCESS : protection == PROT_READ ? PAGE_READONLY : PAGE_READWRITE;
  return VirtualAlloc(NULL, size, protection == PROT_NONE ? MEM_RESERVE : MEM_RESERVE | MEM_COMMIT, pages);
}

/* Releases the whole of one reservation; there are no parts. */
static inline int munmap(void *start, size_t size) { return (void)size, VirtualFree(start, 0, MEM_RELEASE) ? 0 : -1; }

static inline MEMORY_BASIC_INFORMATION memory_at(const void *address) {
  MEMORY_BASIC_INFORMATION memory = {0};
  VirtualQuery(address, &memory, sizeof memory);
  return memory;
}

/* Whether the address is taken, even by an empty reservation. */
static inline int reserved(const void *address) { return memory_at(address).State != MEM_FREE; }

/* Taken addresses in KiB. */
static inline long mapped_kib(void) {
  unsigned long long bytes = 0;
  MEMORY_BASIC_INFORMATION memory;
  for (char *at = NULL; VirtualQuery(at, &memory, sizeof memory) != 0; at = (char *)memory.BaseAddress + memory.RegionSize) {
    if (memory.State != MEM_FREE) bytes += memory.RegionSize;
  }
  return (long)(bytes / 1024);
}

/* "VmSize:" and "VmRSS:" as in /proc/self/status, in KiB. */
static inline long status_kib(const char *field) {
  PROCESS_MEMORY_COUNTERS counters = {0};
  if (strcmp(field, "VmSize:") == 0) return mapped_kib();
  GetProcessMemoryInfo(GetCurrentProcess(), &counters, sizeof counters);
  return (long)(counters.WorkingSetSize / 1024);
}

/* A random number of 15 bits. */
static inline int rand_r(unsigned *seed) {
  *seed = *seed * 1103515245 + 12345;
  return (int)(*seed >> 16 & 0x7fff);
}

#endif
