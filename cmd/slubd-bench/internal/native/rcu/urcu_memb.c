// The loops of liburcu's membarrier flavour. urcu.c explains _LGPL_SOURCE.
#define _LGPL_SOURCE
#define _GNU_SOURCE
#include <urcu/urcu-memb.h>

#include "common.h"
#include "urcu_memb.h"

void bench_memb_prepare(struct bench_worker *w)
{
	(void)w;
	urcu_memb_register_thread();
}

void bench_memb_finish(struct bench_worker *w)
{
	(void)w;
	urcu_memb_unregister_thread();
}

void bench_memb_sections(struct bench_worker *w, int64_t ops)
{
	uint64_t sum = 0;
	for (int64_t i = 0; i < ops; i++) {
		urcu_memb_read_lock();
		sum += *rcu_dereference(found);
		urcu_memb_read_unlock();
	}
	w->sum += sum;
}
