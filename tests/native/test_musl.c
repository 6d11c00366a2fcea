/* Loads the library in its argument, then allocates, shares, resets and closes. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "../../native/bump.h"

#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
      return 1; \
    } \
  } while (0)
#define BIND(name) \
  __typeof__(&name) p_##name = (__typeof__(&name))dlsym(library, #name); \
  CHECK(p_##name != NULL)

int main(int count, char **arguments) {
  CHECK(count == 2);
  void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) fprintf(stderr, "%s\n", dlerror());
  CHECK(library != NULL);
  BIND(bump_create);
  BIND(bump_alloc);
  BIND(bump_alloc_zeroed);
  BIND(bump_base);
  BIND(bump_capacity);
  BIND(bump_cursor);
  BIND(bump_committed);
  BIND(bump_discard);
  BIND(bump_resident);
  BIND(bump_reset);
  BIND(bump_share);
  BIND(bump_token);
  BIND(bump_attach);
  BIND(bump_keep);
  BIND(bump_close);

  bump_region_t region = {0, 0, 0};
  bump_t *bump = p_bump_create(1024.0 * 1024 * 1024, 0, &region);
  CHECK(bump != NULL && p_bump_capacity(bump) == 1024.0 * 1024 * 1024);
  unsigned char *block = p_bump_alloc(bump, 3000000, 64);
  CHECK(block != NULL && (uintptr_t)block % 64 == 0 && block == p_bump_base(bump));
  memset(block, 7, 3000000);
  CHECK(p_bump_committed(bump) >= 3000000 && p_bump_resident(bump) >= 2900000);
  CHECK(p_bump_alloc(bump, (size_t)2 << 30, 8) == NULL);

  const double key = p_bump_share(bump), token = p_bump_token(bump);
  CHECK(key > 0);
  CHECK(p_bump_attach(token, key + 1, &region) == NULL && region.error == BUMP_STALE);
  CHECK(p_bump_attach(4096, key, &region) == NULL && region.error == BUMP_STALE); /* not mapped: no crash */
  bump_t *again = p_bump_attach(token, key, &region);
  CHECK(again != NULL && p_bump_reset(bump, 0, 1, &region) == BUMP_SHARED);
  CHECK(p_bump_close(again) == BUMP_OK);

  CHECK(p_bump_reset(bump, 0, 1, &region) == BUMP_OK && p_bump_cursor(bump) == 0);
  CHECK(p_bump_discard(bump, 0, 3000000) == BUMP_OK);
  unsigned char *zeroed = p_bump_alloc_zeroed(bump, 100000, 8);
  CHECK(zeroed != NULL);
  for (size_t i = 0; i < 100000; i++) CHECK(zeroed[i] == 0);
  memset(zeroed, 8, 100000);
  CHECK(p_bump_keep(bump, 0, 100000) == BUMP_OK && p_bump_reset(bump, 0, 1, &region) == BUMP_MOVED);
  CHECK(p_bump_base(bump) != zeroed && zeroed[99999] == 8 && p_bump_close(bump) == BUMP_OK);
  zeroed[0] = 9;
  for (int i = 0; i < 100000; i++) { /* a leak would exhaust address space */
    bump = p_bump_create(1024.0 * 1024 * 1024, 0, &region);
    CHECK(bump != NULL && p_bump_alloc(bump, 64, 8) != NULL);
    CHECK(p_bump_close(bump) == BUMP_OK);
  }
  dlclose(library);
  puts("all passed");
  return 0;
}
