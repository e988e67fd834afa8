// A malloc that passes everything on to glibc and counts the calls in the
// file SHIM_COUNTS, which survives the process. In the SHIM_DIE_AT-th malloc of a
// process it exits, as a crashing allocator would.
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void __libc_free(void *);
extern void *__libc_realloc(void *, size_t);

static struct counts { uint64_t mallocs, frees; } spare, *counts = &spare;
static uint64_t calls, die_at;

int shim_marker(void) { return 1; }

#ifdef JEMALLOC
// mallctl makes the shim a jemalloc of that version.
int mallctl(const char *name, void *old, size_t *size, void *new, size_t n)
{
	(void)name, (void)size, (void)new, (void)n;
	*(const char **)old = JEMALLOC;
	return 0;
}
#endif

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("SHIM_COUNTS"), *limit = getenv("SHIM_DIE_AT");
	int fd = path ? open(path, O_RDWR) : -1;
	void *shared = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared != MAP_FAILED)
		counts = shared;
	die_at = limit ? strtoull(limit, NULL, 10) : 0;
}

void *malloc(size_t size)
{
	__atomic_fetch_add(&counts->mallocs, 1, __ATOMIC_RELAXED);
	if (__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) == die_at) {
		static const char words[] = "shim: dying as told\n";
		(void)!write(2, words, sizeof(words) - 1);
		_exit(3);
	}
	return __libc_malloc(size);
}

// realloc counts as one of each.
void *realloc(void *p, size_t size)
{
	__atomic_fetch_add(&counts->mallocs, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&counts->frees, 1, __ATOMIC_RELAXED);
	return __libc_realloc(p, size);
}

void free(void *p)
{
	__atomic_fetch_add(&counts->frees, 1, __ATOMIC_RELAXED);
	__libc_free(p);
}
