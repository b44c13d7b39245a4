/* Fail, or end the process, at the k-th system call of a directory or a file; loaded by LD_PRELOAD.

arm(k, fault) begins to count; fault is an errno, or KILL_BEFORE or KILL_AFTER. counted() returns the
number of calls since then. Only descriptors above 2 count for write. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { KILL_BEFORE = -1, KILL_AFTER = -2 };
static long at = -1, count, armed;
static int fault;

void arm(long k, int what) { at = k, fault = what, count = 0, armed = 1; }
long counted(void) { return armed = 0, count; }

/* Return 1 if this call is to fail. Set *kill_after if the process ends after it. */
static int struck(int *kill_after) {
  *kill_after = 0;
  if (!armed || count++ != at) return 0;
  if (fault == KILL_BEFORE) kill(getpid(), SIGKILL);
  if (fault == KILL_AFTER) return *kill_after = 1, 0;
  return errno = fault, 1;
}

#define WRAP(type, name, parameters, arguments, counts)                 \
  type name parameters {                                                \
    static type(*real) parameters;                                      \
    int kill_after = 0;                                                 \
    if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name);      \
    if ((counts) && struck(&kill_after)) return -1;                     \
    type result = real arguments;                                       \
    if (kill_after) kill(getpid(), SIGKILL);                            \
    return result;                                                      \
  }

WRAP(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), fd > 2)
WRAP(ssize_t, sendfile, (int to, int from, off_t *offset, size_t size), (to, from, offset, size), 1)
WRAP(ssize_t, sendfile64, (int to, int from, off64_t *offset, size_t size),
     (to, from, offset, size), 1)
WRAP(int, fsync, (int fd), (fd), 1)
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), 1)
WRAP(int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode), 1)
WRAP(int, rename, (const char *old, const char *new), (old, new), 1)
WRAP(int, renameat, (int a, const char *old, int b, const char *new), (a, old, b, new), 1)
WRAP(int, renameat2, (int a, const char *old, int b, const char *new, unsigned flags),
     (a, old, b, new, flags), 1)
WRAP(int, unlink, (const char *path), (path), 1)
WRAP(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags), 1)
WRAP(int, rmdir, (const char *path), (path), 1)
WRAP(int, link, (const char *old, const char *new), (old, new), 1)
WRAP(int, linkat, (int a, const char *old, int b, const char *new, int flags),
     (a, old, b, new, flags), 1)
WRAP(int, symlink, (const char *content, const char *path), (content, path), 1)
WRAP(int, symlinkat, (const char *content, int fd, const char *path), (content, fd, path), 1)
WRAP(int, flock, (int fd, int how), (fd, how), 1)
WRAP(int, chmod, (const char *path, mode_t mode), (path, mode), 1)
WRAP(int, fchmodat, (int fd, const char *path, mode_t mode, int flags), (fd, path, mode, flags), 1)
WRAP(int, ftruncate, (int fd, off_t size), (fd, size), 1)
WRAP(int, ftruncate64, (int fd, off64_t size), (fd, size), 1)

#define OPEN(name, parameters, flags, arguments)                        \
  int name parameters {                                                 \
    static int(*real) parameters;                                       \
    mode_t mode = 0;                                                    \
    int kill_after;                                                     \
    if (!real) real = (int(*) parameters)dlsym(RTLD_NEXT, #name);       \
    va_list rest;                                                       \
    va_start(rest, flags);                                              \
    if (flags & (O_CREAT | O_TMPFILE)) mode = va_arg(rest, mode_t);     \
    va_end(rest);                                                       \
    if (struck(&kill_after)) return -1;                                 \
    int result = real arguments;                                        \
    if (kill_after) kill(getpid(), SIGKILL);                            \
    return result;                                                      \
  }

OPEN(open, (const char *path, int flags, ...), flags, (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), flags, (path, flags, mode))
OPEN(openat, (int fd, const char *path, int flags, ...), flags, (fd, path, flags, mode))
OPEN(openat64, (int fd, const char *path, int flags, ...), flags, (fd, path, flags, mode))
