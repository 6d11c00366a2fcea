/* late_write.c - a thread that writes to memory when it is let go: loaded by tests/debug_test.ts. */
#include <pthread.h>
#include <string.h>

static pthread_t thread;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static unsigned char *memory;
static size_t length;

static void *write_late(void *unused) {
  pthread_mutex_lock(&gate);
  memset(memory, 5, length);
  pthread_mutex_unlock(&gate);
  return unused;
}

int late_write_start(unsigned char *to, size_t byte_length) {
  memory = to, length = byte_length;
  pthread_mutex_lock(&gate);
  return pthread_create(&thread, NULL, write_late, NULL);
}

int late_write_finish(void) {
  pthread_mutex_unlock(&gate);
  return pthread_join(thread, NULL);
}
