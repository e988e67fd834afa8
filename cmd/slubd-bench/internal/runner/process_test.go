package runner

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// start returns a child that is closed at the end of the test.
func start(t *testing.T, preload ...string) *process {
	t.Helper()
	p, err := startProcess(preload...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// within bounds a call: a child that hangs must not hang the test.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

var pair = workload.Spec{Kind: workload.Pair, Threads: 1, Size: 64}.WithOps(1000)

func TestCLoopsCallMallocOncePerObject(t *testing.T) {
	shim := newShim(t, 0)
	p := start(t, shim.path())
	a, err := p.call(within(t, time.Minute), request{Op: opHello, Symbol: shim.library.Symbol})
	if err != nil || a.Provider != shim.path() {
		t.Fatalf("malloc comes from %q: %v", a.Provider, err)
	}
	for _, w := range workload.Catalog() {
		if !w.Has(workload.Malloc) {
			continue
		}
		spec := w.Spec(2, 64, 1).Small().WithOps(5000)
		mallocs, frees := shim.callCounts(t)
		a, err := p.call(within(t, time.Minute), request{Op: opRun, Spec: spec})
		if err != nil {
			t.Fatalf("%s: %v", w.Name, err)
		}
		mallocsAfter, freesAfter := shim.callCounts(t)
		objects := spec.Pairs() + spec.Warm*spec.Pairs()/spec.Ops + standing(spec)
		if w.Kind == workload.TailIdle {
			objects = 0
		}
		const overhead = 200 // threads, arrays, cgo's strings
		if n := mallocsAfter - mallocs; n < objects || n > objects+overhead {
			t.Errorf("%s: %d calls of malloc for %d objects", w.Name, n, objects)
		}
		if n := freesAfter - frees; n < objects || n > objects+overhead {
			t.Errorf("%s: %d calls of free for %d objects", w.Name, n, objects)
		}
		if calls := a.Sample.Extra[workload.CgoCalls] * float64(spec.Pairs()); calls < 1 || calls > 10 {
			t.Errorf("%s: %v cgo calls in a run", w.Name, calls)
		}
	}
}

// standing is how many objects a run allocates besides its pairs.
func standing(s workload.Spec) int {
	switch s.Kind {
	case workload.Larson: // one array more than threads
		return s.Live * (s.Threads + 1)
	case workload.RPTest: // and what goes from thread to thread
		return s.Live*s.Threads + s.Batch
	case workload.SH8: // only what goes from thread to thread
		return s.Live
	case workload.CacheScratch:
		return s.Threads
	case workload.TailCross: // of the threads that free
		return s.Live * s.Threads / 2
	case workload.MallocMix: // and one of each size, to see what is given for it
		return s.Live*s.Threads + len(s.Kind.Sizes())
	}
	return s.Live * s.Threads
}

func TestDeathIsReportedWithStderr(t *testing.T) {
	shim := newShim(t, 500)
	p := start(t, shim.path())
	_, err := p.call(within(t, time.Minute), request{Op: opRun, Spec: pair})
	if !errors.Is(err, errDied) || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "dying as told") {
		t.Errorf("the child exits with 3 and a line on stderr: %v", err)
	}
	if _, again := p.call(t.Context(), request{Op: opRun, Spec: pair}); !errors.Is(again, errDied) || p.failed == nil {
		t.Errorf("calling a dead child: %v", again)
	}
}

func TestKilledChildIsReported(t *testing.T) {
	p := start(t, "")
	if _, err := p.call(within(t, time.Minute), request{Op: "nothing"}); err == nil || errors.Is(err, errDied) {
		t.Fatalf("an unknown request: %v", err)
	}
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.call(within(t, time.Minute), request{Op: opCollect}); !errors.Is(err, errDied) {
		t.Errorf("a killed child: %v", err)
	}
}

func TestHangingChildIsKilled(t *testing.T) {
	p := start(t, "")
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, err := p.call(within(t, 50*time.Millisecond), request{Op: opCollect})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a stopped child: %v", err)
	}
	if p.cmd.ProcessState == nil {
		t.Error("the stopped child still exists")
	}
}

func TestChildIgnoresInterrupt(t *testing.T) {
	p := start(t, "")
	for range 2 { // the first answer shows that the child is up
		if _, err := p.call(within(t, time.Minute), request{Op: opCollect}); errors.Is(err, errDied) {
			t.Fatal(err)
		}
		if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHeapRequests(t *testing.T) {
	p := start(t, "")
	if _, err := p.call(within(t, time.Minute), request{Op: opCollect}); err == nil || !strings.Contains(err.Error(), errNothingBuilt.Error()) {
		t.Errorf("collecting nothing: %v", err)
	}
	spec := workload.Spec{Kind: workload.GC, Live: 1000}
	for _, alloc := range []string{workload.Go, workload.Slubd} {
		if _, err := p.call(within(t, time.Minute), request{Op: opBuild, Alloc: alloc, Spec: spec}); err != nil {
			t.Errorf("building for %s: %v", alloc, err)
		}
		if a, err := p.call(within(t, time.Minute), request{Op: opCollect}); err != nil || a.Sample.Value <= 0 {
			t.Errorf("collecting for %s: %+v, %v", alloc, a, err)
		}
		if a, err := p.call(within(t, time.Minute), request{Op: opResident, Alloc: alloc, Spec: workload.Spec{Live: 100_000}}); err != nil || a.Sample.Value < 0.5 {
			t.Errorf("resident for %s: %+v, %v", alloc, a, err)
		}
	}
}

func TestCloseTwiceAndOfNil(t *testing.T) {
	var none *process
	p := start(t, "")
	for range 2 {
		if err := errors.Join(none.close(), p.close()); err != nil {
			t.Error(err)
		}
	}
	if _, err := p.call(t.Context(), request{Op: opCollect}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("calling a closed child: %v", err)
	}
}

func TestChildEnvironReplacesPreload(t *testing.T) {
	parent := []string{"A=1", "LD_PRELOAD=libother.so", childEnv + "=0"}
	if got := childEnviron(parent, ""); !slices.Equal(got, []string{childEnv + "=1", "A=1"}) {
		t.Errorf("without a library: %v", got)
	}
	if got := childEnviron(parent, "a.so", "b.so"); !slices.Equal(got, []string{childEnv + "=1", "LD_PRELOAD=a.so:b.so", "A=1"}) {
		t.Errorf("with two libraries: %v", got)
	}
	if got := childEnviron(parent, "lib.so"); !slices.Equal(got, []string{childEnv + "=1", "LD_PRELOAD=lib.so", "A=1"}) {
		t.Errorf("with a library: %v", got)
	}
}
