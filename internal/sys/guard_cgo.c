//go:build linux && cgo && (amd64 || arm64)

// The handler for SIGSEGV that reports an access to a guarded page, and passes every signal on.
//
// It runs on the thread that is at fault, between two instructions of any code: Go's, its runtime's
// or C's. So it calls write, clock_gettime, gettid and sigaction only, allocates nothing and takes
// no lock. It runs no Go code either: a goroutine that waits to print the report would need one of
// Go's processors, which the thread at fault may hold, or the collector may have stopped. So the
// text of the stacks that allocated and freed the object lies ready in the area: package guard
// makes it when it records them, at the rate of samples. The third stack, that of the access, is
// printed by the Go runtime, which knows how to walk a goroutine: the handler passes the signal on
// to it, and it ends the process, since the address is not near nil. A goroutine that has called
// debug.SetPanicOnFault panics instead.
//
// Handlers before and after this one:
//
//	The handler is installed when the first area is watched, long after Go's runtime has
//	installed its own. before is Go's, or that of a library that has installed one since. It gets
//	each signal with the same arguments, on the same stack, with the same signals blocked: the
//	action that we install has the mask and the flags of that one. SA_ONSTACK is necessary, since
//	a goroutine's stack has no room for a handler.
//	Go's handler of SIGSEGV is never installed a second time: os/signal does so only for signals
//	with _SigNotify, which SIGSEGV has not (runtime/sigtab_linux_generic.go, Go 1.26), and the
//	runtime replaces it only by SIG_DFL, when the process dies.
//	A handler that is installed after ours gets the signal first. It has ours as the one before
//	it, and must pass on what it doesn't know, as Go's rules for libraries demand anyway.

#define _GNU_SOURCE
#include "guard_cgo.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum { UNUSED, IN_USE, FREED }; // as sys.GuardUnused and so on

enum { PAGE_SHIFT = 12, MAX_AREAS = 64 };

// An entry is stored before the number that includes it: slubd_guard_watch releases what the
// handler acquires.
static struct slubd_guard_area *areas[MAX_AREAS];
static int num_areas;

static struct sigaction before;

// A line collects text for one write.
struct line {
	char text[512];
	size_t n;
};

static void emit(const char *s, size_t n) {
	while (n > 0) {
		ssize_t done = write(STDERR_FILENO, s, n);
		if (done < 0 && errno != EINTR)
			return;
		if (done > 0) {
			s += done;
			n -= done;
		}
	}
}

static void flush(struct line *l) {
	emit(l->text, l->n);
	l->n = 0;
}

static void put(struct line *l, const char *s) {
	while (*s && l->n < sizeof l->text)
		l->text[l->n++] = *s++;
}

static void put_number(struct line *l, uint64_t v, unsigned base, int digits) {
	char buf[24];
	size_t i = sizeof buf;
	buf[--i] = 0;
	do {
		buf[--i] = "0123456789abcdef"[v % base];
		v /= base;
		digits--;
	} while ((v > 0 || digits > 0) && i > 0);
	put(l, buf + i);
}

static void put_address(struct line *l, uint64_t addr) {
	put(l, "0x");
	put_number(l, addr, 16, 1);
}

static void put_bytes(struct line *l, uint64_t n) {
	put_number(l, n, 10, 1);
	put(l, n == 1 ? " byte" : " bytes");
}

static int64_t now(void) {
	struct timespec ts = {0};
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void put_event(struct line *l, const char *what, uint32_t cpu, int64_t at, const char *stack) {
	int64_t ms = (now() - at) / 1000000;
	put(l, what);
	put(l, " on CPU ");
	put_number(l, cpu, 10, 1);
	put(l, ", ");
	put_number(l, ms / 1000, 10, 1);
	put(l, ".");
	put_number(l, ms % 1000, 10, 3);
	put(l, " s ago:\n");
	flush(l);
	emit(stack, strnlen(stack, SLUBD_GUARD_TEXT));
}

// writes reports whether the access that faulted was a write.
static bool writes(const ucontext_t *uc) {
#if defined(__x86_64__)
	return uc->uc_mcontext.gregs[REG_ERR] & 2; // bit 1 of the page fault's error code
#elif defined(__aarch64__)
	// The records behind the registers end with one without a magic number. That of the syndrome
	// has the bit WnR.
	enum { SYNDROME = 0x45535201, WNR = 1 << 6 };
	struct record {
		uint32_t magic, size;
		uint64_t esr;
	};
	const char *p = (const char *)uc->uc_mcontext.__reserved;
	const char *end = p + sizeof uc->uc_mcontext.__reserved;
	while (p + sizeof(struct record) <= end) {
		const struct record *r = (const struct record *)p;
		if (r->magic == SYNDROME)
			return r->esr & WNR;
		if (r->magic == 0 || r->size == 0)
			return false;
		p += r->size;
	}
	return false;
#endif
}

static uint32_t state_of(const struct slubd_guard_slot *s) { return __atomic_load_n(&s->state, __ATOMIC_ACQUIRE); }

// A place says where an access lies: in the page of an object, or in a guard page beside one.
struct place {
	struct slubd_guard_slot *slot; // NULL: there was never an object near
	bool beside;
};

// between chooses the object that an access to a guard page has most likely left: one in use rather
// than one that is free, then the nearer one.
static struct slubd_guard_slot *between(struct slubd_guard_slot *left, struct slubd_guard_slot *right, uint64_t addr) {
	if (left && state_of(left) == UNUSED)
		left = NULL;
	if (right && state_of(right) == UNUSED)
		right = NULL;
	if (!left || !right)
		return left ? left : right;
	if (state_of(left) != state_of(right))
		return state_of(left) == IN_USE ? left : right;
	return addr - (left->object + left->size) < right->object - addr ? left : right;
}

static struct place locate(struct slubd_guard_area *a, uint64_t addr) {
	uint64_t page = (addr - a->start) >> PAGE_SHIFT, i = page / 2;
	if (page % 2 && i < SLUBD_GUARD_SLOTS) {
		struct slubd_guard_slot *s = &a->slots[i];
		return (struct place){state_of(s) == UNUSED ? NULL : s, false};
	}
	struct slubd_guard_slot *left = i > 0 ? &a->slots[i - 1] : NULL;
	struct slubd_guard_slot *right = i < SLUBD_GUARD_SLOTS ? &a->slots[i] : NULL;
	return (struct place){between(left, right, addr), true};
}

static const char *const rule = "==================================================================\n";

static void report(struct slubd_guard_area *a, uint64_t addr, bool write) {
	struct line l = {.n = 0};
	struct place at = locate(a, addr);
	struct slubd_guard_slot *s = at.slot;

	put(&l, rule);
	put(&l, "BUG: slubd guard: ");
	put(&l, !s ? "wild" : at.beside ? "out-of-bounds" : "use-after-free");
	put(&l, write ? " write at " : " read at ");
	put_address(&l, addr);
	if (!s) {
		put(&l, ", where there never was an object\n");
	} else if (addr < s->object) {
		put(&l, ", ");
		put_bytes(&l, s->object - addr);
		put(&l, " left of the object\n");
	} else if (addr < s->object + s->size) {
		put(&l, ", at byte ");
		put_number(&l, addr - s->object, 10, 1);
		put(&l, " of the object\n");
	} else {
		put(&l, ", ");
		put_bytes(&l, addr - (s->object + s->size) + 1);
		put(&l, " right of the object\n");
	}
	if (s) {
		put(&l, "\nguarded object #");
		put_number(&l, s - a->slots, 10, 1);
		put(&l, " at ");
		put_address(&l, s->object);
		put(&l, ", ");
		put_bytes(&l, s->size);
		put(&l, ", cache \"");
		put(&l, s->cache);
		put(&l, "\"\n");
		put_event(&l, "allocated", s->alloc_cpu, s->allocated, s->alloc_stack);
		if (state_of(s) == FREED)
			put_event(&l, "freed", s->free_cpu, s->freed, s->free_stack);
	}
	put(&l, "accessed by thread ");
	put_number(&l, syscall(SYS_gettid), 10, 1);
	put(&l, ", whose stack the Go runtime prints next\n");
	put(&l, rule);
	flush(&l);
	__atomic_add_fetch(&a->reports, 1, __ATOMIC_RELAXED);
}

// guarded returns the watched area that has the address, or NULL.
static struct slubd_guard_area *guarded(uint64_t addr) {
	int n = __atomic_load_n(&num_areas, __ATOMIC_ACQUIRE);
	for (int i = 0; i < n; i++) {
		struct slubd_guard_area *a = areas[i];
		uint64_t pages = __atomic_load_n(&a->pages, __ATOMIC_ACQUIRE);
		if (addr - a->start < pages << PAGE_SHIFT)
			return a;
	}
	return NULL;
}

// pass_on gives the signal to the handler that was there before. Where there was none, a fault
// takes the default action when its instruction is repeated.
static void pass_on(int sig, siginfo_t *info, void *context) {
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(sig, info, context);
	} else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(sig);
	} else if (before.sa_handler == SIG_DFL || info->si_code > 0) {
		struct sigaction none = {.sa_handler = SIG_DFL};
		sigaction(sig, &none, NULL);
		if (info->si_code <= 0) // sent by a process: no instruction is repeated
			raise(sig);
	}
}

static void on_fault(int sig, siginfo_t *info, void *context) {
	int saved = errno;
	uint64_t addr = (uintptr_t)info->si_addr;
	if (info->si_code > 0) { // from the kernel, so that the address is one
		struct slubd_guard_area *a = guarded(addr);
		if (a)
			report(a, addr, writes(context));
	}
	errno = saved;
	pass_on(sig, info, context);
}

static int install(void) {
	if (sigaction(SIGSEGV, NULL, &before))
		return errno;
	struct sigaction ours = before;
	if (!(before.sa_flags & SA_SIGINFO) && (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN))
		sigfillset(&ours.sa_mask);
	ours.sa_flags &= ~SA_RESETHAND;
	ours.sa_flags |= SA_SIGINFO | SA_ONSTACK;
	ours.sa_sigaction = on_fault;
	return sigaction(SIGSEGV, &ours, NULL) ? errno : 0;
}

int slubd_guard_watch(struct slubd_guard_area *area) {
	if (!area)
		return EINVAL;
	if (num_areas == MAX_AREAS)
		return ENOSPC;
	if (num_areas == 0) {
		int err = install();
		if (err)
			return err;
	}
	areas[num_areas] = area;
	__atomic_store_n(&num_areas, num_areas + 1, __ATOMIC_RELEASE);
	return 0;
}
