/* memory_file.c - Linux: closes the memory file from which the library was loaded.
 *
 * JavaScript cannot do this reliably: a Worker that is terminated while it loads runs no `finally`, and the descriptor
 * would stay open as long as the process lives.
 */
#include "dladdr.h"

extern int close(int);

/* The text behind `prefix`, or NULL if `text` does not begin with it. */
static const char *after(const char *text, const char *prefix) {
  while (*prefix != '\0') {
    if (*text++ != *prefix++) return 0;
  }
  return text;
}

/* Reads digits. `*value` is -1 if there are none, or too many for a descriptor. */
static const char *number(const char *text, int *value) {
  int digits = 0;
  *value = 0;
  for (; *text >= '0' && *text <= '9'; text++) {
    if (++digits <= 9) *value = *value * 10 + (*text - '0');
  }
  if (digits == 0 || digits > 9) *value = -1;
  return text;
}

enum { FILLER = 32 }; /* least length in a path of ours */

static const char here; /* an address inside this library */

/* Only a path of the form that src/native/memory_file.ts makes is a memory file. */
__attribute__((constructor)) static void close_memory_file(void) {
  dl_info_t info;
  int descriptor, filler = 0;
  if (dladdr(&here, &info) == 0 || info.file == 0) return;
  const char *text = after(info.file, "/proc/self/fd");
  if (text == 0) return;
  for (; *text == '/' || *text == '.'; text++) filler++; /* makes the path unique */
  text = number(text, &descriptor);
  if (filler > FILLER && descriptor >= 0 && *text == '\0') (void)close(descriptor);
}
