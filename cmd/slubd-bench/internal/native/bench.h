// Shared by the C files and native_cgo.go.
#ifndef SLUBD_BENCH_H
#define SLUBD_BENCH_H

#include <stddef.h>
#include <stdint.h>

enum bench_kind {
	BENCH_PAIR, BENCH_BATCH, BENCH_CHURN, BENCH_MIX, BENCH_XFER,
	BENCH_LARSON, BENCH_MSTRESS, BENCH_RPTEST, BENCH_XMALLOC, BENCH_SH6, BENCH_SH8,
	BENCH_ALLOC_TEST, BENCH_CACHE_SCRATCH, BENCH_CACHE_THRASH, BENCH_MALLOC_MIX, BENCH_LARGE, BENCH_TRACE,
	BENCH_TAIL_IDLE, BENCH_TAIL_STEADY, BENCH_TAIL_WAVES, BENCH_TAIL_CROSS,
	BENCH_RCU_READ, BENCH_RCU_ENTER, BENCH_FREERCU_FLOOD, BENCH_GP_LATENCY, // of a bench_rcu
	BENCH_KINDS
};

// Parameters of package workload; native_cgo.go checks that they are equal.
enum {
	BENCH_TRANSFER = 1000,    // MStressTransfer
	BENCH_MSTRESS_EVERY = 8,
	BENCH_RPTEST_CROSS = 2,
	BENCH_XMALLOC_BATCH = 100,
	BENCH_CACHE_WRITES = 100,
	BENCH_MALLOC_MIX_REALLOC = 8,
	BENCH_PAGE_SIZE = 4096,
	BENCH_SECTIONS = 1024,    // SectionsPerReport
};

// BENCH_MAX_CPUS is the largest number of CPUs that kernels are built for.
enum { BENCH_MAX_CPUS = 8192 };

// BENCH_FLOOD_REPORT is the number of objects after which a thread of a bench_rcu reports or polls.
// Reporting less often gains nothing, because the objects then leave the second-level cache.
enum { BENCH_FLOOD_REPORT = 1024 };

// Histograms of package tail: the largest value in ns, and the buckets.
#define BENCH_HIGHEST INT64_C(100000000000)
enum { BENCH_SUB_BITS = 8, BENCH_SUB_BUCKETS = 1 << BENCH_SUB_BITS, BENCH_BUCKETS = 3968 };

// bench_timer is tail.Clock for C, and a thread's schedule of calls in ticks.
struct bench_timer {
	int tsc;        // whether ticks are the time-stamp counter's, otherwise they are ns
	uint64_t scale; // ns of a tick, times 1<<32
	int64_t gap;    // from one call to the next
	int64_t rest;   // after a wave
	int wave;       // objects
	int64_t *counts; // of each thread, as tail.FromThreads wants them
};

// bench_recorder is tail.Recorder for C.
struct bench_recorder {
	const struct bench_timer *timer;
	int64_t *counts; // of this thread
	int64_t due, start, wanted;
};

// bench_bucket returns the index of a time in a histogram.
int bench_bucket(int64_t ns);

// bench_timer_cost returns the ns that a call of nothing seems to take.
int64_t bench_timer_cost(const struct bench_timer *timer);

// bench_event is replay.Event.
struct bench_event {
	uint32_t number; // of the object
	uint32_t size;   // bytes allocated; 0: the object is freed
};

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
	int ncpus;
	const int *cpus; // what the threads are pinned to, in turn
	int64_t chunk;   // operations between two looks at the clock; 0: only at the ends
	int64_t *chunks; // ns of each, ops/chunk for each thread
	const struct bench_timer *timer; // of tail.c's loops; otherwise NULL
	const struct bench_event *events; // a cycle of BENCH_TRACE
	int64_t nevents;
	int64_t *times; // ns of each grace period, ops for each thread; otherwise NULL
};

struct bench_rcu;

// bench_run runs the loops of rcu, or of malloc if that is NULL. It stores each thread's
// nanoseconds for spec->ops pairs into ns[spec->threads], and the nanoseconds from the last
// thread's end until all is freed into *drain. It returns workload.Sample.Checksum, and exits the
// process if malloc fails.
uint64_t bench_run(const struct bench_spec *spec, const struct bench_rcu *rcu, int64_t *ns, int64_t *drain);

// bench_load loads the library of a bench_rcu, which stays loaded. On failure it returns NULL and
// stores the reason.
const struct bench_rcu *bench_load(const char *path, const char **why);

// bench_has reports whether rcu has loops for a kind.
int bench_has(const struct bench_rcu *rcu, enum bench_kind kind);

// bench_usable stores the bytes that malloc gives for each of n sizes.
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

// bench_worker is one thread of a run. The two threads of an xfer pair share queue, and the even
// one produces. All threads share shared.
struct bench_worker {
	const struct bench_spec *spec;
	struct bench_queue *queue;
	struct bench_shared *shared;
	int index;
	void **live;  // spec->live objects
	void **batch; // objects on their way to another thread
	void **own;   // sh6's second batch, where sh8 uses the shared mailbox
	uint64_t random, sum;
	struct bench_recorder recorder; // of tail.c's loops
};

_Noreturn void bench_die(const char *what);
void **bench_array(int n); // of pointers, NULL
struct bench_queue *bench_queue_new(void);
void bench_queue_free(struct bench_queue *queue);

// bench_claim returns the next batch to fill, and whether it has waited for the other side to take
// one; bench_publish hands it over. bench_take returns the next batch to free, and whether it has
// waited for one; bench_release gives its place back.
void **bench_claim(struct bench_queue *q, int *waited);
void bench_publish(struct bench_queue *q);
void **bench_take(struct bench_queue *q, int *waited);
void bench_release(struct bench_queue *q);

// bench_body is what a thread does before the clock runs, while it runs, and after all threads have
// finished.
struct bench_body {
	void (*prepare)(struct bench_worker *w);
	void (*loop)(struct bench_worker *w, int64_t ops);
	void (*finish)(struct bench_worker *w);
};

// bench_bodies is indexed by bench_kind.
extern const struct bench_body bench_bodies[BENCH_KINDS];

// bench_rcu is what a library made of directory rcu exports under this name. start starts the
// readers, before the threads; stop ends them and frees what is left.
struct bench_rcu {
	struct bench_body bodies[BENCH_KINDS]; // zero where it has no loop
	void (*start)(const struct bench_spec *spec);
	void (*stop)(const struct bench_spec *spec);
};

#endif
