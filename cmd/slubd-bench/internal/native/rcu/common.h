// What the loops of liburcu and ck_epoch share. They are compiled when the suite runs, against the
// headers and libraries that are installed then, and preloaded into a child together with its
// malloc.
#ifndef SLUBD_RCU_COMMON_H
#define SLUBD_RCU_COMMON_H

#include "bench.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 1024, MAX_READERS = 64 };

// die ends the process. bench_die cannot be called from a loaded library.
static inline _Noreturn void die(const char *what)
{
	fprintf(stderr, "slubd-bench: %s\n", what);
	_exit(1);
}

static inline int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// A reader of workload.Readers.
struct reader {
	pthread_t id;
	int64_t section, sleep; // ns
	int index;
};

static struct reader readers[MAX_READERS];
static int quit;

// rest takes the time between a reader's quiescent states, or of its section.
static inline void rest(const struct reader *r)
{
	if (r->sleep > 0) {
		struct timespec t = { .tv_nsec = r->sleep };
		nanosleep(&t, NULL);
		return;
	}
	for (int64_t begin = now(); now() - begin < r->section;)
		;
}

static inline void start_readers(const struct bench_spec *spec, void *(*run)(void *))
{
	if (spec->readers > MAX_READERS || spec->threads > MAX_THREADS)
		die("too many threads");
	__atomic_store_n(&quit, 0, __ATOMIC_SEQ_CST);
	for (int i = 0; i < spec->readers; i++) {
		readers[i] = (struct reader){ .section = spec->section, .sleep = spec->sleep, .index = i };
		if (pthread_create(&readers[i].id, NULL, run, &readers[i]) != 0)
			die("pthread_create failed");
	}
}

static inline void stop_readers(const struct bench_spec *spec)
{
	__atomic_store_n(&quit, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < spec->readers; i++)
		pthread_join(readers[i].id, NULL);
}

static inline int quitting(void) { return __atomic_load_n(&quit, __ATOMIC_RELAXED); }

// reserve is malloc for an object of at least the given size, which has a head for callbacks.
static inline void *reserve(size_t size, size_t least)
{
	void *p = malloc(size < least ? least : size);
	if (__builtin_expect(p == NULL, 0))
		die("malloc failed");
	return p;
}

// The word that readers load.
static uint64_t word = 1, *found = &word;

#endif
