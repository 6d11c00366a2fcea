/* clock.h - a clock for the library that the test sets, in place of the system's. */
#ifndef CLOCK_H
#define CLOCK_H

static _Atomic long clock_ms = 1000000;

#if defined(_WIN32)
static unsigned long long told(void) { return (unsigned long long)clock_ms; }
/* The pointer through which the import is called. */
unsigned long long (*__imp_GetTickCount64)(void) = told;
#else
int clock_gettime(int clock, long time[2]) {
  (void)clock;
  time[0] = clock_ms / 1000;
  time[1] = clock_ms % 1000 * 1000000;
  return 0;
}
#endif

#endif
