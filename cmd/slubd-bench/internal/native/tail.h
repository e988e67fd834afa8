// Every call timed, as package tail does it in Go: the same schedule, the same two times of each
// call, the same buckets. To be included by tail.c and by those that make a bench_worker.
#ifndef SLUBD_TAIL_H
#define SLUBD_TAIL_H

#include "bench.h"

// tail.Alloc and tail.Free.
enum { CALL_ALLOC, CALL_FREE, CALLS };

void bench_tail_idle(struct bench_worker *w, int64_t ops);
void bench_tail_replace(struct bench_worker *w, int64_t ops);
void bench_tail_waves(struct bench_worker *w, int64_t ops);
void bench_tail_cross(struct bench_worker *w, int64_t ops);
void bench_tail_prepare(struct bench_worker *w);
void bench_tail_finish(struct bench_worker *w);

#endif
