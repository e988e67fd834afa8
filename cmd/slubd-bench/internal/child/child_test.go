package child

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/nativetest"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// start is a child that ends with the test.
func start(t *testing.T, preload ...string) *Process {
	t.Helper()
	p, err := Start(preload...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// within bounds a Call of a test: a child that hangs must not hang the test.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

var pair = workload.Spec{Kind: workload.Pair, Threads: 1, Size: 64}.WithOps(1000)

func TestTheCLoopsCallMallocOncePerObject(t *testing.T) {
	shim := nativetest.New(t, 0)
	p := start(t, shim.Path())
	a, err := p.Call(within(t, time.Minute), Request{Op: Hello, Symbol: shim.Library.Symbol})
	if err != nil || a.Provider != shim.Path() {
		t.Fatalf("malloc comes from %q: %v", a.Provider, err)
	}
	for _, w := range workload.Catalog() {
		if !w.Has(workload.Malloc) {
			continue
		}
		spec := w.Spec(2, 64, 1).WithOps(5000)
		mallocs, frees := shim.Counts(t)
		a, err := p.Call(within(t, time.Minute), Request{Op: Run, Spec: spec})
		if err != nil {
			t.Fatalf("%s: %v", w.Name, err)
		}
		mallocsAfter, freesAfter := shim.Counts(t)
		objects := spec.Pairs() + spec.Warm*spec.Pairs()/spec.Ops + standing(spec)
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

// standing is how many objects a run allocates beside its pairs.
func standing(s workload.Spec) int {
	switch s.Kind {
	case workload.Larson: // one array more than threads
		return s.Live * (s.Threads + 1)
	case workload.RPTest: // and what goes from thread to thread
		return s.Live*s.Threads + s.Batch
	case workload.SH8: // nothing but that
		return s.Live
	case workload.CacheScratch:
		return s.Threads
	case workload.MallocMix: // and one of each size, to see what is given for it
		return s.Live*s.Threads + len(s.Kind.Sizes())
	}
	return s.Live * s.Threads
}

func TestADyingChildIsReportedWithItsLastWords(t *testing.T) {
	shim := nativetest.New(t, 500)
	p := start(t, shim.Path())
	_, err := p.Call(within(t, time.Minute), Request{Op: Run, Spec: pair})
	if !errors.Is(err, ErrDied) || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "dying as told") {
		t.Errorf("the child exits with 3 and a line: %v", err)
	}
	if _, again := p.Call(t.Context(), Request{Op: Run, Spec: pair}); !errors.Is(again, ErrDied) || p.Err() == nil {
		t.Errorf("calling the dead: %v", again)
	}
}

func TestMallocWithoutMemoryIsADeathNotAHang(t *testing.T) {
	if !native.Available {
		t.Skip(native.ErrUnavailable)
	}
	spec := pair
	spec.Size = 1 << 62
	_, err := start(t, "").Call(within(t, time.Minute), Request{Op: Run, Spec: spec})
	if !errors.Is(err, ErrDied) || !strings.Contains(err.Error(), "malloc failed") {
		t.Errorf("4 EiB were allocated: %v", err)
	}
}

func TestAKilledChildIsReported(t *testing.T) {
	p := start(t, "")
	if _, err := p.Call(within(t, time.Minute), Request{Op: "nothing"}); err == nil || errors.Is(err, ErrDied) {
		t.Fatalf("an unknown request: %v", err)
	}
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Call(within(t, time.Minute), Request{Op: Collect}); !errors.Is(err, ErrDied) {
		t.Errorf("a killed child: %v", err)
	}
}

func TestAHangingChildEndsWithTheContext(t *testing.T) {
	p := start(t, "")
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, err := p.Call(within(t, 50*time.Millisecond), Request{Op: Collect})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a stopped child: %v", err)
	}
	if p.cmd.ProcessState == nil {
		t.Error("the stopped child is still there")
	}
}

func TestAnInterruptIsTheParentsBusiness(t *testing.T) {
	p := start(t, "")
	for range 2 { // the first answer shows that the child is up
		if _, err := p.Call(within(t, time.Minute), Request{Op: Collect}); errors.Is(err, ErrDied) {
			t.Fatal(err)
		}
		if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHeapRequests(t *testing.T) {
	p := start(t, "")
	if _, err := p.Call(within(t, time.Minute), Request{Op: Collect}); err == nil || !strings.Contains(err.Error(), errNothingBuilt.Error()) {
		t.Errorf("collecting nothing: %v", err)
	}
	spec := workload.Spec{Kind: workload.GC, Live: 1000}
	for _, alloc := range []string{workload.Go, workload.Slubd} {
		if _, err := p.Call(within(t, time.Minute), Request{Op: Build, Alloc: alloc, Spec: spec}); err != nil {
			t.Errorf("building for %s: %v", alloc, err)
		}
		if a, err := p.Call(within(t, time.Minute), Request{Op: Collect}); err != nil || a.Sample.Value <= 0 {
			t.Errorf("collecting for %s: %+v, %v", alloc, a, err)
		}
		if a, err := p.Call(within(t, time.Minute), Request{Op: Resident, Alloc: alloc, Spec: workload.Spec{Live: 100_000}}); err != nil || a.Sample.Value < 0.5 {
			t.Errorf("resident for %s: %+v, %v", alloc, a, err)
		}
	}
}

func TestCloseIsIdempotentAndNilSafe(t *testing.T) {
	var none *Process
	p := start(t, "")
	for range 2 {
		if err := errors.Join(none.Close(), p.Close()); err != nil {
			t.Error(err)
		}
	}
	if _, err := p.Call(t.Context(), Request{Op: Collect}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("calling a closed child: %v", err)
	}
}

func TestEnvironReplacesThePreload(t *testing.T) {
	parent := []string{"A=1", "LD_PRELOAD=libother.so", Env + "=0"}
	if got := environ(parent, ""); !slices.Equal(got, []string{Env + "=1", "A=1"}) {
		t.Errorf("without a library: %v", got)
	}
	if got := environ(parent, "a.so", "b.so"); !slices.Equal(got, []string{Env + "=1", "LD_PRELOAD=a.so:b.so", "A=1"}) {
		t.Errorf("with two libraries: %v", got)
	}
	if got := environ(parent, "lib.so"); !slices.Equal(got, []string{Env + "=1", "LD_PRELOAD=lib.so", "A=1"}) {
		t.Errorf("with a library: %v", got)
	}
}
