// run_measured [NAME=VALUE …] -- PROGRAM [ARGUMENT …]: runs a program with these variables, and prints what it and the
// processes that it waited for took: microseconds in user code and in the system, page faults that needed no disk,
// kilobytes at their highest, and how it ended. Deno tells none of that of a child.
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

static long long microseconds(struct timeval time) { return time.tv_sec * 1000000LL + time.tv_usec; }

int main(int count, char **arguments) {
  int at = 1;
  for (; at < count && strcmp(arguments[at], "--") != 0; at++) putenv(arguments[at]);
  if (at + 1 >= count) return 2;
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  // Not /dev/null, at which grep, for one, stops working.
  const int output = memfd_create("output", 0);
  posix_spawn_file_actions_adddup2(&files, output, 1);
  posix_spawn_file_actions_adddup2(&files, output, 2);
  pid_t child;
  const int error = posix_spawnp(&child, arguments[at + 1], &files, NULL, arguments + at + 1, environ);
  if (error != 0) {
    fprintf(stderr, "%s: %s\n", arguments[at + 1], strerror(error));
    return 1;
  }
  int status;
  struct rusage usage;
  if (wait4(child, &status, 0, &usage) != child) return 1;
  printf("{\"user\":%lld,\"system\":%lld,\"faults\":%ld,\"peak\":%ld,\"status\":%d}\n", microseconds(usage.ru_utime),
         microseconds(usage.ru_stime), usage.ru_minflt, usage.ru_maxrss, status);
  return 0;
}
