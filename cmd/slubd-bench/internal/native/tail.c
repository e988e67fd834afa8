// The loops of workload/tail.go, and what package tail has for them in Go. Change both together.
#include "tail.h"
#include "handover.h"
#include "object.h"

#include <string.h>
#include <time.h>

static inline int64_t ticks(const struct bench_timer *t)
{
#ifdef __x86_64__
	if (t->tsc) {
		uint32_t low, high;
		__asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
		return (int64_t)((uint64_t)high << 32 | low);
	}
#endif
	(void)t;
	struct timespec s;
	clock_gettime(CLOCK_MONOTONIC, &s);
	return (int64_t)s.tv_sec * 1000000000 + s.tv_nsec;
}

// bench_bucket is the index of a value in a histogram of HdrHistogram with two digits: 256 values
// one apart, then 128 two apart, 128 four apart, and so on.
int bench_bucket(int64_t ns)
{
	int bucket = 64 - __builtin_clzll((uint64_t)ns | (BENCH_SUB_BUCKETS - 1)) - BENCH_SUB_BITS;
	return (bucket << (BENCH_SUB_BITS - 1)) + (int)(ns >> bucket);
}

static inline void record(struct bench_recorder *r, int64_t *counts, int64_t n)
{
	int64_t ns = (int64_t)((unsigned __int128)(uint64_t)(n > 0 ? n : 0) * r->timer->scale >> 32);
	counts[bench_bucket(ns < BENCH_HIGHEST ? ns : BENCH_HIGHEST)]++;
}

static inline void begin(struct bench_recorder *r)
{
	int64_t now = ticks(r->timer);
	r->wanted = r->due;
	if (now < r->due) {
		while (now < r->due)
			now = ticks(r->timer);
		r->wanted = now;
	}
	r->due += r->timer->gap;
	r->start = now;
}

static inline void end(struct bench_recorder *r, int call)
{
	int64_t now = ticks(r->timer);
	record(r, r->counts + 2 * call * BENCH_BUCKETS, now - r->start);
	record(r, r->counts + (2 * call + 1) * BENCH_BUCKETS, now - r->wanted);
}

static void restart(struct bench_worker *w)
{
	struct bench_recorder *r = &w->recorder;
	r->timer = w->spec->timer;
	r->counts = r->timer->counts + (size_t)w->index * 2 * CALLS * BENCH_BUCKETS;
	memset(r->counts, 0, sizeof(int64_t) * 2 * CALLS * BENCH_BUCKETS);
	r->due = ticks(r->timer);
}

// resume follows a wait for another thread, which is no lateness of the calls that come now.
static void resume(struct bench_recorder *r)
{
	int64_t now = ticks(r->timer);
	if (r->due < now)
		r->due = now;
}

int64_t bench_timer_cost(const struct bench_timer *timer)
{
	enum { MANY = 10000 };
	static int64_t counts[BENCH_BUCKETS]; // one thread at a time
	struct bench_recorder r = { .timer = timer };
	memset(counts, 0, sizeof(counts));
	for (int i = 0; i < MANY; i++) {
		int64_t start = ticks(timer);
		record(&r, counts, ticks(timer) - start);
	}
	int64_t sum = 0, ns = 0;
	while ((sum += counts[bench_bucket(ns)]) < MANY / 2)
		ns++;
	return ns;
}

static inline void *timed_alloc(struct bench_recorder *r, size_t size, uint64_t value)
{
	begin(r);
	uint64_t *p = malloc(size);
	__asm__ volatile("" : : "r"(p) : "memory");
	end(r, CALL_ALLOC);
	if (__builtin_expect(p == NULL, 0))
		bench_die("malloc");
	*p = value;
	return p;
}

static inline void timed_free(struct bench_recorder *r, void *object)
{
	begin(r);
	free(object);
	end(r, CALL_FREE);
}

void bench_tail_idle(struct bench_worker *w, int64_t ops)
{
	struct bench_recorder *r = &w->recorder;
	restart(w);
	for (int64_t i = 0; i < ops; i++) {
		begin(r);
		end(r, CALL_FREE);
		begin(r);
		end(r, CALL_ALLOC);
	}
}

static void replace(struct bench_worker *w, int64_t ops)
{
	struct bench_recorder *r = &w->recorder;
	size_t size = w->spec->size;
	for (int64_t i = 0; i < ops; i++) {
		void **slot = &w->live[bench_draw(&w->random, w->spec->live)];
		timed_free(r, *slot);
		*slot = timed_alloc(r, size, i);
	}
}

void bench_tail_replace(struct bench_worker *w, int64_t ops)
{
	restart(w);
	replace(w, ops);
}

void bench_tail_waves(struct bench_worker *w, int64_t ops)
{
	struct bench_recorder *r = &w->recorder;
	int wave = w->spec->timer->wave;
	restart(w);
	for (int64_t done = 0; done < ops; done += w->spec->batch) {
		for (int i = 0; i < wave; i++)
			w->batch[i] = timed_alloc(r, w->spec->size, i);
		replace(w, w->spec->batch - wave);
		for (int i = 0; i < wave; i++) {
			void **slot = &w->live[bench_draw(&w->random, w->spec->live)];
			timed_free(r, *slot);
			*slot = w->batch[i];
		}
		r->due += w->spec->timer->rest;
	}
}

static void send(struct bench_worker *w, int64_t ops)
{
	for (int64_t done = 0; done < ops; done += w->spec->batch) {
		int waited;
		void **slot = bench_claim(w->queue, &waited);
		if (waited)
			resume(&w->recorder);
		for (int i = 0; i < w->spec->batch; i++)
			slot[i] = timed_alloc(&w->recorder, w->spec->size, i);
		bench_publish(w->queue);
	}
}

static void receive(struct bench_worker *w, int64_t ops)
{
	for (int64_t done = 0; done < ops; done += w->spec->batch) {
		int waited;
		void **slot = bench_take(w->queue, &waited);
		if (waited)
			resume(&w->recorder);
		for (int i = 0; i < w->spec->batch; i++) {
			void **kept = &w->live[bench_draw(&w->random, w->spec->live)];
			timed_free(&w->recorder, *kept);
			*kept = slot[i];
		}
		bench_release(w->queue);
	}
}

void bench_tail_cross(struct bench_worker *w, int64_t ops)
{
	restart(w);
	w->index % 2 == 0 ? send(w, ops) : receive(w, ops);
}

void bench_tail_prepare(struct bench_worker *w)
{
	const struct bench_spec *spec = w->spec;
	if (spec->kind == BENCH_TAIL_CROSS && w->index % 2 == 0)
		return; // the other side keeps the objects
	w->live = bench_array(spec->live);
	w->batch = bench_array(spec->timer->wave);
	for (int i = 0; i < spec->live; i++)
		w->live[i] = alloc(spec->size, i);
}

void bench_tail_finish(struct bench_worker *w)
{
	for (int i = 0; w->live != NULL && i < w->spec->live; i++)
		free(w->live[i]);
	free(w->live);
	free(w->batch);
}
