// Shared by loops.c, team.c and native_cgo.go.
#ifndef SLUBD_BENCH_H
#define SLUBD_BENCH_H

#include <stddef.h>
#include <stdint.h>

enum bench_kind { BENCH_PAIR, BENCH_BATCH, BENCH_CHURN, BENCH_MIX, BENCH_XFER };

// bench_spec is workload.Spec for C. order has batch entries; sizes are those
// of mix.
struct bench_spec {
	enum bench_kind kind;
	int threads, batch, live, nsizes;
	size_t size;
	int64_t ops, warm;
	uint64_t seed;
	const uint32_t *order, *sizes;
};

// bench_run runs the loops and stores each thread's nanoseconds for spec->ops
// pairs into ns[spec->threads]. It exits the process when malloc fails.
void bench_run(const struct bench_spec *spec, int64_t *ns);

// bench_provider returns the file that defines symbol, or NULL.
const char *bench_provider(const char *symbol);

// bench_draw is workload.Random.Draw.
static inline uint32_t bench_draw(uint64_t *state, uint32_t n)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((*state >> 32) * n >> 32);
}

static inline uint64_t bench_random(uint64_t seed, int thread)
{
	return seed + (uint64_t)thread * 0x9E3779B97F4A7C15u;
}

// bench_worker is one thread of a run. queue is shared by the two threads of
// an xfer pair, of which the even one produces.
struct bench_worker {
	const struct bench_spec *spec;
	struct bench_queue *queue;
	int index;
	void **live;
	uint64_t random;
};

_Noreturn void bench_die(const char *what);
struct bench_queue *bench_queue_new(void);
void bench_queue_free(struct bench_queue *queue);
void bench_prepare(struct bench_worker *w);
void bench_loop(struct bench_worker *w, int64_t ops);
void bench_finish(struct bench_worker *w);

#endif
