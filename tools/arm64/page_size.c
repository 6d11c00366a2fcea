/* page_size.c - prints the page size in bytes, after checking that the emulator keeps to it like a kernel. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHECK(condition) \
  if (!(condition)) return fprintf(stderr, "page_size.c:%d: %s\n", __LINE__, #condition), 1

int main(void) {
  const size_t page = (size_t)getpagesize();
  CHECK(getauxval(AT_PAGESZ) == page);
  for (size_t size = 4096; size < 16 * page; size += 4096) {
    char *const start = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(start != MAP_FAILED && (uintptr_t)start % page == 0);
    /* Ranges that do not start at a page are refused … */
    for (size_t at = 4096; at < page; at += 4096) {
      CHECK(mprotect(start + at, 4096, PROT_READ | PROT_WRITE) != 0 && errno == EINVAL);
      CHECK(munmap(start + at, 4096) != 0 && errno == EINVAL);
      CHECK(madvise(start + at, 4096, MADV_DONTNEED) != 0 && errno == EINVAL);
      CHECK(mmap(start + at, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED);
    }
    /* … and a length is rounded up to whole pages. */
    CHECK(mprotect(start, 1, PROT_READ | PROT_WRITE) == 0);
    start[0] = start[page - 1] = 1;
    CHECK(munmap(start, size) == 0);
    CHECK(mprotect(start + (size - 1) / page * page, 1, PROT_READ) != 0 && errno == ENOMEM);
  }
  printf("%zu\n", page);
  return 0;
}
