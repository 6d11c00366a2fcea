/* no_memfd.c - starts a command whose memfd_create fails in one of three ways. `never`: it always fails, as on old
 * kernels and in some sandboxes. `unflagged`: it accepts only MFD_CLOEXEC, as kernels that do not know newer flags.
 * `flagged`: it also needs MFD_EXEC, as newer kernels may be configured. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CLOEXEC = 0x1, EXEC = 0x10 };

int main(int count, char **words) {
  if (count < 3) return 100;
  const char *allowed = words[1];
  /* The exact flags that the call must have; no call has all bits. */
  unsigned flags = strcmp(allowed, "unflagged") == 0 ? CLOEXEC : strcmp(allowed, "flagged") == 0 ? (CLOEXEC | EXEC) : ~0u;
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_memfd_create, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])), /* little-endian: its low half */
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, flags, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 101;
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return 102;
  execvp(words[2], words + 2);
  return 103;
}
