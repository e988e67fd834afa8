package slub

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
)

// plan is one run of the checker.
type plan struct {
	arena   arena.Config
	kinds   []kind
	menu    []op
	percent int  // of the operations of all runs
	scarce  bool // memory may run out
	tune    bool // sheaf capacities and barn limits change all the time
	pin     func(worker int) (unpin func())
}

// A kind is a cache to be made into a subject.
type kind struct {
	Config
	traits
}

// defaultOps is what all runs do together, in objects taken or given back, unless
// SLUBD_STRESS_OPS says otherwise.
const defaultOps = 3_000_000

func (p plan) run(t *testing.T) {
	name, reason := Engine()
	t.Logf("engine %s %s", name, reason)
	seed := testutil.Seed(t)
	if p.arena.Span == 0 {
		p.arena.Span = 256 * mib // grace periods pass slowly here, and nothing may fail
	}
	a := newArena(t, p.arena)
	b := newBook(t, a, new(rcu.Domain))
	var subjects []*subject
	for _, k := range p.kinds {
		subjects = append(subjects, newSubject(b, a, k.Config, k.traits))
	}
	workers := make([]*worker, 4*runtime.NumCPU())
	share := testutil.Stress(t, defaultOps) / 100 * p.percent / len(workers)
	for i := range workers {
		workers[i] = newWorker(i, seed, share, subjects)
	}
	storm(t, func() { p.work(workers, subjects) })
	for i, s := range subjects {
		if !p.scarce {
			s.equal("failed calls", s.tally.failed.Load(), 0)
		}
		s.audit(s.outside(workers, i))
	}
	for _, w := range workers {
		w.empty(subjects)
	}
	for _, s := range subjects {
		s.settle()
		s.bury()
	}
}

// work runs the workers to their end, beside readers and those who disturb.
func (p plan) work(workers []*worker, subjects []*subject) {
	var beside []func(chan struct{})
	for _, s := range subjects {
		beside = append(beside, s.disturb, s.read)
		if p.tune && s.config.Flags&NoSheaves == 0 {
			beside = append(beside, s.tune)
		}
	}
	during(func() {
		var working sync.WaitGroup
		for i, w := range workers {
			working.Go(func() {
				if p.pin != nil {
					defer p.pin(i)()
				}
				w.run(subjects, p.menu)
			})
		}
		working.Wait()
	}, beside...)
}

// everyKind is one cache of every sort: sizes from one word to several pages, each
// place of the free pointer, each wrapper, with and without sheaves.
var everyKind = []kind{
	{Config{Size: 8}, 0},
	{Config{Size: 29, FreePtrOffset: At(24)}, withDtor},
	{Config{Size: 64}, 0},
	{Config{Size: 72}, withHooks | withDtor},
	{Config{Size: 88, Align: 16}, withCtor},
	{Config{Size: 200, Flags: InitOnAlloc}, 0},
	{Config{Size: 256, Flags: InitOnFree | HWCacheAlign}, withHooks},
	{Config{Size: 64, Flags: NoSheaves}, withHooks},
	{Config{Size: 300, Flags: NoSheaves}, withCtor},
	{Config{Size: 3000, SheafCapacity: 16}, withDtor},
	{Config{Size: 20000}, 0},
}

var everyOp = []op{pairs, pairs, flood, bulk, zero, onNode, publish, cross, prefilled, noWait}

// Pairs on the fast path, with enough else that main sheaves move.
func TestCheckerPairs(t *testing.T) {
	var kinds []kind
	for _, size := range []uintptr{16, 64, 96} {
		kinds = append(kinds, kind{Config{Size: size}, 0})
	}
	plan{kinds: kinds, percent: 75, menu: slices.Concat(slices.Repeat([]op{pairs}, 60), everyOp)}.run(t)
}

func TestCheckerEveryEntryPoint(t *testing.T) {
	plan{kinds: everyKind, percent: 15, menu: everyOp}.run(t)
}

// Sheaves of every capacity are about.
func TestCheckerLimits(t *testing.T) {
	plan{kinds: everyKind, percent: 10, menu: everyOp, tune: true}.run(t)
}

// Memory runs out at any time, in the arena's bookkeeping as in the kernel's.
func TestCheckerShortOfMemory(t *testing.T) {
	plan{kinds: everyKind, percent: 4, menu: everyOp, scarce: true,
		arena: arena.Config{Limit: 2 * mib, MaxDirty: mib / 4, Span: 8 * mib}}.run(t)
}

// Four nodes, of which this machine's CPUs may cover fewer: objects come from and go
// to other nodes all the time.
func TestCheckerFourNodes(t *testing.T) {
	plan{kinds: everyKind, percent: 5, menu: everyOp,
		arena: arena.Config{Topology: fakeNodes(t, 4), Span: 64 * mib}}.run(t)
}

// The engines that this process didn't choose, in small.
func TestCheckerOtherEngines(t *testing.T) {
	for _, engine := range []string{"trylock", "rseq", "rseq-abi0"} {
		t.Run(engine, func(t *testing.T) {
			out, isChild, err := testutil.Rerun(t, "SLUBD_ENGINE="+engine, "SLUBD_STRESS_OPS=100000")
			if isChild {
				plan{kinds: everyKind, percent: 100, menu: everyOp, tune: true}.run(t)
				return
			}
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			name, _, _ := strings.Cut(engine, "-")
			if actual, _ := Engine(); actual == "rseq" && !strings.Contains(out, "engine "+name) {
				t.Errorf("ran on another engine:\n%s", out)
			}
		})
	}
}
