// What all loops do with an object.
#ifndef SLUBD_OBJECT_H
#define SLUBD_OBJECT_H

#include "bench.h"

#include <stdlib.h>

// alloc allocates an object and stores eight bytes, as every Go loop does. The barrier tells the
// compiler that the object escapes; without it GCC removes malloc and free as a pair without
// effect.
static inline void *alloc(size_t size, uint64_t value)
{
	uint64_t *p = malloc(size);
	if (__builtin_expect(p == NULL, 0))
		bench_die("malloc");
	*p = value;
	__asm__ volatile("" : : "r"(p) : "memory");
	return p;
}

// take frees an object and returns the word that alloc stored.
static inline uint64_t take(void *object)
{
	uint64_t value = *(uint64_t *)object;
	free(object);
	return value;
}

// fill allocates n objects of sizes that w draws.
static inline void fill(struct bench_worker *w, void **array, int n)
{
	for (int i = 0; i < n; i++) {
		uint32_t size = w->spec->sizes[bench_draw(&w->random, w->spec->nsizes)];
		array[i] = alloc(size, w->random + size);
	}
}

// drain frees the objects of an array that has gaps, and clears it.
static inline void drain(struct bench_worker *w, void **array, int n)
{
	for (int i = 0; i < n; i++) {
		if (array[i] != NULL)
			w->sum = w->sum * w->spec->weight + take(array[i]);
		array[i] = NULL;
	}
}

#endif
