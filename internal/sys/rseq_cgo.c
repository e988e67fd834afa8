//go:build linux && cgo && (amd64 || arm64)

#include "rseq_cgo.h"

#include <errno.h>
#include <pthread.h>
#include <sys/auxv.h>
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

// The fields of struct rseq that every kernel knows, and room for those that the kernel may add: it
// says in the auxiliary vector how many bytes of them it has, and how they must be aligned.
struct area {
	uint32_t cpu_id_start;
	int32_t cpu_id;
	uint64_t rseq_cs;
	uint32_t flags;
	char added[44];
} __attribute__((aligned(64)));

enum { UNINITIALIZED = -1, REGISTRATION_FAILED = -2, UNREGISTER = 1 };

// initial-exec: the offset is then the same in every thread.
static __thread __attribute__((tls_model("initial-exec"))) volatile struct area area = {
	.cpu_id = UNINITIALIZED,
};

static int rseq(uint32_t length, int flags) {
	return syscall(SYS_RSEQ, &area, length, flags, SIGNATURE) ? errno : 0;
}

// ORIGINAL is the length of struct rseq as of Linux 4.18, which every kernel since accepts. Since
// 7.1 an area of that length is in legacy mode, and a longer one is not.
enum { ORIGINAL = 32 };

// features is what the kernel's auxiliary vector asks for, if the area has room for it.
static uint32_t features(void) {
	enum { FEATURE_SIZE = 27, ALIGN = 28 }; // AT_RSEQ_* of <linux/auxvec.h>, since 6.3
	unsigned long size = getauxval(FEATURE_SIZE), align = getauxval(ALIGN);
	return size > ORIGINAL && size <= sizeof area && align <= _Alignof(struct area) ? size : ORIGINAL;
}

// accepted is the length with which a thread was registered last, 0 before the first. All threads
// get the same answer from a kernel, so that the order of the stores doesn't matter.
static uint32_t accepted;

static bool libc_owns(void) { return &__rseq_size && __rseq_size != 0; }

struct slubd_rseq_area slubd_rseq_area(void) {
	if (libc_owns())
		return (struct slubd_rseq_area){.offset = __rseq_offset};
	return (struct slubd_rseq_area){
		.offset = (char *)&area - thread_pointer(),
		.own = true,
	};
}

uint32_t slubd_rseq_size(void) {
	return libc_owns() ? __rseq_size : __atomic_load_n(&accepted, __ATOMIC_RELAXED);
}

// at_exit runs in threads that registered. Without it the kernel would write to the area after libc
// has freed or reused the thread's memory. The key's value is the length, which the kernel wants to
// be told again.
static pthread_key_t at_exit;
static int at_exit_error;

static void unregister(void *length) { rseq((uintptr_t)length, UNREGISTER); }

static void make_key(void) { at_exit_error = pthread_key_create(&at_exit, unregister); }

// register_as registers the calling thread with a length. The key comes first, so that every
// registration is undone when its thread exits.
static int register_as(uint32_t length, bool *refused) {
	int err = pthread_setspecific(at_exit, (void *)(uintptr_t)length);
	if (err)
		return err;
	err = rseq(length, 0);
	*refused = err != 0;
	if (!err)
		__atomic_store_n(&accepted, length, __ATOMIC_RELAXED);
	return err;
}

int slubd_rseq_register(void) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (libc_owns() || area.cpu_id >= 0)
		return 0;
	pthread_once(&once, make_key);
	if (at_exit_error)
		return at_exit_error;
	uint32_t length = __atomic_load_n(&accepted, __ATOMIC_RELAXED);
	if (!length)
		length = features();
	bool refused = false;
	int err = register_as(length, &refused);
	if (err == EINVAL && length != ORIGINAL)
		err = register_as(ORIGINAL, &refused);
	// The kernel alone writes to cpu_id, and since 7.1 it kills a process that does, but only in an
	// area that is registered. This one is not, and won't be.
	if (refused)
		area.cpu_id = REGISTRATION_FAILED;
	return err;
}
