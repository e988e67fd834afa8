// The loops of workload/malloc.go in which a thread keeps its objects to itself, and what these
// have in common. Their Go twins are made from loops/loops.go.tmpl; malloc_mix is in slubd.go and
// goheap.go.
#include "malloc_loops.h"
#include "handover.h"
#include "object.h"

#include <malloc.h>

void bench_prepare_live(struct bench_worker *w)
{
	w->live = bench_array(w->spec->live);
	fill(w, w->live, w->spec->live);
}

void bench_finish_live(struct bench_worker *w)
{
	drain(w, w->live, w->spec->live);
	free(w->live);
}

void bench_replace(struct bench_worker *w, int64_t ops)
{
	const uint32_t *sizes = w->spec->sizes;
	uint32_t n = w->spec->live, nsizes = w->spec->nsizes;
	uint64_t random = w->random, sum = w->sum, weight = w->spec->weight;
	void **live = w->live;
	for (int64_t i = 0; i < ops; i++) {
		uint32_t slot = bench_draw(&random, n);
		uint32_t size = sizes[bench_draw(&random, nsizes)];
		sum = sum * weight + take(live[slot]);
		live[slot] = alloc(size, random + size);
	}
	w->random = random;
	w->sum = sum;
}

void bench_malloc_mix(struct bench_worker *w, int64_t ops)
{
	const uint32_t *sizes = w->spec->sizes;
	uint32_t n = w->spec->live, nsizes = w->spec->nsizes;
	uint64_t random = w->random, sum = w->sum, weight = w->spec->weight;
	void **live = w->live;
	for (int64_t i = 0; i < ops; i++) {
		uint32_t slot = bench_draw(&random, n);
		uint32_t size = sizes[bench_draw(&random, nsizes)];
		if (i % BENCH_MALLOC_MIX_REALLOC == 0) {
			uint64_t *p = realloc(live[slot], size);
			if (__builtin_expect(p == NULL, 0))
				bench_die("realloc");
			sum = sum * weight + *p;
			*p = random + size;
			live[slot] = p;
			continue;
		}
		sum = sum * weight + take(live[slot]);
		live[slot] = alloc(size, random + size);
	}
	w->random = random;
	w->sum = sum;
}

void bench_usable(const uint32_t *sizes, int n, uint32_t *given)
{
	for (int i = 0; i < n; i++) {
		void *p = alloc(sizes[i], 0);
		given[i] = malloc_usable_size(p);
		free(p);
	}
}

void bench_prepare_prealloc(struct bench_worker *w)
{
	drain(w, &w->shared->prealloc[w->index], 1);
}

void bench_write_often(struct bench_worker *w, int64_t ops)
{
	size_t size = w->spec->size;
	uint64_t sum = w->sum, weight = w->spec->weight;
	for (int64_t i = 0; i < ops; i++) {
		volatile uint64_t *p = alloc(size, i);
		for (int k = 0; k < BENCH_CACHE_WRITES; k++)
			*p += 1;
		sum = sum * weight + take((void *)p);
	}
	w->sum = sum;
}

void bench_large(struct bench_worker *w, int64_t ops)
{
	size_t size = w->spec->size;
	uint64_t sum = w->sum, weight = w->spec->weight;
	for (int64_t i = 0; i < ops; i++) {
		char *p = alloc(size, i);
		for (size_t offset = BENCH_PAGE_SIZE; offset + sizeof(uint64_t) <= size; offset += BENCH_PAGE_SIZE)
			*(volatile uint64_t *)(p + offset) = i;
		sum = sum * weight + take(p);
	}
	w->sum = sum;
}

// bench_replay_prepare makes room for a trace's objects, none of which is alive at its beginning.
void bench_replay_prepare(struct bench_worker *w)
{
	w->live = bench_array(w->spec->live);
}

void bench_replay(struct bench_worker *w, int64_t ops)
{
	const struct bench_event *events = w->spec->events;
	int64_t n = w->spec->nevents;
	uint64_t weight = w->spec->weight;
	void **live = w->live;
	for (int64_t done = 0; done < ops; done += w->spec->batch) {
		uint64_t sum = 0;
		for (int64_t i = 0; i < n; i++) {
			void **slot = &live[events[i].number];
			size_t size = events[i].size;
			if (size == 0) {
				sum = sum * weight + take(*slot);
				*slot = NULL;
				continue;
			}
			*slot = alloc(size, i);
		}
		w->sum = sum;
	}
}
