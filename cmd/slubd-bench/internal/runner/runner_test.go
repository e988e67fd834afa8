package runner

import (
	"context"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/tail"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/internal/testutil"
)

func TestMain(m *testing.M) {
	testutil.WithoutSamples()
	ServeChild()
	os.Exit(m.Run())
}

// plan is Plan with parameters for short runs.
func plan(pattern string, threads ...int) []Case {
	cases := Plan(Choice{Run: regexp.MustCompile(pattern), Threads: threads, Sizes: []int{64}, Live: 10_000, Seed: 1})
	for i := range cases {
		cases[i].Spec = cases[i].Spec.Small()
		cases[i].Spec.Live = min(cases[i].Spec.Live, 100_000) // also resident's
	}
	return cases
}

// brief is a Config for the shortest runs.
func brief(names ...string) Config {
	return Config{
		Names: names, BenchTime: time.Millisecond / 2, Count: 2,
		Libraries: native.Libraries(""), Dirs: native.Dirs(),
	}
}

// TestEveryWorkloadWithEveryImplementation has a few workloads only with the race detector: which
// one it is makes no difference to the runner's own goroutines, and package loops runs all.
func TestEveryWorkloadWithEveryImplementation(t *testing.T) {
	cases := plan(".", 1, 2)
	if testutil.Instrumented {
		cases = plan("^(pair|malloc-mix|rcu|rcu-read|rcu-enter|freercu-flood|tail-steady|gp-latency|gc|resident)$", 2)
	}
	r, err := Run(t.Context(), cases, brief(workload.Implementations()...))
	if err != nil || len(r.Failures) > 0 {
		t.Fatalf("%v, %+v", err, r.Failures)
	}
	missing := map[string]bool{}
	for _, m := range r.Missing {
		missing[m.Alloc] = true
		t.Logf("%s: %s", m.Alloc, m.Reason)
	}
	for _, library := range native.Libraries("") {
		named := regexp.MustCompile(`\w \d+\.\d+`).MatchString(r.Versions[library.Name])
		if !missing[library.Name] && !library.Optional() && !named {
			t.Errorf("%s is of version %q", library.Name, r.Versions[library.Name])
		}
	}
	want := 0
	for _, c := range cases {
		if c.Workload.Kind.OnNodes() && strings.Contains(strings.Join(r.Notes, "\n"), c.Workload.Name+" needs 2 nodes") {
			continue
		}
		for _, alloc := range workload.Implementations() {
			if c.Workload.Has(alloc) && !missing[alloc] {
				want++
			}
		}
	}
	if len(r.Results) != want {
		t.Errorf("%d results, want %d", len(r.Results), want)
	}
	for _, x := range r.Results {
		if x.Median <= 0 || x.Min > x.Median || x.Median > x.Max || x.N != 2 || len(x.Values) != 2 || x.Unit == "" {
			t.Errorf("odd result %+v", x)
		}
		latency, _ := x.Extra[Latency].(map[string]tail.Latency)
		if timed := workload.KindOf(x.Workload).ByTail(); timed != (latency["alloc"].Calls > 0 && latency["alloc"].HDR != "") {
			t.Errorf("%s, %s: times of calls %+v", x.Workload, x.Alloc, latency)
		}
		if (x.Workload == string(workload.MallocMix)) != (x.Extra[Classes] != nil) {
			t.Errorf("%s, %s: classes %v", x.Workload, x.Alloc, x.Extra[Classes])
		}
	}
}

func TestRunsTakeTurnsInChangingOrder(t *testing.T) {
	turns := func(seed uint64) (rounds []string) {
		cfg := brief(workload.Slubd, workload.Go, workload.Pool)
		cfg.Count, cfg.Seed = 20, seed
		cfg.Progress = func(s Step) {
			if strings.HasPrefix(s.Stage, "round") {
				rounds = append(rounds, s.Name)
			}
		}
		if _, err := Run(t.Context(), plan("^pair$", 1), cfg); err != nil {
			t.Fatal(err)
		}
		return rounds
	}
	first := turns(1)
	before := map[string]bool{} // pairs of implementations that ran one after the other
	for round := range slices.Chunk(first, 3) {
		if sorted := slices.Sorted(slices.Values(round)); !slices.Equal(sorted, []string{workload.Go, workload.Pool, workload.Slubd}) {
			t.Errorf("a round of %v", round)
		}
		before[round[0]+" "+round[1]], before[round[1]+" "+round[2]] = true, true
	}
	if len(first) != 60 || len(before) != 6 {
		t.Errorf("%d runs, and of 6 pairs of neighbours there were %v", len(first), before)
	}
	if !slices.Equal(first, turns(1)) || slices.Equal(first, turns(2)) {
		t.Error("the order does not follow the seed")
	}
}

func TestDeadChildFailsItsCase(t *testing.T) {
	// The shim survives discover and dies in the first case. The next case starts a new process,
	// which dies again.
	shim := newShim(t, 2000)
	cfg := brief("shim", workload.Pool)
	cfg.Libraries, cfg.Dirs = []native.Library{shim.library}, []string{shim.dir}
	r, err := Run(t.Context(), plan("^(pair|bulk)$", 1), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Failures) != 2 {
		t.Fatalf("failures: %+v", r.Failures)
	}
	for i, name := range []string{"pair", "bulk"} {
		f := r.Failures[i]
		if f.Workload != name || f.Alloc != "shim" || !strings.Contains(f.Error, "dying as told") {
			t.Errorf("failure %+v", f)
		}
		if strings.HasPrefix(f.Error, "shim") { // stderr contains the name as well
			t.Errorf("the name is repeated: %+v", f)
		}
	}
	if len(r.Results) != 2 {
		t.Errorf("sync.Pool was measured %d times of 2", len(r.Results))
	}
}

func TestMissingLibrary(t *testing.T) {
	cfg := brief(workload.Pool, workload.Mimalloc)
	cfg.Dirs = []string{t.TempDir()}
	r, err := Run(t.Context(), plan("^pair$", 1), cfg)
	if err != nil || len(r.Results) != 1 || len(r.Failures) != 0 || len(r.Missing) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	want := "apt-get install libmimalloc2.0"
	if !native.Available {
		want = native.ErrUnavailable.Error()
	}
	if m := r.Missing[0]; m.Alloc != workload.Mimalloc || !strings.Contains(m.Reason, want) {
		t.Errorf("missing: %+v", m)
	}
}

func TestWrongLibraryIsRefused(t *testing.T) {
	shim := newShim(t, 0)
	shim.library.Symbol = "mi_version"
	cfg := brief("shim")
	cfg.Libraries, cfg.Dirs = []native.Library{shim.library}, []string{shim.dir}
	r, err := Run(t.Context(), plan("^pair$", 1), cfg)
	if err != nil || len(r.Missing) != 1 || !strings.HasPrefix(r.Missing[0].Reason, "LD_PRELOAD had no effect") {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestInterruptionKeepsFinishedCases(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg := brief(workload.Go)
	cfg.Progress = func(s Step) {
		if s.Case.Workload.Name == "batch-100-lifo" {
			cancel()
		}
	}
	r, err := Run(ctx, plan("^(pair|batch-100-lifo|gc)$", 1), cfg)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if len(r.Results) != 1 || r.Results[0].Workload != "pair" || len(r.Failures) != 0 {
		t.Errorf("after an interruption in the second case: %+v", r)
	}
}
