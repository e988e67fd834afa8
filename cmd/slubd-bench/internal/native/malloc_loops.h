// The loops of workload/malloc.go, to be listed in bench_bodies.
#ifndef SLUBD_MALLOC_LOOPS_H
#define SLUBD_MALLOC_LOOPS_H

#include "bench.h"

// bench_prepare_live fills w->live, bench_finish_live frees it.
void bench_prepare_live(struct bench_worker *w);
void bench_finish_live(struct bench_worker *w);

void bench_replace(struct bench_worker *w, int64_t ops); // alloc-test
void bench_malloc_mix(struct bench_worker *w, int64_t ops);
void bench_prepare_prealloc(struct bench_worker *w); // cache-scratch
void bench_write_often(struct bench_worker *w, int64_t ops); // cache-scratch, cache-thrash
void bench_large(struct bench_worker *w, int64_t ops);

void bench_replay_prepare(struct bench_worker *w); // a trace
void bench_replay(struct bench_worker *w, int64_t ops);

void bench_larson(struct bench_worker *w, int64_t ops);
void bench_larson_finish(struct bench_worker *w);
void bench_mstress(struct bench_worker *w, int64_t ops);
void bench_mstress_finish(struct bench_worker *w);
void bench_rptest_prepare(struct bench_worker *w);
void bench_rptest(struct bench_worker *w, int64_t ops);
void bench_rptest_finish(struct bench_worker *w);
void bench_xmalloc(struct bench_worker *w, int64_t ops);
void bench_sh_prepare(struct bench_worker *w); // sh6, sh8
void bench_sh(struct bench_worker *w, int64_t ops);
void bench_sh_finish(struct bench_worker *w);

#endif
