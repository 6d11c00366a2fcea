/* library.c - the library for this system, as one compilation unit, which makes the prebuilt libraries smaller and
 * halves the time to compile them. */
#include "control.c"
#include "retired.c"
#include "bump.c"
#include "recycle.c"
#include "hooks.c"

#if defined(_WIN32)
#include "os_windows.c"
#else
#include "os_posix.c"
#endif

#if defined(__linux__)
#include "memory_file.c"
#endif
