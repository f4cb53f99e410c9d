/* Writes below $FAILING_ROOT fail with EIO while the file $FAILING_WHILE exists.
   Loaded by LD_PRELOAD: for errors that no small file system gives on demand. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int descriptor)
{
    const char *root = getenv("FAILING_ROOT"), *trigger = getenv("FAILING_WHILE");
    char link[64], path[4096];
    if (!root || !trigger || access(trigger, F_OK) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strncmp(path, root, strlen(root)) == 0;
}

ssize_t write(int descriptor, const void *bytes, size_t count)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "write");
    if (fails(descriptor)) {
        errno = EIO;
        return -1;
    }
    return real(descriptor, bytes, count);
}
