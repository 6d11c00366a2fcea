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

#if !defined(_WIN32)

/* ---- what the loader calls: on Windows it is DllMain --------------------- */

/* Handlers of __cxa_atexit run before any ELF destructor. On macOS destructors are such handlers too, and the last one
 * registered runs first, so `unload` has a priority that registers it earlier. */
static void note_exit(void *unused) {
  (void)unused;
  atomic_store(&exiting, 1);
}

__attribute__((constructor)) static void await_exit(void) { (void)os_at_exit(note_exit, &instance); }

/* Runs when a Worker ends, on its own thread. Holds of other threads stay. */
__attribute__((destructor(101))) static void unload(void) {
  if (atomic_load(&exiting)) return;
  os_forget_exit(&instance);
  os_unwatch_threads();
  drop_holds_of(os_thread());
  leave_all();
}

#endif
