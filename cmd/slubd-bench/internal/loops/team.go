package loops

import (
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Run measures one run of ops operations per thread, as native's team.c does:
// every thread prepares and warms up, all start together, each reads the
// clock around its own loop, and nobody cleans up while another measures.
func (s *Session) Run(spec workload.Spec) (workload.Sample, error) {
	stop := s.arm.backdrop()
	t := newTeam(spec)
	for i := range t.members {
		go t.member(s.arm, i)
	}
	t.warm.Wait()
	runtime.GC() // the garbage of other allocators' runs is not this one's to collect
	before := readCounters()
	close(t.start)
	t.timed.Wait()
	after := readCounters()
	close(t.end)
	t.gone.Wait()
	extra, err := stop()
	if err := errors.Join(append(t.errs, err)...); err != nil {
		return workload.Sample{}, err
	}
	sample := workload.PerThread(t.ns, spec.Ops)
	sample.Extra = after.perOp(before, spec.Pairs())
	for k, v := range extra {
		sample.Extra[k] = v
	}
	var times []int64
	for _, w := range t.members {
		if w.sum != nil {
			sample.Checksum += *w.sum
		}
		if w.times != nil {
			times = append(times, *w.times...)
		}
	}
	if len(times) > 0 {
		sample.Periods(times)
	}
	if c, ok := s.arm.(classer); ok && spec.Kind == workload.MallocMix {
		sample.Classes, err = c.classes()
	}
	return sample, err
}

// team is the state of one run. Member i alone writes members[i], ns[i] and
// errs[i]; Run reads them after the WaitGroups.
type team struct {
	spec    workload.Spec
	members []worker
	shared  *shared
	ns      []int64
	errs    []error

	warm, timed, gone sync.WaitGroup
	start, end        chan struct{}
}

func newTeam(spec workload.Spec) *team {
	n := spec.Threads
	t := &team{
		spec: spec, members: make([]worker, n), shared: newShared(spec),
		ns: make([]int64, n), errs: make([]error, n),
		start: make(chan struct{}), end: make(chan struct{}),
	}
	t.warm.Add(n)
	t.timed.Add(n)
	t.gone.Add(n)
	return t
}

// member is one thread: an ordinary goroutine, as in the programs that allocate. Locked to
// an OS thread it would hand over its P by a futex whenever the collector's workers want to
// run, which takes Go's heap and sync.Pool up to twice the time. It passes all stations even after
// an error, so that the others don't wait for it.
func (t *team) member(a arm, i int) {
	defer t.gone.Done()
	w, err := a.worker(i, t.shared)
	t.members[i] = w
	if err == nil {
		err = w.loop(t.spec.Warm)
	}
	if err != nil {
		t.shared.abandon()
	}
	t.warm.Done()
	<-t.start
	if err == nil {
		begin := time.Now()
		err = w.loop(t.spec.Ops)
		t.ns[i] = time.Since(begin).Nanoseconds()
	}
	if err != nil {
		t.shared.abandon()
	}
	t.timed.Done()
	<-t.end
	if w.stop != nil {
		w.stop()
	}
	t.errs[i] = err
}
