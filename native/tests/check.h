/* check.h - counts checks, so that a test that ran nothing is noticed. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <string.h>

#ifndef EMULATED
#define EMULATED 0 /* 1 under an emulator, whose own memory /proc/self/status then counts too */
#endif

static _Atomic unsigned long checks, failures;

#define CHECK(condition)                                                          \
  do {                                                                            \
    checks++;                                                                     \
    if (!(condition) && failures++ < 20)                                          \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);     \
  } while (0)

static int conclude(const char *name) {
  printf("%-10s %lu checks, %lu failed\n", name, (unsigned long)checks, (unsigned long)failures);
  return failures == 0 && checks > 0 ? 0 : 1;
}

#if defined(_WIN32)
#include "on_windows.h"
#else

/* Mapped addresses in KiB; of the emulated process, not of the emulator. */
static inline long mapped_kib(void) {
  char line[4352];
  unsigned long start, end, bytes = 0;
  FILE *file = fopen("/proc/self/maps", "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "%lx-%lx", &start, &end) == 2) bytes += end - start;
  }
  if (file != NULL) fclose(file);
  return (long)(bytes / 1024);
}

/* A number from /proc/self/status in KiB, such as "VmSize:". */
static inline long status_kib(const char *field) {
  if (EMULATED && strcmp(field, "VmSize:") == 0) return mapped_kib();
  char line[256];
  long kib = -1;
  FILE *file = fopen("/proc/self/status", "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    const char *f = field, *l = line;
    while (*f != 0 && *f == *l) f++, l++;
    if (*f == 0 && sscanf(l, "%ld", &kib) == 1) break;
  }
  if (file != NULL) fclose(file);
  return kib;
}

#endif

#endif
