// The loops of liburcu's QSBR flavour: registered readers as in loops/rcu.go, and call_rcu where
// slubd has FreeRCU. _LGPL_SOURCE inlines its read side, which is then fastest; nothing of this
// program is distributed in that form.
#define _LGPL_SOURCE
#define _GNU_SOURCE
#include <urcu/urcu-qsbr.h>

#include "common.h"
#include "urcu_memb.h"

struct object {
	uint64_t value;
	struct rcu_head head;
};

// Objects of the run. freed has its own cache line: the thread that runs callbacks writes it.
static uint64_t queued;
static struct {
	_Alignas(128) uint64_t n;
} freed;

// Threads are online only in their loops: a thread that waits for the others must not delay the
// grace periods that those wait for.
static void prepare(struct bench_worker *w)
{
	(void)w;
	urcu_qsbr_register_thread();
	urcu_qsbr_thread_offline();
}

static void finish(struct bench_worker *w)
{
	(void)w;
	urcu_qsbr_unregister_thread();
}

static void sections(struct bench_worker *w, int64_t ops)
{
	uint64_t sum = 0;
	urcu_qsbr_thread_online();
	for (int64_t done = 0; done < ops; done += BENCH_SECTIONS) {
		for (int i = 0; i < BENCH_SECTIONS; i++) {
			urcu_qsbr_read_lock();
			sum += *rcu_dereference(found);
			urcu_qsbr_read_unlock();
		}
		urcu_qsbr_quiescent_state();
	}
	urcu_qsbr_thread_offline();
	w->sum += sum;
}

static void reclaim(struct rcu_head *head)
{
	freed.n++; // one thread runs all callbacks
	free(caa_container_of(head, struct object, head));
}

// flood reports now and then: call_rcu needs registered callers, which would otherwise delay the
// grace periods.
static void flood(struct bench_worker *w, int64_t ops)
{
	size_t size = w->spec->size;
	urcu_qsbr_thread_online();
	for (int64_t i = 0; i < ops; i++) {
		struct object *o = reserve(size, sizeof(*o));
		o->value = i;
		urcu_qsbr_call_rcu(&o->head, reclaim);
		if (i % BENCH_FLOOD_REPORT == 0)
			urcu_qsbr_quiescent_state();
	}
	urcu_qsbr_thread_offline();
	__atomic_fetch_add(&queued, ops, __ATOMIC_RELAXED);
}

static void latency(struct bench_worker *w, int64_t ops)
{
	int64_t *times = &w->spec->times[w->index * w->spec->ops], last = now();
	for (int64_t i = 0; i < ops; i++) {
		urcu_qsbr_synchronize_rcu();
		int64_t t = now();
		times[i] = t - last;
		last = t;
	}
}

static void *read_on(void *arg)
{
	struct reader *r = arg;
	urcu_qsbr_register_thread();
	while (!quitting()) {
		rest(r);
		urcu_qsbr_quiescent_state();
	}
	urcu_qsbr_unregister_thread();
	return NULL;
}

static void start(const struct bench_spec *spec)
{
	queued = freed.n = 0;
	start_readers(spec, read_on);
}

static void stop(const struct bench_spec *spec)
{
	stop_readers(spec);
	urcu_qsbr_barrier();
	if (freed.n != queued)
		die("call_rcu lost objects");
}

const struct bench_rcu bench_rcu = {
	.bodies = {
		[BENCH_RCU_ENTER] = { bench_memb_prepare, bench_memb_sections, bench_memb_finish },
		[BENCH_RCU_READ] = { prepare, sections, finish },
		[BENCH_FREERCU_FLOOD] = { prepare, flood, finish },
		[BENCH_GP_LATENCY] = { prepare, latency, finish },
	},
	.start = start,
	.stop = stop,
};
