// Shared by the C files and native_cgo.go.
#ifndef SLUBD_BENCH_H
#define SLUBD_BENCH_H

#include <stddef.h>
#include <stdint.h>

enum bench_kind {
	BENCH_PAIR, BENCH_BATCH, BENCH_CHURN, BENCH_MIX, BENCH_XFER,
	BENCH_LARSON, BENCH_MSTRESS, BENCH_RPTEST, BENCH_XMALLOC, BENCH_SH6, BENCH_SH8,
	BENCH_ALLOC_TEST, BENCH_CACHE_SCRATCH, BENCH_CACHE_THRASH, BENCH_MALLOC_MIX,
	BENCH_RCU_READ, BENCH_RCU_ENTER, BENCH_FREERCU_FLOOD, BENCH_GP_LATENCY, // rivals'
	BENCH_KINDS
};

// Parameters that package workload has too; native_cgo.go checks that they are equal.
enum {
	BENCH_TRANSFER = 1000,    // MStressTransfer
	BENCH_MSTRESS_EVERY = 8,
	BENCH_RPTEST_CROSS = 2,
	BENCH_XMALLOC_BATCH = 100,
	BENCH_CACHE_WRITES = 100,
	BENCH_MALLOC_MIX_REALLOC = 8,
	BENCH_SECTIONS = 1024,    // SectionsPerReport
};

// BENCH_FLOOD_REPORT is after how many objects a rival's thread reports or polls: from
// here on fewer reports gain nothing, for their objects leave the second-level cache.
enum { BENCH_FLOOD_REPORT = 1024 };

// bench_spec is workload.Spec for C. order has batch entries, sizes those of
// Kind.Sizes. readers to sleep are workload.Readers, in ns.
struct bench_spec {
	enum bench_kind kind;
	int threads, batch, live, nsizes;
	size_t size;
	int64_t ops, warm;
	uint64_t seed, weight;
	int readers;
	int64_t section, sleep;
	const uint32_t *order, *sizes;
	int64_t *times; // of each operation, in ns: ops for each thread; NULL but for rivals' grace periods
};

struct bench_rival;

// bench_run runs the loops of rival, or of malloc if that is NULL, stores each thread's
// nanoseconds for spec->ops pairs into ns[spec->threads], and those from the last thread's
// end until all is freed into *drain. It returns workload.Sample.Checksum. It exits the
// process when malloc fails.
uint64_t bench_run(const struct bench_spec *spec, const struct bench_rival *rival, int64_t *ns, int64_t *drain);

// bench_load loads a rival's library, for good. It returns NULL and the reason if it can't.
const struct bench_rival *bench_load(const char *path, const char **why);

// bench_has reports whether a rival has loops for a kind.
int bench_has(const struct bench_rival *rival, enum bench_kind kind);

// bench_usable stores into given how much malloc gives for each of n sizes.
void bench_usable(const uint32_t *sizes, int n, uint32_t *given);

// bench_provider returns the file that defines symbol, or NULL.
const char *bench_provider(const char *symbol);

// bench_version writes name and version of the library that serves malloc.
void bench_version(char *text, size_t n);

// bench_compiler returns name and version of the compiler of the loops.
const char *bench_compiler(void);

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

// bench_worker is one thread of a run. queue is shared by the two threads of an xfer
// pair, of which the even one produces; shared by all threads.
struct bench_worker {
	const struct bench_spec *spec;
	struct bench_queue *queue;
	struct bench_shared *shared;
	int index;
	void **live;   // spec->live objects
	void **parcel; // objects on their way to another thread
	void **own;    // sh6's other parcel, where sh8 has the shared one
	uint64_t random, sum;
};

_Noreturn void bench_die(const char *what);
void **bench_array(int n); // of pointers, NULL
struct bench_queue *bench_queue_new(void);
void bench_queue_free(struct bench_queue *queue);

// bench_body is what a thread does: before the clock runs, while it does, and after
// everybody has finished.
struct bench_body {
	void (*prepare)(struct bench_worker *w);
	void (*loop)(struct bench_worker *w, int64_t ops);
	void (*finish)(struct bench_worker *w);
};

// bench_bodies is indexed by bench_kind.
extern const struct bench_body bench_bodies[BENCH_KINDS];

// bench_rival is what a library of directory rivals exports, by this name. start lets
// readers run before the threads do, stop ends them and frees what is left.
struct bench_rival {
	struct bench_body bodies[BENCH_KINDS]; // NULL for malloc's
	void (*start)(const struct bench_spec *spec);
	void (*stop)(const struct bench_spec *spec);
};

#endif
