// The loops. Each has a twin in package loops, made from loops.go.tmpl, with the same operations in
// the same order; change both together.
#include "bench.h"
#include "handover.h"
#include "malloc_loops.h"
#include "object.h"
#include "tail.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void bench_die(const char *what)
{
	fprintf(stderr, "slubd-bench: %s failed\n", what);
	_exit(1);
}

static void pair(struct bench_worker *w, int64_t ops)
{
	size_t size = w->spec->size;
	for (int64_t i = 0; i < ops; i++)
		free(alloc(size, i));
}

static void batch(struct bench_worker *w, int64_t ops)
{
	size_t size = w->spec->size;
	int n = w->spec->batch;
	const uint32_t *order = w->spec->order;
	void **live = w->live;
	for (int64_t done = 0; done < ops; done += n) {
		for (int i = 0; i < n; i++)
			live[i] = alloc(size, i);
		for (int i = 0; i < n; i++)
			free(live[order[i]]);
	}
}

static void churn(struct bench_worker *w, int64_t ops)
{
	size_t size = w->spec->size;
	uint32_t n = w->spec->live;
	uint64_t random = w->random;
	void **live = w->live;
	for (int64_t i = 0; i < ops; i++) {
		uint32_t slot = bench_draw(&random, n);
		free(live[slot]);
		live[slot] = alloc(size, i);
	}
	w->random = random;
}

static void mix(struct bench_worker *w, int64_t ops)
{
	const uint32_t *sizes = w->spec->sizes;
	uint32_t n = w->spec->live, classes = w->spec->nsizes;
	uint64_t random = w->random;
	void **live = w->live;
	for (int64_t i = 0; i < ops; i++) {
		uint32_t slot = bench_draw(&random, n);
		uint32_t class = bench_draw(&random, classes);
		free(live[slot]);
		live[slot] = alloc(sizes[class], i);
	}
	w->random = random;
}

// bench_queue passes batches from one producer to one consumer. head and tail lie apart because
// each is written by one side; both are sequentially consistent because Go's atomics are.
enum { DEPTH = 16, MAX_BATCH = 64 };
struct bench_queue {
	_Alignas(128) uint64_t head; // batches taken, written by consume
	_Alignas(128) uint64_t tail; // batches published, written by produce
	_Alignas(128) void *slot[DEPTH][MAX_BATCH];
};

struct bench_queue *bench_queue_new(void)
{
	struct bench_queue *q = aligned_alloc(128, sizeof(*q));
	if (q == NULL)
		bench_die("aligned_alloc");
	q->head = q->tail = 0;
	return q;
}

void bench_queue_free(struct bench_queue *queue) { free(queue); }

// await returns when *word no longer is value, and whether it was.
static inline int await(uint64_t *word, uint64_t value)
{
	unsigned spins = 1;
	for (; __atomic_load_n(word, __ATOMIC_SEQ_CST) == value; spins++)
		bench_relax(spins);
	return spins > 1;
}

void **bench_claim(struct bench_queue *q, int *waited)
{
	*waited = await(&q->head, q->tail - DEPTH);
	return q->slot[q->tail % DEPTH];
}

void bench_publish(struct bench_queue *q) { __atomic_store_n(&q->tail, q->tail + 1, __ATOMIC_SEQ_CST); }

void **bench_take(struct bench_queue *q, int *waited)
{
	*waited = await(&q->tail, q->head);
	return q->slot[q->head % DEPTH];
}

void bench_release(struct bench_queue *q) { __atomic_store_n(&q->head, q->head + 1, __ATOMIC_SEQ_CST); }

static void produce(struct bench_worker *w, int64_t ops)
{
	struct bench_queue *q = w->queue;
	size_t size = w->spec->size;
	int n = w->spec->batch, waited;
	for (int64_t done = 0; done < ops; done += n) {
		void **slot = bench_claim(q, &waited);
		for (int i = 0; i < n; i++)
			slot[i] = alloc(size, i);
		bench_publish(q);
	}
}

static void consume(struct bench_worker *w, int64_t ops)
{
	struct bench_queue *q = w->queue;
	int n = w->spec->batch, waited;
	for (int64_t done = 0; done < ops; done += n) {
		void **slot = bench_take(q, &waited);
		for (int i = 0; i < n; i++)
			free(slot[i]);
		bench_release(q);
	}
}

static void xfer(struct bench_worker *w, int64_t ops)
{
	w->index % 2 == 0 ? produce(w, ops) : consume(w, ops);
}

void **bench_array(int n)
{
	void **array = calloc(n + 1, sizeof(void *)); // never of size 0
	if (array == NULL)
		bench_die("calloc");
	return array;
}

// prepare allocates the objects of churn and mix. For the others it only makes the array.
static void prepare(struct bench_worker *w)
{
	const struct bench_spec *spec = w->spec;
	w->live = bench_array(spec->live > spec->batch ? spec->live : spec->batch);
	for (int i = 0; i < spec->live; i++) {
		size_t size = spec->size;
		if (spec->kind == BENCH_MIX)
			size = spec->sizes[bench_draw(&w->random, spec->nsizes)];
		w->live[i] = alloc(size, i);
	}
}

static void finish(struct bench_worker *w)
{
	for (int i = 0; i < w->spec->live; i++)
		free(w->live[i]);
	free(w->live);
}

static void nothing(struct bench_worker *w) { (void)w; }

const struct bench_body bench_bodies[BENCH_KINDS] = {
	[BENCH_PAIR] = { prepare, pair, finish },
	[BENCH_BATCH] = { prepare, batch, finish },
	[BENCH_CHURN] = { prepare, churn, finish },
	[BENCH_MIX] = { prepare, mix, finish },
	[BENCH_XFER] = { prepare, xfer, finish },
	[BENCH_LARSON] = { bench_prepare_live, bench_larson, bench_larson_finish },
	[BENCH_MSTRESS] = { bench_prepare_live, bench_mstress, bench_mstress_finish },
	[BENCH_RPTEST] = { bench_rptest_prepare, bench_rptest, bench_rptest_finish },
	[BENCH_XMALLOC] = { nothing, bench_xmalloc, nothing },
	[BENCH_SH6] = { bench_sh_prepare, bench_sh, bench_sh_finish },
	[BENCH_SH8] = { bench_sh_prepare, bench_sh, bench_sh_finish },
	[BENCH_ALLOC_TEST] = { bench_prepare_live, bench_replace, bench_finish_live },
	[BENCH_CACHE_SCRATCH] = { bench_prepare_prealloc, bench_write_often, nothing },
	[BENCH_CACHE_THRASH] = { nothing, bench_write_often, nothing },
	[BENCH_MALLOC_MIX] = { bench_prepare_live, bench_malloc_mix, bench_finish_live },
	[BENCH_LARGE] = { nothing, bench_large, nothing },
	[BENCH_TRACE] = { bench_replay_prepare, bench_replay, bench_finish_live },
	[BENCH_TAIL_IDLE] = { nothing, bench_tail_idle, nothing },
	[BENCH_TAIL_STEADY] = { bench_tail_prepare, bench_tail_replace, bench_tail_finish },
	[BENCH_TAIL_WAVES] = { bench_tail_prepare, bench_tail_waves, bench_tail_finish },
	[BENCH_TAIL_CROSS] = { bench_tail_prepare, bench_tail_cross, bench_tail_finish },
};
