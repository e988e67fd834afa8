// Threads and clocks, and which library provides malloc.
#define _GNU_SOURCE
#include "bench.h"
#include "handover.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct thread {
	struct bench_worker worker;
	const struct bench_body *body;
	pthread_barrier_t *together; // passed before and after the timed loop
	pthread_t id;
	int64_t ns, end;
};

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

enum { BITS = 8 * sizeof(unsigned long) };

// pin restricts the calling thread to one CPU. cpu_set_t has room for 1024 CPUs only.
static void pin(int cpu)
{
	unsigned long mask[BENCH_MAX_CPUS / BITS] = { 0 };
	mask[cpu / BITS] = 1ul << cpu % BITS;
	if (syscall(SYS_sched_setaffinity, 0, sizeof(mask), mask) != 0)
		bench_die("sched_setaffinity");
}

// timed runs the loop, in chunks if their times are wanted.
static void timed(struct thread *t, int64_t last)
{
	const struct bench_spec *spec = t->worker.spec;
	if (spec->chunk == 0) {
		t->body->loop(&t->worker, spec->ops);
		return;
	}
	int64_t n = spec->ops / spec->chunk, *chunks = &spec->chunks[t->worker.index * n];
	for (int64_t i = 0; i < n; i++) {
		t->body->loop(&t->worker, spec->chunk);
		int64_t at = now();
		chunks[i] = at - last;
		last = at;
	}
}

// run warms the thread's caches, waits for the other threads and times its loop. No thread frees
// its objects while another one measures.
static void *run(void *arg)
{
	struct thread *t = arg;
	const struct bench_spec *spec = t->worker.spec;
	const struct bench_body *body = t->body;
	if (spec->ncpus > 0)
		pin(spec->cpus[t->worker.index % spec->ncpus]);
	body->prepare(&t->worker);
	body->loop(&t->worker, spec->warm);
	pthread_barrier_wait(t->together);
	int64_t begin = now();
	timed(t, begin);
	t->end = now();
	t->ns = t->end - begin;
	pthread_barrier_wait(t->together);
	body->finish(&t->worker);
	return NULL;
}

uint64_t bench_run(const struct bench_spec *spec, const struct bench_rcu *rcu, int64_t *ns, int64_t *drain)
{
	pthread_barrier_t together;
	struct bench_shared *shared = bench_shared_new(spec);
	uint64_t sum = 0;
	struct thread *threads = calloc(spec->threads, sizeof(*threads));
	if (threads == NULL)
		bench_die("calloc");
	if (pthread_barrier_init(&together, NULL, spec->threads) != 0)
		bench_die("pthread_barrier_init");
	if (rcu != NULL)
		rcu->start(spec);
	for (int i = 0; i < spec->threads; i++) {
		struct thread *t = &threads[i];
		t->body = rcu != NULL ? &rcu->bodies[spec->kind] : &bench_bodies[spec->kind];
		t->together = &together;
		t->worker.spec = spec;
		t->worker.shared = shared;
		t->worker.index = i;
		t->worker.random = bench_random(spec->seed, i);
		if (spec->kind == BENCH_XFER || spec->kind == BENCH_TAIL_CROSS)
			t->worker.queue = i % 2 ? t[-1].worker.queue : bench_queue_new();
		if (pthread_create(&t->id, NULL, run, t) != 0)
			bench_die("pthread_create");
	}
	int64_t end = 0;
	for (int i = 0; i < spec->threads; i++) {
		pthread_join(threads[i].id, NULL);
		ns[i] = threads[i].ns;
		sum += threads[i].worker.sum;
		if (threads[i].end > end)
			end = threads[i].end;
	}
	if (rcu != NULL)
		rcu->stop(spec);
	*drain = now() - end;
	for (int i = 0; (spec->kind == BENCH_XFER || spec->kind == BENCH_TAIL_CROSS) && i < spec->threads; i += 2)
		bench_queue_free(threads[i].worker.queue);
	pthread_barrier_destroy(&together);
	free(threads);
	bench_shared_free(shared);
	return sum;
}

const struct bench_rcu *bench_load(const char *path, const char **why)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const struct bench_rcu *rcu = library != NULL ? dlsym(library, "bench_rcu") : NULL;
	if (rcu == NULL)
		*why = dlerror();
	return rcu;
}

int bench_has(const struct bench_rcu *rcu, enum bench_kind kind) { return rcu->bodies[kind].loop != NULL; }

const char *bench_provider(const char *symbol)
{
	Dl_info info;
	void *address = dlsym(RTLD_DEFAULT, symbol);
	if (address == NULL || dladdr(address, &info) == 0)
		return NULL;
	return info.dli_fname;
}
