// Threads, clocks and the question who provides malloc.
#define _GNU_SOURCE
#include "bench.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct thread {
	struct bench_worker worker;
	pthread_barrier_t *together; // passed before and after the timed loop
	pthread_t id;
	int64_t ns;
};

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// body warms the thread's caches, waits for its fellows and times its loop.
// Nobody cleans up while another still measures.
static void *body(void *arg)
{
	struct thread *t = arg;
	bench_prepare(&t->worker);
	bench_loop(&t->worker, t->worker.spec->warm);
	pthread_barrier_wait(t->together);
	int64_t begin = now();
	bench_loop(&t->worker, t->worker.spec->ops);
	t->ns = now() - begin;
	pthread_barrier_wait(t->together);
	bench_finish(&t->worker);
	return NULL;
}

void bench_run(const struct bench_spec *spec, int64_t *ns)
{
	pthread_barrier_t together;
	struct thread *threads = calloc(spec->threads, sizeof(*threads));
	if (threads == NULL)
		bench_die("calloc");
	if (pthread_barrier_init(&together, NULL, spec->threads) != 0)
		bench_die("pthread_barrier_init");
	for (int i = 0; i < spec->threads; i++) {
		struct thread *t = &threads[i];
		t->together = &together;
		t->worker.spec = spec;
		t->worker.index = i;
		if (spec->kind == BENCH_XFER)
			t->worker.queue = i % 2 ? t[-1].worker.queue : bench_queue_new();
		if (pthread_create(&t->id, NULL, body, t) != 0)
			bench_die("pthread_create");
	}
	for (int i = 0; i < spec->threads; i++) {
		pthread_join(threads[i].id, NULL);
		ns[i] = threads[i].ns;
	}
	for (int i = 0; spec->kind == BENCH_XFER && i < spec->threads; i += 2)
		bench_queue_free(threads[i].worker.queue);
	pthread_barrier_destroy(&together);
	free(threads);
}

const char *bench_provider(const char *symbol)
{
	Dl_info info;
	void *address = dlsym(RTLD_DEFAULT, symbol);
	if (address == NULL || dladdr(address, &info) == 0)
		return NULL;
	return info.dli_fname;
}
