package runner

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/replay"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/hooks/trace"
	"github.com/slubd/slubd/internal/testutil"
)

// recorded writes a trace of pairs of an object that lives and one that doesn't.
func recorded(t *testing.T, name string) Trace {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := trace.New(f, trace.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uintptr(100) {
		r.Alloc(hooks.Object{Addr: 2*i + 1, Size: int64(i)*10 + 8})
		r.Alloc(hooks.Object{Addr: 2*i + 2, Size: 64})
		r.Free(hooks.Object{Addr: 2*i + 2, Size: 64})
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	cycle, err := replay.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return Trace{file, cycle}
}

// TestTraceWithEveryAllocator replays a trace in this process and in those of native allocators.
func TestTraceWithEveryAllocator(t *testing.T) {
	if testutil.Instrumented {
		t.Skip("package loops has the same loops with the race detector")
	}
	first, second := recorded(t, "first day.trace.gz"), recorded(t, "second")
	cases := Plan(Choice{Threads: []int{1, 2}, Sizes: []int{64, 128}, Traces: []Trace{first, second}})
	if len(cases) != 4 || cases[0].Workload.Name != "trace-first-day" || cases[2].Workload.Name != "trace-second" {
		t.Fatalf("%v", cases)
	}
	names := append([]string{workload.Slubd, workload.Go, workload.Pool, workload.Local}, workload.Malloc, workload.TCMalloc)
	r, err := Run(t.Context(), cases, brief(names...))
	if err != nil || len(r.Failures) > 0 || len(r.Notes) != 2 || !strings.Contains(r.Notes[0], "a cycle of 200 objects, at most 101 of them") {
		t.Fatalf("%+v, %v, notes %q", r.Failures, err, r.Notes)
	}
	got := map[string]int{}
	for _, x := range r.Results {
		if x.Median <= 0 || x.Ops%(200*x.Threads) != 0 || x.Size != 0 || workload.KindOf(x.Workload) != workload.Trace {
			t.Errorf("%+v", x)
		}
		got[x.Alloc]++
	}
	want := []string{workload.Slubd, workload.Go, workload.Pool}
	if native.Available {
		want = append(want, workload.Malloc)
	}
	for _, alloc := range want {
		if got[alloc] != len(cases) {
			t.Errorf("%s has %d results of %d", alloc, got[alloc], len(cases))
		}
	}
	if got[workload.Local] != 0 {
		t.Error("a sheaf of one size has replayed a trace")
	}
}

// TestPlanOfTraces checks what runs beside traces.
func TestPlanOfTraces(t *testing.T) {
	one := recorded(t, "one")
	choice := Choice{Threads: []int{2}, Sizes: []int{64}, Traces: []Trace{one}, CPUs: []int{0}}
	if cases := Plan(choice); len(cases) != 1 || cases[0].Spec.CPU(1) != 0 {
		t.Errorf("%v", cases)
	}
	choice.Run, choice.Chunks = regexp.MustCompile("^pair$"), true
	cases := Plan(choice)
	if len(cases) != 2 || cases[0].Workload.Name != "pair" || cases[1].Spec.Chunk != one.Pairs() {
		t.Errorf("%v", cases)
	}
}

// TestReplayIsChecked gives runs of a trace another checksum than its own.
func TestReplayIsChecked(t *testing.T) {
	one := recorded(t, "one")
	spec := Plan(Choice{Threads: []int{2}, Traces: []Trace{one}})[0].Spec
	good := 2 * one.Checksum(spec.Weight())
	if err := replayed(spec, workload.Sample{Checksum: good}); err != nil {
		t.Error(err)
	}
	if err := replayed(spec, workload.Sample{Checksum: good + 1}); !errors.Is(err, errChecksum) {
		t.Errorf("another checksum: %v", err)
	}
	spec.Kind = workload.Pair
	if err := replayed(spec, workload.Sample{}); err != nil {
		t.Errorf("what is no trace: %v", err)
	}
}
