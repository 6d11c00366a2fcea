/* check.h - counts what was checked, so that a test that ran nothing is seen. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

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

/* A number from /proc/self/status in KiB, such as "VmSize:". */
static inline long status_kib(const char *field) {
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
