// Allocates blocks of many sizes, changes them, frees some, and checks that each holds what was written. Then says where
// they are from: whether the library is mapped, and how many blocks are in the heap, where the C library's own malloc
// puts small ones.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 3000 };

static unsigned char *blocks[COUNT];
static size_t sizes[COUNT];

static size_t next(size_t *state) { return (*state = *state * 1103515245 + 12345) >> 8 & 0xfffff; }

static int holds(int i) {
  for (size_t j = 0; j < sizes[i]; j++) {
    if (blocks[i][j] != (unsigned char)i) return 0;
  }
  return 1;
}

int main(void) {
  size_t state = 1;
  for (int turn = 0; turn < 10 * COUNT; turn++) {
    const int i = (int)(next(&state) % COUNT);
    if (blocks[i] != NULL && !holds(i)) return 1;
    const size_t old = sizes[i];
    sizes[i] = next(&state) % (turn % 100 == 0 ? 300000 : 1000);
    if (turn % 3 == 0) {
      free(blocks[i]);
      blocks[i] = turn % 2 == 0 ? calloc(1, sizes[i] + 1) : malloc(sizes[i] + 1);
    } else {
      blocks[i] = realloc(blocks[i], sizes[i] + 1);
      for (size_t j = 0; j < old && j < sizes[i]; j++) {
        if (blocks[i][j] != (unsigned char)i) return 2;
      }
    }
    if (blocks[i] == NULL) return 3;
    memset(blocks[i], i, sizes[i]);
  }
  int preloaded = 0, in_heap = 0;
  char line[4096];
  FILE *maps = fopen("/proc/self/maps", "r");
  while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
    uintptr_t start, end;
    if (strstr(line, "/bump_preload.so") != NULL) preloaded = 1;
    if (strstr(line, "[heap]") == NULL || sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &start, &end) != 2) continue;
    for (int i = 0; i < COUNT; i++) in_heap += (uintptr_t)blocks[i] >= start && (uintptr_t)blocks[i] < end;
  }
  printf("%s, %s in the heap\n", preloaded ? "preloaded" : "not preloaded", in_heap > 0 ? "blocks" : "nothing");
  return 0;
}
