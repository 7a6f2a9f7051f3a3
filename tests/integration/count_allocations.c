// SPDX-License-Identifier: MIT
// Preloaded into a server: counts its heap allocations in a file that a test reads while it runs.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic unsigned long* counter;

__attribute__((constructor)) static void map_counter(void) {
  const char* const path = getenv("UBLKBENCH_ALLOCATIONS");
  if (path == NULL) return;
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void* const shared = mmap(NULL, sizeof(*counter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (shared != MAP_FAILED) counter = shared;
}

static void count(void) {
  if (counter != NULL) atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

void* malloc(size_t bytes) {
  extern void* __libc_malloc(size_t);
  count();
  return __libc_malloc(bytes);
}

void* calloc(size_t items, size_t bytes) {
  extern void* __libc_calloc(size_t, size_t);
  count();
  return __libc_calloc(items, bytes);
}

void* realloc(void* old, size_t bytes) {
  extern void* __libc_realloc(void*, size_t);
  count();
  return __libc_realloc(old, bytes);
}

void* aligned_alloc(size_t alignment, size_t bytes) {
  extern void* __libc_memalign(size_t, size_t);
  count();
  return __libc_memalign(alignment, bytes);
}
