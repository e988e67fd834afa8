// What the threads of a run hand to each other. A run has one bench_shared. The Go twin is
// loops/shared.go.
#ifndef SLUBD_HANDOVER_H
#define SLUBD_HANDOVER_H

#include "bench.h"

#include <sched.h>

// bench_relax lets other threads run now and then, as relax in loops/shared.go. spins is how often
// the waiting thread has looked.
static inline void bench_relax(unsigned spins)
{
	if (spins % 64 == 0)
		sched_yield();
}

// bench_batch is a batch of xmalloc's objects.
struct bench_batch {
	struct bench_batch *next;
	void *object[BENCH_XMALLOC_BATCH];
};

struct bench_shared {
	// larson, rptest, sh8: the array of pointers that no thread holds.
	_Alignas(128) void **mailbox;
	// xmalloc: stacks of full and empty batches.
	_Alignas(128) int lock;
	struct bench_batch *full, *empty;
	// mstress: objects between their owners.
	_Alignas(128) void *transfer[BENCH_TRANSFER];
	// cache-scratch: adjacent objects that one thread allocates, one for each thread.
	void **prealloc;
};

struct bench_shared *bench_shared_new(const struct bench_spec *spec);

// bench_shared_free frees s, after worker 0 has freed the objects.
void bench_shared_free(struct bench_shared *s);

// bench_swap puts an array into the mailbox and returns the one that was there. No thread ever
// waits, because there is one array more than threads.
static inline void **bench_swap(void ***mailbox, void **array)
{
	return __atomic_exchange_n(mailbox, array, __ATOMIC_SEQ_CST);
}

struct bench_batch *bench_pop(struct bench_shared *s, struct bench_batch **stack);
void bench_push(struct bench_shared *s, struct bench_batch **stack, struct bench_batch *b);

#endif
