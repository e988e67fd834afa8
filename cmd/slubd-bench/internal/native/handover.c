#include "handover.h"
#include "object.h"

#include <string.h>

enum { BATCHES_PER_PAIR = 16 };

// mailbox_size is the number of objects in the mailbox before the first run.
static int mailbox_size(const struct bench_spec *spec)
{
	switch (spec->kind) {
	case BENCH_LARSON: case BENCH_SH8: return spec->live;
	case BENCH_RPTEST: return spec->batch;
	default: return 0;
	}
}

struct bench_shared *bench_shared_new(const struct bench_spec *spec)
{
	struct bench_shared *s = aligned_alloc(128, sizeof(*s));
	if (s == NULL)
		bench_die("aligned_alloc");
	memset(s, 0, sizeof(*s));
	// What is prepared for all threads is drawn as by one more thread.
	struct bench_worker parent = { .spec = spec, .random = bench_random(spec->seed, spec->threads) };
	s->mailbox = bench_array(mailbox_size(spec));
	fill(&parent, s->mailbox, mailbox_size(spec));
	s->prealloc = bench_array(spec->threads);
	for (int i = 0; spec->kind == BENCH_CACHE_SCRATCH && i < spec->threads; i++)
		s->prealloc[i] = alloc(spec->size, i);
	for (int i = 0; spec->kind == BENCH_XMALLOC && i < BATCHES_PER_PAIR * spec->threads / 2; i++) {
		struct bench_batch *b = calloc(1, sizeof(*b));
		if (b == NULL)
			bench_die("calloc");
		bench_push(s, &s->empty, b);
	}
	return s;
}

void bench_shared_free(struct bench_shared *s)
{
	for (struct bench_batch *b = s->empty, *next; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
	free(s->prealloc);
	free(s->mailbox);
	free(s);
}

static void lock_exchange(struct bench_shared *s)
{
	for (unsigned spins = 1; __atomic_exchange_n(&s->lock, 1, __ATOMIC_SEQ_CST) != 0; spins++)
		bench_relax(spins);
}

static void unlock_exchange(struct bench_shared *s)
{
	__atomic_store_n(&s->lock, 0, __ATOMIC_SEQ_CST);
}

struct bench_batch *bench_pop(struct bench_shared *s, struct bench_batch **stack)
{
	for (unsigned spins = 1;; spins++) {
		lock_exchange(s);
		struct bench_batch *b = *stack;
		if (b != NULL)
			*stack = b->next;
		unlock_exchange(s);
		if (b != NULL)
			return b;
		bench_relax(spins);
	}
}

void bench_push(struct bench_shared *s, struct bench_batch **stack, struct bench_batch *b)
{
	lock_exchange(s);
	b->next = *stack;
	*stack = b;
	unlock_exchange(s);
}
