// What the threads of a run hand to each other. A run has one bench_shared; package
// loops has the same in shared.go.
#ifndef SLUBD_HANDOVER_H
#define SLUBD_HANDOVER_H

#include "bench.h"

#include <sched.h>

// bench_relax lets another thread have the CPU now and then, as relax in loops/queue.go:
// spins counts the looks of who waits.
static inline void bench_relax(unsigned spins)
{
	if (spins % 64 == 0)
		sched_yield();
}

// bench_batch is a parcel of xmalloc.
struct bench_batch {
	struct bench_batch *next;
	void *object[BENCH_XMALLOC_BATCH];
};

struct bench_shared {
	// larson, rptest, sh8: the array of pointers that no thread holds.
	_Alignas(128) void **box;
	// xmalloc: stacks of full and empty parcels.
	_Alignas(128) int lock;
	struct bench_batch *full, *empty;
	// mstress: objects between their owners.
	_Alignas(128) void *transfer[BENCH_TRANSFER];
	// cache-scratch: one object for each thread, allocated in a row by one.
	void **gifts;
};

struct bench_shared *bench_shared_new(const struct bench_spec *spec);

// bench_shared_free frees the room, after worker 0 has freed the objects.
void bench_shared_free(struct bench_shared *s);

// bench_exchange puts an array into the box and returns the one that was there. Nobody
// ever waits: there is one array more than threads.
static inline void **bench_exchange(void ***box, void **array)
{
	return __atomic_exchange_n(box, array, __ATOMIC_SEQ_CST);
}

struct bench_batch *bench_pop(struct bench_shared *s, struct bench_batch **stack);
void bench_push(struct bench_shared *s, struct bench_batch **stack, struct bench_batch *b);

#endif
