//go:build linux && cgo && (amd64 || arm64)

#include "rseq_cgo.h"

#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

// The four bytes before every abort handler, which the registration tells the kernel. They are
// those of libc for the architecture, so that sequences work in both areas.
#if defined(__x86_64__)
#define SIGNATURE 0x53053053
#define SYS_RSEQ 334
static char *thread_pointer(void) {
	char *tp;
	__asm__("mov %%fs:0, %0" : "=r"(tp));
	return tp;
}
#elif defined(__aarch64__)
#define SIGNATURE 0xd428bc00
#define SYS_RSEQ 293
static char *thread_pointer(void) { return __builtin_thread_pointer(); }
#endif

// Weak, because musl and glibc before 2.35 lack them; their addresses are then NULL.
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

// struct rseq as of Linux 4.18, which every kernel since accepts.
struct area {
	uint32_t cpu_id_start;
	int32_t cpu_id;
	uint64_t rseq_cs;
	uint32_t flags;
} __attribute__((aligned(32)));

enum { UNINITIALIZED = -1, UNREGISTER = 1 };

// initial-exec: the offset is then the same in every thread.
static __thread __attribute__((tls_model("initial-exec"))) volatile struct area area = {
	.cpu_id = UNINITIALIZED,
};

static int rseq(volatile struct area *a, int flags) {
	return syscall(SYS_RSEQ, a, sizeof *a, flags, SIGNATURE) ? errno : 0;
}

static bool libc_owns(void) { return &__rseq_size && __rseq_size != 0; }

struct slubd_rseq_area slubd_rseq_area(void) {
	if (libc_owns())
		return (struct slubd_rseq_area){.offset = __rseq_offset, .size = __rseq_size};
	return (struct slubd_rseq_area){
		.offset = (char *)&area - thread_pointer(),
		.size = sizeof area,
		.own = true,
	};
}

// at_exit runs in threads that registered. Without it the kernel would write to the area after libc
// has freed or reused the thread's memory.
static pthread_key_t at_exit;
static int at_exit_error;

static void unregister(void *a) { rseq(a, UNREGISTER); }

static void make_key(void) { at_exit_error = pthread_key_create(&at_exit, unregister); }

int slubd_rseq_register(void) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (libc_owns() || area.cpu_id >= 0)
		return 0;
	pthread_once(&once, make_key);
	if (at_exit_error)
		return at_exit_error;
	// The key comes first, so that every registration is undone when its thread exits.
	int err = pthread_setspecific(at_exit, (void *)&area);
	return err ? err : rseq(&area, 0);
}
