// The names and versions of the allocator, by functions that only it has, and of the compiler.
#define _GNU_SOURCE
#include "bench.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

void bench_version(char *text, size_t n)
{
	// Found at run time, since the library is preloaded or missing.
	const char *(*tc_version)(int *, int *, const char **) = dlsym(RTLD_DEFAULT, "tc_version");
	int (*mi_version)(void) = dlsym(RTLD_DEFAULT, "mi_version");
	int (*mallctl)(const char *, void *, size_t *, void *, size_t) = dlsym(RTLD_DEFAULT, "mallctl");
	const char *(*libc_version)(void) = dlsym(RTLD_DEFAULT, "gnu_get_libc_version");
	const char *version;
	size_t size = sizeof(version);
	int number, minor;
	if (tc_version != NULL)
		snprintf(text, n, "%s", tc_version(&number, &minor, &version)); // begins with "gperftools"
	else if (mi_version != NULL) {
		number = mi_version(); // 209 is 2.0.9, and 30403 is 3.4.3
		int unit = number >= 10000 ? 100 : 10;
		snprintf(text, n, "mimalloc %d.%d.%d", number / unit / unit, number / unit % unit, number % unit);
	} else if (mallctl != NULL && mallctl("version", &version, &size, NULL, 0) == 0)
		snprintf(text, n, "jemalloc %.*s", (int)strcspn(version, "-"), version); // no commit
	else if (libc_version != NULL)
		snprintf(text, n, "glibc %s", libc_version());
	else
		snprintf(text, n, "%s", "");
}

const char *bench_compiler(void)
{
#ifdef __clang__
	return "clang " __clang_version__;
#else
	return "gcc " __VERSION__;
#endif
}
