// The loops of ck_epoch. Its readers mark their sections, as slubd's Enter and Exit do. The thread
// that queued a callback runs it, in ck_epoch_poll.
#define _GNU_SOURCE
#include <ck_epoch.h>

#include "common.h"

struct object {
	uint64_t value;
	ck_epoch_entry_t entry;
};

CK_EPOCH_CONTAINER(struct object, entry, object_of)

static ck_epoch_t epoch;
static ck_epoch_record_t records[MAX_THREADS + MAX_READERS]; // of threads, then of readers
static uint64_t queued;                                       // objects of the run

static void nothing(struct bench_worker *w) { (void)w; }

static void sections(struct bench_worker *w, int64_t ops)
{
	ck_epoch_record_t *r = &records[w->index];
	uint64_t sum = 0;
	for (int64_t i = 0; i < ops; i++) {
		ck_epoch_begin(r, NULL);
		sum += *ck_pr_load_ptr(&found);
		ck_epoch_end(r, NULL);
	}
	w->sum += sum;
}

// reclaim is in the timed part and counts nothing, because ck_epoch counts.
static void reclaim(ck_epoch_entry_t *entry) { free(object_of(entry)); }

static void flood(struct bench_worker *w, int64_t ops)
{
	ck_epoch_record_t *r = &records[w->index];
	size_t size = w->spec->size;
	for (int64_t i = 0; i < ops; i++) {
		struct object *o = reserve(size, sizeof(*o));
		o->value = i;
		ck_epoch_call(r, &o->entry, reclaim);
		if (i % BENCH_FLOOD_REPORT == 0)
			ck_epoch_poll(r);
	}
	__atomic_fetch_add(&queued, ops, __ATOMIC_RELAXED);
}

static void *read_on(void *arg)
{
	struct reader *r = arg;
	ck_epoch_record_t *record = &records[MAX_THREADS + r->index];
	while (!quitting()) {
		ck_epoch_begin(record, NULL);
		rest(r);
		ck_epoch_end(record, NULL);
	}
	return NULL;
}

static void start(const struct bench_spec *spec)
{
	queued = 0;
	ck_epoch_init(&epoch);
	for (int i = 0; i < MAX_THREADS + MAX_READERS; i++)
		if (i < spec->threads || i >= MAX_THREADS)
			ck_epoch_register(&epoch, &records[i], NULL);
	start_readers(spec, read_on);
}

static void stop(const struct bench_spec *spec)
{
	unsigned int freed = 0, left = 0;
	stop_readers(spec);
	for (int i = 0; i < spec->threads; i++) {
		ck_epoch_barrier(&records[i]);
		freed += records[i].n_dispatch; // since ck_epoch_register
		left += records[i].n_pending;
	}
	if (left != 0 || freed != (unsigned int)queued)
		die("ck_epoch_call lost objects");
}

const struct bench_rcu bench_rcu = {
	.bodies = {
		[BENCH_RCU_ENTER] = { nothing, sections, nothing },
		[BENCH_FREERCU_FLOOD] = { nothing, flood, nothing },
	},
	.start = start,
	.stop = stop,
};
