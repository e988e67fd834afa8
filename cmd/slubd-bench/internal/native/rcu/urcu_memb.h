// The membarrier flavour of liburcu, where slubd has Enter and Exit. It has its own source file,
// because liburcu's headers declare call_rcu for one flavour only.
#ifndef SLUBD_URCU_MEMB_H
#define SLUBD_URCU_MEMB_H

#include "bench.h"

void bench_memb_prepare(struct bench_worker *w);
void bench_memb_sections(struct bench_worker *w, int64_t ops);
void bench_memb_finish(struct bench_worker *w);

#endif
