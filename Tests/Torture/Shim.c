// Stands before the C library's calls that change files (LD_PRELOAD), counts them, and lets the one of a chosen number
// go wrong. COSMOS_TORTURE says how:
//
//     kill:N         the process dies by SIGKILL instead of call N
//     killafter:N    ... right after it
//     torn:N         ... when half the bytes of call N, a write, are there
//     fail:N:ERRNO   call N fails
//     full:N:ERRNO   from call N on everything that takes space fails, as on a full disk
//     short:N        from call N on each write takes half its bytes at most
//     lock:N:MS      each flock comes so many milliseconds late, N being of no matter
//
// COSMOS_TORTURE_COUNT names a file to which the number of calls is written at the end.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_long calls;
static char action[16];
static long chosen = -1, argument;

__attribute__((constructor)) static void start(void) {
    const char *text = getenv("COSMOS_TORTURE");
    if (text != NULL) sscanf(text, "%15[a-z]:%ld:%ld", action, &chosen, &argument);
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("COSMOS_TORTURE_COUNT");
    FILE *file = path != NULL ? fopen(path, "w") : NULL;
    if (file == NULL) return;
    fprintf(file, "%ld\n", atomic_load(&calls));
    fclose(file);
}

static bool is(const char *name) { return strcmp(action, name) == 0; }

static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

/// Counts a call; whether it must fail, with errno set. `is_last` is set where the process dies after it.
static bool fails(bool takes_space, bool *is_last) {
    long number = atomic_fetch_add(&calls, 1) + 1;
    *is_last = false;
    if (chosen < 0) return false;
    if (number == chosen && (is("kill") || (is("torn") && !takes_space))) die();
    if (number == chosen) *is_last = is("killafter") || is("torn");
    if ((number == chosen && is("fail")) || (number >= chosen && is("full") && takes_space)) {
        errno = (int)argument;
        return true;
    }
    return false;
}

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))
#define AROUND(type, takes_space, name, ...)                 \
    do {                                                     \
        bool is_last;                                        \
        if (fails(takes_space, &is_last)) return -1;         \
        type result = REAL(name)(__VA_ARGS__);               \
        if (is_last) die();                                  \
        return result;                                       \
    } while (0)

int rename(const char *from, const char *to) { AROUND(int, false, rename, from, to); }
int symlink(const char *target, const char *path) { AROUND(int, true, symlink, target, path); }
int unlink(const char *path) { AROUND(int, false, unlink, path); }
int unlinkat(int folder, const char *path, int flags) { AROUND(int, false, unlinkat, folder, path, flags); }
int rmdir(const char *path) { AROUND(int, false, rmdir, path); }
int mkdir(const char *path, mode_t mode) { AROUND(int, true, mkdir, path, mode); }
int fsync(int file) { AROUND(int, true, fsync, file); }
int ftruncate(int file, off_t length) { AROUND(int, false, ftruncate, file, length); }
int ftruncate64(int file, off64_t length) { AROUND(int, false, ftruncate64, file, length); }

int flock(int file, int operation) {
    if (is("lock")) usleep((useconds_t)argument * 1000);
    AROUND(int, false, flock, file, operation);
}

#define WRITES(flags) (((flags) & O_ACCMODE) != O_RDONLY)
#define OPEN(name, ...)                                                             \
    va_list list;                                                                   \
    va_start(list, flags);                                                          \
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(list, mode_t) : 0;       \
    va_end(list);                                                                   \
    if (!WRITES(flags)) return REAL(name)(__VA_ARGS__, flags, mode);                \
    AROUND(int, (flags & O_CREAT) != 0, name, __VA_ARGS__, flags, mode)

int open(const char *path, int flags, ...) { OPEN(open, path); }
int open64(const char *path, int flags, ...) { OPEN(open64, path); }
int openat(int folder, const char *path, int flags, ...) { OPEN(openat, folder, path); }
int openat64(int folder, const char *path, int flags, ...) { OPEN(openat64, folder, path); }

static bool is_file(int file) {
    struct stat status;
    return file > 2 && fstat(file, &status) == 0 && S_ISREG(status.st_mode);
}

/// The bytes that a write may take.
static size_t allowed(size_t count, bool is_last) {
    bool is_short = (is_last && is("torn")) || (is("short") && chosen > 0 && atomic_load(&calls) >= chosen);
    return is_short && count > 1 ? count / 2 : count;
}

#define WRITE(name, ...)                                                            \
    if (!is_file(file)) return REAL(name)(file, bytes, count, ##__VA_ARGS__);       \
    bool is_last;                                                                   \
    if (fails(true, &is_last)) return -1;                                           \
    ssize_t result = REAL(name)(file, bytes, allowed(count, is_last), ##__VA_ARGS__); \
    if (is_last) die();                                                             \
    return result

ssize_t write(int file, const void *bytes, size_t count) { WRITE(write); }
ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) { WRITE(pwrite, offset); }
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) { WRITE(pwrite64, offset); }
