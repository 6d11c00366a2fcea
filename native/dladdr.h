/* dladdr.h - the file that an address was loaded from (POSIX). */
#ifndef BUMP_DLADDR_H
#define BUMP_DLADDR_H

typedef struct {
  const char *file;
  void *base;
  const char *symbol;
  void *address;
} dl_info_t; /* Dl_info */

extern int dladdr(const void *, dl_info_t *); /* 0 when it fails */

#endif
