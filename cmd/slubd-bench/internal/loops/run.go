package loops

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/tail"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// A worker is one thread's part of a run.
type worker struct {
	loop     func(n int) error // n operations; called to warm up and again in the timed part
	stop     func()            // frees the worker's objects; may be nil
	sum      *uint64           // part of the run's checksum, final after stop; may be nil
	times    *[]int64          // ns of each operation of loop's last call, or nil
	recorder *tail.Recorder    // of loop's last call; nil where calls are not timed
}

// A target is an implementation made ready for one Spec.
type target interface {
	// worker prepares one thread. The threads of a run share sh. Where two threads make a pair,
	// the even one produces.
	worker(index int, sh *shared) (worker, error)
	// background starts what runs beside the loops, if anything. stop ends it and reports extras.
	background() (stop func() (map[string]float64, error))
	close() error
}

// A sizeReporter is a target that can say how many bytes it gives for malloc-mix's sizes.
type sizeReporter interface {
	classes() ([]workload.ClassBytes, error)
}

// noBackground is embedded in targets with nothing to run beside the loops, and nothing to close.
type noBackground struct{}

func (noBackground) background() func() (map[string]float64, error) {
	return func() (map[string]float64, error) { return nil, nil }
}
func (noBackground) close() error { return nil }

// Session is an opened target.
type Session struct {
	target target
	slubd  bool
}

// Open prepares an implementation (workload.Slubd, Local, Go or Pool; SyncMap or Sharded for maps)
// for runs of s with any number of operations.
func Open(name string, s workload.Spec) (*Session, error) {
	open := map[string]func(workload.Spec) (target, error){
		workload.Slubd: openSlubd, workload.Local: openLocal,
		workload.Go: openHeap, workload.Pool: openPool,
	}[name]
	if s.Kind == workload.RCUMap {
		open = func(s workload.Spec) (target, error) { return openMap(name, s) }
	}
	if open == nil {
		return nil, fmt.Errorf("there are no Go loops for %q", name)
	}
	t, err := open(s)
	if err != nil {
		return nil, err
	}
	return &Session{t, name == workload.Slubd}, nil
}

// Close frees caches, pools and maps. slubd reports leaked objects here.
func (s *Session) Close() error { return s.target.close() }

func noLoop(target string, kind workload.Kind) error {
	return fmt.Errorf("%s has no loop for workload %q", target, kind)
}

// Run measures one run of spec.Ops operations per thread, as native's team.c does: every thread
// prepares and warms up, all start together, each reads the clock around its own loop, and no
// thread frees its objects while another one measures.
//
// Where the workload has a disturbance there are two runs, and the first is not disturbed.
func (s *Session) Run(spec workload.Spec) (workload.Sample, error) {
	if spec.Disturb != "" {
		return s.runDisturbed(spec)
	}
	return s.run(spec)
}

func (s *Session) run(spec workload.Spec) (workload.Sample, error) {
	stop := s.target.background()
	collected := collector(spec)
	t := newTeam(spec)
	for i := range t.workers {
		go t.run(s.target, i)
	}
	t.warm.Wait()
	runtime.GC() // so that this run does not collect the garbage of another implementation's run
	events := s.events(spec)
	paused := readPauses()
	before := readCounters()
	calm, err := s.disturb(spec)
	close(t.start)
	t.timed.Wait()
	after := readCounters()
	pauses := pausesBetween(paused, readPauses())
	eventsAfter := s.events(spec)
	collected()
	disturbances := 0
	if err == nil {
		disturbances, err = calm()
	}
	close(t.end)
	t.stopped.Wait()
	extra, stopErr := stop()
	if err := errors.Join(append(t.errs, err, stopErr)...); err != nil {
		return workload.Sample{}, err
	}
	sample := workload.PerThread(t.ns, spec.Ops)
	sample.Extra, sample.Pauses = after.perOp(before, spec.Pairs()), pauses
	maps.Copy(sample.Extra, extra)
	if disturbances > 0 {
		sample.Extra[workload.Disturbances] = float64(disturbances)
	}
	for name, n := range eventsAfter {
		sample.Extra[name] = 1000 * float64(n-events[name]) / float64(spec.Pairs())
	}
	var times, chunks []int64
	for i, w := range t.workers {
		chunks = append(chunks, t.chunks[i]...)
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
	sample.Chunks(chunks, spec.Chunk)
	if spec.Kind.ByTail() {
		if err := latencies(&sample, t.workers, spec); err != nil {
			return sample, err
		}
	}
	if r, ok := s.target.(sizeReporter); ok && spec.Kind == workload.MallocMix {
		sample.Classes, err = r.classes()
	}
	return sample, err
}

// team is the state of one run. Thread i alone writes workers[i], ns[i], chunks[i] and errs[i]; Run
// reads them after the WaitGroups.
type team struct {
	spec    workload.Spec
	workers []worker
	shared  *shared
	ns      []int64
	chunks  [][]int64 // ns of each chunk
	errs    []error

	warm, timed, stopped sync.WaitGroup
	start, end           chan struct{}
}

func newTeam(spec workload.Spec) *team {
	n := spec.Threads
	t := &team{
		spec: spec, workers: make([]worker, n), shared: newShared(spec),
		ns: make([]int64, n), errs: make([]error, n), chunks: make([][]int64, n),
		start: make(chan struct{}), end: make(chan struct{}),
	}
	for i := range t.chunks {
		if spec.Chunk > 0 {
			t.chunks[i] = make([]int64, spec.Ops/spec.Chunk)
		}
	}
	for _, g := range []*sync.WaitGroup{&t.warm, &t.timed, &t.stopped} {
		g.Add(n)
	}
	return t
}

// run is one thread: an ordinary goroutine, as in the programs that allocate. If it were locked to
// an OS thread, it would hand over its P by a futex whenever the collector's workers want to run,
// which takes Go's heap and sync.Pool up to twice the time. Only pinning needs it. It passes all
// stages even after an error, so that the other threads do not wait for it.
func (t *team) run(target target, i int) {
	defer t.stopped.Done()
	unpin, err := pin(t.spec.CPU(i))
	defer unpin()
	var w worker
	if err == nil {
		w, err = target.worker(i, t.shared)
		t.workers[i] = w
	}
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
		err = t.measure(w.loop, begin, t.chunks[i])
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

// measure is the timed part of one thread, in chunks if there is room for their times.
func (t *team) measure(loop func(n int) error, begin time.Time, chunks []int64) error {
	if len(chunks) == 0 {
		return loop(t.spec.Ops)
	}
	last := begin
	for i := range chunks {
		if err := loop(t.spec.Chunk); err != nil {
			return err
		}
		now := time.Now()
		chunks[i], last = now.Sub(last).Nanoseconds(), now
	}
	return nil
}

// counters are the runtime's own totals. Around a timed loop their difference shows that an
// implementation neither allocates on the Go heap nor calls into C.
type counters struct{ allocs, cgo uint64 }

func readCounters() counters {
	samples := [...]metrics.Sample{
		{Name: "/gc/heap/allocs:objects"},
		{Name: "/cgo/go-to-c-calls:calls"},
	}
	metrics.Read(samples[:])
	return counters{allocs: samples[0].Value.Uint64(), cgo: samples[1].Value.Uint64()}
}

// perOp relates what happened since before to a number of operations. It includes what other
// goroutines do: a run of a million pairs sees a few dozen objects of the bench itself, and the
// unused rest of a span, which the runtime counts as allocated.
func (c counters) perOp(before counters, ops int) map[string]float64 {
	return map[string]float64{
		workload.GoAllocs: float64(c.allocs-before.allocs) / float64(ops),
		workload.CgoCalls: float64(c.cgo-before.cgo) / float64(ops),
	}
}
