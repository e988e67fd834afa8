// The loops of workload/malloc.go in which objects go from thread to thread. Their Go twins are
// made from loops/loops.go.tmpl.
#include "malloc_loops.h"
#include "handover.h"
#include "object.h"

#include <pthread.h>

void bench_larson(struct bench_worker *w, int64_t ops)
{
	for (int64_t done = 0; done < ops; done += w->spec->batch) {
		bench_replace(w, w->spec->batch);
		w->live = bench_swap(&w->shared->mailbox, w->live);
	}
}

// drain_mailbox frees the array that no thread holds; one thread does it.
static void drain_mailbox(struct bench_worker *w, int n)
{
	if (w->index == 0)
		drain(w, w->shared->mailbox, n);
}

void bench_larson_finish(struct bench_worker *w)
{
	bench_finish_live(w);
	drain_mailbox(w, w->spec->live);
}

// mstress_phase is the life of one thread. Its successor takes over the objects that it leaves.
static void *mstress_phase(void *arg)
{
	struct bench_worker *w = arg;
	const uint32_t *sizes = w->spec->sizes;
	uint32_t n = w->spec->live, nsizes = w->spec->nsizes;
	uint64_t random = w->random, sum = w->sum, weight = w->spec->weight;
	void **live = w->live;
	for (int i = 0; i < w->spec->batch; i++) {
		uint32_t slot = bench_draw(&random, n);
		uint32_t size = sizes[bench_draw(&random, nsizes)];
		void *old = live[slot];
		if (i % BENCH_MSTRESS_EVERY == 0) {
			void **other = &w->shared->transfer[bench_draw(&random, BENCH_TRANSFER)];
			old = __atomic_exchange_n(other, old, __ATOMIC_SEQ_CST);
		}
		if (old != NULL)
			sum = sum * weight + take(old);
		live[slot] = alloc(size, random + size);
	}
	w->random = random;
	w->sum = sum;
	return NULL;
}

void bench_mstress(struct bench_worker *w, int64_t ops)
{
	for (int64_t done = 0; done < ops; done += w->spec->batch) {
		pthread_t thread;
		if (pthread_create(&thread, NULL, mstress_phase, w) != 0)
			bench_die("pthread_create");
		pthread_join(thread, NULL);
	}
}

void bench_mstress_finish(struct bench_worker *w)
{
	bench_finish_live(w);
	if (w->index == 0)
		drain(w, w->shared->transfer, BENCH_TRANSFER);
}

void bench_rptest_prepare(struct bench_worker *w)
{
	bench_prepare_live(w);
	w->batch = bench_array(w->spec->batch);
}

void bench_rptest(struct bench_worker *w, int64_t ops)
{
	const uint32_t *sizes = w->spec->sizes;
	uint32_t live_n = w->spec->live, nsizes = w->spec->nsizes, n = w->spec->batch;
	uint64_t random = w->random, sum = w->sum, weight = w->spec->weight;
	void **live = w->live, **batch = w->batch;
	for (int64_t done = 0, step = 0; done < ops; done += n, step++) {
		int cross = step % BENCH_RPTEST_CROSS == 0;
		uint32_t slot = bench_draw(&random, live_n);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t size = sizes[bench_draw(&random, nsizes)];
			if (cross)
				batch[i] = live[slot];
			else
				sum = sum * weight + take(live[slot]);
			live[slot] = alloc(size, random + size);
			if (++slot == live_n)
				slot = 0;
		}
		if (!cross)
			continue;
		batch = bench_swap(&w->shared->mailbox, batch);
		for (uint32_t i = 0; i < n; i++) {
			sum = sum * weight + take(batch[i]);
			batch[i] = NULL;
		}
	}
	w->batch = batch;
	w->random = random;
	w->sum = sum;
}

void bench_rptest_finish(struct bench_worker *w)
{
	bench_finish_live(w);
	drain_mailbox(w, w->spec->batch);
	free(w->batch);
}

static void produce(struct bench_worker *w, int64_t ops)
{
	struct bench_shared *s = w->shared;
	size_t size = w->spec->size;
	for (int64_t done = 0; done < ops; done += BENCH_XMALLOC_BATCH) {
		struct bench_batch *b = bench_pop(s, &s->empty);
		for (int i = 0; i < BENCH_XMALLOC_BATCH; i++)
			b->object[i] = alloc(size, done + i);
		bench_push(s, &s->full, b);
	}
}

static void consume(struct bench_worker *w, int64_t ops)
{
	struct bench_shared *s = w->shared;
	uint64_t sum = w->sum, weight = w->spec->weight;
	for (int64_t done = 0; done < ops; done += BENCH_XMALLOC_BATCH) {
		struct bench_batch *b = bench_pop(s, &s->full);
		for (int i = 0; i < BENCH_XMALLOC_BATCH; i++) {
			sum = sum * weight + take(b->object[i]);
			b->object[i] = NULL;
		}
		bench_push(s, &s->empty, b);
	}
	w->sum = sum;
}

void bench_xmalloc(struct bench_worker *w, int64_t ops)
{
	w->index % 2 == 0 ? produce(w, ops) : consume(w, ops);
}

void bench_sh_prepare(struct bench_worker *w)
{
	w->live = bench_array(w->spec->live);
	w->batch = bench_array(w->spec->live);
	w->own = bench_array(w->spec->live);
	if (w->spec->kind == BENCH_SH6)
		fill(w, w->own, w->spec->live);
}

void bench_sh(struct bench_worker *w, int64_t ops)
{
	void ***mailbox = w->spec->kind == BENCH_SH6 ? &w->own : &w->shared->mailbox;
	const uint32_t *sizes = w->spec->sizes;
	uint32_t nsizes = w->spec->nsizes;
	int half = w->spec->live;
	uint64_t random = w->random, sum = w->sum, weight = w->spec->weight;
	void **live = w->live, **batch = w->batch;
	for (int64_t done = 0; done < ops; done += 2 * half) {
		for (int i = 0; i < half; i++) {
			uint32_t size = sizes[bench_draw(&random, nsizes)];
			batch[i] = alloc(size, random + size);
		}
		for (int i = 0; i < half; i++) {
			uint32_t size = sizes[bench_draw(&random, nsizes)];
			live[i] = alloc(size, random + size);
		}
		for (int i = half - 1; i >= 0; i--) {
			sum = sum * weight + take(live[i]);
			live[i] = NULL;
		}
		batch = bench_swap(mailbox, batch);
		for (int i = 0; i < half; i++) {
			sum = sum * weight + take(batch[i]);
			batch[i] = NULL;
		}
	}
	w->batch = batch;
	w->random = random;
	w->sum = sum;
}

void bench_sh_finish(struct bench_worker *w)
{
	drain(w, w->own, w->spec->live);
	drain_mailbox(w, w->spec->kind == BENCH_SH8 ? w->spec->live : 0);
	free(w->own);
	free(w->batch);
	free(w->live);
}
